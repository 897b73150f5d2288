package wire

import (
	"bytes"
	"strconv"

	"chaperone/engine/wire/talk"
)

// Bill are the edits by which an event, or a whole answer, that passes as it came says all of its usage and what that cost.
func (s Shape) Bill(c *Chunk, data []byte, b *talk.Bill) []Edit { return s.api().bill(c, data, b) }

// chatBill fills what a provider leaves out (https://openrouter.ai/docs/cookbook/administration/usage-accounting); what it says
// itself stands, unless all of it is estimated.
func chatBill(c *Chunk, data []byte, b *talk.Bill) []Edit {
	said := c.value(data, "usage")
	edits := make([]Edit, 0, 12)
	count := func(field string, n int64, known bool) {
		if !known {
			edits = append(edits, Edit{field, strconv.AppendInt(nil, n, 10)})
		}
	}
	says := func(name string) bool { return !b.Estimated && bytes.Contains(said, []byte(`"`+name+`"`)) }
	count("usage.prompt_tokens", b.PromptTokens, says("prompt_tokens"))
	count("usage.completion_tokens", b.CompletionTokens, says("completion_tokens"))
	count("usage.total_tokens", b.PromptTokens+b.CompletionTokens, says("total_tokens"))
	count("usage.prompt_tokens_details.cached_tokens", b.CachedTokens, says("cached_tokens"))
	count("usage.prompt_tokens_details.cache_write_tokens", b.CacheWriteTokens, says("cache_write_tokens"))
	count("usage.completion_tokens_details.reasoning_tokens", b.ReasoningTokens, says("reasoning_tokens"))
	if b.Estimated {
		edits = append(edits, Edit{"usage.estimated", []byte("true")})
	}
	return append(edits, Edit{"usage.cost", []byte(b.Cost)}, Edit{"usage.is_byok", []byte("false")}, Edit{"usage.cost_details", talk.CostDetails(b)})
}

// messagesBill: Anthropic's answers have their usage in full.
func messagesBill(c *Chunk, data []byte, b *talk.Bill) []Edit {
	if !c.Has(data, "usage") {
		return nil
	}
	edits := []Edit{{"usage.cost", []byte(b.Cost)}}
	if tier := talk.MessagesTier(b.Tier); tier != "" && c.ServiceTier == "" {
		edits = append(edits, Edit{"usage.service_tier", appendString(nil, tier)})
	}
	if b.Estimated {
		edits = append(edits,
			Edit{"usage.input_tokens", strconv.AppendInt(nil, b.PromptTokens, 10)}, Edit{"usage.output_tokens", strconv.AppendInt(nil, b.CompletionTokens, 10)},
			Edit{"usage.cache_read_input_tokens", []byte("0")}, Edit{"usage.cache_creation_input_tokens", []byte("0")},
			Edit{"usage.estimated", []byte("true")})
	}
	return edits
}

// listedBill: embeddings and rankings are billed by their prompt.
func listedBill(c *Chunk, data []byte, b *talk.Bill) []Edit {
	edits := []Edit{{"usage.cost", []byte(b.Cost)}, {"usage.is_byok", []byte("false")}, {"usage.cost_details", talk.CostDetails(b)}}
	count := func(field string) {
		edits = append(edits, Edit{"usage." + field, strconv.AppendInt(nil, b.PromptTokens, 10)})
	}
	if b.Estimated {
		count("prompt_tokens")
		edits = append(edits, Edit{"usage.estimated", []byte("true")})
	}
	if b.Estimated || !bytes.Contains(c.value(data, "usage"), []byte(`"total_tokens"`)) {
		count("total_tokens")
	}
	return edits
}

// value is the raw value of a top-level field of data, which c was scanned from; nil where there is none.
func (c *Chunk) value(data []byte, name string) []byte {
	i := c.fields.last(data, name)
	if i < 0 {
		return nil
	}
	m := c.fields.members[i]
	return data[m.value:m.end]
}
