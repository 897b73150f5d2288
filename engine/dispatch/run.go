package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
	"chaperone/engine/wire/talk"
)

// ErrKeyRevoked is what Job.Recheck returns where the key of a running request is no longer good.
var ErrKeyRevoked = errors.New("the API key was revoked while the request ran")

var (
	errClientGone = errors.New("the client is gone")
	errDeadline   = errors.New("the time for the request is over")
	errSlow       = errors.New("given up for being slow")
	errOutpaced   = errors.New("another attempt was faster")
)

// run is one job while it is carried out. It belongs to one goroutine, which launches attempts, each on a goroutine of its
// own up to its commit point, and takes them back. Nothing of one attempt outlives it in here but its record and its fault.
type run struct {
	d      *Dispatcher
	j      Job
	ctx    context.Context // the caller's: ends when the client goes away
	work   context.Context // what attempts run in: ends with ctx, when the stream is closed, and at the deadline
	cancel context.CancelCauseFunc
	limit  *time.Timer      // of work
	stream *Stream          // nil where the answer is not streamed
	writer talk.EventWriter // of the stream that the client has; nil before there is one

	started  time.Time
	deadline time.Time
	random   *rand.Rand
	tokens   int64 // that the request is taken to use of a provider's limits

	options   []option
	again     *option // whose quick retry is due
	active    []*attempt
	results   chan *attempt // at their commit point, or with a fault
	slow      *time.Timer   // of the newest attempt
	hedging   bool          // what is picked is to run beside another attempt
	launched  int
	ended     *attempt      // whose stream has come to its end
	committed bool          // the client has content
	ttft      time.Duration // when it got the first

	attempts []journal.Attempt // that have ended
	outcome  journal.Outcome
	faults   []failed
	over     *wire.Error // ends the request whatever is left to try
}

// errand is what attempts are sent for.
type errand struct {
	open   func(*attempt) *Fault    // carries one to its commit point
	suits  func(policy.Permit) bool // nil: every permit does
	spent  map[string]bool          // rows that are out for this errand alone, by id
	rescue *rescue                  // nil where the whole answer is wanted
}

// failed is a fault with the row that it happened at.
type failed struct {
	row   *catalog.Row
	fault *Fault
}

func newRun(ctx context.Context, d *Dispatcher, j Job) *run {
	now := time.Now()
	r := &run{
		d: d, j: j, ctx: ctx, started: now, deadline: now.Add(j.Limits.Total),
		random: rand.New(rand.NewPCG(j.Plan.Seed, 0)), results: make(chan *attempt, 2),
		tokens: j.Plan.Request.PromptTokens + j.Plan.Request.MaxOutputTokens,
	}
	work, cancel := context.WithCancelCause(ctx)
	r.work, r.cancel = work, cancel
	r.limit = time.AfterFunc(j.Limits.Total, func() { cancel(errDeadline) }) // it may not hold the run: see leash
	r.outcome.QueuedMs = millis(j.Queued)
	r.options = r.makeOptions()
	return r
}

// whole carries the job out without streaming.
func (r *run) whole() (body []byte, timing string, err error) {
	defer r.end()
	a := r.win(&errand{open: (*attempt).openWhole})
	if a == nil {
		err := r.lost()
		r.finish(err, nil)
		return nil, "", err
	}
	r.close(a)
	r.finish(nil, a)
	if r.j.Keep != nil && len(a.out) <= r.j.KeepBytes {
		r.j.Keep(a.out, a.permit)
	}
	out := a.out
	if r.j.Metadata != nil {
		out = wire.AppendAside(make([]byte, 0, len(a.out)+1024), a.out, wire.RouterMetadata, r.j.Metadata())
	}
	return out, r.timing(nil), nil
}

// streamed carries it out into r.stream, whose chunks it closes.
func (r *run) streamed() {
	defer close(r.stream.chunks)
	if r.j.Answered != nil {
		defer func() { r.j.Answered(r.stream.handed) }()
	}
	defer r.end()
	a := r.win(&errand{open: (*attempt).openStream})
	if a == nil {
		err := r.lost()
		r.finish(err, nil)
		if r.stream.fail(err) {
			r.emitError(err)
		}
		return
	}
	r.committed, r.writer = true, a.writer
	r.slow.Stop()
	r.slow = nil // a slow stream holds as little as it can
	r.ttft = time.Since(r.started)
	r.stream.time(r.timing(a))
	r.stream.commit()
	var death *failed
	for {
		var end []byte
		a.fault = r.contain("bad_answer", func() *Fault {
			f := a.relay(r.stream)
			if f == nil {
				end = a.appendEnd(r.stream.buffer())
			}
			return f
		})
		r.close(a)
		switch {
		case a.fault == nil:
			// Whoever has read the whole answer finds its record.
			r.finish(nil, a)
			r.stream.keep(end)
			if kept := r.stream.kept; kept != nil && a.rescue == nil {
				r.j.Keep(kept.events, a.permit)
			}
			r.stream.kept = nil
			r.stream.end(r.tell(a, end))
			return
		case a.fault.Scope == OfClient:
			r.finish(clientGone(), a)
			return
		}
		r.faults = append(r.faults, failed{a.row, a.fault})
		if death == nil {
			death = &failed{a.row, a.fault}
		}
		next := r.rescue(a)
		if next == nil {
			err := r.said(death) // never what a rescue has met
			if r.gone() {
				err = clientGone()
			}
			r.finish(err, a)
			r.emitError(err)
			return
		}
		a = next
	}
}

// contain carries out what reads or writes words that are not this router's own. A panic in there is a mistake of ours; it costs
// the attempt, and not every request that the router has.
func (r *run) contain(kind string, work func() *Fault) (f *Fault) {
	defer func() {
		if panicked := recover(); panicked != nil {
			r.j.Panicked(panicked)
			f = fault(kind, 0, "")
		}
	}()
	return work()
}

// gone says whether the client has gone away.
func (r *run) gone() bool {
	return r.ctx.Err() != nil || errors.Is(context.Cause(r.work), errClientGone)
}

// end lets go of everything that the run holds.
func (r *run) end() {
	r.limit.Stop()
	if r.slow != nil {
		r.slow.Stop()
	}
	if r.ended != nil {
		r.contain("bad_answer", func() *Fault { r.ended.linger(); return nil })
	}
	r.cancel(nil)
}

// win tries until an attempt has reached its commit point; nil where none will.
func (r *run) win(e *errand) *attempt {
	for {
		if len(r.active) == 0 && !r.next(e) {
			return nil
		}
		select {
		case a := <-r.results:
			r.active = slices.DeleteFunc(r.active, func(b *attempt) bool { return a == b })
			if a.fault == nil {
				for _, loser := range r.active {
					loser.cancel(errOutpaced)
					loser.trial.Released() // its place, and its turn to try what rests, are not kept for as long as this answer lasts
				}
				a.trial.Committed(time.Now())
				return a
			}
			r.close(a)
			r.learn(e, a)
			if r.over != nil {
				return nil
			}
			if len(r.active) == 1 && r.active[0].late && !r.elsewhere(e) {
				r.slow.Reset(r.active[0].patient.TTFT)
			}
		case <-r.slow.C:
			r.late(e)
		}
	}
}

// next launches one attempt, waiting first where all that is left has announced a wait; false where nothing is left.
func (r *run) next(e *errand) bool {
	for r.work.Err() == nil && r.launched < r.j.Limits.Attempts {
		c := r.pick(e)
		switch {
		case c.option != nil:
			if r.launch(e, c) {
				return true
			}
			if r.over != nil {
				return false
			}
		case c.full != nil:
			if c = r.queue(c.full); c.option != nil && r.launch(e, c) {
				return true
			}
			if r.over != nil {
				return false
			}
		case c.rest == nil:
			return false
		case !c.until.Before(r.deadline):
			if !slices.ContainsFunc(r.faults, func(f failed) bool { return f.row.ID == c.rest.row().ID }) {
				r.faults = append(r.faults, failed{c.rest.row(), r.waiting(c)})
			}
			return false
		default:
			r.pause(time.Until(c.until))
		}
	}
	return false
}

// queue waits until one of the endpoints that are at their limits has room; where none has in time, they are out.
func (r *run) queue(full []*option) choice {
	rows := make([]*catalog.Row, len(full))
	for i, o := range full {
		rows[i] = o.row()
	}
	began := time.Now()
	i, pass, err := r.j.Health.Wait(r.work, r.organisation(), r.j.Limits.QueueWait, rows)
	took := time.Since(began)
	r.outcome.QueuedMs += millis(took)
	r.j.Waited(took, err)
	if err == nil {
		return choice{option: full[i], pass: pass}
	}
	for _, row := range rows {
		f := fault("at_limit", 0, "")
		f.RetryAfter = max(time.Second, r.j.Limits.QueueWait)
		r.faults = append(r.faults, failed{row, f})
		r.drop(func(other *catalog.Row) bool { return sameEndpoint(other, row) })
	}
	return choice{}
}

func (r *run) organisation() string { return r.j.Plan.Principal.Organisation.ID }

// waiting is the fault of an option that may not be tried yet, which no attempt was made at.
func (r *run) waiting(c choice) *Fault {
	name := "overloaded"
	if r.rest(c.rest, time.Now()).Why == telemetry.RestLimited {
		name = "rate_limited"
	}
	f := fault(name, 0, "")
	f.RetryAfter = time.Until(c.until)
	return f
}

// pause waits, unless the request ends.
func (r *run) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.work.Done():
	}
}

// launch begins an attempt; false where the option turns out to be none. No attempt is made without a permit that was
// rechecked for the row that it goes to.
func (r *run) launch(e *errand, c choice) bool {
	o := c.option
	var trial *telemetry.Trial
	defer func() {
		if trial == nil {
			c.pass.Leave()
		}
	}()
	again := r.again == o
	r.again = nil
	// What has failed, or is known to fail, is only tried as far as retries may add to traffic. What another router says of it may
	// be the fault of that one's network.
	if repeats := o.tries > 0 || c.force && !c.heard && r.launched > 0; repeats && !(again && o.stale) && !r.d.retries.spend() {
		o.out = true
		return false
	}
	if again && !o.stale {
		r.pause(r.jitter(1))
	}
	// Taken before the check: a snapshot that was in force by then has been asked.
	started := time.Now()
	permit, who, why := r.j.Recheck(r.ctx, o.permit)
	if why != nil {
		if errors.Is(why, ErrKeyRevoked) {
			r.over = &wire.Error{Status: http.StatusUnauthorized, Type: "authentication",
				Message: "the API key was revoked while the request ran; ask for a new key"}
			return false
		}
		r.faults = append(r.faults, failed{o.row(), fault("newly_denied", 0, "")})
		r.drop(func(row *catalog.Row) bool { return row == o.row() })
		return false
	}
	if e.suits != nil && !e.suits(permit) {
		e.spent[o.row().ID] = true // by what has come into force since the plan was made
		return false
	}
	cred, ok := inForce(permit.Row().Group, o.credential)
	if !ok || !r.mayShow(permit) || len(r.active) > 0 && permit.Obligations().NoHedge {
		o.out = true
		return false
	}
	if !r.affordable(permit, r.active) {
		r.faults = append(r.faults, failed{permit.Row(), fault("too_dear", 0, "")})
		o.out = true
		return false
	}
	trial, _ = r.j.Health.Begin(o.row(), o.credential.Name, r.organisation(), r.tokens, time.Now(), c.force, c.pass)
	if trial == nil {
		return false // another request was faster: choose again
	}
	var a *attempt
	f := r.contain("not_sent", func() (f *Fault) {
		a, f = r.newAttempt(started, o, e, permit, who, cred, trial)
		return f
	})
	if f != nil {
		trial.Released()
		r.faults = append(r.faults, failed{permit.Row(), f})
		if e.rescue != nil {
			e.spent[o.row().ID] = true // it cannot go on with an answer, but may be able to say it once more
		} else {
			o.out = true
		}
		return false
	}
	a.purpose, a.fresh = r.purposeOf(o, e), o.stale
	o.tries++
	o.stale = false
	r.launched++
	r.active = append(r.active, a)
	r.watch(a)
	go func() {
		a.open(e)
		r.results <- a
	}()
	return true
}

// inForce is the credential as the group has it now; false where it has been withdrawn.
func inForce(g *catalog.CredentialGroup, c catalog.Credential) (catalog.Credential, bool) {
	if g.NoAuth {
		return catalog.Credential{}, true
	}
	i := slices.IndexFunc(g.Credentials, func(now catalog.Credential) bool { return now.Name == c.Name })
	if i < 0 {
		return c, false
	}
	return g.Credentials[i], true
}

// purposeOf says what the attempt that is about to begin is for, for the record.
func (r *run) purposeOf(o *option, e *errand) string {
	switch {
	case e.rescue != nil:
		return e.rescue.method
	case len(r.active) > 0:
		return journal.ForHedge
	case o.tries > 0:
		return journal.ForRetry
	case r.launched > 0:
		return journal.ForFallback
	}
	return journal.ForAnswer
}

// jitter is a random wait (full jitter) that may be the longer the more has been tried.
func (r *run) jitter(tries int) time.Duration {
	return time.Duration(r.random.Int64N(int64(r.j.Limits.Backoff)<<min(tries-1, 6) + 1))
}

// learn draws the consequences of a fault for what is tried next.
func (r *run) learn(e *errand, a *attempt) {
	f, o := a.fault, a.option
	r.faults = append(r.faults, failed{a.row, f})
	k := kinds[f.Kind]
	switch {
	case f.Scope == OfClient:
		r.over = clientGone()
	case e.rescue != nil && e.rescue.unfit(f):
		e.spent[a.row.ID] = true
	case f.Scope == OfRequest:
		r.over = r.exhausted()
	case f.Kind == "rate_limited", f.Kind == "overloaded" && f.RetryAfter > 0:
		// It rests in Health until the announced time, and is tried again where that comes soon enough.
	case f.Scope == OfCredential:
		o.out = true
	case f.Scope == OfModel && r.fits(a.row):
		r.drop(func(row *catalog.Row) bool { return sameEndpoint(row, a.row) }) // its entry in the catalog is wrong, and says nothing of others
	case f.Scope == OfModel:
		r.drop(func(row *catalog.Row) bool { return row.ContextLength <= a.row.ContextLength })
	case k.again && o.tries == 1:
		r.again, o.stale = o, f.Kind == "stale"
	case f.Kind == "slow" && !o.slow:
		for i := range r.options {
			if other := &r.options[i]; sameEndpoint(other.row(), a.row) {
				other.slow = true
			}
		}
	case f.Kind == "timeout", f.Kind == "slow":
		r.drop(func(row *catalog.Row) bool { return sameEndpoint(row, a.row) })
	default:
		r.drop(func(row *catalog.Row) bool { return row.ID == a.row.ID })
	}
}

// fits says whether the request is sure to fit into the context that the catalog gives a row: a token is at least a byte of it.
func (r *run) fits(row *catalog.Row) bool {
	req := r.j.Plan.Request
	onlyText := len(req.InputModalities) == 1 && req.InputModalities[0] == "text"
	return onlyText && int64(len(req.Body))+req.MaxOutputTokens <= row.ContextLength
}

// lost is why no attempt has answered.
func (r *run) lost() *wire.Error {
	switch {
	case r.gone():
		return clientGone()
	case r.over != nil:
		return r.over
	}
	return r.exhausted()
}

// tell puts the metadata that the client has asked for into the last of a stream's events.
func (r *run) tell(a *attempt, end []byte) []byte {
	if r.j.Metadata == nil {
		return end
	}
	metadata := r.j.Metadata()
	out, found := wire.AppendEventsAside(nil, end, wire.RouterMetadata, metadata)
	if !found {
		out = append(a.writer.Aside(nil, wire.RouterMetadata, metadata), end...)
	}
	return out
}

// emitError ends a stream that the client already has: the documented event, and no end mark.
func (r *run) emitError(err *wire.Error) {
	p := r.j.Plan
	if r.j.Metadata != nil {
		err.Router = r.j.Metadata()
	}
	l := talk.Label{ID: p.ID, Model: p.Request.Model, Provider: r.outcome.Provider, Created: p.At.Unix()}
	if numbered, ok := r.writer.(interface{ Sequence() int }); ok {
		l.Sequence = numbered.Sequence()
	}
	r.stream.end(p.Request.Shape.AppendErrorEvent(r.stream.buffer(), err, l))
}
