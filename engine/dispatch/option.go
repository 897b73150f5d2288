package dispatch

import (
	"slices"
	"time"

	"chaperone/engine/admission"
	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/telemetry"
)

// option is one way to ask: a permit of the plan with one credential of its row.
type option struct {
	permit     policy.Permit
	credential catalog.Credential
	tries      int
	stale      bool          // the last try met a connection that had gone stale: the next costs no retry, and goes by a new one
	told       time.Duration // the last try was told to wait so long, or is taken to have been
	slow       bool          // it was given up for being slow: tried once more where nothing else is left
	out        bool          // for the rest of this request
}

func (o *option) row() *catalog.Row { return o.permit.Row() }

// options are those of the plan, in its order; the credentials of a row by a weighted draw.
func (r *run) makeOptions() []option {
	options := make([]option, 0, len(r.j.Plan.Permits))
	for _, permit := range r.j.Plan.Permits {
		for _, c := range r.credentials(permit.Row().Group) {
			options = append(options, option{permit: permit, credential: c})
		}
	}
	return options
}

// credentials orders a group's credentials by a weighted draw. A row that needs none has one empty credential.
func (r *run) credentials(g *catalog.CredentialGroup) []catalog.Credential {
	if g.NoAuth {
		return []catalog.Credential{{}}
	}
	if len(g.Credentials) < 2 {
		return g.Credentials
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

// choice is what to try next. Without an option all that is left is at its limit, or has announced a wait, the least until
// then.
type choice struct {
	option *option
	force  bool           // it rests, and nothing else is left
	heard  bool           // it rests only by the word of another router
	pass   admission.Pass // that was waited for
	full   []*option      // of each endpoint that is at its limit, the first
	until  time.Time
	rest   *option // the one that until is of
}

// pick chooses: the option whose quick retry is due, else the first that is ready, else the first that rests only by our own
// judgement, and last one that was slow. An endpoint that is at its limit is well: it is waited for before one that is not is tried. Health is asked anew
// each time: what another request has met since the plan was made counts.
func (r *run) pick(e *errand) choice {
	now := time.Now()
	var soft, firm, full choice
	var waited, slow *option
	if o := r.again; o != nil && r.suits(e, o) && r.rest(o, now).Why == "" {
		return choice{option: o}
	}
	for i := range r.options {
		o := &r.options[i]
		if !r.suits(e, o) {
			continue
		}
		rest := r.rest(o, now)
		switch {
		case o.slow && !rest.Firm():
			if slow == nil {
				slow = o
			}
		case rest.Why == "":
			if firm.rest != nil && firm.until.Sub(now) <= r.j.Limits.RetryAfterWait && firm.until.Before(r.deadline) {
				return firm // the better one is worth the wait
			}
			if o.told <= r.j.Limits.RetryAfterWait {
				return choice{option: o}
			}
			if waited == nil {
				waited = o // the time is over, but the others have not turned the request away
			}
		case rest.Firm():
			if firm.rest == nil || rest.Until.Before(firm.until) {
				firm = choice{until: rest.Until, rest: o}
			}
		case rest.Why == telemetry.RestFull:
			if !slices.ContainsFunc(full.full, func(x *option) bool { return sameEndpoint(x.row(), o.row()) }) {
				full.full = append(full.full, o)
			}
		case soft.option == nil:
			soft = choice{option: o, force: true, heard: rest.Heard}
		}
	}
	switch {
	case waited != nil:
		return choice{option: waited}
	case full.full != nil:
		return full
	case soft.option != nil:
		return soft
	case slow != nil && (firm.rest == nil || !firm.until.Before(r.deadline)):
		return choice{option: slow, force: true}
	}
	return firm
}

func (r *run) rest(o *option, now time.Time) telemetry.Rest {
	return r.j.Health.Try(o.row(), o.credential.Name, r.tokens, now)
}

// suits says whether an option may be tried for e: it is not out, no attempt at its endpoint is under way, and its provider
// may be shown the body.
func (r *run) suits(e *errand, o *option) bool {
	if o.out || e.spent[o.row().ID] || e.suits != nil && !e.suits(o.permit) {
		return false
	}
	for _, a := range r.active {
		if sameEndpoint(a.row, o.row()) || r.hedging && o.permit.Obligations().NoHedge {
			return false
		}
	}
	return r.mayShow(o.permit)
}

// mayShow says whether the body may be shown to the permit's provider, given how many have or may have seen it.
func (r *run) mayShow(p policy.Permit) bool {
	most := p.Obligations().MaxProcessors
	if most == 0 {
		return true
	}
	shown := map[string]bool{p.Row().Provider.ID: true}
	for _, a := range r.attempts {
		if a.BodySent != "none" {
			shown[a.ProviderID] = true
		}
	}
	for _, a := range r.active {
		shown[a.row.Provider.ID] = true
	}
	return len(shown) <= most
}

// drop takes options out for the rest of the request.
func (r *run) drop(these func(*catalog.Row) bool) {
	for i := range r.options {
		if these(r.options[i].row()) {
			r.options[i].out = true
		}
	}
}

func sameEndpoint(a, b *catalog.Row) bool { return a.Model.ID == b.Model.ID && a.Tag == b.Tag }
