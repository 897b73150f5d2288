package wire

import "strings"

// contents are the members of a body that hold what people have written.
var contents = map[string]bool{"messages": true, "input": true, "instructions": true, "prompt": true, "system": true, "documents": true, "query": true}

const (
	leastQuote = 12 // bytes; shorter runs are words that both happen to use
	mostQuoted = 4 << 10
	mostNested = 3 // times that escapes stand in one another: JSON in a string in a string
	hidden     = "[…]"
)

// HideQuotes is a provider's words without what they repeat of the request's content, however each spells it: errors go into
// answers and logs, where no prompt belongs. Of very long words only a beginning is returned.
func (r *Request) HideQuotes(text string) string {
	text = text[:min(len(text), mostQuoted)]
	if len(text) < leastQuote {
		return text
	}
	q := quotes{quoted: make([]bool, len(text))}
	for s, nested := spellingOf(text), 0; ; nested++ {
		q.add(s)
		plain := s.unescaped()
		if nested == mostNested || len(plain.text) == len(s.text) {
			break
		}
		s = plain
	}
	for _, m := range r.fields.members {
		if contents[strings.Trim(string(r.Body[m.key:m.value]), "\" \t\r\n:")] {
			q.find(r.Body[m.value:m.end])
		}
	}
	var b strings.Builder
	for i := range len(text) {
		switch {
		case !q.quoted[i]:
			b.WriteByte(text[i])
		case i == 0 || !q.quoted[i-1]:
			b.WriteString(hidden)
		}
	}
	return strings.ToValidUTF8(b.String(), "")
}

// spelling is a text as it came or with its escapes undone; at is where each of its bytes came from, and behind them its end.
type spelling struct {
	text []byte
	at   []int
}

func spellingOf(text string) spelling {
	s := spelling{[]byte(text), make([]int, len(text)+1)}
	for i := range s.at {
		s.at[i] = i
	}
	return s
}

// unescaped undoes the escapes of JSON, once.
func (s spelling) unescaped() spelling {
	var out spelling
	for i := 0; i < len(s.text); {
		n := 0
		if s.text[i] == '\\' {
			n, _, _ = escape(s.text[i:])
		}
		if n > 0 {
			out.text = unescape(out.text, s.text[i:i+n], n)
		} else {
			n = 1
			out.text = append(out.text, s.text[i])
		}
		for len(out.at) < len(out.text) {
			out.at = append(out.at, s.at[i])
		}
		i += n
	}
	out.at = append(out.at, s.at[len(s.text)])
	return out
}

// quotes finds runs of a text, in any of its spellings, in what was asked.
type quotes struct {
	spellings []spelling
	runs      []map[string][]int // where in each spelling a run begins
	begins    [1 << 16]bool      // by the first two bytes: most of what was asked is nowhere in the text
	quoted    []bool             // of the text as it came
}

func (q *quotes) add(s spelling) {
	runs := map[string][]int{}
	for i := 0; i+leastQuote <= len(s.text); i++ {
		runs[string(s.text[i:i+leastQuote])] = append(runs[string(s.text[i:i+leastQuote])], i)
		q.begins[int(s.text[i])<<8|int(s.text[i+1])] = true
	}
	q.spellings, q.runs = append(q.spellings, s), append(q.runs, runs)
}

// find marks what content repeats, as it stands there and, string by string, as it reads.
func (q *quotes) find(content []byte) {
	q.mark(content)
	s := scanner{data: content}
	for s.pos < len(content) {
		if content[s.pos] != '"' {
			s.pos++
			continue
		}
		t, ok := s.text()
		if !ok {
			return // the skim has seen that there is no such string
		}
		if t.escaped {
			q.mark(t.decoded())
		}
	}
}

func (q *quotes) mark(content []byte) {
	for i := 0; i+leastQuote <= len(content); i++ {
		if !q.begins[int(content[i])<<8|int(content[i+1])] {
			continue
		}
		for k, runs := range q.runs {
			places, found := runs[string(content[i:i+leastQuote])] // allocates nothing
			if !found {
				continue
			}
			at := q.spellings[k].at
			for _, place := range places {
				for j := at[place]; j < at[place+leastQuote]; j++ {
					q.quoted[j] = true
				}
			}
			delete(runs, string(content[i:i+leastQuote])) // or a run that both repeat would be marked as often as it is there, each time
		}
	}
}
