package dispatch

import "time"

// never is how long a timer is set that nobody waits for.
const never = 24 * time.Hour

// watch sets the timer by which a is held to take too long: longer than its endpoint usually does, then longer than
// Patience.TTFT. An answer in one piece has no first content to be late.
func (r *run) watch(a *attempt) {
	wait := never
	if r.stream != nil && !r.committed {
		a.slowAt = a.started.Add(a.patient.TTFT)
		wait = time.Until(a.slowAt)
		if r.j.Limits.Hedge {
			if usual := r.j.HedgeAfter(a.row); usual > 0 && usual < a.patient.TTFT {
				a.unusualAt = a.started.Add(usual)
				wait = time.Until(a.unusualAt)
			}
		}
	}
	if r.slow == nil {
		r.slow = time.NewTimer(wait)
	} else {
		r.slow.Reset(wait)
	}
}

// late decides what to do when the newest attempt takes too long, and again later where there is nothing to be done yet: what
// rests now may be well by then.
func (r *run) late(e *errand) {
	if len(r.active) == 0 {
		return
	}
	a := r.active[len(r.active)-1]
	if time.Now().Before(a.slowAt) {
		if !r.hedge(e) {
			r.slow.Reset(time.Until(a.slowAt))
		}
		return
	}
	a.late = true
	if !r.elsewhere(e) {
		r.slow.Reset(a.patient.TTFT)
	}
}

// elsewhere goes on to another endpoint because those that were asked are late, if there is one. Where a second attempt may not
// run beside the first, by obligation or because the share of hedges is used up, the first is given up: waiting for what has
// gone silent would lose the request. That holds for OnSlow "wait" too, once it is as late as a whole answer may be.
func (r *run) elsewhere(e *errand) bool {
	a := r.active[0]
	switch r.j.Limits.OnSlow {
	case Hedge:
		if r.hedge(e) {
			return true
		}
	case Wait:
		if time.Since(a.started) < max(a.patient.Answer, a.patient.TTFT) {
			return false
		}
	}
	// Never given up where nothing better is left, or nothing that may be paid for.
	c := r.pick(e)
	if !c.betterThan(a) || r.launched >= r.j.Limits.Attempts || !r.affordable(c.option.permit, r.active[1:], a) {
		return false
	}
	a.giveUp(errSlow)
	return true
}

// betterThan says whether to go on to c from an attempt that is late: to one that is ready, or from one that is being tried for
// the second time to the next that was slow as well.
func (c choice) betterThan(a *attempt) bool {
	return c.option != nil && (!c.force || c.option.slow && a.option.slow)
}

// hedge starts a second attempt beside the one that is slow, as far as obligations and the share of hedges let it.
func (r *run) hedge(e *errand) bool {
	if len(r.active) != 1 || r.active[0].permit.Obligations().NoHedge || r.launched >= r.j.Limits.Attempts {
		return false
	}
	r.hedging = true
	c := r.pick(e)
	r.hedging = false
	if !c.betterThan(r.active[0]) || !r.d.hedges.spend() {
		return false
	}
	return r.launch(e, c)
}
