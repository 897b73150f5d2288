package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

// The rules of the contract.
const (
	ruleDeny    = "deny"
	ruleAllow   = "allow"
	ruleReject  = "reject"
	ruleRequire = "require"
	rulePrefer  = "prefer"
)

var contract = []string{ruleDeny, ruleAllow, ruleReject, ruleRequire, rulePrefer}

// ruleNode is one rule of a source with what it reads.
type ruleNode struct {
	rule    *ast.Rule
	path    string // data.library.training.deny, without parts that vary
	reads   []place[read]
	params  []place[param]
	matches []place[match] // what it holds fields against, where what fits is not known before the catalog is
	calls   []ast.Ref      // references into the source's own rules

	values []ast.Ref // those of them that stand for a value, rather than for a condition

	followed bool // while it is found out where its value comes from
}

// place is where in a module something is said.
type place[T any] struct {
	what T
	loc  *ast.Location
}

// param is one parameter that a rule reads.
type param struct {
	name     string
	optional bool // through object.get, with a default
}

// graph is every rule of a source, after references have been resolved and before anything has been rewritten: the
// shape in which the author wrote it, which is what the lints speak of.
type graph struct {
	nodes    []*ruleNode
	packages map[string][]*ruleNode  // by package path: data.library.training
	params   map[string]*declaration // by package path, where it declares parameters
	metadata map[ruleKey]*metadata   // of every rule
	given    map[string][]*ast.Term  // by the path of a function: the field that all its callers give for an argument; nil: there is none
	problems config.Problems
}

func (g *graph) problem(loc *ast.Location, format string, args ...any) {
	g.problems = append(g.problems, problemAt(loc, format, args...))
}

func problemAt(loc *ast.Location, format string, args ...any) config.Problem {
	p := config.Problem{Message: fmt.Sprintf(format, args...)}
	if loc != nil {
		p.File, p.Line = loc.File, loc.Row
	}
	return p
}

// packageScope is the scope of metadata that stands above a package.
const packageScope = "package"

// newGraph lints every module. Its problems are all that it found; the graph is only of use where there is none.
func newGraph(modules map[string]*ast.Module) *graph {
	g := &graph{packages: map[string][]*ruleNode{}, params: map[string]*declaration{}}
	for _, file := range sortedFiles(modules) {
		module := modules[file]
		pkg := module.Package.Path.String()
		if _, ok := g.packages[pkg]; !ok {
			g.packages[pkg] = nil
		}
		for _, a := range module.Annotations {
			if a.Scope != packageScope {
				continue
			}
			d, err := declared(a)
			if err != nil {
				g.problem(a.Location, "%v", err)
			} else if d != nil {
				g.params[pkg] = d
			}
		}
		for _, rule := range module.Rules {
			n := &ruleNode{rule: rule, path: rule.Ref().GroundPrefix().String()}
			g.nodes = append(g.nodes, n)
			g.packages[pkg] = append(g.packages[pkg], n)
		}
	}
	g.readMetadata(modules)
	for range deepestCall {
		g.given = g.arguments()
	}
	for _, n := range g.nodes {
		l := linter{graph: g, node: n}
		l.collectLocals(n.rule)
		l.walk(n.rule)
	}
	for _, n := range g.nodes {
		for _, ref := range n.calls {
			g.checkCall(n, ref)
		}
		for _, ref := range n.values {
			g.checkHolds(n, ref)
		}
	}
	g.checkSpread()
	return g
}

// linter walks one rule.
type linter struct {
	graph *graph
	node  *ruleNode
	loc   *ast.Location // of the innermost node that has one
	// negated says that the innermost expression is under not.
	negated bool
	// locals is what each variable of the rule is assigned; nil where that varies.
	locals map[ast.Var]*ast.Term
	// walked is whose elements a variable stands for, one after the other: more than one where scopes use the same name.
	walked map[ast.Var][]*ast.Term
	keyed  map[ast.Var][]*ast.Term // likewise, of its keys
}

func (l *linter) problem(format string, args ...any) { l.graph.problem(l.loc, format, args...) }

func (l *linter) walk(x any) {
	ast.NewGenericVisitor(l.visit).Walk(x)
}

func (l *linter) visit(x any) bool {
	switch x := x.(type) {
	case *ast.Rule:
		l.loc = x.Location
	case *ast.Head:
		l.loc = x.Location
		for _, part := range x.Reference[min(1, len(x.Reference)):] {
			l.walk(part)
		}
	case ast.Body:
		l.together(x)
	case *ast.Expr:
		l.loc, l.negated = x.Location, x.Negated
		if len(x.With) > 0 {
			l.problem("with replaces what a rule is given, here %s; policies judge the input as it is (tests, in files named _test.rego, may use with)", x.With[0].Target)
		}
		switch terms := x.Terms.(type) {
		case []*ast.Term:
			if b := ast.BuiltinMap[x.Operator().String()]; b != nil && !b.Relation && len(terms) == 1+len(b.Decl.FuncArgs().Args) {
				l.condition(ast.NewTerm(ast.Call(terms)), x.Negated)
			}
			l.call(terms)
			return true
		case *ast.Term: // a condition
			l.condition(terms, x.Negated)
			if ref, ok := terms.Value.(ast.Ref); ok {
				l.ref(ref)
				return true
			}
		}
	case *ast.Term:
		if x.Location != nil {
			l.loc = x.Location
		}
		if text, ok := x.Value.(ast.String); ok {
			l.braces(string(text))
		}
	case *ast.TemplateString: // what stands in it is no condition
		for _, part := range x.Parts {
			e, ok := part.(*ast.Expr)
			if !ok {
				continue
			}
			switch terms := e.Terms.(type) {
			case []*ast.Term:
				l.call(terms)
			case *ast.Term:
				if ref, ok := terms.Value.(ast.Ref); ok {
					l.ref(ref)
				} else {
					l.walk(terms)
				}
			}
		}
		return true
	case *ast.Every:
		if s := l.shapesOf(x.Domain); s&(shapeArray|shapeObject|shapeSet) == 0 {
			l.problem("every … in %s: %s has no elements", x.Domain, s)
		}
	case ast.Call:
		l.value(x[0])
		l.call(x)
		return true
	case ast.Ref:
		l.value(ast.NewTerm(x))
		l.ref(x)
		return true
	case ast.Var:
		if x.Equal(ast.InputRootDocument.Value) {
			l.whole(inputField)
		}
	}
	return false
}

// condition refuses a condition that holds whatever its value is: in Rego nothing but false and undefined does not hold, neither
// "", nor 0, nor an empty list.
func (l *linter) condition(t *ast.Term, negated bool) {
	s := l.shapesOf(t)
	if s&shapeBoolean != 0 || l.inList(t) {
		return
	}
	outcome := "always holds"
	written := t.String()
	if negated {
		outcome, written = "never holds", "not "+written
	}
	empty, compared := "an empty list", fmt.Sprintf("count(%s) == 0", t)
	switch s {
	case shapeString:
		empty, compared = `""`, fmt.Sprintf(`%s == ""`, t)
	case shapeNumber:
		empty, compared = "0", fmt.Sprintf("%s == 0", t)
	}
	if f := l.leaf(t); f != nil && f.filled != "" {
		compared = fmt.Sprintf("%q in %s", f.filled, t)
	} else if f != nil && f.kind == kindString && slices.Contains(f.words, unknown) {
		compared = fmt.Sprintf("%s == %q", t, unknown)
	}
	l.problem("%s %s, because %s is %s, and in Rego %s counts as true; write a comparison, such as %s", written, outcome, t, s, empty, compared)
}

// inList says whether t looks into a list of the input by a word, which is refused as such.
func (l *linter) inList(t *ast.Term) bool {
	ref, _ := t.Value.(ast.Ref)
	f, rest := descend(ref)
	return f != nil && f.kind == kindStrings && len(rest) == 1 && l.shapesOf(rest[0]) == shapeString
}

// value notes that a rule is read for what it gives.
func (l *linter) value(t *ast.Term) {
	if ref, ok := t.Value.(ast.Ref); ok && ref.HasPrefix(ast.DefaultRootRef) && !ref.HasPrefix(paramsRef) {
		l.node.values = append(l.node.values, ref)
	}
}

// call is an expression or term that calls: operator, then operands.
func (l *linter) call(terms []*ast.Term) {
	if len(terms) == 0 {
		return
	}
	if terms[0].Location != nil {
		l.loc = terms[0].Location
	}
	operands := terms[1:]
	if operator, ok := terms[0].Value.(ast.Ref); ok {
		name := operator.String()
		if ast.BuiltinMap[name] != nil && !allowedBuiltins[name] {
			l.problem("%s may not be used in a policy: %s", name, adviceFor(name))
		}
		if name == ast.ObjectGet.Name && len(operands) == 3 {
			if ref, ok := operands[0].Value.(ast.Ref); ok && l.lookup(ref, operands[1]) {
				operands = operands[1:]
			}
		}
		if operator.HasPrefix(ast.DefaultRootRef) {
			l.ref(operator)
		}
		l.compare(name, operands)
		l.written(name, operands)
	}
	for _, t := range operands {
		l.walk(t)
	}
}

// lookup records object.get(ref, key, default) where ref is an open map or the parameters.
func (l *linter) lookup(ref ast.Ref, key *ast.Term) bool {
	constant, isString := key.Value.(ast.String)
	if ref.Equal(paramsRef) {
		if !isString {
			l.problem("the name of a parameter must be written out: object.get(data.params, \"name\", default)")
			return true
		}
		l.node.params = append(l.node.params, place[param]{param{name: string(constant), optional: true}, l.loc})
		return true
	}
	f, rest := descend(ref)
	if f == nil || !f.open() || len(rest) > 0 {
		return false
	}
	l.node.reads = append(l.node.reads, place[read]{read{field: f, keyed: isString, key: string(constant)}, l.loc})
	if isString {
		l.node.matches = append(l.node.matches, place[match]{match{field: f, operator: ast.Equal.Name, text: string(constant)}, l.loc})
	}
	return true
}

// paramsRef is where a binding's parameters are.
var paramsRef = ast.MustParseRef("data.params")

// descend follows ref through the input as far as its parts are fields; f is nil where ref is not into the input.
func descend(ref ast.Ref) (f *field, rest ast.Ref) {
	if len(ref) == 0 || !ref[0].Equal(ast.InputRootDocument) {
		return nil, nil
	}
	f = inputField
	for i, part := range ref[1:] {
		key, ok := part.Value.(ast.String)
		if f.fields == nil || !ok {
			return f, ref[1+i:]
		}
		sub := f.child(string(key))
		if sub == nil {
			return f, ref[1+i:]
		}
		f = sub
	}
	return f, nil
}

func (l *linter) ref(ref ast.Ref) {
	for _, part := range ref[1:] {
		if _, constant := part.Value.(ast.String); !constant {
			l.walk(part)
		}
	}
	switch {
	case ref[0].Equal(ast.InputRootDocument):
		l.input(ref)
	case ref[0].Equal(ast.DefaultRootDocument):
		l.data(ref)
	default:
		if _, isVar := ref[0].Value.(ast.Var); !isVar {
			l.walk(ref[0]) // f(x)[0], [1, 2][i]
		}
		l.reach(ref)
	}
}

func (l *linter) input(ref ast.Ref) {
	f, rest := descend(ref)
	switch {
	case f.fields != nil && len(rest) == 0:
		l.whole(f)
	case f.fields != nil:
		if key, ok := rest[0].Value.(ast.String); ok {
			l.problem("%s.%s does not exist%s; %s has %s", f.name, string(key), f.meant(string(key)), f.name, strings.Join(f.names(), ", "))
		} else {
			l.problem("%s: the field must be written out, so that it is known to exist; %s has %s", ref, f.name, strings.Join(f.names(), ", "))
		}
	case f.open():
		fallback := `""`
		if f.kind == kindNumberMap {
			fallback = "0"
		}
		key := ast.StringTerm("key")
		if len(rest) > 0 {
			key = rest[0]
		}
		l.problem("%s is an open map, in which a key may be absent, and then a rule silently does not fire; write object.get(%s, %s, %s) with the value that absence shall have", ref, f.name, key, fallback)
	case len(rest) > 0 && (f.kind != kindStrings || len(rest) > 1):
		l.problem("%s: %s is %s and has no fields", ref, f.name, f.kind)
	default:
		if len(rest) == 1 && l.fixed(rest[0], 0) {
			l.missing(ref, len(ref)-1)
		}
		l.node.reads = append(l.node.reads, place[read]{read{field: f}, l.loc})
	}
}

// elsewhere is what is called otherwise here than in APIs and in other policies.
var elsewhere = map[string]string{
	"max_tokens": "input.request.max_output_tokens", "max_completion_tokens": "input.request.max_output_tokens",
	"modalities": "input.request.input_modalities", "tools": "input.request.tool_kinds", "org": "input.principal.organisation", "tenant": "input.principal.organisation",
	"region": "input.endpoint.processing_regions", "regions": "input.endpoint.processing_regions", "country": "input.endpoint.headquarters",
	"capabilities": "input.endpoint.parameters", "cost": "input.endpoint.price.completion", "pricing": "input.endpoint.price.completion",
	"latency": "input.endpoint.stats.ttft_ms.p90", "throughput": "input.endpoint.stats.tps.p50",
}

// content is what people look for that no policy is shown.
var content = []string{"messages", "content", "prompt", "system", "text", "body"}

// meant says what is probably meant by a key that f lacks; "" where that cannot be told.
func (f *field) meant(key string) string {
	switch named := inputField.named(key); {
	case elsewhere[key] != "":
		return "; did you mean " + elsewhere[key] + "?"
	case slices.Contains(content, key):
		return "; policies are not shown what is asked, only what it is like"
	case slices.Contains(catalog.Parameters, key):
		return fmt.Sprintf("; write %q in input.request.parameters", key)
	case len(named) == 1:
		return "; did you mean " + named[0] + "?"
	case len(named) > 1: // those of the same section first
		section, _, _ := strings.Cut(strings.TrimPrefix(f.name, "input."), ".")
		for _, name := range named {
			if strings.HasPrefix(name, "input."+section+".") {
				return "; did you mean " + name + "?"
			}
		}
	}
	return suggestion(key, f.names())
}

// named are the fields and groups anywhere below f that have that key.
func (f *field) named(key string) []string {
	var all []string
	for _, sub := range f.fields {
		if sub.key == key {
			all = append(all, sub.name)
		}
		all = append(all, sub.named(key)...)
	}
	return all
}

func (l *linter) whole(f *field) {
	l.problem("%s as a whole may not be read, because a misspelt field would go unnoticed behind it; name the field, such as %s", f.name, firstLeaf(f).name)
}

func firstLeaf(f *field) *field {
	for f.fields != nil {
		f = f.fields[0]
	}
	return f
}

func suggestion(name string, among []string) string {
	if near, ok := config.Nearest(name, among); ok {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}

func (l *linter) data(ref ast.Ref) {
	if !ref.HasPrefix(paramsRef) {
		l.node.calls = append(l.node.calls, ref)
		l.reach(ref)
		return
	}
	if len(ref) > len(paramsRef) {
		if name, ok := ref[len(paramsRef)].Value.(ast.String); ok {
			l.node.params = append(l.node.params, place[param]{param{name: string(name)}, l.loc})
			l.reach(ref)
			return
		}
	}
	l.problem("the name of a parameter must be written out: data.params.name, or object.get(data.params, \"name\", default) where it may be left out")
}

// callees are the rules that ref can reach. A reference to a whole package reaches none.
func (g *graph) callees(ref ast.Ref) []*ruleNode {
	prefix := ref.GroundPrefix()
	var found []*ruleNode
	for _, n := range g.nodes {
		path := n.rule.Ref().GroundPrefix()
		if prefix.HasPrefix(path) || path.HasPrefix(prefix) && len(prefix) > len(n.rule.Module.Package.Path) {
			found = append(found, n)
		}
	}
	return found
}

func (g *graph) checkCall(n *ruleNode, ref ast.Ref) {
	loc := ref[0].Location
	if loc == nil {
		loc = n.rule.Location
	}
	if callees := g.callees(ref); len(callees) > 0 {
		g.checkDefined(loc, callees)
		return
	}
	var among []string
	for _, other := range g.nodes {
		among = append(among, other.path)
	}
	slices.Sort(among)
	if _, ok := g.packages[ref.GroundPrefix().String()]; ok {
		g.problem(loc, "%s is a whole package; name the rule", ref)
		return
	}
	g.problem(loc, "%s does not exist%s; a policy reads the rules of its own source and data.params", ref, suggestion(ref.GroundPrefix().String(), slices.Compact(among)))
}

// reachable are the rules that evaluating the rules named rule of package pkg can reach, themselves among them.
func (g *graph) reachable(pkg string, rules ...string) []*ruleNode {
	var found []*ruleNode
	seen := map[*ruleNode]bool{}
	var visit func(*ruleNode)
	visit = func(n *ruleNode) {
		if seen[n] {
			return
		}
		seen[n] = true
		found = append(found, n)
		for _, ref := range n.calls {
			for _, callee := range g.callees(ref) {
				visit(callee)
			}
		}
	}
	for _, n := range g.packages[pkg] {
		if slices.Contains(rules, n.name()) {
			visit(n)
		}
	}
	return found
}

// name is the rule's, within its package.
func (n *ruleNode) name() string {
	return string(n.rule.Head.Ref()[0].Value.(ast.Var))
}

func sortedFiles(modules map[string]*ast.Module) []string {
	files := make([]string, 0, len(modules))
	for file := range modules {
		files = append(files, file)
	}
	slices.Sort(files)
	return files
}
