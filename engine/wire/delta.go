package wire

func appendChatText(dst, data []byte) (text []byte, whole bool) {
	d := delta{scanner: scanner{data: data}, text: dst, whole: true}
	d.read()
	return d.text, d.whole && d.ok()
}

// delta is one pass over an event for its text.
type delta struct {
	scanner
	text  []byte
	whole bool
}

func (d *delta) read() {
	o := d.object()
	for d.member(&o) {
		if string(o.key) != "choices" || d.peek() != '[' {
			d.skip()
			continue
		}
		list := d.array()
		for d.element(&list) {
			d.choice()
		}
	}
}

func (d *delta) choice() {
	o := d.object()
	for d.member(&o) {
		switch string(o.key) {
		case "delta":
			d.delta()
		case "index":
			n, _ := d.number()
			d.whole = d.whole && string(n) == "0"
		case "logprobs", "message", "text":
			d.nothing()
		default:
			d.skip()
		}
	}
}

func (d *delta) delta() {
	if d.peek() != '{' {
		d.skip()
		return
	}
	o := d.object()
	for d.member(&o) {
		switch string(o.key) {
		case "content":
			if d.peek() != '"' {
				d.nothing()
				continue
			}
			if t, ok := d.scanner.text(); ok {
				d.text = append(d.text, t.decoded()...)
			}
		case "reasoning", "reasoning_content", "reasoning_details", "tool_calls", "function_call", "refusal", "audio", "images", "annotations":
			d.nothing()
		default:
			d.skip()
		}
	}
}

// nothing passes over a value that should be null or empty.
func (d *delta) nothing() {
	from := d.peekAt()
	if !d.skip() {
		return
	}
	switch string(d.data[from:d.pos]) {
	case "null", `""`, "[]", "{}":
	default:
		d.whole = false
	}
}

// peekAt is where the next value begins.
func (d *delta) peekAt() int {
	d.peek()
	return d.pos
}
