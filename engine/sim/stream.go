package sim

import (
	"net/http"
	"strconv"
	"strings"
)

// stream answers in server-sent events, one a token; of several choices each has its token in turn.
func (x *exchange) stream() bool {
	f := x.fate.fault
	contentType := "text/event-stream; charset=utf-8"
	if f != nil && f.Kind == ContentType {
		contentType = "text/plain"
	}
	x.w.Header().Set("Content-Type", contentType)
	x.w.Header().Set("Cache-Control", "no-cache")
	x.head(http.StatusOK)

	so := prompted(x.profile, x.request)
	var e teller = &events{x: x, so: so}
	if x.request.messagesAPI {
		e = &messageEvents{x: x, so: so}
	}
	generators := make([]*generator, x.request.choices())
	for i := range generators {
		generators[i] = newGenerator(x.profile, x.request, i)
		e.begin(i)
	}

	pending := f != nil && takes[f.Kind].tokens
	for round, open := 0, len(generators); open > 0; round++ {
		if !x.wait(x.due(round)) {
			return false
		}
		for i, g := range generators {
			if g == nil {
				continue
			}
			last := open == 1 && g.left() == 0
			if pending && (x.tokens >= f.AfterTokens || last) {
				pending = false
				if over, whole := x.strike(e); over {
					return whole
				}
			}
			d, ok := g.next()
			if d.kind == callDelta && g.names() {
				e.name(i, g)
			}
			if !ok {
				e.finish(i, g.finish)
				generators[i] = nil
				open--
				continue
			}
			x.tokens++
			e.token(i, g, d)
		}
	}
	e.done(f == nil || f.Kind != NoDone)
	return x.control.Flush() == nil
}

// teller writes the events of one stream in one API's form.
type teller interface {
	begin(choice int)
	name(choice int, g *generator) // of the call that begins
	token(choice int, g *generator, d delta)
	finish(choice int, reason string)
	done(mark bool) // what follows the last choice's end
	mark()          // the end mark
	broken() []byte // an event that is no JSON
	endless() []byte
	failed(status int)
}

// events writes the events of one stream.
type events struct {
	x    *exchange
	so   Completion // the counts of what has been sent
	head []byte     // what all chunks begin with
	buf  []byte
}

func (e *events) data(d []byte) {
	e.buf = append(append(append(e.buf[:0], "data: "...), d...), "\n\n"...)
	// An error shows at the next flush.
	_, _ = e.x.w.Write(e.buf)
}

func (e *events) begin(choice int) { e.chunk(choice, `{"role":"assistant","content":""}`, "") }

func (e *events) name(choice int, g *generator) {
	kind, text := g.call.words()
	e.chunk(choice, `{"tool_calls":[{"index":`+strconv.Itoa(g.calls-1)+`,"id":"`+g.callID+`","type":"`+kind+`","`+kind+`":{"name":`+quote(g.call.Name)+`,"`+text+`":""}}]}`, "")
}

// words are those that a call has for its tool and for what that is given.
func (f *function) words() (kind, text string) {
	if f.custom {
		return "custom", "input"
	}
	return "function", "arguments"
}

func (e *events) finish(choice int, reason string) {
	if reason == "error" {
		e.chunk(choice, `{"content":""}`, reason)
		return
	}
	e.chunk(choice, `{}`, reason)
}

func (e *events) done(mark bool) {
	if in := e.x.profile.UsageIn; e.x.request.StreamOptions.IncludeUsage && (in == "" || in == "last" || in == "every") {
		e.usage(e.so)
	}
	if mark {
		e.mark()
	}
}

func (e *events) mark() { e.data([]byte("[DONE]")) }

func (e *events) broken() []byte {
	return []byte(`data: {"id":"` + e.x.id + `","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":` + "\n\n")
}

func (e *events) endless() []byte { return []byte(`data: {"choices":[{"index":0,"delta":{"content":"`) }

func (e *events) failed(status int) {
	body := ofStatus(status, e.x.bearer, e.x.request.Model)
	body.Code = status
	e.data(errorBody(body))
}

// open starts a chunk in the buffer.
func (e *events) open() {
	if e.head == nil {
		e.head = append(e.head, `data: {"id":"`+e.x.id+`","object":"chat.completion.chunk","created":`...)
		e.head = strconv.AppendInt(e.head, e.x.start.Unix(), 10)
		e.head = append(e.head, `,"model":`+quote(e.x.request.Model)+`,"choices":[`...)
	}
	e.buf = append(e.buf[:0], e.head...)
}

// chunk writes a chunk of one choice; finish "" means null.
func (e *events) chunk(index int, delta, finish string) {
	e.open()
	e.buf = append(e.buf, `{"index":`...)
	e.buf = strconv.AppendInt(e.buf, int64(index), 10)
	e.buf = append(e.buf, `,"delta":`...)
	e.buf = append(e.buf, delta...)
	e.buf = append(e.buf, `,"logprobs":null,"finish_reason":`...)
	if finish == "" {
		e.buf = append(e.buf, `null`...)
	} else {
		e.buf = append(e.buf, `"`+finish+`"`...)
	}
	e.buf = append(append(e.buf, e.usageMember(true, finish != "")...), `}]`...)
	e.buf = append(append(e.buf, e.usageMember(false, finish != "")...), "}\n\n"...)
	_, _ = e.x.w.Write(e.buf)
}

func (e *events) token(index int, g *generator, d delta) {
	e.so.CompletionTokens++
	if d.kind == reasoningDelta {
		e.so.ReasoningTokens++
	}
	switch d.kind {
	case textDelta:
		e.chunk(index, `{"content":`+quote(d.text)+`}`, "")
	case reasoningDelta:
		e.chunk(index, `{`+e.x.profile.reasoningMembers(d.text)+`}`, "")
	case callDelta:
		kind, text := g.call.words()
		e.chunk(index, `{"tool_calls":[{"index":`+strconv.Itoa(g.calls-1)+`,"`+kind+`":{"`+text+`":`+quote(d.text)+`}}]}`, "")
	}
}

func (e *events) usage(c Completion) {
	e.open()
	e.buf = append(append(e.buf, `],"usage":`...), mustJSON(usageOf(c))...)
	e.buf = append(e.buf, "}\n\n"...)
	_, _ = e.x.w.Write(e.buf)
}

// strike lets a fault come over the stream at this place; over says that nothing follows, whole that the exchange ended
// as the fault wants it.
func (x *exchange) strike(e teller) (over, whole bool) {
	f := x.fate.fault
	switch f.Kind {
	case Stall:
		return true, x.forever()
	case Cut:
		return true, x.hangUp(false)
	case Truncate:
		return true, x.control.Flush() == nil
	case Malformed:
		for range max(f.Events, 1) {
			_, _ = x.w.Write(e.broken())
		}
	case EarlyDone:
		e.mark()
		return true, x.control.Flush() == nil
	case ErrorFinish:
		e.finish(0, "error")
		e.mark()
		return true, x.control.Flush() == nil
	case Pings:
		return true, x.endlessly([]byte(": still here\n\n"))
	case Endless:
		return true, x.endlessly(e.endless(), []byte(strings.Repeat("x", 1000)))
	case ErrorEvent:
		e.failed(f.status())
		return true, x.control.Flush() == nil
	}
	return false, true
}

func quote(s string) string { return string(mustJSON(s)) }
