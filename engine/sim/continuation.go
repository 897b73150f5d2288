package sim

import "encoding/json"

// continuations are the ways of asking for the rest of an answer; see Profile.Continues.
var continuations = []string{"prefill", "prefix", "continue_final_message", "any"}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
	Prefix  bool   `json:"prefix"`
}

// last is the last message, and the others without insignificant space. The last of a kind that cannot be read is empty.
func (r *request) last() (message, []byte) {
	var all []json.RawMessage
	var m message
	if json.Unmarshal(r.messages(), &all) != nil || len(all) == 0 || json.Unmarshal(all[len(all)-1], &m) != nil {
		return message{}, nil
	}
	before := []byte("[")
	for i, raw := range all[:len(all)-1] {
		if i > 0 {
			before = append(before, ',')
		}
		before = append(before, raw...)
	}
	return m, append(before, ']')
}

// continuation is the beginning of the answer that the request ends with, and the messages before it.
func (r *request) continuation() (beginning string, before []byte, ok bool) {
	m, before := r.last()
	return m.Content, before, m.Role == "assistant"
}

// asks is the way in which the request asks to continue its last message; "" where it does not say.
func (r *request) asks() string {
	m, _ := r.last()
	switch {
	case r.ContinueFinalMessage:
		return "continue_final_message"
	case m.Prefix:
		return "prefix"
	}
	return ""
}

// misunderstands says why a provider that continues in one way refuses a request that asks in another; "" where it does not.
func (r *request) misunderstands(continues string) string {
	asks := r.asks()
	if _, _, begun := r.continuation(); !begun && asks == "" || asks == continues || continues == "any" {
		return ""
	}
	switch {
	case asks == "" && (continues == "" || continues == "prefill"):
		return ""
	case asks == "":
		return "the last message must not be from the assistant unless " + continues + " is set"
	}
	return "unknown field: " + asks
}
