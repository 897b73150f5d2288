package policy

import (
	"slices"

	"chaperone/engine/account"
)

// Compared is what policies hold fields against: where their answers can change.
type Compared struct {
	Texts   []string
	Numbers []float64
	// Keys are those that are looked up in the open maps, by the map's name: "input.principal.labels".
	Keys map[string][]string
}

// Compared is what the policies that apply to who hold fields against, in their rules and their parameters.
func (s *Set) Compared(who *account.Principal) Compared {
	c := Compared{Keys: map[string][]string{}}
	for _, b := range s.docketFor(who).bindings {
		c.Texts, c.Numbers = append(c.Texts, b.policy.constants.texts...), append(c.Numbers, b.policy.constants.numbers...)
		for _, q := range b.policy.questions() {
			for _, r := range q.reads {
				if r.keyed {
					c.Keys[r.field.name] = append(c.Keys[r.field.name], r.key)
				}
			}
		}
	}
	slices.Sort(c.Texts)
	slices.Sort(c.Numbers)
	c.Texts, c.Numbers = slices.Compact(c.Texts), slices.Compact(c.Numbers)
	for name, keys := range c.Keys {
		slices.Sort(keys)
		c.Keys[name] = slices.Compact(keys)
	}
	return c
}
