package route

import (
	"context"
	"strings"

	"chaperone/engine/catalog"
	"chaperone/engine/policy"
)

// remedy is what would have to change so that one row could serve a request.
type remedy struct {
	row     *catalog.Row
	changes []Change        // of the request
	denials []policy.Reason // that no change of the request lifts
}

// smallestChange is the remedy with the fewest changes, of those that the caller can make; where there is none, the row that
// the fewest rules of policy keep out. nil where nothing but the operator's catalog and keys could help.
func (r *Router) smallestChange(ctx context.Context, p *Plan) *remedy {
	if p.past != nil {
		return nil // nobody waits for advice
	}
	rows := make([]*catalog.Row, len(p.Candidates))
	for i := range p.Candidates {
		rows[i] = p.Candidates[i].Row
	}
	j := r.Policies.Judge(ctx, &policy.Query{Principal: p.Principal, Request: p.Request, Rows: rows, Stats: p.Stats, Now: p.At})
	var best *remedy
	for i, row := range rows {
		s := sieve{router: r, made: p.Made, req: p.Request, prefs: &p.Request.Preferences, ask: &p.asked[p.Candidates[i].model], row: row, now: p.At, all: true}
		if s.capable() {
			s.wanted()
		}
		found := remedy{row: row, denials: j.Verdicts[i].Denials}
		possible := row.Group.Usable() && (len(found.denials) > 0 || j.Verdicts[i].Permit.Row() == row)
		for _, e := range s.found {
			possible = possible && e.change.Field != ""
			found.changes = append(found.changes, e.change)
		}
		if possible && (best == nil || found.smaller(best)) {
			best = &found
		}
	}
	return best
}

func (m *remedy) smaller(other *remedy) bool {
	if len(m.denials) != len(other.denials) {
		return len(m.denials) < len(other.denials)
	}
	return len(m.changes) < len(other.changes)
}

// fields are those of the request; "policy" where that is in the way.
func (m *remedy) fields() string {
	var names []string
	for _, c := range m.changes {
		names = append(names, c.Field)
	}
	if len(m.denials) > 0 {
		names = append(names, "policy")
	}
	return strings.Join(names, ",")
}

// String reads "provider.zdr left out (careful/fast)".
func (m *remedy) String() string {
	var parts []string
	for _, c := range m.changes {
		parts = append(parts, c.Field+" "+c.Detail)
	}
	if len(m.denials) > 0 {
		parts = append(parts, "another policy than "+reasonText(m.denials))
	}
	return strings.Join(parts, ", ") + " (" + m.row.Tag + ")"
}
