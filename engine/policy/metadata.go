package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone/engine/config"
)

// Severities are what custom.severity of a rule's metadata may be, in rising order.
var Severities = []string{"low", "medium", "high", "critical"}

// metadata is what the comment block "# METADATA" above a rule, above its package, or above all rules of its name says.
type metadata struct {
	title    string
	control  string // custom.control
	severity string // custom.severity
	waivable bool   // custom.waivable: operators may make an exception, see waiver.go
}

// ruleKey is where a rule stands: what is the same before and after compilation.
type ruleKey struct {
	file     string
	row, col int
}

func keyOfRule(loc *ast.Location) ruleKey { return ruleKey{loc.File, loc.Row, loc.Col} }

// readMetadata finds the metadata of every rule: of each item the narrowest scope that states it.
func (g *graph) readMetadata(modules map[string]*ast.Module) {
	g.metadata = map[ruleKey]*metadata{}
	var all []*ast.Module
	for _, file := range sortedFiles(modules) {
		all = append(all, modules[file])
		for _, a := range modules[file].Annotations {
			g.checkMetadata(a)
		}
	}
	set, errs := ast.BuildAnnotationSet(all)
	if len(errs) > 0 {
		g.problems = append(g.problems, regoProblems("", errs)...)
		return
	}
	for _, n := range g.nodes {
		m := &metadata{}
		waivable := false
		for _, ref := range set.Chain(n.rule) {
			a := ref.Annotations
			if a == nil {
				continue
			}
			if m.title == "" {
				m.title = a.Title
			}
			if m.control == "" {
				m.control, _ = a.Custom["control"].(string)
			}
			if m.severity == "" {
				m.severity, _ = a.Custom["severity"].(string)
			}
			if is, stated := a.Custom["waivable"].(bool); stated && !waivable {
				m.waivable, waivable = is, true
			}
		}
		g.metadata[keyOfRule(n.rule.Location)] = m
	}
}

// checkMetadata holds what we read of a.Custom against what it may be. Other keys are the author's own.
func (g *graph) checkMetadata(a *ast.Annotations) {
	if v, ok := a.Custom["control"]; ok {
		if s, _ := v.(string); s == "" {
			g.problem(a.Location, "custom.control: found %s; expected the name of a control, such as \"GDPR-28\"", show(v))
		}
	}
	if v, ok := a.Custom["severity"]; ok {
		if s, _ := v.(string); !slices.Contains(Severities, s) {
			g.problem(a.Location, "custom.severity: %s", config.NotOneOf(s, Severities))
		}
	}
	if v, ok := a.Custom["waivable"]; ok {
		if _, isBool := v.(bool); !isBool {
			g.problem(a.Location, "custom.waivable: found %s; expected true or false", show(v))
		}
	}
}
