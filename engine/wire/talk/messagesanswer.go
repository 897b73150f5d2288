package talk

import "encoding/json"

// stopReasons are Anthropic's words for why an answer ended, with OpenAI's.
var stopReasons = map[string]string{
	"end_turn": Stop, "stop_sequence": Stop, "pause_turn": Stop, "max_tokens": Length, "model_context_window_exceeded": Length,
	"tool_use": Calls, "refusal": Filtered,
}

// FinishOf is OpenAI's word for why an answer of Anthropic's API ended; a word that is not known stays.
func FinishOf(stopReason string) string {
	if f, ok := stopReasons[stopReason]; ok {
		return f
	}
	return stopReason
}

// stopReason is Anthropic's word for why an answer ended.
func stopReason(finish, native, sequence string, refused bool) any {
	if _, own := stopReasons[native]; own {
		return native
	}
	switch {
	case refused || finish == Filtered:
		return "refusal"
	case sequence != "":
		return "stop_sequence"
	case finish == Length:
		return "max_tokens"
	case finish == Calls || finish == "function_call":
		return "tool_use"
	case finish == "":
		return nil
	}
	return "end_turn"
}

// ReadMessagesAnswer reads a whole answer of the Messages API. unknown is what of it has no place in an Answer.
func ReadMessagesAnswer(body []byte) (a *Answer, unknown []string) {
	in := &reading{}
	o := in.parse("", body)
	a = &Answer{ID: o.text("id"), Model: o.text("model")}
	native := o.text("stop_reason")
	a.Choices = []Alternative{{Parts: readBlocks(o, "content"), Finish: FinishOf(native), Native: native, StopSequence: o.text("stop_sequence")}}
	return a, in.unknown
}

// WriteMessagesAnswer writes a whole answer of the Messages API, which has one alternative.
func WriteMessagesAnswer(a *Answer, l Label, bill Bill) []byte {
	m := l.message()
	if len(a.Choices) > 0 {
		c := &a.Choices[0]
		w := &writing{}
		blocks := []any{}
		refused := false
		for i := range c.Parts {
			refused = refused || c.Parts[i].Kind == Refusal
			if p := &c.Parts[i]; p.Kind == Text && len(p.Citations) > 0 {
				for _, x := range citedBlocks(p.Text, p.Citations) {
					blocks = append(blocks, x)
				}
			} else if x := w.answerBlock(p); x != nil {
				blocks = append(blocks, x)
			}
		}
		m["content"], m["stop_reason"], m["stop_sequence"] = blocks, stopReason(c.Finish, c.Native, c.StopSequence, refused), orNull(c.StopSequence)
	}
	m["usage"] = messagesUsage(&bill)
	return encode(m)
}

// answerBlock writes a part of an answer. Arguments that are no object, which a model may well write, stand in the field
// that holds what could not be parsed.
func (w *writing) answerBlock(p *Part) members {
	switch p.Kind {
	case Thought:
		return p.Thought.block()
	case ToolCall:
		if x := (&writing{}).block("", p); x != nil {
			return x
		}
		return members{"type": "tool_use", "id": p.Call.ID, "name": p.Call.Name, "input": members{"INVALID_JSON": p.Call.Arguments}}
	}
	return w.block("", p)
}

// message is the bones of a message.
func (l *Label) message() members {
	return members{"id": l.ID, "type": "message", "role": Assistant, "model": l.Model, "provider": l.Provider, "content": []any{},
		"stop_reason": nil, "stop_sequence": nil}
}

// messagesUsage is Anthropic's usage object, whose input_tokens are those that came from no cache and went into none.
func messagesUsage(b *Bill) members {
	u := members{
		"input_tokens":                max(0, b.PromptTokens-b.CachedTokens-b.CacheWriteTokens),
		"cache_read_input_tokens":     b.CachedTokens,
		"cache_creation_input_tokens": b.CacheWriteTokens,
		"output_tokens":               b.CompletionTokens,
	}
	if b.ReasoningTokens > 0 {
		u["output_tokens_details"] = members{"thinking_tokens": b.ReasoningTokens}
	}
	if b.Cost != "" {
		u["cost"] = json.RawMessage(b.Cost)
	}
	u.text("service_tier", MessagesTier(b.Tier))
	u.text("rescued", b.Rescued)
	return u
}

// MessagesTier is Anthropic's word for a service tier.
func MessagesTier(tier string) string {
	if tier == "default" {
		return "standard"
	}
	return tier
}
