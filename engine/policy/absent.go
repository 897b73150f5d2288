package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A lookup of something that is not there is undefined in Rego, and a rule with it silently does not fire. So what is looked up by
// a fixed key must be known to be there: in a list or object that is written out, with that key, or in a parameter that is
// declared and required. Walking through all keys (list[_], some x in list) is fine, and asking whether a set has an element too.

// origin is where a value comes from: a term in a rule, or a parameter's schema. The zero value is one of which nothing is known.
type origin struct {
	term   *ast.Term
	in     *linter
	schema map[string]any
	param  string // the parameter whose value it is, or one of whose elements; "": it is none, or lies deeper
}

// reach refuses ref where a fixed key from first on may be absent from what it begins with.
func (l *linter) reach(ref ast.Ref) {
	if v, isVar := ref[0].Value.(ast.Var); isVar && !ast.RootDocumentNames.Contains(ref[0]) && !l.bound(v) {
		return // OPA's to refuse
	}
	from, first := l.root(ref)
	for i := first; i < len(ref); i++ {
		key := ref[i]
		if !l.fixed(key, 0) {
			from = elementsOf(from)
			continue
		}
		l.text(key, keysOf(from), match{operator: ast.Equal.Name})
		next, missing := l.step(from, key)
		if missing {
			l.missing(ref, i)
			return
		}
		from = next
	}
}

// bound says whether something gives v a value: it stands somewhere else than where a part of it is read.
func (l *linter) bound(v ast.Var) (found bool) {
	ast.WalkTerms(l.node.rule, func(t *ast.Term) bool {
		switch x := t.Value.(type) {
		case ast.Var:
			found = found || x.Equal(v)
		case ast.Ref:
			for _, part := range x[1:] {
				inner, isVar := part.Value.(ast.Var)
				found = found || isVar && inner.Equal(v)
			}
			return true
		}
		return found
	})
	return found
}

func (l *linter) missing(ref ast.Ref, i int) {
	whole, key := ref[:i], ref[i]
	if l.shapesOf(key)&shapeNumber == 0 && l.isList(ast.NewTerm(whole)) {
		l.problem("%s: %s is a list, in which things stand under their numbers; write %s in %s", ref[:i+1], whole, key, whole)
		return
	}
	if call, isCall := whole[0].Value.(ast.Call); isCall && len(call) == 3 && i == 1 && call[0].Value.String() == ast.Split.Name && key.Equal(ast.InternedTerm(0)) {
		l.problem("%s would be held against any word, known or not; write startswith(%s, \"value%s\")", ref[:i+1], call[1], textOf(call[2]))
		return
	}
	if n, isNumber := l.constant(key).Value.(ast.Number); isNumber {
		at, _ := n.Int()
		l.problem("%s may be absent, where the list is shorter, and then a rule silently does not fire; write array.slice(%s, %d, %d) == [\"value\"], or `some element in %s`, or `\"value\" in %s`",
			ref[:i+1], whole, at, at+1, whole, whole)
		return
	}
	l.problem("%s may be absent, and then a rule silently does not fire; write object.get(%s, %s, default) with the value that absence shall have", ref[:i+1], whole, key)
}

// isList says whether t is a list, as far as can be told.
func (l *linter) isList(t *ast.Term) bool {
	if f := l.leaf(t); f != nil {
		return f.kind == kindStrings
	}
	return slices.ContainsFunc(l.origins(t), func(o origin) bool {
		if o.term == nil {
			return o.schema["type"] == "array"
		}
		return l.shapesOf(o.term) == shapeArray
	})
}

// fixed says whether key has one value when it is looked up, rather than being what is walked through.
func (l *linter) fixed(key *ast.Term, depth int) bool {
	switch v := key.Value.(type) {
	case ast.Var:
		source, known := l.locals[v]
		return known && (source == nil || depth < 8 && l.fixed(source, depth+1))
	case ast.Ref:
		return !slices.ContainsFunc(v[1:], func(t *ast.Term) bool { return !l.fixed(t, depth+1) })
	}
	return true
}

// constant is what key is written out as, through variables.
func (l *linter) constant(key *ast.Term) *ast.Term {
	for range 8 {
		v, isVar := key.Value.(ast.Var)
		if !isVar || l.locals[v] == nil {
			break
		}
		key = l.locals[v]
	}
	return key
}

// step is what from holds under key; missing where that may be nothing.
func (l *linter) step(from []origin, key *ast.Term) (next []origin, missing bool) {
	key = l.constant(key)
	among := []*ast.Term{key}
	if values := l.enumeration(key); values != nil { // each value that it has must be there
		among = nil
		for _, value := range values {
			among = append(among, ast.StringTerm(value))
		}
	}
	for _, o := range from {
		for _, k := range among {
			found, ok := o.under(k)
			if !ok {
				return nil, true
			}
			next = append(next, found...)
		}
	}
	return next, false
}

// enumeration is the few values that key has; nil where they are not few.
func (l *linter) enumeration(key *ast.Term) []string {
	if f := l.leaf(key); f != nil {
		return f.enum
	}
	ref, ok := key.Value.(ast.Ref)
	if !ok || !ref.HasPrefix(paramsRef) {
		return nil
	}
	var values []string
	from, first := l.root(ref)
	if len(from) == 1 && first == len(ref) {
		for _, v := range list(from[0].schema["enum"]) {
			s, _ := v.(string)
			values = append(values, s)
		}
	}
	return values
}

// under is what o holds under a key that is written out; false where it may hold nothing there.
func (o origin) under(key *ast.Term) ([]origin, bool) {
	if o.schema != nil {
		name, _ := key.Value.(ast.String)
		properties, _ := o.schema["properties"].(map[string]any)
		sub, ok := properties[string(name)].(map[string]any)
		return []origin{{schema: sub}}, ok && slices.Contains(list(o.schema["required"]), any(string(name)))
	}
	if o.term == nil {
		return nil, false
	}
	switch v := o.term.Value.(type) {
	case *ast.Array:
		if e := v.Get(key); e != nil {
			return o.in.origins(e), true
		}
	case ast.Object:
		if e := v.Get(key); e != nil {
			return o.in.origins(e), true
		}
	case ast.Set, *ast.SetComprehension:
		return nil, true // whether it is an element
	}
	return nil, false
}

// maxOrigins is how many places a value may come from before nothing counts as known of it.
const maxOrigins = 1000

// elementsOf is what the values hold under whatever key.
func elementsOf(from []origin) []origin {
	var all []origin
	for _, o := range from {
		if o.schema != nil {
			items, _ := o.schema["items"].(map[string]any)
			all = append(all, origin{schema: items, param: o.param})
			continue
		}
		if o.term == nil {
			all = append(all, origin{})
			continue
		}
		if len(all) > maxOrigins {
			return []origin{{}}
		}
		add := func(t *ast.Term) { all = append(all, o.in.origins(t)...) }
		switch v := o.term.Value.(type) {
		case *ast.Array:
			v.Foreach(add)
		case ast.Set:
			v.Foreach(add)
		case ast.Object:
			v.Foreach(func(_, value *ast.Term) { add(value) })
		case *ast.ArrayComprehension:
			add(v.Term)
		case *ast.SetComprehension:
			add(v.Term)
		case *ast.ObjectComprehension:
			add(v.Value)
		default:
			all = append(all, origin{})
		}
	}
	return all
}

// keysOf is what the values that are written out have something under.
func keysOf(from []origin) []origin {
	var all []origin
	for _, o := range from {
		if o.term == nil {
			continue
		}
		add := func(t *ast.Term) { all = append(all, o.in.origins(t)...) }
		switch v := o.term.Value.(type) {
		case ast.Set:
			v.Foreach(add)
		case ast.Object:
			v.Foreach(func(key, _ *ast.Term) { add(key) })
		case *ast.SetComprehension:
			add(v.Term)
		case *ast.ObjectComprehension:
			add(v.Key)
		}
	}
	return all
}

// origins is where t comes from.
func (l *linter) origins(t *ast.Term) []origin {
	switch v := t.Value.(type) {
	case ast.Var:
		if source, ok := l.locals[v]; ok && source != nil {
			l.locals[v] = nil // a variable that depends on itself ends here
			found := l.origins(source)
			l.locals[v] = source
			return found
		}
		if walked, ok := l.walked[v]; ok {
			delete(l.walked, v)
			var found []origin
			for _, collection := range walked {
				found = append(found, elementsOf(l.origins(collection))...)
			}
			l.walked[v] = walked
			return found
		}
		if keyed, ok := l.keyed[v]; ok {
			delete(l.keyed, v)
			var found []origin
			for _, collection := range keyed {
				found = append(found, keysOf(l.origins(collection))...)
			}
			l.keyed[v] = keyed
			return found
		}
		return []origin{{}}
	case ast.Ref:
		from, first := l.root(v)
		for i := first; i < len(v); i++ {
			if !l.fixed(v[i], 0) {
				from = elementsOf(from)
			} else if from, _ = l.step(from, v[i]); from == nil {
				return []origin{{}}
			}
		}
		return from
	case ast.Call:
		if ref, ok := v[0].Value.(ast.Ref); ok && ref.HasPrefix(ast.DefaultRootRef) {
			from, _ := l.root(ref)
			return from
		}
		if v[0].Value.String() == ast.ObjectGet.Name && len(v) == 4 {
			if ref, ok := v[1].Value.(ast.Ref); ok && ref.Equal(paramsRef) {
				from, _ := l.root(paramsRef.Append(v[2]))
				return append(l.origins(v[3]), from...)
			}
		}
	}
	return []origin{{term: t, in: l}}
}

// root is what the beginning of ref stands for, and how long that is.
func (l *linter) root(ref ast.Ref) ([]origin, int) {
	switch {
	case ref.HasPrefix(ast.InputRootRef):
		return []origin{{}}, len(ref)
	case ref.HasPrefix(paramsRef):
		d := l.graph.params[l.node.rule.Module.Package.Path.String()]
		if d == nil || len(ref) == len(paramsRef) {
			return []origin{{}}, len(ref)
		}
		name, _ := ref[len(paramsRef)].Value.(ast.String)
		sub, _ := d.properties[string(name)].(map[string]any)
		return []origin{{schema: sub, param: string(name)}}, len(paramsRef) + 1
	case ref.HasPrefix(ast.DefaultRootRef):
		var all []origin
		first := len(ref)
		for _, callee := range l.graph.callees(ref) {
			path := callee.rule.Ref().GroundPrefix()
			if len(path) > len(ref) {
				return []origin{{}}, len(ref)
			}
			first = min(first, len(path))
			all = append(all, callee.origins(l.graph)...)
		}
		return all, first
	}
	return l.origins(ref[0]), 1
}

// origins is where what n gives comes from.
func (n *ruleNode) origins(g *graph) []origin {
	if n.followed {
		return []origin{{}}
	}
	n.followed = true
	defer func() { n.followed = false }()
	l := &linter{graph: g, node: n}
	l.collectLocals(n.rule)
	h := n.rule.Head
	switch {
	case h.RuleKind() == ast.MultiValue:
		return []origin{{term: ast.SetComprehensionTerm(h.Key, ast.NewBody()), in: l}}
	case !n.rule.Ref().IsGround():
		return []origin{{term: ast.ObjectComprehensionTerm(h.Ref()[len(h.Ref())-1], h.Value, ast.NewBody()), in: l}}
	}
	var all []origin
	for r := n.rule; r != nil; r = r.Else {
		if r.Head.Value != nil {
			all = append(all, l.origins(r.Head.Value)...)
		}
	}
	return all
}

// checkDefined refuses to read, at loc, what rules give where it may be undefined. A condition is different: that a rule without a
// value of its own does not hold is what its name says.
func (g *graph) checkDefined(loc *ast.Location, callees []*ruleNode) {
	for _, n := range callees {
		if n.rule.Default || n.always() {
			return
		}
	}
	for _, n := range callees {
		h := n.rule.Head
		if h.RuleKind() == ast.SingleValue && n.rule.Ref().IsGround() && h.Value != nil && !h.Value.Equal(ast.InternedTerm(true)) {
			g.problem(loc, "%s is undefined where no condition of it holds, and then a rule that reads it silently does not fire; add default %s := … with the value that it shall have then",
				n.name(), n.anyArguments())
			return
		}
	}
}

// checkHolds refuses to read, as a value, a rule that has none of its own where it does not hold: it is not false then.
func (g *graph) checkHolds(reader *ruleNode, ref ast.Ref) {
	callees := g.callees(ref)
	for _, n := range callees {
		h := n.rule.Head
		if n.rule.Default || n.always() || h.RuleKind() != ast.SingleValue || !n.rule.Ref().IsGround() || h.Value == nil || !h.Value.Equal(ast.InternedTerm(true)) {
			return
		}
	}
	if len(callees) > 0 {
		loc := ref[0].Location
		if loc == nil {
			loc = reader.rule.Location
		}
		name := callees[0].name()
		g.problem(loc, "%s is undefined, not false, where it does not hold, and then a rule that compares or keeps its value silently does not fire; write %s, or not %s, as a condition of its own, or add default %s := false", name, name, name, callees[0].anyArguments())
	}
}

// anyArguments is the rule's name as its default has it.
func (n *ruleNode) anyArguments() string {
	if args := len(n.rule.Head.Args); args > 0 {
		return n.name() + "(" + strings.Repeat("_, ", args-1) + "_)"
	}
	return n.name()
}

// always says whether the rule has a value whatever the input, as far as its conditions go.
func (n *ruleNode) always() bool {
	for _, arg := range n.rule.Head.Args {
		if _, isVar := arg.Value.(ast.Var); !isVar {
			return false
		}
	}
	for r := n.rule; r != nil; r = r.Else {
		if len(r.Body) == 1 && r.Body[0].Equal(ast.NewExpr(ast.InternedTerm(true))) {
			return true
		}
	}
	return false
}
