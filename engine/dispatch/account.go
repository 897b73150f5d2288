package dispatch

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"chaperone/engine/journal"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// close ends an attempt: it is recorded, and statistics and health are told.
func (r *run) close(a *attempt) {
	a.release()
	f := a.fault
	rec := journal.Attempt{
		Row: a.row.ID, Provider: a.row.Provider.Name, ProviderID: a.row.Provider.ID, Tag: a.row.Tag, Model: a.row.Model.ID, Credential: a.cred.Name,
		Generation: a.permit.Generation(), Purpose: a.purpose, StartedMs: millis(a.started.Sub(r.started)), TTFTMs: millis(a.ttft),
		DurationMs: millis(a.took), Outcome: "ok", Status: a.status, UpstreamID: a.upstreamID, BodySent: a.sent.extent(), Usage: a.usage, Impossible: a.impossible, ServiceTier: a.tier(), Cost: a.cost(),
	}
	if f != nil {
		rec.Outcome, rec.Scope = f.Kind, string(f.Scope)
	}
	r.attempts = append(r.attempts, rec)
	if r.stream != nil && !r.committed {
		r.stream.time(r.timing(nil)) // its headers may be due before there is content
	}
	r.judge(a)
	r.observe(a)
}

// judge tells health how an attempt ended.
func (r *run) judge(a *attempt) {
	f, now := a.fault, time.Now()
	switch {
	case f == nil:
		a.trial.Succeeded(now)
	case f.Kind == "rate_limited":
		wait := f.RetryAfter
		if wait == 0 {
			wait = r.jitter(a.option.tries)
		}
		a.option.told = wait
		a.trial.Limited(now, f.Kind, wait)
	case kinds[f.Kind].health && f.Scope == OfEndpoint:
		a.option.told = f.RetryAfter
		a.trial.Failed(now, f.Kind, f.RetryAfter)
	case kinds[f.Kind].health && f.Scope == OfCredential:
		a.trial.Refused(now, f.Kind)
	case f.Kind == "unknown_model", f.Kind == "unsupported", f.Kind == "context_length" && r.fits(a.row):
		a.trial.Doubted(f.Kind)
	default:
		a.trial.Released()
	}
}

// observe tells statistics.
func (r *run) observe(a *attempt) {
	f := a.fault
	o := telemetry.Outcome{At: time.Now(), OK: f == nil, Counts: f == nil, TTFT: a.ttft, OutputTokens: a.outputTokens()}
	if f == nil {
		o.Generation = a.took - a.ttft
	} else {
		o.Counts = f.Scope == OfEndpoint && kinds[f.Kind].health
		o.RateLimited = f.Kind == "rate_limited"
		o.FailedAfter = a.took
	}
	r.j.Observe(a.row, o)
}

// reap waits for the attempts that have lost and were cancelled, so that each is in the record.
func (r *run) reap() {
	for _, a := range r.active {
		a.cancel(errOutpaced)
	}
	for range r.active {
		a := <-r.results
		if a.fault == nil {
			a.fault = a.hungUp("outpaced") // it had just reached its commit point as well
		}
		r.close(a)
	}
	r.active = nil
}

// finish writes the record. winner is the attempt that answered, nil where none did.
func (r *run) finish(err *wire.Error, winner *attempt) {
	r.reap()
	slices.SortStableFunc(r.attempts, func(a, b journal.Attempt) int {
		switch {
		case a.StartedMs < b.StartedMs:
			return -1
		case a.StartedMs > b.StartedMs:
			return 1
		}
		return 0
	})
	o := &r.outcome
	o.DurationMs = millis(time.Since(r.started))
	o.Status = http.StatusOK
	if err != nil {
		o.Status, o.Error = err.Status, err.Type
		err.DecisionID, err.Timing = r.j.Plan.ID, r.timing(nil)
	}
	if winner != nil {
		o.Provider, o.Model, o.Row = winner.row.Provider.Name, winner.row.Model.ID, winner.row.ID
		o.FinishReason, o.Usage = wire.CommonReason(winner.finishReason), winner.answerUsage()
		if native := cmp.Or(winner.nativeReason, winner.finishReason); native != o.FinishReason {
			o.NativeReason = native
		}
		o.CacheDiscount = winner.billed().CacheDiscount(winner.usage, r.j.Plan.Request.Images, winner.started)
		o.TTFTMs = millis(r.ttft)
		if winner.rescue != nil && err == nil {
			o.Rescued = winner.rescue.method
		}
	}
	for _, a := range r.attempts {
		o.Cost = o.Cost.Plus(a.Cost)
		if a.Purpose == journal.ForFallback {
			o.Fallbacks++
		}
	}
	record := journal.Of(r.j.Plan)
	record.Dispatched, record.Attempts, record.Outcome = true, r.attempts, r.outcome
	r.j.Finish(record)
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
