package policy

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/config"
)

// section is [policy].
type section struct {
	config.Origin
	RequirePolicy     *bool           `toml:"require_policy"`
	EvaluationTimeout *time.Duration  `toml:"evaluation_timeout"`
	GuardOneIn        *int            `toml:"guard_one_in" check:"min=0"`
	Sources           []sourceConfig  `toml:"sources"`
	Bindings          []bindingConfig `toml:"bindings"`
	Waivers           []waiverConfig  `toml:"waivers"`
}

type sourceConfig struct {
	config.Origin
	Name string `toml:"name" check:"required"`
	Path string `toml:"path" check:"required"`
}

type bindingConfig struct {
	config.Origin
	Package     string         `toml:"package" check:"required"`
	For         string         `toml:"for"`
	Source      string         `toml:"source"`
	Params      map[string]any `toml:"params"`
	Enforcement string         `toml:"enforcement" check:"oneof=deny|warn|dryrun"`
	Until       time.Time      `toml:"until"`
}

// defaultEvaluationTimeout bounds what one evaluation, which takes tens of microseconds, may take when a policy runs wild. It is
// wall time: on a machine that is starved of CPU a short one would deny rows that nothing is wrong with, and lose requests.
const defaultEvaluationTimeout = time.Second

// defaultGuardOneIn is of how many judgements from memory one is held against an evaluation.
const defaultGuardOneIn = 1000

// scope is whom a binding applies to.
type scope struct {
	everyone     bool
	organisation string
	team         string // of organisation
	key          string
}

func (s scope) String() string {
	switch {
	case s.everyone:
		return "everyone"
	case s.key != "":
		return "key:" + s.key
	case s.team != "":
		return "team:" + s.organisation + "/" + s.team
	}
	return "org:" + s.organisation
}

func parseScope(s string) (scope, bool) {
	kind, id, _ := strings.Cut(s, ":")
	switch {
	case s == "everyone":
		return scope{everyone: true}, true
	case id == "":
		return scope{}, false
	case kind == "org":
		return scope{organisation: id}, !strings.Contains(id, "/")
	case kind == "key":
		return scope{key: id}, true
	case kind == "team":
		organisation, team, ok := strings.Cut(id, "/")
		return scope{organisation: organisation, team: team}, ok && organisation != "" && team != "" && !strings.Contains(team, "/")
	}
	return scope{}, false
}

// settings is what all documents together say.
type settings struct {
	requirePolicy bool
	timeout       time.Duration
	guardOneIn    int
	sources       []sourceConfig
	bindings      []scopedBinding
	waivers       []scopedWaiver
}

type scopedBinding struct {
	bindingConfig
	scope scope
	layer scope // whose file it stands in; everyone: chaperone.toml
}

// readSettings reads [policy] of every document. The first is chaperone.toml. The others are teams' own: such a one says
// whose it is and may add sources and bindings for that team, and nothing else.
func readSettings(docs []*config.Document, accounts *account.Accounts) (*settings, config.Problems) {
	s := &settings{timeout: defaultEvaluationTimeout, guardOneIn: defaultGuardOneIn}
	var problems config.Problems
	for i, doc := range docs {
		var p section
		problems = append(problems, doc.Decode("policy", &p)...)
		included := i > 0
		owner := scope{everyone: true}
		if included {
			var found config.Problems
			if owner, found = teamOf(doc, accounts); len(found) > 0 {
				problems = append(problems, found...)
				continue
			}
		}
		problems = append(problems, s.limits(&p, included)...)
		s.sources = append(s.sources, p.Sources...)
		for _, b := range p.Bindings {
			sc, found := b.resolve(owner, included, accounts)
			problems = append(problems, found...)
			if len(found) == 0 {
				s.bindings = append(s.bindings, scopedBinding{b, sc, owner})
			}
		}
		for _, w := range p.Waivers {
			sc, found := w.resolve(owner, included, accounts)
			problems = append(problems, found...)
			if len(found) == 0 {
				s.waivers = append(s.waivers, scopedWaiver{w, sc, owner})
			}
		}
	}
	return s, problems
}

// limits takes in what only chaperone.toml may set.
func (s *settings) limits(p *section, included bool) (problems config.Problems) {
	if p.RequirePolicy != nil {
		s.requirePolicy = *p.RequirePolicy
		if included {
			problems = append(problems, p.Problem("require_policy", "a team's file may only add sources, bindings and waivers; write this in chaperone.toml"))
		}
	}
	if p.EvaluationTimeout != nil {
		s.timeout = *p.EvaluationTimeout
		switch {
		case included:
			problems = append(problems, p.Problem("evaluation_timeout", "a team's file may only add sources, bindings and waivers; write this in chaperone.toml"))
		case s.timeout <= 0:
			problems = append(problems, p.Problem("evaluation_timeout", "found %s; expected more than 0, such as \"1s\"", s.timeout))
		}
	}
	if p.GuardOneIn != nil {
		s.guardOneIn = *p.GuardOneIn
		if included {
			problems = append(problems, p.Problem("guard_one_in", "a team's file may only add sources, bindings and waivers; write this in chaperone.toml"))
		}
	}
	return problems
}

// teamOf says whose document it is.
func teamOf(doc *config.Document, accounts *account.Accounts) (scope, config.Problems) {
	var s scope
	problems := append(doc.Decode("organisation", &s.organisation), doc.Decode("team", &s.team)...)
	switch {
	case len(problems) > 0:
		return s, problems
	case s.organisation == "" || s.team == "":
		return s, config.Problems{{File: doc.Path(), Line: 1, Message: "an included file says whose it is: organisation = \"…\" and team = \"…\", above its tables"}}
	}
	if why := exists(s, accounts); why != "" {
		return s, config.Problems{doc.Problem("team", "%s", why)}
	}
	return s, nil
}

const scopeForms = `"everyone", "org:ID", "team:ORG/TEAM" or "key:KEYID"`

// resolve checks the binding's own values and finds its scope.
func (b *bindingConfig) resolve(owner scope, included bool, accounts *account.Accounts) (scope, config.Problems) {
	var problems config.Problems
	if b.Enforcement == "" {
		b.Enforcement = enforceDeny
	}
	switch soft := b.Enforcement != enforceDeny; {
	case soft && b.Until.IsZero():
		problems = append(problems, b.Problem("until", "missing; %s excludes nothing and must end: until = 2027-01-31, after which it denies", b.Enforcement))
	case !soft && !b.Until.IsZero():
		problems = append(problems, b.Problem("until", "only warn and dryrun end; leave it out, or set enforcement"))
	}
	if b.For == "" {
		if !included {
			return scope{}, append(problems, b.Problem("for", "missing; expected %s", scopeForms))
		}
		return owner, problems
	}
	sc, ok := parseScope(b.For)
	if !ok {
		return scope{}, append(problems, b.Problem("for", "found %q; expected %s", b.For, scopeForms))
	}
	if why := exists(sc, accounts); why != "" {
		return scope{}, append(problems, b.Problem("for", "%s", why))
	}
	if included && !owner.includes(sc, accounts) {
		return scope{}, append(problems, b.Problem("for", "found %q, which is outside %s; a team's file may only bind policies to that team or its keys", b.For, owner))
	}
	return sc, problems
}

// includes says whether everyone that other covers is of the team s.
func (s scope) includes(other scope, accounts *account.Accounts) bool {
	if other.key != "" {
		key := keyOf(accounts, other.key)
		return key != nil && key.Organisation == s.organisation && key.Team == s.team
	}
	return other == s
}

// exists says why nobody is covered by s; "" where that is not so.
func exists(s scope, accounts *account.Accounts) string {
	if s.everyone {
		return ""
	}
	if s.key != "" {
		if keyOf(accounts, s.key) == nil {
			return fmt.Sprintf("there is no key %q; `chaperone key list` shows them", s.key)
		}
		return ""
	}
	o := accounts.Organisations[s.organisation]
	if o == nil {
		return config.UnknownName("organisation", s.organisation, slices.Collect(maps.Keys(accounts.Organisations)))
	}
	if s.team != "" && o.Teams[s.team] == nil {
		return config.UnknownName("team of "+o.ID, s.team, slices.Collect(maps.Keys(o.Teams)))
	}
	return ""
}

// directory is where a source of that document lies.
func (s sourceConfig) directory() string {
	if filepath.IsAbs(s.Path) {
		return s.Path
	}
	return filepath.Join(filepath.Dir(s.Document().Path()), s.Path)
}
