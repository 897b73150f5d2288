package policy

import "github.com/open-policy-agent/opa/v1/ast"

// deepestCall is how many functions a field is followed through that call one another.
const deepestCall = 3

// arguments finds what functions are given, so that what they compare it with is held against the field that it is. It goes on from what
// the last pass has found.
func (g *graph) arguments() map[string][]*ast.Term {
	found := map[string][]*ast.Term{}
	for _, n := range g.nodes {
		l := linter{graph: g, node: n}
		l.collectLocals(n.rule)
		note := func(terms []*ast.Term) {
			if function, ok := terms[0].Value.(ast.Ref); ok && function.HasPrefix(ast.DefaultRootRef) {
				l.give(found, function.String(), terms[1:])
			}
		}
		ast.WalkExprs(n.rule, func(e *ast.Expr) bool {
			if terms, isCall := e.Terms.([]*ast.Term); isCall {
				note(terms)
			}
			return false
		})
		ast.WalkTerms(n.rule, func(t *ast.Term) bool {
			if call, isCall := t.Value.(ast.Call); isCall {
				note(call)
			}
			return false
		})
	}
	return found
}

// give notes one call.
func (l *linter) give(found map[string][]*ast.Term, function string, operands []*ast.Term) {
	before, again := found[function]
	given := make([]*ast.Term, len(operands))
	for i, t := range operands {
		if t = l.constant(t); l.leaf(t) != nil && (!again || i < len(before) && before[i] != nil && before[i].Equal(t)) {
			given[i] = t
		}
	}
	found[function] = given
}
