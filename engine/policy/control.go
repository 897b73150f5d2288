package policy

import (
	"slices"
	"time"

	"chaperone/engine/account"
)

// Control is a binding as reports name it.
type Control struct {
	Binding     string         `json:"binding"` // as Reason.Binding: "library.training for org:acme"
	Package     string         `json:"package"`
	For         string         `json:"for"`
	Params      map[string]any `json:"params,omitempty"`
	Enforcement string         `json:"enforcement"`
	Until       time.Time      `json:"until,omitzero"` // the last day on which it only warns or runs dry
	Rules       []Rule         `json:"rules,omitempty"`
	Waivers     []Waiver       `json:"waivers,omitempty"`
}

// Rule is what the metadata of a control's rules say.
type Rule struct {
	Title    string `json:"title,omitempty"`
	Control  string `json:"control,omitempty"`
	Severity string `json:"severity,omitempty"`
}

// Controls are the bindings that apply to an organisation, or to some team or key of it.
func (s *Set) Controls(accounts *account.Accounts, organisation string) []Control {
	var all []Control
	for _, b := range s.all() {
		if !b.scope.everyone && b.scope.organisation != organisation {
			key := keyOf(accounts, b.scope.key)
			if key == nil || key.Organisation != organisation {
				continue
			}
		}
		c := Control{Binding: b.name, Package: b.pkg, For: b.scope.String(), Params: b.params, Enforcement: b.enforcement, Until: b.until, Rules: b.policy.rules}
		for _, w := range b.waivers {
			c.Waivers = append(c.Waivers, *w.shown)
		}
		all = append(all, c)
	}
	return all
}

// described is what metadata say of the rules of a package, each thing once.
func (c *compiled) described(pkg string) []Rule {
	var all []Rule
	for _, n := range c.graph.packages[pkg] {
		m := c.graph.metadata[keyOfRule(n.rule.Location)]
		if m == nil {
			continue
		}
		if r := (Rule{m.title, m.control, m.severity}); r != (Rule{}) && !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	return all
}
