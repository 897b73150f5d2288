package dispatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// ErrKeyRevoked is what Job.Recheck returns where the key of a running request is no longer good.
var ErrKeyRevoked = errors.New("the API key was revoked while the request ran")

var errClientGone = errors.New("the client is gone")

// run is one job while it is carried out. It belongs to one goroutine; nothing of one attempt outlives it in here but its
// record.
type run struct {
	d      *Dispatcher
	j      Job
	ctx    context.Context // ends when the client goes away, and only then
	cancel context.CancelCauseFunc
	stream *Stream // nil where the answer is not streamed

	started  time.Time
	deadline time.Time
	random   *rand.Rand

	record   *journal.Record
	faults   []failed
	tooShort int64 // rows with a shorter context than this cannot take the request
}

// failed is a fault with the row that it happened at.
type failed struct {
	row   *catalog.Row
	fault *Fault
}

func newRun(d *Dispatcher, j Job) *run {
	ctx, cancel := context.WithCancelCause(context.Background())
	now := time.Now()
	r := &run{
		d: d, j: j, ctx: ctx, cancel: cancel, started: now, deadline: now.Add(j.Limits.Total),
		random: rand.New(rand.NewPCG(j.Plan.Seed, 0)), record: journal.Of(j.Plan),
	}
	r.record.Dispatched = true
	return r
}

// whole carries the job out without streaming.
func (r *run) whole() ([]byte, error) {
	var body []byte
	err := r.attempts(func(a *attempt) *Fault {
		b, f := a.whole()
		body = b
		return f
	})
	if err != nil {
		return nil, err
	}
	return body, nil
}

// streamed carries it out into r.stream, whose chunks it closes.
func (r *run) streamed() {
	defer close(r.stream.chunks)
	defer r.cancel(nil)
	err := r.attempts(func(a *attempt) *Fault { return a.streamed(r.stream) })
	if err == nil {
		return
	}
	if r.stream.fail(err) {
		r.emitError(err)
	}
}

// emitError ends a stream that the client already has: the documented event, and no end mark.
func (r *run) emitError(err *wire.Error) {
	p := r.j.Plan
	if b, ok := r.stream.buffer(); ok {
		provider := r.record.Outcome.Provider
		r.stream.emit(wire.AppendEvent(b, err, p.ID, p.Request.Model, provider, p.At.Unix()))
	}
}

// attempts tries the permits of the plan in order until one answers. Once an attempt has committed there is no other: its
// try returns nil, whatever came after.
func (r *run) attempts(try func(*attempt) *Fault) *wire.Error {
	for _, permit := range r.j.Plan.Permits {
		if row := permit.Row(); row.ContextLength > 0 && row.ContextLength < r.tooShort {
			continue
		}
		if done, err := r.row(permit, try); done {
			return err
		}
	}
	err := r.exhausted()
	r.finish(err, nil)
	return err
}

// row tries one permit with each credential that its row has. done: the request is over.
func (r *run) row(permit policy.Permit, try func(*attempt) *Fault) (done bool, err *wire.Error) {
	if !r.mayShow(permit) {
		return false, nil
	}
	credentials := r.credentials(permit.Row().Group)
	stale := false
	for i := 0; i < len(credentials); i++ {
		if r.ctx.Err() != nil {
			return true, r.end(clientGone())
		}
		if len(r.record.Attempts) >= r.j.Limits.Attempts || !time.Now().Before(r.deadline) {
			return true, r.end(r.exhausted())
		}
		// Taken before the check: a snapshot that was in force by then has been asked.
		started := time.Now()
		now, who, why := r.j.Recheck(r.ctx, permit)
		if why != nil {
			if errors.Is(why, ErrKeyRevoked) {
				return true, r.end(&wire.Error{Status: http.StatusUnauthorized, Type: "authentication",
					Message: "the API key was revoked while the request ran; ask for a new key"})
			}
			r.faults = append(r.faults, failed{permit.Row(), fault("newly_denied", 0, "")})
			return false, nil
		}
		a, f := r.newAttempt(started, now, who, credentials[i])
		if f == nil {
			f = try(a)
			a.close(f, i+1 < len(credentials))
		}
		if f == nil {
			return true, nil
		}
		r.faults = append(r.faults, failed{now.Row(), f})
		switch f.Scope {
		case OfClient:
			return true, r.end(clientGone())
		case OfRequest:
			return true, r.end(r.exhausted())
		case OfModel:
			r.tooShort = max(r.tooShort, now.Row().ContextLength)
			return false, nil
		case OfCredential:
			continue
		}
		if f.reused && !stale {
			stale = true // the provider closed a kept connection: one more try, on a fresh one
			i--
			continue
		}
		return false, nil
	}
	return false, nil
}

// mayShow says whether the body may be shown to the permit's provider, given how many have seen it.
func (r *run) mayShow(p policy.Permit) bool {
	most := p.Obligations().MaxProcessors
	if most == 0 {
		return true
	}
	shown := map[string]bool{p.Row().Provider.ID: true}
	for _, a := range r.record.Attempts {
		if a.BodySent != "none" {
			shown[a.ProviderID] = true
		}
	}
	return len(shown) <= most
}

// credentials orders a group's credentials by a weighted draw. A row that needs none has one empty credential.
func (r *run) credentials(g *catalog.CredentialGroup) []catalog.Credential {
	if g.NoAuth {
		return []catalog.Credential{{}}
	}
	left := append([]catalog.Credential(nil), g.Credentials...)
	for i := range left {
		total := 0
		for _, c := range left[i:] {
			total += max(c.Weight, 1)
		}
		draw := r.random.IntN(total)
		for k := i; k < len(left); k++ {
			if draw -= max(left[k].Weight, 1); draw < 0 {
				left[i], left[k] = left[k], left[i]
				break
			}
		}
	}
	return left
}

// end finishes a request that nothing has answered.
func (r *run) end(err *wire.Error) *wire.Error {
	r.finish(err, nil)
	return err
}

// exhausted is the most telling of the faults, with every attempt.
func (r *run) exhausted() *wire.Error {
	var best *failed
	for i := range r.faults {
		f := &r.faults[i]
		if best == nil || kinds[f.fault.Kind].telling > kinds[best.fault.Kind].telling {
			best = f
		}
	}
	if best == nil {
		return &wire.Error{Status: http.StatusGatewayTimeout, Type: "timeout", DecisionID: r.j.Plan.ID,
			Message: "the time for this request was over before a provider could be asked; allow more, or ask again"}
	}
	return r.said(best)
}

// said puts one fault into words for the client.
func (r *run) said(best *failed) *wire.Error {
	e := &wire.Error{DecisionID: r.j.Plan.ID, Metadata: map[string]any{"attempts": r.told()}}
	k := kinds[best.fault.Kind]
	e.Status, e.Type = k.status, k.errType
	if e.Status == 0 {
		e.Status = best.fault.Status
	}
	e.Message = fmt.Sprintf("%s %s", best.row.Provider.Name, k.text)
	if best.fault.Message != "" {
		e.Message += ": " + best.fault.Message
	}
	if n := len(r.faults); n > 1 {
		e.Message += fmt.Sprintf(" (%d attempts failed, see metadata.attempts)", n)
	}
	e.Metadata["provider_name"] = best.row.Provider.Name
	if k.scope != OfRequest {
		for _, f := range r.faults {
			if f.fault.RetryAfter > 0 && (e.RetryAfter == 0 || f.fault.RetryAfter < e.RetryAfter) {
				e.RetryAfter = f.fault.RetryAfter
			}
		}
	}
	return e
}

// told is what a client may read of the attempts.
func (r *run) told() []map[string]any {
	out := make([]map[string]any, 0, len(r.faults))
	for _, f := range r.faults {
		m := map[string]any{"provider": f.row.Provider.Name, "model": f.row.Model.ID, "outcome": f.fault.Kind}
		if f.fault.Status != 0 {
			m["status"] = f.fault.Status
		}
		out = append(out, m)
	}
	return out
}

// finish writes the record. winner is the attempt that answered, nil where none did.
func (r *run) finish(err *wire.Error, winner *attempt) {
	o := &r.record.Outcome
	o.DurationMs = millis(time.Since(r.started))
	o.Status = http.StatusOK
	if err != nil {
		o.Status, o.Error = err.Status, err.Type
		err.DecisionID = r.j.Plan.ID
	}
	if winner != nil {
		o.Provider, o.Model, o.Row = winner.row.Provider.Name, winner.row.Model.ID, winner.row.ID
		o.FinishReason, o.Usage = winner.finishReason, winner.usage
		if winner.ttft > 0 {
			o.TTFTMs = millis(winner.started.Add(winner.ttft).Sub(r.started))
		}
	}
	for _, a := range r.record.Attempts {
		o.Cost += a.Cost
	}
	o.Fallbacks = max(0, len(r.record.Attempts)-1)
	r.j.Finish(r.record)
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// observe tells statistics how an attempt ended. f is nil where it answered. moreKeys: another credential of the row is
// left, so that one key's rate limit does not yet rest the row.
func (r *run) observe(a *attempt, f *Fault, moreKeys bool) {
	o := telemetry.Outcome{At: time.Now(), OK: f == nil, Counts: f == nil, TTFT: a.ttft, OutputTokens: a.outputTokens()}
	if f == nil {
		o.Generation = a.took - a.ttft
	} else {
		o.Counts = f.Scope == OfEndpoint && !f.reused
		o.RateLimited = f.Kind == "rate_limited"
		o.FailedAfter = a.took
		if f.RetryAfter > 0 && !moreKeys {
			o.NotBefore = o.At.Add(f.RetryAfter)
		}
	}
	r.j.Observe(a.row, o)
}
