package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/dependencies"
	"github.com/open-policy-agent/opa/v1/types"

	"chaperone/engine/config"
)

// compiled is a source after compilation, alone.
type compiled struct {
	source   *source
	graph    *graph
	compiler *ast.Compiler
}

var inputSchema = inputField.schema(true)

// compile compiles a source: Rego v1, strict, closed input schema, reviewed builtins.
func compile(s *source) (out *compiled, problems config.Problems) {
	defer func() {
		if r := recover(); r != nil {
			out, problems = nil, config.Problems{{File: sortedFiles(s.modules)[0], Message: fmt.Sprintf("the Rego compiler failed on this source: %v", r)}}
		}
	}()
	schemas := ast.NewSchemaSet()
	schemas.Put(ast.SchemaRootRef, inputSchema)
	c := &compiled{source: s}
	c.compiler = ast.NewCompiler().
		WithCapabilities(capabilities).
		WithStrict(true).
		WithSchemas(schemas).
		WithUseTypeCheckAnnotations(true).
		SetErrorLimit(0).
		WithStageAfterID(ast.StageResolveRefs, ast.CompilerStageDefinition{
			Name:       "lint",
			MetricName: "compile_stage_lint",
			Stage: func(compiler *ast.Compiler) *ast.Error {
				c.graph = newGraph(compiler.Modules)
				if len(c.graph.problems) > 0 {
					return ast.NewError(ast.CompileErr, nil, "see the problems of the lint")
				}
				return nil
			},
		})
	c.compiler.Compile(s.modules)
	switch {
	case c.graph != nil && len(c.graph.problems) > 0:
		return nil, c.graph.problems
	case c.compiler.Failed():
		return nil, regoProblems("", c.compiler.Errors)
	}
	for _, m := range c.compiler.Modules {
		meterModule(m)
	}
	return c, nil
}

// checkPackage holds a package that is bound against the contract.
func (c *compiled) checkPackage(pkg string) config.Problems {
	var problems config.Problems
	report := func(loc *ast.Location, format string, args ...any) {
		problems = append(problems, problemAt(loc, format, args...))
	}
	called := map[*ruleNode]bool{}
	for _, n := range c.graph.nodes {
		for _, ref := range n.calls {
			for _, callee := range c.graph.callees(ref) {
				called[callee] = true
			}
		}
	}
	nodes := c.graph.packages[pkg]
	has := false
	for _, n := range nodes {
		name := n.name()
		if slices.Contains(contract, name) {
			has = true
			if why := wrongShape(n.rule); why != "" {
				report(n.rule.Location, "%s", why)
			}
			continue
		}
		if !called[n] {
			report(n.rule.Location, "no rule reads %s, and it is none of the contract's (%s), so it would never be evaluated%s", name, strings.Join(contract, ", "), meant(name))
		}
	}
	if !has {
		file := ""
		for _, f := range sortedFiles(c.source.modules) {
			if c.source.modules[f].Package.Path.String() == pkg {
				file = f
				break
			}
		}
		problems = append(problems, config.Problem{File: file, Line: 1, Message: fmt.Sprintf("package %s is bound and has none of the rules %s, so it would decide nothing", strings.TrimPrefix(pkg, "data."), strings.Join(contract, ", "))})
	}
	if len(problems) > 0 {
		return problems
	}
	for _, n := range nodes {
		if why := c.wrongType(n); why != "" {
			report(n.rule.Location, "%s", why)
		}
		if n.name() == ruleRequire && n.rule.Head.Key != nil && n.rule.Head.Key.IsGround() {
			var o Obligations
			if err := o.tighten(n.rule.Head.Key.Value); err != nil {
				report(n.rule.Head.Location, "%v", err)
			}
		}
	}
	for _, rule := range []string{ruleReject, rulePrefer} {
		for _, n := range c.graph.reachable(pkg, rule) {
			for _, r := range n.reads {
				if strings.HasPrefix(r.what.field.name, "input.endpoint.") {
					report(r.loc, "%s judges the whole request, so there is no %s for it; use deny, allow or require, which are evaluated once for each endpoint", rule, r.what.field.name)
				}
			}
		}
	}
	for _, n := range c.graph.reachable(pkg, ruleAllow) {
		for _, r := range n.reads {
			if strings.HasPrefix(r.what.field.name, "input.claims.") {
				report(r.loc, "allow reads %s, which the caller sets as it likes; a claim may only tighten: use it in deny or reject, or let operators say it in input.principal.labels", r.what.field.name)
			}
		}
	}
	return problems
}

// misnamed is what people call the rules of the contract elsewhere.
var misnamed = map[string]string{
	"violation": ruleDeny, "violations": ruleDeny, "denied": ruleDeny, "denies": ruleDeny, "block": ruleDeny, "blocked": ruleDeny,
	"forbid": ruleDeny, "disallow": ruleDeny, "warn": ruleDeny, "allowed": ruleAllow, "allows": ruleAllow, "permit": ruleAllow,
	"permitted": ruleAllow, "authorized": ruleAllow, "authz": ruleAllow, "rejected": ruleReject, "rejects": ruleReject, "refuse": ruleReject,
	"required": ruleRequire, "requires": ruleRequire, "obligation": ruleRequire, "obligations": ruleRequire, "preferred": rulePrefer,
	"prefers": rulePrefer, "weights": rulePrefer,
}

func meant(name string) string {
	if word := strings.ToLower(name); strings.HasPrefix(word, "warn") {
		return "; did you mean deny? A binding that is to warn says so: enforcement = \"warn\", and until when"
	}
	if rule, ok := misnamed[strings.ToLower(name)]; ok {
		return "; did you mean " + rule + "?"
	}
	return suggestion(name, contract)
}

// shape is how each rule of the contract is written.
var shape = map[string]string{
	ruleDeny:    "deny contains reason if { … }",
	ruleAllow:   "allow if { … }",
	ruleReject:  "reject contains reason if { … }",
	ruleRequire: `require contains {"max_output_tokens": 4096} if { … }`,
	rulePrefer:  `prefer["price"] := 2 if { … }`,
}

func wrongShape(rule *ast.Rule) string {
	head, name := rule.Head, string(rule.Head.Ref()[0].Value.(ast.Var))
	found := ""
	switch {
	case len(head.Args) > 0:
		found = "a function"
	case head.RuleKind() == ast.MultiValue && len(head.Ref()) == 1:
		found = "a set"
	case head.RuleKind() == ast.SingleValue && len(head.Ref()) == 1:
		found = "a single value"
	case head.RuleKind() == ast.SingleValue && len(head.Ref()) == 2:
		found = "an object"
	default:
		found = "something nested"
	}
	want := map[string]string{ruleDeny: "a set", ruleReject: "a set", ruleRequire: "a set", ruleAllow: "a single value", rulePrefer: "an object"}[name]
	if found != want {
		return fmt.Sprintf("%s is %s here and must be %s: write %s", name, found, want, shape[name])
	}
	if name == ruleAllow && rule.Default && !head.Value.Equal(ast.InternedTerm(false)) {
		return "default allow := " + head.Value.String() + " would permit whatever no rule speaks of; write default allow := false, or leave the default out: an undefined allow denies"
	}
	return ""
}

// wrongType looks at what the type checker found a rule of the contract to be.
func (c *compiled) wrongType(n *ruleNode) string {
	t := c.compiler.TypeEnv.GetByRef(n.rule.Ref().GroundPrefix())
	switch n.name() {
	case ruleAllow:
		if s := shapesOfType(t); s&shapeBoolean == 0 {
			return fmt.Sprintf("allow is %s here and must be true or false: write %s", s, shape[ruleAllow])
		}
		if v := n.rule.Head.Value; v != nil && v.IsGround() && shapesOfValue(v) != shapeBoolean {
			return fmt.Sprintf("allow is %s here and must be true or false: write %s", v, shape[ruleAllow])
		}
	case ruleDeny, ruleReject:
		set, ok := t.(*types.Set)
		if !ok {
			return ""
		}
		if s := shapesOfType(set.Of()); s&(shapeString|shapeObject) == 0 {
			return fmt.Sprintf("%s holds %s and must hold strings or objects {\"code\": …, \"message\": …}", n.name(), s)
		}
		if key := n.rule.Head.Key; key != nil && key.IsGround() {
			if _, err := parseReason(key.Value); err != nil {
				return fmt.Sprintf("%s: %v", n.name(), err)
			}
		}
	case ruleRequire:
		if set, ok := t.(*types.Set); ok && shapesOfType(set.Of())&shapeObject == 0 {
			return fmt.Sprintf("require holds %s and must hold objects: write %s", shapesOfType(set.Of()), shape[ruleRequire])
		}
	case rulePrefer:
		if v := n.rule.Head.Value; v != nil && v.IsGround() && (shapesOfValue(v) != shapeNumber || v.Value.Compare(ast.Number("0")) < 0) {
			return fmt.Sprintf("prefer gives %s and must give a number of 0 or more: write %s", v, shape[rulePrefer])
		}
	}
	return ""
}

// shapesOfValue is what a ground term is.
func shapesOfValue(t *ast.Term) shapes { return (&linter{}).shapesOf(t) }

// reads is the read-set of the rules of that name and of everything that they reach: what the lint saw the author write,
// united with OPA's own analysis of what came out of the compiler.
func (c *compiled) reads(pkg string, rules ...string) (readSet, error) {
	var all []read
	for _, n := range c.graph.reachable(pkg, rules...) {
		for _, r := range n.reads {
			all = append(all, r.what)
		}
	}
	set := newReadSet(all)
	for _, rule := range rules {
		base, err := dependencies.Base(c.compiler, ast.MustParseRef(pkg).Append(ast.StringTerm(rule)))
		if err != nil {
			return nil, err
		}
		for _, ref := range base {
			f, _ := descend(ref)
			if f == nil {
				continue
			}
			if f.fields != nil {
				return nil, fmt.Errorf("%s is read as a whole after compilation", ref)
			}
			if !slices.ContainsFunc(set, func(r read) bool { return r.field == f }) {
				set = newReadSet(append(set, read{field: f}))
			}
		}
	}
	return set, nil
}

// params are the parameters that the bound rules of pkg read.
func (c *compiled) params(pkg string) []place[param] {
	var found []place[param]
	for _, n := range c.graph.reachable(pkg, contract...) {
		found = append(found, n.params...)
	}
	return found
}
