package policy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"chaperone/engine/config"
)

// BindingCost is what judging under one binding costs. Answers are remembered by what a policy reads: the fewer values that
// has, the more rarely Rego is evaluated.
type BindingCost struct {
	Binding     string `json:"binding"` // "library.training for org:acme"
	Package     string `json:"package"`
	For         string `json:"for"`
	Enforcement string `json:"enforcement"`
	// Request and Row are the fields of the key under which answers are remembered: those that are the same for every row,
	// and those of the row. Both are sorted by name.
	Request []FieldCost `json:"request,omitempty"`
	Row     []FieldCost `json:"row,omitempty"`
	Rows    int         `json:"rows"`    // of the catalog
	Classes int         `json:"classes"` // of rows that agree on Row, and so share an evaluation
	// Combinations is how many values Request can have together; 0: without bound.
	Combinations int `json:"combinations"`
	// Enumerable says that all answers, Combinations × Classes, were worked out at load: judging is then a look into a table.
	Enumerable bool `json:"enumerable"`
	// Worst is the field that makes the binding dearest, or that keeps it from being enumerable; nil: there is none.
	Worst *FieldCost `json:"worst,omitempty"`

	dear bool // Worst is worth a warning
}

// FieldCost is one field that a policy reads.
type FieldCost struct {
	Field  string  `json:"field"`          // "input.endpoint.price.prompt", or one key of a map: input.principal.labels["stage"]
	Values int     `json:"values"`         // that it can have (of a row: that it has in the catalog); 0: not known beforehand
	Many   string  `json:"many,omitempty"` // why remembering is of little use where this is read; "": it is of use
	Live   bool    `json:"live,omitempty"` // it changes with the statistics
	Places []Place `json:"places"`         // where it is read, the first first
}

// Place is a line of a module.
type Place struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

// manyClasses is from how many classes on, where nearly every row is one of its own, the cost names a field of the row.
const manyClasses = 64

// Cost is what judging costs under each binding, with the catalog's rows as they are at now.
func (s *Set) Cost(now time.Time) []BindingCost {
	var all []BindingCost
	for _, b := range s.all() {
		all = append(all, s.cost(b, now))
	}
	return all
}

// Warnings are what rules and parameters look for and nothing of the catalog or the accounts has, the lines of policies that make judging
// dear, what took too long on inputs made for trying policies out, bindings that add nothing, and trials and exceptions that have
// ended. They say what would be better, and are no reason to refuse the policies.
func (s *Set) Warnings(now time.Time) config.Problems {
	problems := slices.Clone(s.warnings)
	seen := map[string]bool{}
	for _, b := range s.all() {
		c := s.cost(b, now)
		if seen[c.Package] || !c.dear {
			continue
		}
		seen[c.Package] = true
		w := c.Worst
		p := config.Problem{Message: fmt.Sprintf("%s is evaluated again for nearly every request: it reads %s, and %s; decide by a field with fewer values where you can", b.name, w.Field, w.Many)}
		if w.Many == "" {
			p.Message = fmt.Sprintf("%s is evaluated for nearly every endpoint by itself (%d classes of %d rows): it reads %s, which has %d values; decide by a field with fewer values where you can", b.name, c.Classes, c.Rows, w.Field, w.Values)
		}
		if len(w.Places) > 0 {
			p.File, p.Line = w.Places[0].File, w.Places[0].Line
		}
		problems = append(problems, p)
	}
	for _, b := range s.all() {
		if b.enforcement != enforceDeny && b.enforcementAt(now) == enforceDeny {
			problems = append(problems, b.ended)
		}
		for _, w := range b.waivers {
			if day(now) > day(w.until) && !seen[w.shown.File+w.shown.Rule+w.shown.Endpoint+w.shown.For] {
				seen[w.shown.File+w.shown.Rule+w.shown.Endpoint+w.shown.For] = true
				problems = append(problems, config.Problem{File: w.shown.File, Line: w.shown.Line, Message: fmt.Sprintf("the exception from %s for %s ended on %s; remove it, or have it approved anew", w.shown.Rule, w.shown.For, w.shown.Until)})
			}
		}
	}
	return problems
}

func (s *Set) cost(b *binding, now time.Time) BindingCost {
	c := BindingCost{Binding: b.name, Package: b.pkg, For: b.scope.String(), Enforcement: b.enforcement, Rows: len(s.rows), Combinations: 1, Enumerable: true}
	var reads []read
	for _, q := range b.policy.questions() {
		reads = append(reads, q.reads...)
		c.Enumerable = c.Enumerable && q.memo.enumerated
	}
	set := newReadSet(reads)
	row, request := set.under("input.endpoint")
	inputs := make([]Input, len(s.rows))
	for i, r := range s.rows {
		inputs[i].Endpoint = s.endpoints[i]
		inputs[i].fillTerms(r, now)
		inputs[i].fillStats(nil, nil, r)
	}
	c.Classes = countDistinct(row, inputs)
	for _, r := range row {
		f := b.policy.fieldCost(r)
		f.Values = countDistinct(readSet{r}, inputs)
		live, _ := readSet{r}.under("input.endpoint.stats")
		f.Live = len(live) > 0
		c.Row = append(c.Row, f)
	}
	for _, r := range request {
		f := b.policy.fieldCost(r)
		f.Values = len(r.finite())
		c.Combinations = boundedProduct(c.Combinations, f.Values)
		c.Request = append(c.Request, f)
	}
	c.findWorst()
	return c
}

// boundedProduct is 0 where a factor is, or where it grows beyond what anybody would count.
func boundedProduct(a, b int) int {
	if a*b > 1<<40 {
		return 0
	}
	return a * b
}

func countDistinct(reads readSet, inputs []Input) int {
	seen := map[string]bool{}
	var key []byte
	for i := range inputs {
		key = reads.appendKey(key[:0], &inputs[i])
		seen[string(key)] = true
	}
	return len(seen)
}

func (c *BindingCost) findWorst() {
	for i := range c.Request {
		if c.Request[i].Many != "" {
			c.Worst, c.dear = &c.Request[i], true
			return
		}
	}
	if c.Classes >= manyClasses && 2*c.Classes > c.Rows {
		most := slices.MaxFunc(c.Row, func(a, b FieldCost) int { return cmp.Compare(a.Values, b.Values) })
		c.Worst, c.dear = &most, true
		return
	}
	for _, fields := range [][]FieldCost{c.Request, c.Row} {
		for i := range fields {
			if f := &fields[i]; f.Values == 0 || f.Live {
				c.Worst = f
				return
			}
		}
	}
}

// fieldCost says where the policy reads r.
func (p *policy) fieldCost(r read) FieldCost {
	f := FieldCost{Field: r.String(), Many: r.field.many}
	for _, at := range p.places {
		if at.what.field == r.field && (at.what == r || !r.keyed) {
			place := Place{at.loc.File, at.loc.Row}
			if !slices.Contains(f.Places, place) {
				f.Places = append(f.Places, place)
			}
		}
	}
	slices.SortFunc(f.Places, func(a, b Place) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	return f
}

func (p *policy) questions() []*question {
	return slices.DeleteFunc([]*question{p.row, p.request, p.prefer}, func(q *question) bool { return q == nil })
}

// placesOf is every place where the contract's rules of pkg, and what they reach, read the input.
func (c *compiled) placesOf(pkg string) []place[read] {
	var all []place[read]
	for _, n := range c.graph.reachable(pkg, contract...) {
		all = append(all, n.reads...)
	}
	return slices.DeleteFunc(all, func(p place[read]) bool { return p.loc == nil })
}
