package sim

import (
	"bytes"
	"encoding/json"
)

// topic is what messages are about: their roles and texts, whatever API says them. Texts follow from it, so that providers give
// the same answer to one conversation in two APIs.
func topic(messages []byte) []byte {
	var turns []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if json.Unmarshal(messages, &turns) != nil {
		return messages
	}
	var b bytes.Buffer
	for _, t := range turns {
		role := t.Role
		switch role {
		case "developer":
			role = "system"
		case "tool":
			role = "user"
		}
		b.WriteString(role + "\x00")
		var text string
		var parts []struct {
			Text string `json:"text"`
		}
		if json.Unmarshal(t.Content, &text) == nil {
			b.WriteString(text)
		} else if json.Unmarshal(t.Content, &parts) == nil {
			for _, p := range parts {
				b.WriteString(p.Text)
			}
		}
		b.WriteByte(0)
	}
	return b.Bytes()
}
