package wire

import "strings"

// contents are the members of a body that hold what people have written.
var contents = map[string]bool{"messages": true, "input": true, "instructions": true, "prompt": true, "system": true, "documents": true, "query": true}

const (
	leastQuote = 12 // bytes; shorter runs are words that both happen to use
	mostQuoted = 4 << 10
	hidden     = "[…]"
)

// HideQuotes is a provider's words without what they repeat of the request's content: errors go into answers and logs, where no
// prompt belongs. Of very long words only a beginning is returned.
func (r *Request) HideQuotes(text string) string {
	text = text[:min(len(text), mostQuoted)]
	if len(text) < leastQuote {
		return text
	}
	at := make(map[string][]int, len(text)) // where in text a run begins
	for i := 0; i+leastQuote <= len(text); i++ {
		run := text[i : i+leastQuote]
		at[run] = append(at[run], i)
	}
	quoted := make([]bool, len(text))
	any := false
	for _, m := range r.fields.members {
		if !contents[strings.Trim(string(r.Body[m.key:m.value]), "\" \t\r\n:")] {
			continue
		}
		content := r.Body[m.value:m.end]
		for i := 0; i+leastQuote <= len(content); i++ {
			places, ok := at[string(content[i:i+leastQuote])] // allocates nothing
			if !ok {
				continue
			}
			any = true
			for _, p := range places {
				for k := range leastQuote {
					quoted[p+k] = true
				}
			}
		}
	}
	if !any {
		return text
	}
	var b strings.Builder
	for i := range len(text) {
		switch {
		case !quoted[i]:
			b.WriteByte(text[i])
		case i == 0 || !quoted[i-1]:
			b.WriteString(hidden)
		}
	}
	return strings.ToValidUTF8(b.String(), "")
}
