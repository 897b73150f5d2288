package wire

import "io"

// WriteOpening writes by what a conversation can be told from others: the texts of its first message with instructions and of
// its first other one, which every turn sends again. false: it has neither.
//
// Only texts are written. Programs move the mark for a prompt cache from message to message, and with it write a text as a part
// that was a string, or the other way round; that must not make another conversation of it.
func (r *Request) WriteOpening(to io.Writer) bool {
	found := false
	for _, at := range r.opening {
		if at.to > 0 {
			found = true
			o := opening{scanner{data: r.Body[:at.to], pos: at.from}, to}
			o.value()
		}
		to.Write([]byte{0})
	}
	return found
}

// opening is one pass over a message for its texts.
type opening struct {
	scanner
	to io.Writer
}

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
		o.to.Write(o.data[from:o.pos])
	default:
		o.skip()
	}
}
