package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Who means "or" and writes two conditions below one another has a rule that never fires: no provider is "a" and "b", and no hour is
// before six and after ten in the evening. OPA loads it.

// confined is what the conditions of a body leave of one value.
type confined struct {
	among    []*ast.Term // that it may be; nil: anything
	said     string      // by which condition
	from, to bound64
}

// bound64 is one end of the numbers that a value may be; the zero value is none.
type bound64 struct {
	set, open bool // open: the number itself is left out
	n         float64
	said      string
}

// together refuses conditions of one body that no input fulfils together.
func (l *linter) together(body ast.Body) {
	of := map[string]*confined{}
	for _, e := range body {
		terms, isCall := e.Terms.([]*ast.Term)
		if e.Negated || !isCall || len(terms) != 3 {
			continue
		}
		if e.Location != nil {
			l.loc = e.Location
		}
		operator := e.Operator().String()
		if operator == ast.Member.Name {
			if values := scalars(l.constant(terms[2])); values != nil {
				l.confine(of, terms[1], values, fmt.Sprintf("%s in %s", terms[1], terms[2]))
			}
			continue
		}
		sign, ok := comparisons[operator]
		if !ok || sign == "!=" {
			continue
		}
		for _, side := range []struct {
			subject, other *ast.Term
			sign           string
		}{{terms[1], terms[2], sign}, {terms[2], terms[1], turned[sign]}} {
			value := l.constant(side.other)
			if !ast.IsScalar(value.Value) {
				continue
			}
			said := fmt.Sprintf("%s %s %s", side.subject, side.sign, side.other)
			if (side.sign == "=" || side.sign == "==") && !l.confine(of, side.subject, []*ast.Term{value}, said) {
				continue // it is said once
			}
			if number, isNumber := value.Value.(ast.Number); isNumber {
				n, _ := number.Float64()
				l.limit(of, side.subject, side.sign, n, said)
			}
		}
	}
}

// scalars is the elements of a set or list of scalars that is written out; nil where it is none, or empty.
func scalars(collection *ast.Term) []*ast.Term {
	var values []*ast.Term
	switch c := collection.Value.(type) {
	case ast.Set:
		values = c.Slice()
	case *ast.Array:
		c.Foreach(func(t *ast.Term) { values = append(values, t) })
	}
	if slices.ContainsFunc(values, func(t *ast.Term) bool { return !ast.IsScalar(t.Value) }) {
		return nil
	}
	return values
}

// subject is what is known of t so far; nil where t may be another value in each condition.
func (l *linter) subject(of map[string]*confined, t *ast.Term) *confined {
	t = l.constant(t)
	switch t.Value.(type) {
	case ast.Var, ast.Ref:
	default:
		return nil
	}
	varies := false
	ast.WalkVars(t, func(v ast.Var) bool {
		varies = varies || v.IsWildcard()
		return varies
	})
	if varies {
		return nil
	}
	key := t.String()
	if of[key] == nil {
		of[key] = &confined{}
	}
	return of[key]
}

// confine is false where nothing is left.
func (l *linter) confine(of map[string]*confined, subject *ast.Term, values []*ast.Term, said string) bool {
	c := l.subject(of, subject)
	if c == nil {
		return true
	}
	if c.among == nil {
		c.among, c.said = values, said
		return true
	}
	left := slices.DeleteFunc(slices.Clone(c.among), func(t *ast.Term) bool {
		return !slices.ContainsFunc(values, t.Equal)
	})
	if len(left) > 0 {
		c.among, c.said = left, said
		return true
	}
	var all []string
	for _, t := range slices.Concat(c.among, values) {
		all = append(all, t.String())
	}
	l.apart(c.said, said, fmt.Sprintf("write %s in {%s}", subject, strings.Join(all, ", ")))
	return false
}

func (l *linter) limit(of map[string]*confined, subject *ast.Term, sign string, n float64, said string) {
	c := l.subject(of, subject)
	if c == nil {
		return
	}
	end := bound64{set: true, open: sign == "<" || sign == ">", n: n, said: said}
	if sign != "<" && sign != "<=" && (!c.from.set || n > c.from.n || n == c.from.n && end.open) {
		c.from = end
	}
	if sign != ">" && sign != ">=" && (!c.to.set || n < c.to.n || n == c.to.n && end.open) {
		c.to = end
	}
	if c.from.set && c.to.set && c.from.said != c.to.said && (c.from.n > c.to.n || c.from.n == c.to.n && (c.from.open || c.to.open)) {
		first := c.from.said
		if first == said {
			first = c.to.said
		}
		l.apart(first, said, "write a rule of the same name for each")
		c.from, c.to = bound64{}, bound64{} // it is said once
	}
}

func (l *linter) apart(first, second, instead string) {
	l.problem("%s and %s never hold together, and a rule holds only where all of its conditions do; if either is meant, %s", first, second, instead)
}
