package wire

import (
	"io"
	"regexp"
)

// WriteOpening writes by what a conversation can be told from others: the texts of its first message with instructions and of
// its first other one, which every turn sends again. false: it has neither.
//
// Only texts are written. Programs move the mark for a prompt cache from message to message, and with it write a text as a part
// that was a string, or the other way round; that must not make another conversation of it. No more must the lines as of a header
// that some write anew before the instructions of every request.
func (r *Request) WriteOpening(to io.Writer) bool {
	found := false
	for i, at := range r.opening {
		if at.to > 0 {
			found = true
			o := opening{scanner{data: r.Body[:at.to], pos: at.from}, to, i == 0}
			o.value()
		}
		to.Write([]byte{0})
	}
	return found
}

// opening is one pass over a message for its texts.
type opening struct {
	scanner
	to   io.Writer
	head bool // these are instructions, of which no text has come yet
}

// headline is a line as of a header, in a string of JSON: Claude Code's "x-anthropic-billing-header: …; cch=36ee5;".
var headline = regexp.MustCompile(`^(?i:x-[a-z0-9-]+): (?:[^\\]|\\[^n])*(?:\\n|$)`)

// unspoken are members whose texts are not what is said.
var unspoken = map[string]bool{"role": true, "type": true, "cache_control": true}

func (o *opening) value() {
	switch o.peek() {
	case '{':
		members := o.object()
		for o.member(&members) {
			if unspoken[string(members.key)] {
				o.skip()
			} else {
				o.value()
			}
		}
	case '[':
		list := o.array()
		for o.element(&list) {
			o.value()
		}
	case '"':
		from := o.pos
		o.text()
		text := o.data[from+1 : max(from+1, o.pos-1)]
		for o.head && len(text) > 0 {
			line := headline.Find(text)
			o.head, text = line != nil, text[len(line):]
		}
		if !o.head {
			io.WriteString(o.to, `"`)
			o.to.Write(text)
			io.WriteString(o.to, `"`)
		}
	default:
		o.skip()
	}
}
