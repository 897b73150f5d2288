package catalog

import (
	"time"

	"chaperone/engine/wire"
)

// CacheDiscount is how much less an attempt costs than if nothing had been read from a cache or written into one; negative where
// writing costs more than reading saves.
func (r *Row) CacheDiscount(u wire.Usage, images int64, sent time.Time) Picodollars {
	plain := u
	plain.CachedTokens, plain.CacheWriteTokens, plain.CacheWrite1hTokens = 0, 0, 0
	if plain == u {
		return 0
	}
	return r.Bill(plain, images, sent) - r.Bill(u, images, sent)
}

// Bill is what an attempt costs at a row, by what its provider has counted, the images of the request, and when it was sent.
func (r *Row) Bill(u wire.Usage, images int64, sent time.Time) Picodollars {
	p := r.PricesAt(u.PromptTokens, sent)
	return p.Cost(Counts{
		Prompt: u.PromptTokens, Cached: u.CachedTokens, CacheWrite: u.CacheWriteTokens, CacheWrite1h: u.CacheWrite1hTokens, Audio: u.AudioTokens,
		Completion: u.CompletionTokens, Reasoning: u.ReasoningTokens, Images: images,
	})
}
