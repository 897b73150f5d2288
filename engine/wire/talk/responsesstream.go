package talk

import "encoding/json"

// responsesWriter writes the events of a response (https://platform.openai.com/docs/api-reference/responses-streaming).
type responsesWriter struct {
	label  Label
	items  []*item
	open   *item // the one that grows
	calls  int
	blocks int
	finish string
	sent   int // events
}

// NewResponsesWriter writes a stream of a response.
func NewResponsesWriter() EventWriter { return &responsesWriter{} }

func (w *responsesWriter) Serve(l Label) { w.label = l }

// Sequence is how many events the client has had.
func (w *responsesWriter) Sequence() int { return max(0, w.sent-1) }

// event appends one event; a whole answer, which has none, hands in nil.
func (w *responsesWriter) event(dst []byte, kind string, more members) []byte {
	if w.sent == 0 {
		return dst
	}
	more["type"], more["sequence_number"] = kind, w.sent-1
	w.sent++
	return appendEvent(dst, kind, more)
}

// begin sends what every stream begins with.
func (w *responsesWriter) begin(dst []byte) []byte {
	if w.sent > 0 {
		return dst
	}
	w.sent = 1
	dst = w.event(dst, "response.created", members{"response": w.label.response("in_progress", []any{})})
	return w.event(dst, "response.in_progress", members{"response": w.label.response("in_progress", []any{})})
}

func (w *responsesWriter) Append(dst []byte, deltas []Delta) ([]byte, string) {
	dst = w.begin(dst)
	for i := range deltas {
		if deltas[i].Choice > 0 {
			return dst, "a second choice"
		}
		dst = w.add(dst, &deltas[i])
	}
	return dst, ""
}

// add lets the item grow that a delta is of, which may have to be begun.
func (w *responsesWriter) add(dst []byte, d *Delta) []byte {
	switch d.Kind {
	case AddText:
		dst = w.need(dst, "message", func(*item) bool { return true }, nil)
		return w.grow(dst, "output_text", "response.output_text.delta", d.Text, d.LogProbs)
	case AddCitation:
		dst = w.need(dst, "message", func(*item) bool { return true }, nil)
		dst = w.part(dst, "output_text")
		c := w.open.content[len(w.open.content)-1]
		c.citations = append(c.citations, *d.Citation)
		return w.event(dst, "response.output_text.annotation.added",
			w.of(w.open, members{"annotation_index": len(c.citations) - 1, "annotation": d.Citation.annotation()}))
	case AddRefusal:
		dst = w.need(dst, "message", func(*item) bool { return true }, nil)
		return w.grow(dst, "refusal", "response.refusal.delta", d.Text, nil)
	case BeginCall:
		kind := "function_call"
		if d.Custom {
			kind = "custom_tool_call"
		}
		return w.need(dst, kind, func(x *item) bool { return false }, &item{call: Call{ID: d.ID, Name: d.Name, Custom: d.Custom}, at: d.Call})
	case AddArguments:
		x := w.callAt(d.Call)
		if x == nil || x.done {
			return dst // arguments of a call that has not begun or is over: the reader refuses such streams
		}
		x.grown.WriteString(d.Text)
		kind := "response.function_call_arguments.delta"
		if x.call.Custom {
			kind = "response.custom_tool_call_input.delta"
		}
		return w.event(dst, kind, members{"item_id": x.id, "output_index": x.place, "delta": d.Text})
	case AddThought, AddSummary, AddSignature, AddSealed:
		return w.think(dst, d)
	case EndChoice:
		w.finish = d.Finish
	}
	return dst
}

func (w *responsesWriter) callAt(at int) *item {
	for _, x := range w.items {
		if x.calls() && x.at == at {
			return x
		}
	}
	return nil
}

// need makes sure that an item of that kind is open, like the one that is where same says so. Calls may grow side by side;
// everything else is closed by what follows it.
func (w *responsesWriter) need(dst []byte, kind string, same func(*item) bool, fresh *item) []byte {
	if w.open != nil && w.open.kind == kind && same(w.open) {
		return dst
	}
	if fresh == nil {
		fresh = &item{}
	}
	fresh.kind, fresh.id = kind, w.newID(map[string]string{"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs"}[kind])
	if w.open != nil && !(w.open.calls() && fresh.calls()) {
		dst = w.close(dst)
	}
	fresh.place = len(w.items)
	w.items = append(w.items, fresh)
	w.open = fresh
	return w.event(dst, "response.output_item.added", members{"output_index": len(w.items) - 1, "item": fresh.members()})
}

// part makes sure that the last part of the open item is of that kind.
func (w *responsesWriter) part(dst []byte, kind string) []byte {
	x := w.open
	n := len(x.content)
	if n == 0 || x.content[n-1].kind != kind {
		if n > 0 {
			dst = w.closePart(dst, x)
		}
		x.content = append(x.content, &content{kind: kind})
		dst = w.event(dst, "response.content_part.added", w.of(x, members{"part": x.content[n].members()}))
	}
	return dst
}

// grow adds to the last part of the open item, which is begun where it is of another kind.
func (w *responsesWriter) grow(dst []byte, kind, event, text string, logprobs []json.RawMessage) []byte {
	dst = w.part(dst, kind)
	c := w.open.content[len(w.open.content)-1]
	c.text.WriteString(text)
	c.logprobs = append(c.logprobs, logprobs...)
	more := members{"delta": text}
	if kind == "output_text" {
		more["logprobs"] = tokens(logprobs)
	}
	return w.event(dst, event, w.of(w.open, more))
}

// of says which part of which item an event is about.
func (w *responsesWriter) of(x *item, more members) members {
	more["item_id"], more["output_index"], more["content_index"] = x.id, x.place, max(0, len(x.content)-1)
	return more
}

func (w *responsesWriter) think(dst []byte, d *Delta) []byte {
	dst = w.need(dst, "reasoning", func(x *item) bool { return x.block == d.Block }, &item{block: d.Block})
	x := w.open
	if d.Format != "" {
		x.thought.Format = d.Format
	}
	switch d.Kind {
	case AddThought:
		return w.grow(dst, "reasoning_text", "response.reasoning_text.delta", d.Text, nil)
	case AddSummary:
		at := members{"item_id": x.id, "output_index": x.place, "summary_index": 0}
		if x.grown.Len() == 0 {
			dst = w.event(dst, "response.reasoning_summary_part.added", at.and("part", members{"type": "summary_text", "text": ""}))
		}
		x.grown.WriteString(d.Text)
		return w.event(dst, "response.reasoning_summary_text.delta", at.and("delta", d.Text))
	case AddSignature:
		x.thought.Signature += d.Text
	case AddSealed:
		x.thought.Data += d.Text
	}
	return dst
}

// and is a copy with one more member.
func (m members) and(name string, value any) members {
	out := members{name: value}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// close ends the open item, and the calls that grow beside it.
func (w *responsesWriter) close(dst []byte) []byte {
	w.open = nil
	from := len(w.items)
	for from > 0 && !w.items[from-1].done { // those that are open are the last
		from--
	}
	for _, x := range w.items[from:] {
		x.done = true
		dst = w.closeItem(dst, x)
	}
	return dst
}

func (w *responsesWriter) closeItem(dst []byte, x *item) []byte {
	at := members{"item_id": x.id, "output_index": x.place}
	switch x.kind {
	case "function_call":
		dst = w.event(dst, "response.function_call_arguments.done", at.and("arguments", x.grown.String()).and("name", x.call.Name))
	case "custom_tool_call":
		dst = w.event(dst, "response.custom_tool_call_input.done", at.and("input", x.grown.String()))
	case "reasoning":
		if s := x.grown.String(); s != "" {
			at := at.and("summary_index", 0)
			dst = w.event(dst, "response.reasoning_summary_text.done", at.and("text", s))
			dst = w.event(dst, "response.reasoning_summary_part.done", at.and("part", members{"type": "summary_text", "text": s}))
		}
	}
	if len(x.content) > 0 {
		dst = w.closePart(dst, x)
	}
	return w.event(dst, "response.output_item.done", members{"output_index": x.place, "item": x.members()})
}

// closePart ends the last part of an item.
func (w *responsesWriter) closePart(dst []byte, x *item) []byte {
	c := x.content[len(x.content)-1]
	switch c.kind {
	case "refusal":
		dst = w.event(dst, "response.refusal.done", w.of(x, members{"refusal": c.text.String()}))
	case "reasoning_text":
		dst = w.event(dst, "response.reasoning_text.done", w.of(x, members{"text": c.text.String()}))
	default:
		dst = w.event(dst, "response.output_text.done", w.of(x, members{"text": c.text.String(), "logprobs": tokens(c.logprobs)}))
	}
	return w.event(dst, "response.content_part.done", w.of(x, members{"part": c.members()}))
}

// Passed has nothing to note: no provider is asked in this API.
func (w *responsesWriter) Passed(_, _ []byte) {}

func (w *responsesWriter) End(dst []byte, bill *Bill) []byte {
	dst = w.close(w.begin(dst))
	m := w.label.response("completed", w.output())
	ended(m, w.finish)
	if bill != nil && bill.Known {
		m["usage"] = responsesUsage(bill)
		m.text("service_tier", bill.Tier)
	}
	return w.event(dst, "response."+m["status"].(string), members{"response": m})
}

// Aside: the last event always holds the whole answer, and with it what is said beside.
func (w *responsesWriter) Aside(dst []byte, _ string, _ []byte) []byte { return dst }
