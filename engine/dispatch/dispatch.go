// Package dispatch carries a plan out: attempts in order, fallback on everything before the commit point, the relay of the
// answer, and the account of every attempt.
package dispatch

import (
	"context"
	"net/http"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// Patience is how long one attempt may take. Every duration is positive.
type Patience struct {
	FirstByte time.Duration // streaming: from the start of an attempt to the head of its answer
	TTFT      time.Duration // streaming: from the start of an attempt to its first content; OnSlow says what happens then
	Answer    time.Duration // not streaming: from the start of an attempt to its whole answer
	Idle      time.Duration // between two events of a stream
}

// Limits bound one request in time, attempts and money. Every duration but RetryAfterWait is positive.
type Limits struct {
	Total        time.Duration // the whole request, with every attempt and wait
	EarlyHeaders time.Duration // streaming: after this long without content the client gets status and headers all the same
	KeepAlive    time.Duration // a comment is sent when a stream has been silent this long

	Attempts    int                 // the most attempts of one request
	AnswerBytes int                 // the longest answer, or event of a stream, that is read
	MaxCost     catalog.Picodollars // that all attempts together may cost; 0: no limit

	OnSlow         OnSlow
	Backoff        time.Duration // the longest wait before a retry at the same endpoint that nobody has announced
	RetryAfterWait time.Duration // an announced wait up to this long is preferred to another endpoint
	RetryShare     float64       // of all requests, 0…1: how many retries there may be
	Rescue         []string      // journal.ForContinue, journal.ForSplice: what is tried, in order, where a stream breaks off
	Hedge          bool          // start a second endpoint when the first takes longer than it usually does
	QueueWait      time.Duration // the longest wait for a place at an endpoint
	HedgeShare     float64       // of all requests, 0…1: how many hedges there may be
}

// OnSlow is what happens when an answer has not begun within Patience.TTFT and there is another endpoint to try.
type OnSlow string

// The choices.
const (
	Switch OnSlow = "switch" // give it up and try the next
	Hedge  OnSlow = "hedge"  // start the next as well; whichever begins first answers
	Wait   OnSlow = "wait"   // go on waiting
)

// Job is one plan to be carried out.
type Job struct {
	Plan   *route.Plan
	Limits Limits
	// Patience is that with attempts at a model: some think for long.
	Patience func(*catalog.Model) Patience
	// Recheck is asked before every attempt with the permit of the plan. It returns the permit that the newest snapshot
	// gives for the same row, or an error: ErrKeyRevoked ends the request, any other skips the row.
	Recheck func(context.Context, policy.Permit) (policy.Permit, *account.Principal, error)
	// Health is shared by all requests.
	Health *telemetry.Health
	// HedgeAfter is when an attempt at a row takes longer than it usually does; 0: not known.
	HedgeAfter func(*catalog.Row) time.Duration
	// Queued is how long the request has waited before.
	Queued time.Duration
	// Waited gets how long a request waited for a place at an endpoint, and the error of admission where it got none.
	Waited func(time.Duration, error)
	// Observe gets how each attempt ended.
	Observe func(*catalog.Row, telemetry.Outcome)
	// Panicked gets what an attempt has panicked with, on the goroutine that has.
	Panicked func(any)
	// Made, where it is not nil, gets the seals of reasoning as a row's answer comes.
	Made func(*catalog.Row, []wire.Seal)
	// Finish gets the record when the outcome is known, before the last byte is handed to the client.
	Finish func(*journal.Record)
	// Answered, where it is not nil, gets all that the client was handed, after Finish and before the client sees the end of it.
	Answered func([]byte)
	// Metadata is what the client wants to be told of the outcome, as JSON; nil: it does not. It is asked after Finish.
	Metadata func() []byte
	// Keep gets a good answer as the client gets it, without Metadata, and the permit that it was made under; nil: nobody wants it.
	Keep func(answer []byte, p policy.Permit)
	// KeepBytes is the longest answer that Keep is given.
	KeepBytes int
}

// Response is what the client gets. Exactly one of Body and Stream is set.
type Response struct {
	Plan   *route.Plan
	Status int
	Body   []byte  // a JSON answer
	Stream *Stream // server-sent events
	Timing string  // the value of Server-Timing: of a stream, up to where its headers are due
	Cache  Cache
}

// Cache is what the response cache had to do with an answer.
type Cache struct {
	Status string        // HIT or MISS; "": nothing
	Source string        // of a hit: the id of the decision that the answer was made under
	Age    time.Duration // of a hit
	TTL    time.Duration
}

// Again is an answer that was given before, in events.
func Again(events []byte, j Job) *Response {
	ctx, cancel := context.WithCancelCause(context.Background())
	s := newStream(ctx, cancel, j.Limits.KeepAlive, j.Plan.Request.Shape.KeepAlive())
	s.chunks = make(chan []byte, 1)
	s.chunks <- events
	s.last.Store(true)
	close(s.chunks)
	return &Response{Plan: j.Plan, Status: http.StatusOK, Stream: s}
}

// Dispatcher sends permitted requests to providers. It is safe for concurrent use and outlives reloads.
type Dispatcher struct {
	kept    http.RoundTripper // by connections that may have served before
	fresh   http.RoundTripper // by a new one for each request
	pool    *http.Transport   // that kept ends in
	retries allowance
	hedges  allowance
}

// New makes a dispatcher. connect bounds dialling, tls the handshake after it. way, where there is one, stands between it and the
// network.
func New(connect, tls time.Duration, way func(http.RoundTripper) http.RoundTripper) *Dispatcher {
	pool, fresh := newTransport(connect, tls), newTransport(connect, tls)
	fresh.DisableKeepAlives = true
	d := &Dispatcher{kept: pool, fresh: fresh, pool: pool, retries: allowance{left: retryReserve, reserve: retryReserve}}
	if way != nil {
		d.kept, d.fresh = way(pool), way(fresh)
	}
	return d
}

// Close closes idle connections to providers.
func (d *Dispatcher) Close() {
	d.pool.CloseIdleConnections()
}

// Do carries j out. It returns when the answer is whole, when a stream has committed or its headers are due, or when nothing
// is left to try. The end of ctx ends the request, a stream of it too; so does Stream.Close. The error is a *wire.Error.
func (d *Dispatcher) Do(ctx context.Context, j Job) (*Response, error) {
	d.retries.earn(j.Limits.RetryShare)
	if j.Limits.Hedge || j.Limits.OnSlow == Hedge {
		d.hedges.earn(j.Limits.HedgeShare)
	}
	r := newRun(ctx, d, j)
	if !j.Plan.Request.Stream {
		body, timing, err := r.whole()
		if j.Answered != nil {
			j.Answered(body)
		}
		if err != nil {
			return nil, err
		}
		return &Response{Plan: j.Plan, Status: http.StatusOK, Body: body, Timing: timing}, nil
	}
	s := newStream(ctx, r.cancel, j.Limits.KeepAlive, j.Plan.Request.Shape.KeepAlive())
	s.keeps = j.Answered != nil
	r.stream = s
	s.time(r.timing(nil))
	if j.Keep != nil {
		s.kept = &keeping{most: j.KeepBytes}
	}
	go r.streamed()
	early := time.NewTimer(j.Limits.EarlyHeaders)
	defer early.Stop()
	select {
	case <-s.settled:
	case <-early.C:
		s.openEarly()
	}
	// Both may have happened at once: a failure is only an HTTP error while no header is promised.
	if err := s.refusal(); err != nil {
		return nil, err
	}
	return &Response{Plan: j.Plan, Status: http.StatusOK, Stream: s, Timing: s.timed()}, nil
}

func clientGone() *wire.Error {
	return &wire.Error{Status: 499, Type: "cancelled", Message: "the client closed the connection before the answer was complete"}
}
