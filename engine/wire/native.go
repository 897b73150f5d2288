package wire

// finish is where a choice says why it ended.
type finish struct {
	value  span // of finish_reason, with its quotes
	native bool // native_finish_reason is there as well
}

// finishReasons are OpenRouter's words for those that providers of OpenAI's API have beside them.
var finishReasons = map[string]string{
	"eos": "stop", "eos_token": "stop", "end_turn": "stop", "stop_sequence": "stop", "end": "stop", "complete": "stop", "COMPLETE": "stop", "STOP": "stop",
	"max_tokens": "length", "max_output_tokens": "length", "model_length": "length", "MAX_TOKENS": "length", "max_length": "length",
	"tool_use": "tool_calls", "tool_call": "tool_calls",
	"safety": "content_filter", "SAFETY": "content_filter", "refusal": "content_filter", "sensitive": "content_filter",
}

// CommonReason is OpenRouter's word for why a choice ended; a word that is not known stays.
func CommonReason(reason string) string {
	if common, ok := finishReasons[reason]; ok {
		return common
	}
	return reason
}

// NativeReasons is the edit that puts the provider's own word for why a choice ended beside OpenRouter's; none where nothing
// ends, or the provider has said both.
func (c *Chunk) NativeReasons(data []byte) []Edit {
	i := c.fields.last(data, "choices")
	if i < 0 || len(c.finishes) == 0 {
		return nil
	}
	m := c.fields.members[i]
	out := make([]byte, 0, m.end-m.value+64)
	at := m.value
	for _, f := range c.finishes {
		if f.native || f.value.from < at || f.value.to > m.end {
			continue // of an earlier choices of the same object
		}
		native := data[f.value.from:f.value.to]
		word := native
		if common, ok := finishReasons[string(native[1:len(native)-1])]; ok {
			word = appendString(nil, common)
		}
		out = append(append(out, data[at:f.value.from]...), word...)
		out = append(append(out, `,"native_finish_reason":`...), native...)
		at = f.value.to
	}
	if at == m.value {
		return nil
	}
	return []Edit{{"choices", append(out, data[at:m.end]...)}}
}
