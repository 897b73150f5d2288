package dispatch

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"chaperone/engine/wire"
	"chaperone/engine/wire/talk"
)

// openWhole gets an answer that is not streamed.
func (a *attempt) openWhole() *Fault {
	a.within(a.patient.Answer)
	resp, f := a.send()
	if f != nil {
		return f
	}
	limit := a.run.j.Limits.AnswerBytes
	plain, err := decoded(resp)
	if err != nil {
		return fault("bad_answer", a.status, "")
	}
	body, err := io.ReadAll(io.LimitReader(plain, int64(limit)+1))
	switch {
	case err != nil:
		return a.broken(err, "cut")
	case len(body) > limit, !isType(resp, "application/json"):
		return fault("bad_answer", a.status, "")
	case len(bytes.TrimSpace(body)) == 0:
		return fault("empty_answer", a.status, "")
	case a.said.Answer(body, &a.chunk) != nil, !a.chunk.HasChoices && !a.chunk.Commits && a.chunk.Err == nil:
		return a.noAnswer(body)
	case a.chunk.Err != nil:
		return a.scrubbed(inBand(a.chunk.Err, time.Now()))
	}
	a.note(body) // whatever it is worth, the provider may charge for it
	a.seal(body)
	switch {
	case a.finishReason == "error":
		return fault("server_error", a.status, "")
	case !a.chunk.Commits:
		return fault("empty_answer", a.status, "")
	case !a.complete():
		return fault("cut", a.status, "") // without its finish reason nobody knows whether it is whole
	}
	a.took = time.Since(a.started)
	return a.readWhole(body)
}

// readWhole makes the client's answer of the provider's.
func (a *attempt) readWhole(body []byte) *Fault {
	front := a.run.j.Plan.Request.Shape
	if a.said == front {
		a.out = a.chunk.AppendEdited(make([]byte, 0, len(body)+512), body, a.relabel(body, true)...)
		return nil
	}
	answer, unknown := a.said.ReadAnswer(body)
	if len(unknown) > 0 {
		return a.untranslatable(unknown[0])
	}
	if a.hides {
		answer.Hide()
	}
	a.out = front.WriteAnswer(answer, a.label, a.bill())
	return nil
}

// untranslatable is the fault of an answer that has more in it than the client's API has words for.
func (a *attempt) untranslatable(what string) *Fault {
	return a.scrubbed(fault("untranslatable", a.status, what))
}

// bill is the usage of the answer as the client has it.
func (a *attempt) bill() talk.Bill {
	b := talk.Bill{Usage: a.answerUsage(), Tier: a.tier()}
	if !b.Known {
		b.Usage, b.Estimated = a.estimated(), true
		b.Known = true
	}
	cost, prompt := a.cost(), b.Usage
	prompt.CompletionTokens, prompt.ReasoningTokens = 0, 0
	of := min(a.billed().Bill(prompt, a.run.j.Plan.Request.Images, a.started), cost)
	b.PromptCost, b.CompletionCost = of.String(), (cost - of).String()
	if a.rescue != nil {
		cost = cost.Plus(a.rescue.cost)
		b.Rescued = a.rescue.method
	}
	b.Cost = cost.String()
	return b
}

// openStream reads events up to the commit point: the first content, or a good end.
func (a *attempt) openStream() *Fault {
	if f := a.begin(); f != nil {
		return f
	}
	for {
		kind, ev, f := a.step()
		switch {
		case f != nil:
			return f
		case kind == wire.End && a.finished == 0:
			return fault("empty_answer", a.status, "")
		case kind == wire.End:
			a.committed()
			return nil
		case kind == wire.Comment:
			continue // nothing that a client needs, and a provider may send any number
		}
		if a.out, f = a.appendEvent(a.out, ev); f != nil {
			return f
		}
		switch {
		case a.chunk.Commits:
			a.committed()
			return nil
		case len(a.out) > a.run.j.Limits.AnswerBytes:
			return fault("bad_answer", a.status, "")
		}
	}
}

// begin gets the head of a stream.
func (a *attempt) begin() *Fault {
	a.within(a.patient.FirstByte)
	resp, f := a.send()
	if f != nil {
		return f
	}
	plain, err := decoded(resp)
	switch {
	case err != nil:
		return fault("bad_answer", a.status, "")
	case !isType(resp, "text/event-stream"):
		return a.notStream(plain)
	}
	resp.Header = nil // the connection holds the response as long as the stream lasts
	if a.rescue == nil {
		a.timer.Stop() // from here on the run decides how long to wait for content
		a.timer = nil
	} else {
		a.timer.Reset(a.patient.TTFT)
	}
	a.events = wire.NewEventReader(plain, a.run.j.Limits.AnswerBytes)
	return nil
}

func (a *attempt) committed() {
	a.ttft = time.Since(a.started)
}

// step reads one event, and notes what a Data event says. Events that cannot be read are passed over, up to a few.
func (a *attempt) step() (wire.Kind, wire.Event, *Fault) {
	for {
		ev, err := a.events.Next()
		if err != nil {
			if err == io.EOF && a.complete() && a.run.work.Err() == nil {
				return a.end(ev) // no end mark, but every finish reason and a clean end: nothing is missing but perhaps the usage
			}
			if err == wire.ErrEventTooLarge {
				return 0, ev, fault("bad_answer", a.status, "")
			}
			return 0, ev, a.broken(err, "cut")
		}
		kind, unreadable := a.said.Event(ev, &a.chunk)
		switch {
		case unreadable != nil:
			if a.malformed++; a.malformed > malformedLimit {
				return 0, ev, fault("bad_answer", a.status, "")
			}
			continue
		case kind == wire.End && (a.finished == 0 && (a.outputBytes > 0 || a.ttft > 0) || a.run.j.Plan.Request.N > 1 && a.begun&^a.finished != 0):
			return 0, ev, fault("cut", a.status, "") // an end mark in the middle of the text
		case kind == wire.End:
			return a.end(ev)
		case kind == wire.Data && a.chunk.FinishReason == "error" && a.chunk.Err == nil:
			return 0, ev, fault("server_error", a.status, "")
		case kind == wire.Data && a.chunk.Err != nil:
			return 0, ev, a.scrubbed(inBand(a.chunk.Err, time.Now()))
		case kind == wire.Data:
			a.note(ev.Data)
			a.seal(ev.Data)
			if f := a.follow(ev); f != nil {
				return 0, ev, f
			}
		}
		return kind, ev, nil
	}
}

// seal tells of reasoning that only who made it can read.
func (a *attempt) seal(data []byte) {
	if made := a.run.j.Made; made != nil {
		if seals := wire.AppendSeals(nil, data); len(seals) > 0 {
			made(a.row, seals)
		}
	}
}

// follow takes note of what an event adds to the answer.
func (a *attempt) follow(ev wire.Event) *Fault {
	rescuable := len(a.run.j.Limits.Rescue) > 0
	if a.reader == nil {
		if rescuable {
			text, whole := a.said.AppendText(a.text, ev.Data)
			a.text, a.more = text, a.more || !whole
			a.writer.Passed(ev.Name, ev.Data)
		}
		return nil
	}
	deltas, unknown, err := a.reader.Read(a.deltas[:0], ev.Name, ev.Data)
	switch {
	case err != nil:
		return fault("bad_answer", a.status, "") // it is JSON, and what is in it would be lost
	case unknown != "":
		return a.untranslatable(unknown)
	}
	if a.hides {
		deltas = talk.Hidden(deltas)
	}
	a.deltas = deltas
	for i := range deltas {
		switch d := &deltas[i]; d.Kind {
		case talk.AddText:
			if rescuable {
				a.text = append(a.text, d.Text...)
			}
		case talk.EndChoice:
		default:
			a.more = true
		}
	}
	return nil
}

func (a *attempt) end(ev wire.Event) (wire.Kind, wire.Event, *Fault) {
	a.ended = true
	a.took = time.Since(a.started)
	return wire.End, ev, nil
}

// relay hands the events on, those up to the commit point first. It returns nil at a good end, whose end mark it leaves to
// the caller.
func (a *attempt) relay(s *Stream) *Fault {
	if a.rescue != nil {
		// Not before it is certain that this attempt serves the client: its stream has one writer, which remembers what it wrote.
		a.writer.Serve(a.label)
		var f *Fault
		if a.out, f = a.appendDeltas(s.buffer(), a.deltas); f != nil {
			return f
		}
	}
	if len(a.out) > 0 {
		if !s.emit(a.out) { // it takes the place of a buffer
			return a.abandoned()
		}
		a.out = nil
	}
	limit, heard := a.patient.Idle, time.Now()
	for !a.ended {
		if a.idle == nil {
			a.idle = a.after(limit, errSilent)
		} else {
			a.idle.Reset(limit)
		}
		kind, ev, f := a.step()
		a.idle.Stop()
		if f != nil {
			a.took = time.Since(a.started)
			return f
		}
		switch {
		case kind == wire.End:
			return nil
		case kind != wire.Comment:
			heard = time.Now()
		case time.Since(heard) > a.patient.Answer:
			// Comments are signs of life, for as long as a whole answer may take.
			a.took = time.Since(a.started)
			return fault("idle", a.status, "")
		}
		if a.reader != nil && (kind == wire.Comment || len(a.deltas) == 0) {
			continue
		}
		if a.holdsBack(kind) {
			a.held = a.appendData(a.held, ev)
			continue
		}
		out := s.buffer()
		if kind == wire.Comment {
			out = append(out, ev.Raw...)
		} else if out, f = a.appendEvent(out, ev); f != nil {
			return f
		}
		if !s.emit(out) {
			return a.abandoned()
		}
	}
	return nil
}

// holdsBack says whether an event waits for the end of the stream: one of usage and nothing else, which is to be the last that
// the client gets and to hold what it wants to be told of the outcome.
func (a *attempt) holdsBack(kind wire.Kind) bool {
	c := &a.chunk
	return a.run.j.Metadata != nil && a.reader == nil && a.said == wire.Chat && kind == wire.Data &&
		c.Usage.Known && !c.Commits && c.FinishReason == ""
}

// abandoned is the fault of a stream whose client has gone.
func (a *attempt) abandoned() *Fault {
	a.took = time.Since(a.started)
	return a.hungUp("cancelled")
}

// notStream reads a 200 that is no event stream: an error object more often than not.
func (a *attempt) notStream(answer io.Reader) *Fault {
	body, _ := io.ReadAll(io.LimitReader(answer, errorBodyLimit)) // what came before an error is all there is to read
	if len(bytes.TrimSpace(body)) == 0 {
		return fault("empty_answer", a.status, "")
	}
	return a.noAnswer(body)
}

// noAnswer is the fault of a body that came with status 200 and holds no answer.
func (a *attempt) noAnswer(body []byte) *Fault {
	if ue := wire.ScanError(body); ue != nil {
		return a.scrubbed(inBand(ue, time.Now()))
	}
	return fault("bad_answer", a.status, "")
}

// relabel says who really served, the provider's own word for why a choice ended, and the usage with what it cost, where data
// holds the usage or is the whole answer.
func (a *attempt) relabel(data []byte, whole bool) []wire.Edit {
	labels := a.said.Labels(&a.chunk, a.labels)
	edits := labels[:len(labels):len(labels)]
	if a.chunk.FinishReason != "" {
		edits = append(edits, a.chunk.NativeReasons(data)...)
	}
	if !whole && !a.chunk.Usage.Known {
		return append(edits, a.said.Absent(&a.chunk, data, whole)...)
	}
	bill := a.bill()
	if bill.Tier != "" && a.said == wire.Chat && a.chunk.ServiceTier == "" {
		edits = append(edits, wire.Edit{Field: "service_tier", Value: []byte(strconv.Quote(bill.Tier))})
	}
	return append(append(edits, a.said.Absent(&a.chunk, data, whole)...), a.said.Bill(&a.chunk, data, &bill)...)
}

// appendEvent appends what the client gets of an event: the event itself with the labels of this router, or what it adds to
// the answer in the words of the client's API.
func (a *attempt) appendEvent(dst []byte, ev wire.Event) ([]byte, *Fault) {
	if a.reader == nil {
		return a.appendData(dst, ev), nil
	}
	return a.appendDeltas(dst, a.deltas)
}

func (a *attempt) appendDeltas(dst []byte, deltas []talk.Delta) ([]byte, *Fault) {
	dst, unsaid := a.writer.Append(dst, deltas)
	if unsaid != "" {
		a.more = true // the client has not got what a.text may hold of this
		return dst, a.untranslatable(unsaid)
	}
	return dst, nil
}

// appendEnd appends what ends the client's stream.
func (a *attempt) appendEnd(dst []byte) []byte {
	dst = append(dst, a.held...)
	if a.reader == nil && (a.usage.Known || a.impossible != nil || a.said != wire.Chat) {
		return a.writer.End(dst, nil)
	}
	bill := a.bill()
	return a.writer.End(dst, &bill)
}

// appendData appends a data event with the labels of this router.
func (a *attempt) appendData(dst []byte, ev wire.Event) []byte {
	if len(ev.Name) > 0 {
		dst = append(append(append(dst, "event: "...), ev.Name...), '\n')
	}
	dst = append(dst, "data: "...)
	start := len(dst)
	dst = a.chunk.AppendEdited(dst, ev.Data, a.relabel(ev.Data, false)...)
	// Data of several lines was joined with newlines, which in JSON can only stand between tokens.
	for i := start; i < len(dst); i++ {
		if dst[i] == '\n' || dst[i] == '\r' {
			dst[i] = ' '
		}
	}
	return append(dst, "\n\n"...)
}

func isType(resp *http.Response, want string) bool {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && t == want
}
