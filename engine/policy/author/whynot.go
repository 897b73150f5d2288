package author

import (
	"context"
	"fmt"
	"slices"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// WhyNot is why a row may not serve, and what would change that.
type WhyNot struct {
	Row       string          `json:"row"`
	Permitted bool            `json:"permitted"`
	Denials   []policy.Reason `json:"denials"`
	// Alone are changes of which each by itself lets the row serve.
	Alone []Change `json:"alone"`
	// Together are changes that do so only with each other, none of which can be left out; only where nothing does alone.
	Together []Change `json:"together"`
}

// Change is one other value of one field, under its name in the input of policies.
type Change struct {
	// Kind is request (the caller can do it), moment (wait for it), principal (the operator can set it) or terms: what would
	// have to be so at the provider. To write that into the catalog while it is not true would be to lie to the policies.
	Kind  string `json:"kind"`
	Field string `json:"field"`
	From  string `json:"from"`
	To    string `json:"to"`
}

// The kinds of change, in the order in which they are shown.
const (
	ofRequest   = "request"
	ofMoment    = "moment"
	ofPrincipal = "principal"
	ofTerms     = "terms"
)

// situation is everything that a ruling depends on.
type situation struct {
	who   *account.Principal
	req   *wire.Request
	row   *catalog.Row
	stats *telemetry.View
	at    time.Time
}

// alternative is a situation that differs from another in one change.
type alternative struct {
	Change
	to situation
}

// WhyNot judges every row and, where one is denied, judges it again under changes of one field each. The values that it
// tries are those of the vocabularies, of the catalog's other rows, and what rules and parameters compare with, nearest first: it finds
// no change to a value that none of them names.
func (w *World) WhyNot(ctx context.Context, who *account.Principal, req *wire.Request, rows []*catalog.Row, at time.Time) []WhyNot {
	values := w.vocabulary(who)
	var out []WhyNot
	for _, row := range rows {
		now := situation{who, req, row, w.stats.View(at), at}
		r := w.ruleIn(ctx, &now)
		n := WhyNot{Row: row.ID, Permitted: r.Permitted, Denials: r.Denials, Alone: []Change{}, Together: []Change{}}
		if !r.Permitted {
			n.Alone = w.alone(ctx, &now, values)
			if len(n.Alone) == 0 {
				n.Together = w.together(ctx, now, values)
			}
		}
		out = append(out, n)
	}
	return out
}

func (w *World) ruleIn(ctx context.Context, s *situation) Ruling {
	return w.rulings(ctx, w.Policies, &policy.Query{Principal: s.who, Request: s.req, Rows: []*catalog.Row{s.row}, Stats: s.stats, Now: s.at})[0]
}

// alone are the first value of each field that lets the row serve.
func (w *World) alone(ctx context.Context, s *situation, v *vocabulary) []Change {
	found := []Change{}
	done := map[string]bool{}
	for _, a := range v.alternatives(s) {
		if !done[a.Field] && w.ruleIn(ctx, &a.to).Permitted {
			done[a.Field] = true
			found = append(found, a.Change)
		}
	}
	return found
}

// mostTogether bounds how many fields are changed at once: a longer list would be no help.
const mostTogether = 6

// together changes, again and again, the field that takes most denials away; then it takes back what was not needed.
func (w *World) together(ctx context.Context, s situation, v *vocabulary) []Change {
	start := s
	var steps []alternative
	left := distance(w.ruleIn(ctx, &s))
	for left > 0 {
		var best *alternative
		for _, a := range v.alternatives(&s) {
			if n := distance(w.ruleIn(ctx, &a.to)); n < left {
				best, left = &a, n
			}
		}
		if best == nil || len(steps) == mostTogether {
			return []Change{}
		}
		steps, s = append(steps, *best), best.to
	}
	for i := 0; i < len(steps) && len(steps) > 1; {
		fewer := slices.Delete(slices.Clone(steps), i, i+1)
		if to, ok := v.replay(start, fewer); ok && w.ruleIn(ctx, &to).Permitted {
			steps = fewer
		} else {
			i++
		}
	}
	changes := []Change{}
	for _, a := range steps {
		changes = append(changes, a.Change)
	}
	return changes
}

// distance is how far a row is from being permitted. A refused request is farther than any denials of rows: what they are
// shows only once it is not refused.
func distance(r Ruling) int {
	n := len(r.Denials)
	if r.Rejected {
		n += 1 << 20
	}
	return n
}

// replay makes the changes one after the other; false where one of them is none any more.
func (v *vocabulary) replay(s situation, steps []alternative) (situation, bool) {
	for _, step := range steps {
		found := false
		for _, a := range v.alternatives(&s) {
			if a.Field == step.Field && a.To == step.To {
				s, found = a.to, true
				break
			}
		}
		if !found {
			return s, false
		}
	}
	return s, true
}

func list(values []string) string { return fmt.Sprintf("%q", values) }
