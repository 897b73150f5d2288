package policy

import "github.com/open-policy-agent/opa/v1/ast"

// maxSpread is how many values a rule may hold once the rules and variables that it is made of are written out in it. OPA's type
// checker writes types out where it reports one, so forty rules of which each holds the one before twice would keep a load from
// ever ending. What only an evaluation can tell, meter.go bounds.
const maxSpread = 10_000

// checkSpread refuses rules that hold too much, wherever in them that is.
func (g *graph) checkSpread() {
	s := spreader{g, map[*ruleNode]int{}}
	for _, n := range g.nodes {
		b, most := s.body(n), 0
		ast.WalkTerms(n.rule, func(t *ast.Term) bool {
			most = max(most, b.term(t))
			return most > maxSpread
		})
		if most > maxSpread {
			g.problem(n.rule.Location, "%s holds more than %d values once the rules and variables that it is made of are written out in it; let it hold each once", n.name(), maxSpread)
			return // those that hold it do so too
		}
	}
}

// spreader counts what rules hold. It counts on no further than beyond maxSpread.
type spreader struct {
	graph *graph
	rules map[*ruleNode]int // 1 while they are being counted: what depends on itself is refused later
}

// rule is how many values others get from n.
func (s *spreader) rule(n *ruleNode) int {
	if known, ok := s.rules[n]; ok {
		return known
	}
	s.rules[n] = 1
	b, count := s.body(n), 1
	for _, t := range headTerms(n.rule.Head) {
		count = max(count, b.term(t))
	}
	if v := n.rule.Head.Value; v != nil {
		count = max(count, b.term(v))
	}
	s.rules[n] = count
	return count
}

func (s *spreader) body(n *ruleNode) *body {
	b := &body{s, map[ast.Var][]*ast.Term{}, map[ast.Var]int{}}
	ast.WalkExprs(n.rule, func(e *ast.Expr) bool {
		if e.IsAssignment() || e.IsEquality() {
			b.bind(e.Operand(0), e.Operand(1))
			b.bind(e.Operand(1), e.Operand(0))
		}
		return false
	})
	return b
}

// body is the variables of a rule that is being counted.
type body struct {
	*spreader
	sources map[ast.Var][]*ast.Term // what each is made equal to
	vars    map[ast.Var]int
}

func (b *body) bind(v, t *ast.Term) {
	if name, ok := v.Value.(ast.Var); ok {
		b.sources[name] = append(b.sources[name], t)
	}
}

func (b *body) term(t *ast.Term) int {
	n := 1
	add := func(part *ast.Term) {
		if n <= maxSpread {
			n += b.term(part)
		}
	}
	switch v := t.Value.(type) {
	case *ast.Array:
		v.Foreach(add)
	case ast.Set:
		v.Foreach(add)
	case ast.Object:
		v.Foreach(func(key, value *ast.Term) { add(key); add(value) })
	case *ast.ArrayComprehension:
		add(v.Term)
	case *ast.SetComprehension:
		add(v.Term)
	case *ast.ObjectComprehension:
		add(v.Key)
		add(v.Value)
	case ast.Var:
		return b.variable(v)
	case ast.Call:
		return b.term(v[0])
	case ast.Ref:
		if !v.HasPrefix(ast.DefaultRootRef) {
			return b.term(v[0])
		}
		for _, callee := range b.graph.callees(v) {
			n = max(n, b.rule(callee))
		}
	}
	return n
}

func (b *body) variable(v ast.Var) int {
	if known, ok := b.vars[v]; ok {
		return known
	}
	b.vars[v] = 1
	n := 1
	for _, source := range b.sources[v] {
		n = max(n, b.term(source))
	}
	b.vars[v] = n
	return n
}
