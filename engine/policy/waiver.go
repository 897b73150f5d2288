package policy

import (
	"slices"
	"strings"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

// A waiver is the one way in which a denial does not count: operators except named principals from a rule, at one endpoint,
// until a day. Only rules whose author marked them custom.waivable can be waived, only by the layer that wrote the binding
// or by chaperone.toml, and the denial stays visible as a warning that names its waiver.

// enforceWaived is the Enforcement of a reason that is waived.
const enforceWaived = "waived"

// Waiver is an exception that operators made.
type Waiver struct {
	Rule       string `json:"rule"`
	For        string `json:"for"`
	Endpoint   string `json:"endpoint"`
	Until      string `json:"until"` // the last day in UTC, YYYY-MM-DD
	Ticket     string `json:"ticket"`
	ApprovedBy string `json:"approved_by"`
	File       string `json:"file"` // where it is written
	Line       int    `json:"line"`
}

type waiverConfig struct {
	config.Origin
	Rule       string    `toml:"rule" check:"required"`
	For        string    `toml:"for" check:"required"`
	Endpoint   string    `toml:"endpoint" check:"required"`
	Until      time.Time `toml:"until"`
	Ticket     string    `toml:"ticket" check:"required"`
	ApprovedBy string    `toml:"approved_by" check:"required"`
}

// waiver is a Waiver ready to apply.
type waiver struct {
	shown *Waiver
	pkg   string // "library.retention"
	code  string // of the reasons; "": all of the rule's
	scope scope
	layer scope    // whose file it stands in; everyone: chaperone.toml
	rows  []string // ids
	until time.Time
}

type scopedWaiver struct {
	waiverConfig
	scope, layer scope
}

// resolve checks what the waiver says by itself.
func (w *waiverConfig) resolve(owner scope, included bool, accounts *account.Accounts) (scope, config.Problems) {
	var problems config.Problems
	if w.Until.IsZero() {
		problems = append(problems, w.Problem("until", "missing; an exception must end: until = 2027-01-31 is its last day"))
	}
	if w.For == "" {
		return scope{}, problems // reported by Decode
	}
	sc, ok := parseScope(w.For)
	if !ok {
		return scope{}, append(problems, w.Problem("for", "found %q; expected %s", w.For, scopeForms))
	}
	if why := exists(sc, accounts); why != "" {
		return scope{}, append(problems, w.Problem("for", "%s", why))
	}
	if included && !owner.includes(sc, accounts) {
		problems = append(problems, w.Problem("for", "found %q, which is outside %s; a team's file may only make exceptions for that team or its keys", w.For, owner))
	}
	return sc, problems
}

// waive attaches every waiver to the bindings whose denials it excepts.
func (s *Set) waive(waivers []scopedWaiver, build *builder, rows []*catalog.Row) (problems config.Problems) {
	for i := range waivers {
		w := &waivers[i]
		if w.Rule == "" || w.Endpoint == "" {
			continue // reported by Decode
		}
		rule, code, _ := strings.Cut(w.Rule, "/")
		pkg, isDeny := strings.CutSuffix(rule, "."+ruleDeny)
		if !isDeny {
			problems = append(problems, w.Problem("rule", "found %q; expected the deny of a package, such as \"library.retention.deny\", or with the code of its reasons, \"library.retention.deny/retention\"", w.Rule))
			continue
		}
		at := &waiver{pkg: pkg, code: code, scope: w.scope, layer: w.layer, until: w.Until, shown: &Waiver{
			Rule: w.Rule, For: w.For, Endpoint: w.Endpoint, Until: w.Until.UTC().Format(time.DateOnly), Ticket: w.Ticket,
			ApprovedBy: w.ApprovedBy, File: w.Document().Path(), Line: w.Problem("rule", "").Line,
		}}
		var known []string
		for _, row := range rows {
			endpoint, _, _ := strings.Cut(row.ID, "#")
			known = append(known, row.ID, endpoint)
			if w.Endpoint == row.ID || w.Endpoint == endpoint {
				at.rows = append(at.rows, row.ID)
			}
		}
		if len(at.rows) == 0 {
			slices.Sort(known)
			problems = append(problems, w.Problem("endpoint", "%s", config.UnknownName("endpoint", w.Endpoint, slices.Compact(known))))
			continue
		}
		var of, others []*binding
		for _, b := range s.all() {
			switch {
			case b.pkg != pkg:
			case at.layer.everyone || at.layer == b.layer:
				of = append(of, b)
			default:
				others = append(others, b)
			}
		}
		if len(of) == 0 {
			if len(others) > 0 {
				problems = append(problems, w.Problem("rule", "%s is bound by a layer above %s, which alone may make exceptions from it", others[0].name, at.layer))
			} else {
				problems = append(problems, w.Problem("rule", "no binding binds the package %s, so there is nothing to waive", pkg))
			}
			continue
		}
		if why := build.notWaivable(of[0]); why != nil {
			problems = append(problems, w.Problem("rule", "the author of %s has not marked it as one that may be waived (custom: {waivable: true} in the metadata of %s:%d)", w.Rule, why.File, why.Line))
			continue
		}
		s.known(at.scope)
		for _, b := range of {
			b.waivers = append(b.waivers, at)
		}
	}
	return problems
}

// notWaivable is the place of a rule deny where none of the package may be waived; nil where one may.
func (b *builder) notWaivable(of *binding) *config.Problem {
	var first *config.Problem
	for _, c := range b.sources {
		if c == nil {
			continue
		}
		for _, n := range c.graph.packages["data."+of.pkg] {
			if n.name() != ruleDeny {
				continue
			}
			if c.graph.metadata[keyOfRule(n.rule.Location)].waivable {
				return nil
			}
			if first == nil {
				p := problemAt(n.rule.Location, "")
				first = &p
			}
		}
	}
	if first == nil {
		return &config.Problem{}
	}
	return first
}

// known gives a scope dockets of its own, though no binding may be of it.
func (s *Set) known(sc scope) {
	switch t := (team{sc.organisation, sc.team}); {
	case sc.everyone:
	case sc.key != "":
		s.byKey[sc.key] = append([]*binding{}, s.byKey[sc.key]...)
	case sc.team != "":
		s.byTeam[t] = append([]*binding{}, s.byTeam[t]...)
	default:
		s.byOrg[sc.organisation] = append([]*binding{}, s.byOrg[sc.organisation]...)
	}
}

// covers says whether who is in the scope.
func (s scope) covers(who *account.Principal) bool {
	switch {
	case s.everyone:
		return true
	case s.key != "":
		return who.Key.ID == s.key
	case who.Organisation.ID != s.organisation:
		return false
	}
	return s.team == "" || who.Team != nil && who.Team.ID == s.team
}

// waived is the waiver because of which r, a reason of b, does not count at row; nil: it counts.
func (b *binding) waived(r *Reason, q *Query, row *catalog.Row) *Waiver {
	if !r.waivable {
		return nil
	}
	for _, w := range b.waivers {
		if (w.code == "" || w.code == r.Code) && day(q.Now) <= day(w.until) && w.scope.covers(q.Principal) && slices.Contains(w.rows, row.ID) {
			return w.shown
		}
	}
	return nil
}
