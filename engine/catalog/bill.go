package catalog

import (
	"time"

	"chaperone/engine/wire"
)

// Bill is what an attempt costs at a row, by what its provider has counted, the images of the request, and when it was sent.
func (r *Row) Bill(u wire.Usage, images int64, sent time.Time) Picodollars {
	p := r.PricesAt(u.PromptTokens, sent)
	return p.Cost(Counts{
		Prompt: u.PromptTokens, Cached: u.CachedTokens, CacheWrite: u.CacheWriteTokens, CacheWrite1h: u.CacheWrite1hTokens, Audio: u.AudioTokens,
		Completion: u.CompletionTokens, Reasoning: u.ReasoningTokens, Images: images,
	})
}
