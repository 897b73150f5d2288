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

// late decides what to do about the newest attempt.
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
	switch r.j.Limits.OnSlow {
	case Hedge:
		a.late = true
		r.hedge(e)
	case Switch:
		// Never given up where nothing better is left, or nothing that may be paid for.
		if c := r.pick(e); c.option != nil && !c.force && r.launched < r.j.Limits.Attempts && r.affordable(c.option.permit, nil) {
			a.giveUp(errSlow)
		}
	}
}

// hedge starts a second attempt beside the one that is slow, as far as obligations and the share of hedges let it.
func (r *run) hedge(e *errand) bool {
	if len(r.active) != 1 || r.active[0].permit.Obligations().NoHedge || r.launched >= r.j.Limits.Attempts {
		return false
	}
	c := r.pick(e)
	if c.option == nil || c.force || c.option.permit.Obligations().NoHedge || !r.d.hedges.spend() {
		return false
	}
	return r.launch(e, c)
}
