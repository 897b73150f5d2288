package policy

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/keys"

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
	// Either a directory or a bundle, relative to the TOML file.
	Path   string `toml:"path"`
	Bundle string `toml:"bundle"` // .tar.gz, or an address that is polled

	VerificationKey string `toml:"verification_key"` // PEM file, or a file with the shared secret: bundles must be signed
	Algorithm       string `toml:"algorithm"`        // of the signature; RS256 where it is not written
	Scope           string `toml:"scope"`            // that the signature must have

	Poll        *time.Duration `toml:"poll" check:"min=10ms"`
	MaxAge      *time.Duration `toml:"max_age" check:"min=1s"` // from which on requests are refused
	TokenEnv    string         `toml:"token_env"`              // variable with the bearer token
	TokenFile   string         `toml:"token_file"`
	Certificate string         `toml:"certificate"` // PEM file for mTLS, with key
	Key         string         `toml:"key"`
	CA          string         `toml:"ca"` // PEM file; the machine's own where it is not written
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
	incomplete    bool // some source could not be read
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
		for _, sc := range p.Sources {
			found := sc.check(included)
			problems = append(problems, found...)
			if len(found) == 0 {
				s.sources = append(s.sources, sc)
			} else {
				s.incomplete = true
			}
		}
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

// address says whether the source's bundle is fetched over HTTP.
func (s sourceConfig) address() bool {
	return strings.HasPrefix(s.Bundle, "https://") || strings.HasPrefix(s.Bundle, "http://")
}

// beside is a file or directory that the source names.
func (s sourceConfig) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(s.Document().Path()), name)
}

// check holds the source's keys against one another.
func (s sourceConfig) check(included bool) (problems config.Problems) {
	switch {
	case s.Path == "" && s.Bundle == "":
		problems = append(problems, s.Problem("path", "missing; expected path = \"directory\" or bundle = \"FILE.tar.gz\" or \"https://…\""))
	case s.Path != "" && s.Bundle != "":
		problems = append(problems, s.Problem("bundle", "path is set too; a source is either a directory or a bundle"))
	}
	if s.address() && included {
		problems = append(problems, s.Problem("bundle", "found an address; a team's file may only name directories and bundles on disk, write this source in chaperone.toml"))
	}
	given := map[string]bool{
		"poll": s.Poll != nil, "max_age": s.MaxAge != nil, "token_env": s.TokenEnv != "", "token_file": s.TokenFile != "",
		"certificate": s.Certificate != "", "key": s.Key != "", "ca": s.CA != "",
	}
	for _, key := range sortedKeys(given) {
		if given[key] && !s.address() {
			problems = append(problems, s.Problem(key, "only a bundle that is fetched has it; leave it out"))
		}
	}
	for key, value := range map[string]string{"verification_key": s.VerificationKey, "algorithm": s.Algorithm, "scope": s.Scope} {
		switch {
		case value == "":
		case s.Bundle == "":
			problems = append(problems, s.Problem(key, "only bundles are signed; leave it out"))
		case s.VerificationKey == "":
			problems = append(problems, s.Problem(key, "there is no verification_key, so nothing would be verified"))
		}
	}
	if s.Algorithm != "" && !keys.IsSupportedAlgorithm(s.Algorithm) {
		problems = append(problems, s.Problem("algorithm", "found %q; expected RS256, ES256, PS256, HS256 or one of their longer forms", s.Algorithm))
	}
	return problems
}

// verification is what the source demands of its bundles; nil: nothing.
func (s sourceConfig) verification() (*verification, config.Problems) {
	if s.VerificationKey == "" {
		return nil, nil
	}
	text, err := os.ReadFile(s.beside(s.VerificationKey))
	if err != nil {
		return nil, config.Problems{s.Problem("verification_key", "found %q: %s; expected a file with a public key", s.VerificationKey, message(err))}
	}
	key := strings.TrimSpace(string(text))
	if key == "" {
		return nil, config.Problems{s.Problem("verification_key", "found %q, which is empty; expected a public key in PEM", s.VerificationKey)}
	}
	return &verification{key: key, algorithm: cmp.Or(s.Algorithm, "RS256"), scope: s.Scope}, nil
}
