package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/provider"
	"chaperone/engine/wire"
)

var (
	errTooSlow = errors.New("no answer within the limit")
	errSilent  = errors.New("no event within the limit")
)

// errorBodyLimit is how much of a provider's error body is read.
const errorBodyLimit = 64 << 10

// malformedLimit is how many events of one stream may be unreadable before the attempt ends.
const malformedLimit = 3

// attempt is one permit carried to one endpoint with one credential. All of its state is its own.
type attempt struct {
	r       *run
	permit  policy.Permit
	row     *catalog.Row
	dialect provider.Dialect
	cred    catalog.Credential
	request *http.Request
	sent    *sentBody
	cancel  context.CancelCauseFunc
	timer   *time.Timer // cancels with errTooSlow until it is stopped
	idle    *time.Timer // cancels with errSilent; armed after the commit

	started      time.Time
	ttft         time.Duration // 0: no content yet
	took         time.Duration
	status       int
	reused       atomic.Bool // the connection had served before
	firstByte    atomic.Bool
	closed       bool
	chunk        wire.Chunk
	usage        wire.Usage
	finishReason string
	outputBytes  int
	malformed    int

	edits []wire.Edit // of every event: id, model, provider
}

func (r *run) newAttempt(started time.Time, p policy.Permit, who *account.Principal, cred catalog.Credential) (*attempt, *Fault) {
	row := p.Row()
	ctx, cancel := context.WithCancelCause(r.ctx)
	a := &attempt{r: r, permit: p, row: row, cred: cred, cancel: cancel, started: started}
	var err error
	if a.dialect, err = provider.ByName(row.Dialect); err == nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn:              func(i httptrace.GotConnInfo) { a.reused.Store(i.Reused) },
			GotFirstResponseByte: func() { a.firstByte.Store(true) },
		})
		a.request, err = a.dialect.Request(ctx, p, who, r.j.Plan.Request, cred)
	}
	if err != nil {
		cancel(err)
		return nil, fault("not_sent", 0, err.Error())
	}
	a.sent = &sentBody{inner: a.request.Body, size: a.request.ContentLength}
	a.request.Body = a.sent
	a.edits = []wire.Edit{
		{Field: "id", Value: quoted(r.j.Plan.ID)},
		{Field: "model", Value: quoted(row.Model.ID)},
		{Field: "provider", Value: quoted(row.Provider.Name)},
	}
	return a, nil
}

func quoted(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always marshals
	}
	return b
}

// close ends the attempt, records it and tells statistics, once.
func (a *attempt) close(f *Fault, moreKeys bool) {
	if a.closed {
		return
	}
	a.closed = true
	a.release()
	rec := journal.Attempt{
		Row: a.row.ID, Provider: a.row.Provider.Name, ProviderID: a.row.Provider.ID, Tag: a.row.Tag, Model: a.row.Model.ID, Credential: a.cred.Name,
		Generation: a.permit.Generation(), StartedMs: millis(a.started.Sub(a.r.started)), TTFTMs: millis(a.ttft),
		DurationMs: millis(a.took), Outcome: "ok", Status: a.status, BodySent: a.sent.extent(), Usage: a.usage, Cost: a.cost(),
	}
	if f != nil {
		rec.Outcome, rec.Scope = f.Kind, string(f.Scope)
	}
	a.r.record.Attempts = append(a.r.record.Attempts, rec)
	a.r.observe(a, f, moreKeys)
}

func (a *attempt) release() {
	if a.took == 0 {
		a.took = time.Since(a.started)
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.idle != nil {
		a.idle.Stop()
	}
	a.cancel(nil)
}

// within arms the timer of the attempt, which also keeps it inside the budget of the request.
func (a *attempt) within(limit time.Duration) {
	limit = min(limit, time.Until(a.r.deadline))
	a.timer = time.AfterFunc(limit, func() { a.cancel(errTooSlow) })
}

// send gets a response with status 200, or the fault.
func (a *attempt) send() (*http.Response, *Fault) {
	resp, err := a.r.d.transport.RoundTrip(a.request)
	if err != nil {
		return nil, a.broken(err, "connect")
	}
	a.status = resp.StatusCode
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, errorBodyLimit)) // what came before an error is all there is to read
	f := classify(resp.StatusCode, resp.Header, wire.ScanError(body), time.Now())
	f.Message = a.scrub(f.Message)
	return nil, f
}

// broken is the fault of a failed round trip or read.
func (a *attempt) broken(err error, otherwise string) *Fault {
	switch cause := context.Cause(a.request.Context()); {
	case errors.Is(cause, errTooSlow):
		return fault("timeout", a.status, "")
	case errors.Is(cause, errSilent):
		return fault("idle", a.status, "")
	case a.r.ctx.Err() != nil:
		return fault("cancelled", a.status, "")
	}
	if otherwise == "connect" && a.reused.Load() && !a.firstByte.Load() {
		f := fault("stale", 0, "")
		f.reused = true
		return f
	}
	return fault(otherwise, a.status, "")
}

// scrub takes every secret of the row's credentials out of a provider's words.
func (a *attempt) scrub(s string) string {
	for _, c := range a.row.Group.Credentials {
		if secret := c.Secret.Reveal(); secret != "" {
			s = strings.ReplaceAll(s, secret, "[redacted]")
		}
	}
	return s
}

// whole gets an answer that is not streamed.
func (a *attempt) whole() ([]byte, *Fault) {
	a.within(a.r.j.Limits.Answer)
	resp, f := a.send()
	if f != nil {
		return nil, f
	}
	defer resp.Body.Close()
	limit := a.r.j.Limits.AnswerBytes
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	switch {
	case err != nil:
		return nil, a.broken(err, "cut")
	case len(body) > limit, resp.Header.Get("Content-Encoding") != "", !isType(resp, "application/json"):
		return nil, fault("bad_answer", a.status, "")
	case len(bytes.TrimSpace(body)) == 0:
		return nil, fault("empty_answer", a.status, "")
	case a.dialect.Answer(body, &a.chunk) != nil:
		return nil, fault("bad_answer", a.status, "")
	case a.chunk.Err != nil:
		f := inBand(a.chunk.Err, time.Now())
		f.Message = a.scrub(f.Message)
		return nil, f
	case !a.chunk.Commits:
		return nil, fault("empty_answer", a.status, "")
	}
	a.note()
	a.took = time.Since(a.started)
	body = a.chunk.AppendEdited(make([]byte, 0, len(body)+256), body, a.relabel(body)...)
	a.ended(nil, nil)
	return body, nil
}

// streamed relays events into s. Before the commit point nothing has left; after it the attempt returns nil, and how it
// ended is in the stream and the record.
func (a *attempt) streamed(s *Stream) *Fault {
	a.within(a.r.j.Limits.FirstByte)
	resp, f := a.send()
	if f != nil {
		return f
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Encoding") != "" || !isType(resp, "text/event-stream") {
		return a.notStream(resp)
	}
	events := wire.NewEventReader(resp.Body, a.r.j.Limits.AnswerBytes)
	out, ok := s.buffer()
	if !ok {
		return fault("cancelled", a.status, "")
	}
	committed := false
	// back returns the buffer of an attempt that goes nowhere.
	back := func(f *Fault) *Fault {
		s.free <- out[:0]
		return f
	}
	for {
		if committed {
			a.idle.Reset(a.idleLimit())
		}
		ev, err := events.Next()
		if committed {
			a.idle.Stop()
		}
		kind := provider.Data
		switch {
		case err == io.EOF && a.finishReason != "":
			kind = provider.End // no end mark, but a finish reason and a clean end: finished normally
		case err != nil:
			f := a.broken(err, "cut")
			if !committed {
				return back(f)
			}
			return a.died(s, f)
		default:
			var unreadable error
			if kind, unreadable = a.dialect.Event(ev, &a.chunk); unreadable != nil {
				if a.malformed++; a.malformed <= malformedLimit {
					continue
				}
				f := fault("bad_answer", a.status, "")
				if !committed {
					return back(f)
				}
				return a.died(s, f)
			}
		}
		switch kind {
		case provider.End:
			if !committed && a.finishReason == "" {
				return back(fault("empty_answer", a.status, ""))
			}
			a.took = time.Since(a.started)
			if !committed {
				s.commit()
			} else if out, ok = s.buffer(); !ok {
				return a.abandoned()
			}
			a.ended(nil, nil)
			s.emit(append(out, "data: [DONE]\n\n"...))
			return nil
		case provider.Comment:
			if !committed {
				continue // nothing that a client needs, and a provider may send any number
			}
			if out, ok = s.buffer(); !ok {
				return a.abandoned()
			}
			out = append(out, ev.Raw...)
		case provider.Data:
			if a.chunk.Err != nil {
				f := inBand(a.chunk.Err, time.Now())
				f.Message = a.scrub(f.Message)
				if !committed {
					return back(f)
				}
				return a.died(s, f)
			}
			a.note()
			if committed {
				if out, ok = s.buffer(); !ok {
					return a.abandoned()
				}
			}
			out = a.appendData(out, ev)
			if !committed {
				if len(out) > a.r.j.Limits.AnswerBytes {
					return back(fault("bad_answer", a.status, ""))
				}
				if !a.chunk.Commits {
					continue
				}
				committed = true
				a.ttft = time.Since(a.started)
				a.timer.Stop()
				a.idle = time.AfterFunc(a.idleLimit(), func() { a.cancel(errSilent) })
				s.commit()
			}
		}
		if !s.emit(out) {
			return a.abandoned()
		}
	}
}

func (a *attempt) idleLimit() time.Duration {
	return min(a.r.j.Limits.Idle, time.Until(a.r.deadline))
}

// notStream reads a 200 that is no event stream: an error object more often than not.
func (a *attempt) notStream(resp *http.Response) *Fault {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, errorBodyLimit)) // what came before an error is all there is to read
	if ue := wire.ScanError(body); ue != nil {
		f := inBand(ue, time.Now())
		f.Message = a.scrub(f.Message)
		return f
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return fault("empty_answer", a.status, "")
	}
	return fault("bad_answer", a.status, "")
}

// died ends a stream after the commit point with the in-band error event.
func (a *attempt) died(s *Stream, f *Fault) *Fault {
	a.took = time.Since(a.started)
	if f.Scope == OfClient {
		return a.abandoned()
	}
	a.r.faults = append(a.r.faults, failed{a.row, f})
	err := a.r.said(&a.r.faults[len(a.r.faults)-1])
	a.ended(f, err)
	a.r.emitError(err)
	return nil
}

// abandoned ends a stream whose client has gone.
func (a *attempt) abandoned() *Fault {
	a.took = time.Since(a.started)
	a.ended(fault("cancelled", a.status, ""), clientGone())
	return nil
}

// ended finishes the request with this attempt, before its last byte is handed over: whoever has read the whole answer finds
// its record.
func (a *attempt) ended(f *Fault, err *wire.Error) {
	a.close(f, false)
	a.r.finish(err, a)
}

// note adds what a chunk says to what is known of the answer.
func (a *attempt) note() {
	if a.chunk.Usage.Known {
		a.usage = a.chunk.Usage
	}
	if a.chunk.FinishReason != "" {
		a.finishReason = a.chunk.FinishReason
	}
	a.outputBytes += a.chunk.OutputBytes
}

// outputTokens is what the provider counted, or an estimate where it said nothing.
func (a *attempt) outputTokens() int64 {
	if a.usage.Known {
		return a.usage.CompletionTokens
	}
	return wire.EstimateTokens(a.outputBytes)
}

// cost is what the attempt is billed: by the provider's own count, or by estimate where output came without one.
func (a *attempt) cost() catalog.Picodollars {
	u := a.usage
	if !u.Known {
		if a.outputBytes == 0 {
			return 0
		}
		u.PromptTokens, u.CompletionTokens = a.r.j.Plan.Request.PromptTokens, a.outputTokens()
	}
	return a.row.Prices.Cost(u.PromptTokens, u.CachedTokens, u.CacheWriteTokens, u.CompletionTokens, 0)
}

// relabel says who really served, and what it cost where data holds the usage. A provider that hides its usage in another
// place has it put where clients look.
func (a *attempt) relabel(data []byte) []wire.Edit {
	u := a.chunk.Usage
	if !u.Known {
		return a.edits
	}
	edits := append(a.edits[:len(a.edits):len(a.edits)], wire.Edit{Field: "usage.cost", Value: []byte(a.cost().String())})
	if !a.chunk.Has(data, "usage") {
		for _, count := range []struct {
			field string
			n     int64
		}{
			{"usage.prompt_tokens", u.PromptTokens}, {"usage.completion_tokens", u.CompletionTokens},
			{"usage.total_tokens", u.PromptTokens + u.CompletionTokens},
		} {
			edits = append(edits, wire.Edit{Field: count.field, Value: strconv.AppendInt(nil, count.n, 10)})
		}
	}
	return edits
}

// appendData appends a data event with the labels of this router.
func (a *attempt) appendData(dst []byte, ev wire.Event) []byte {
	if len(ev.Name) > 0 {
		dst = append(append(append(dst, "event: "...), ev.Name...), '\n')
	}
	dst = append(dst, "data: "...)
	start := len(dst)
	dst = a.chunk.AppendEdited(dst, ev.Data, a.relabel(ev.Data)...)
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

// sentBody counts what the transport has taken of a request body.
type sentBody struct {
	inner io.ReadCloser
	size  int64
	taken atomic.Int64 // the transport reads on a goroutine of its own
}

func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.inner.Read(p)
	b.taken.Add(int64(n))
	return n, err
}

func (b *sentBody) Close() error { return b.inner.Close() }

// extent says how much a provider may have seen: the transport may still have held some of it back.
func (b *sentBody) extent() string {
	switch taken := b.taken.Load(); {
	case taken == 0:
		return "none"
	case taken < b.size:
		return "part"
	}
	return "all"
}
