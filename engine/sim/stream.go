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

	e := events{x: x, so: Completion{PromptTokens: x.request.promptTokens()}}
	generators := make([]*generator, x.request.choices())
	for i := range generators {
		generators[i] = newGenerator(x.profile, x.request, i)
		e.chunk(i, `{"role":"assistant","content":""}`, "")
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
				if over, whole := e.strike(); over {
					return whole
				}
			}
			d, ok := g.next()
			if d.kind == callDelta && !g.called {
				g.called = true
				e.chunk(i, `{"tool_calls":[{"index":0,"id":"`+g.callID+`","type":"function","function":{"name":`+quote(g.call.Name)+`,"arguments":""}}]}`, "")
			}
			if !ok {
				e.chunk(i, `{}`, g.finish)
				generators[i] = nil
				open--
				continue
			}
			x.tokens++
			e.so.CompletionTokens++
			if d.kind == reasoningDelta {
				e.so.ReasoningTokens++
			}
			e.token(i, d)
		}
	}
	if in := x.profile.UsageIn; x.request.StreamOptions.IncludeUsage && (in == "" || in == "last" || in == "every") {
		e.usage(e.so)
	}
	if f == nil || f.Kind != NoDone {
		e.data([]byte("[DONE]"))
	}
	return x.control.Flush() == nil
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

// begin starts a chunk in the buffer.
func (e *events) begin() {
	if e.head == nil {
		e.head = append(e.head, `data: {"id":"`+e.x.id+`","object":"chat.completion.chunk","created":`...)
		e.head = strconv.AppendInt(e.head, e.x.start.Unix(), 10)
		e.head = append(e.head, `,"model":`+quote(e.x.request.Model)+`,"choices":[`...)
	}
	e.buf = append(e.buf[:0], e.head...)
}

// chunk writes a chunk of one choice; finish "" means null.
func (e *events) chunk(index int, delta, finish string) {
	e.begin()
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

func (e *events) token(index int, d delta) {
	switch d.kind {
	case textDelta:
		e.chunk(index, `{"content":`+quote(d.text)+`}`, "")
	case reasoningDelta:
		e.chunk(index, `{`+e.x.profile.reasoningMembers(d.text)+`}`, "")
	case callDelta:
		e.chunk(index, `{"tool_calls":[{"index":0,"function":{"arguments":`+quote(d.text)+`}}]}`, "")
	}
}

func (e *events) usage(c Completion) {
	e.begin()
	e.buf = append(append(e.buf, `],"usage":`...), mustJSON(usageOf(c))...)
	e.buf = append(e.buf, "}\n\n"...)
	_, _ = e.x.w.Write(e.buf)
}

// strike lets a fault come over the stream at this place; over says that nothing follows, whole that the exchange ended
// as the fault wants it.
func (e *events) strike() (over, whole bool) {
	x, f := e.x, e.x.fate.fault
	switch f.Kind {
	case Stall:
		return true, x.forever()
	case Cut:
		return true, x.hangUp(false)
	case Truncate:
		return true, x.control.Flush() == nil
	case Malformed:
		for range max(f.Events, 1) {
			e.data([]byte(`{"id":"` + x.id + `","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":`))
		}
	case EarlyDone:
		e.data([]byte("[DONE]"))
		return true, x.control.Flush() == nil
	case ErrorFinish:
		e.chunk(0, `{"content":""}`, "error")
		e.data([]byte("[DONE]"))
		return true, x.control.Flush() == nil
	case Pings:
		return true, x.endlessly([]byte(": still here\n\n"))
	case Endless:
		return true, x.endlessly([]byte(`data: {"choices":[{"index":0,"delta":{"content":"`), []byte(strings.Repeat("x", 1000)))
	case ErrorEvent:
		body := ofStatus(f.status(), x.bearer, x.request.Model)
		body.Code = f.status()
		e.data(errorBody(body))
		return true, x.control.Flush() == nil
	}
	return false, true
}

func quote(s string) string { return string(mustJSON(s)) }
