package sim

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxBody is the largest request body that is read.
const maxBody = 64 << 20

func bearerOf(r *http.Request) string {
	if key := r.Header.Get("X-Api-Key"); key != "" && (strings.HasPrefix(r.URL.Path, "/v1/messages") || r.URL.Path == "/v1/models") {
		return key
	}
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return bearer
}

// exchange is one request and its answer.
type exchange struct {
	profile *Profile
	up      context.Context // ends when the provider goes down
	w       http.ResponseWriter
	control *http.ResponseController
	r       *http.Request
	start   time.Time

	request *request
	fate    fate
	bearer  string
	id      string
	timer   *time.Timer // made by the first wait

	status int // sent
	tokens int // sent
}

// answer answers a request of an API, which read reads, and logs it.
func (p *Provider) answer(up context.Context, w http.ResponseWriter, r *http.Request, read func([]byte) (*request, error)) {
	profile := p.profile.Load()
	x := &exchange{profile: profile, up: up, w: w, control: http.NewResponseController(w), r: r, start: time.Now(), bearer: bearerOf(r)}
	defer x.stopTimer()

	body, readErr := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	credential, accepted := profile.credential(x.bearer)
	record := &Record{At: x.start, Bearer: x.bearer, Credential: credential, BodyBytes: int64(len(body)), Fate: Unread}
	if profile.KeepRequests {
		record.Header, record.Body = r.Header.Clone(), body
	}
	var refused error
	if readErr == nil {
		x.request, refused = read(body)
		if refused == nil && x.request.messagesAPI && r.Header.Get("Anthropic-Version") == "" {
			refused = errors.New("anthropic-version: header is required")
		}
		if refused == nil {
			record.User, record.Model, record.Stream = x.request.User, x.request.Model, x.request.Stream
			record.Denied = profile.denies(x.request.organisation(), credential, record.Model)
		}
	}
	p.log.begin(record)
	x.id = fmt.Sprintf("chatcmpl-%016x", random(profile.Seed, "id", []byte(profile.Name), number(record.Number)).Uint64())

	kind, answer := p.decide(x, record.Number, readErr, refused, credential, accepted)
	seen := p.log.update(record, func(r *Record) { r.Fate = kind })
	call(&p.onRequest, seen)
	whole := answer()
	ended := p.log.update(record, func(r *Record) {
		r.Ended, r.Status, r.Tokens = time.Now(), x.status, x.tokens
		switch {
		case whole:
		case up.Err() != nil:
			r.Fate = Outage
		default:
			r.Cancelled = true
		}
	})
	call(&p.onEnd, ended)
	p.log.end(record) // after the hook, so that Settle waits for it
	if !whole && up.Err() != nil {
		// Returning would end the body as if it were whole.
		panic(http.ErrAbortHandler)
	}
}

// decide finds a request's fate and what carries it out, which returns false where the client or the provider went away
// before the end.
func (p *Provider) decide(x *exchange, place uint64, unread, refused error, credential string, accepted bool) (Kind, func() bool) {
	var draw *rand.Rand
	if x.request != nil {
		draw = p.source(x, place)
	}
	switch {
	case unread != nil:
		return Unread, func() bool { return false }
	case !accepted:
		return Unauthorised, func() bool { return x.refuse(http.StatusUnauthorized, unauthorised(x.bearer)) }
	case refused != nil:
		return BadRequest, func() bool {
			return x.refuse(http.StatusBadRequest, apiError{Type: "invalid_request_error", Code: "invalid_request", Message: refused.Error()})
		}
	case len(x.profile.Models) > 0 && !slices.Contains(x.profile.Models, x.request.Model):
		return UnknownModel, func() bool { return x.refuse(http.StatusNotFound, unknownModel(x.request.Model)) }
	}
	if why := x.request.misunderstands(x.profile.Continues); why != "" && !x.request.messagesAPI {
		return BadRequest, func() bool {
			return x.refuse(http.StatusBadRequest, apiError{Type: "invalid_request_error", Code: "invalid_request", Message: why})
		}
	}
	if wait, ok := p.limits.take(x.profile.Limit, credential, time.Now(), x.w.Header()); !ok {
		return RateLimited, func() bool {
			retryAfter(x.w.Header(), wait)
			return x.refuse(http.StatusTooManyRequests, ofStatus(http.StatusTooManyRequests, x.bearer, x.request.Model))
		}
	}
	x.fate = x.profile.fate(draw, place)
	if x.profile.Flap.down(time.Since(p.began)) {
		return Outage, func() bool { return x.hangUp(true) }
	}
	if x.fate.fault == nil {
		return Served, x.serve
	}
	return x.fate.fault.Kind, x.fail
}

// source is the generator that a request's fate is drawn from.
func (p *Provider) source(x *exchange, place uint64) *rand.Rand {
	var of []byte
	if x.profile.FateBy == "body" {
		of = append([]byte(x.request.User+"\x00"), x.request.messages()...)
		digest := sha256.Sum256(of)
		p.seenMu.Lock()
		place = p.seen[digest]
		p.seen[digest]++
		p.seenMu.Unlock()
	}
	return random(x.profile.Seed, "fate", []byte(x.profile.Name), of, number(place))
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// serve answers well, streaming or not.
func (x *exchange) serve() bool {
	if strings.HasSuffix(x.r.URL.Path, "/count_tokens") {
		return x.count()
	}
	if x.request.Stream {
		return x.stream()
	}
	return x.whole()
}

// fail carries out a fault. Those that come in the middle of an answer are left to serve.
func (x *exchange) fail() bool {
	f := x.fate.fault
	h := x.w.Header()
	switch f.Kind {
	case Reset:
		return x.hangUp(true)
	case Close:
		return x.hangUp(false)
	case Status:
		e := ofStatus(f.Status, x.bearer, x.request.Model)
		if wait := f.announcedWait(); wait > 0 {
			f.announce(h, &e, wait, time.Now())
		}
		return x.refuse(f.Status, e)
	case ContextLength, ContentPolicy, UnsupportedParameter:
		e := refusal(f.Kind)
		if x.request.messagesAPI {
			e.Message = messagesRefusals[f.Kind]
		}
		return x.refuse(http.StatusBadRequest, e)
	case Slow:
		if !x.wait(x.start.Add(f.Delay)) {
			return false
		}
		x.start = time.Now()
		return x.serve()
	case Silent:
		return x.forever()
	case ErrorBody:
		e := ofStatus(f.status(), x.bearer, x.request.Model)
		if f.Form == "bare" || f.Form == "array" {
			e.Code = f.status()
		}
		h.Set("Content-Type", "application/json")
		if x.request.messagesAPI {
			return x.send(http.StatusOK, messagesError(f.status(), e, x.id))
		}
		return x.send(http.StatusOK, inForm(f.Form, e))
	case Empty:
		h.Set("Content-Type", "application/json")
		return x.send(http.StatusOK, nil)
	case HTML:
		h.Set("Content-Type", "text/html; charset=utf-8")
		return x.send(f.status(), []byte("<html><head><title>"+html.EscapeString(http.StatusText(f.status()))+
			"</title></head><body><center><h1>Something went wrong</h1></center></body></html>\n"))
	case Redirect:
		location := f.Location
		if location == "" {
			location = x.r.URL.Path
		}
		h.Set("Location", location)
		return x.send(f.status(), nil)
	}
	return x.serve()
}

// refuse answers with an error object.
func (x *exchange) refuse(status int, e apiError) bool {
	x.w.Header().Set("Content-Type", "application/json")
	return x.send(status, x.errorBody(status, e))
}

// errorBody is an error in the form of the API that was asked.
func (x *exchange) errorBody(status int, e apiError) []byte {
	if strings.HasPrefix(x.r.URL.Path, "/v1/messages") {
		return messagesError(status, e, x.id)
	}
	return errorBody(e)
}

// send answers with a whole body.
func (x *exchange) send(status int, body []byte) bool {
	x.head(status)
	x.w.Write(body)
	return x.control.Flush() == nil
}

func (x *exchange) head(status int) {
	x.status = status
	x.w.Header().Set("x-request-id", "req_"+strings.TrimPrefix(x.id, "chatcmpl-"))
	x.w.WriteHeader(status)
}

// wait sends what is written and returns at that time, or false as soon as the client or the provider has gone.
func (x *exchange) wait(until time.Time) bool {
	if x.r.Context().Err() != nil {
		return false
	}
	d := time.Until(until)
	if d <= 0 {
		return true
	}
	if x.status != 0 && x.control.Flush() != nil {
		return false
	}
	if x.timer == nil {
		x.timer = time.NewTimer(d)
	} else {
		x.timer.Reset(d)
	}
	select {
	case <-x.timer.C:
		return true
	case <-x.r.Context().Done():
		return false
	}
}

// forever sends what is written and then nothing until the client or the provider has gone. It returns false.
func (x *exchange) forever() bool {
	if x.status != 0 && x.control.Flush() != nil {
		return false
	}
	<-x.r.Context().Done()
	return false
}

// between is how long endlessly waits between two pieces.
const between = 20 * time.Millisecond

// endlessly sends all, and the last of them again and again, until the client or the provider has gone. It returns false.
func (x *exchange) endlessly(all ...[]byte) bool {
	for _, first := range all[:len(all)-1] {
		x.w.Write(first)
	}
	for x.wait(time.Now().Add(between)) {
		x.w.Write(all[len(all)-1])
	}
	return false
}

func (x *exchange) stopTimer() {
	if x.timer != nil {
		x.timer.Stop()
	}
}

// hangUp sends what is written and closes the connection, with a reset or as if it had ended.
func (x *exchange) hangUp(reset bool) bool {
	if x.status != 0 && x.control.Flush() != nil {
		return false
	}
	connection, _, err := x.control.Hijack()
	if err != nil {
		return false
	}
	if tcp, ok := connection.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	connection.Close()
	return true
}

// due is when the n-th token of a choice, from 0, is to be sent.
func (x *exchange) due(n int) time.Time {
	at := x.start.Add(x.fate.ttft)
	if x.fate.tps > 0 {
		at = at.Add(seconds(float64(n) / x.fate.tps))
	}
	return at
}
