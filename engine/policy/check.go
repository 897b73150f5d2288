package policy

import (
	"os"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone/engine/config"
)

// CheckDirectory compiles the .rego files below dir as Load does a source, and holds every package against the contract,
// whether somebody has bound it or not.
func CheckDirectory(dir string) config.Problems {
	src, problems := readSource("", os.DirFS(dir), dir)
	switch {
	case len(problems) > 0:
		return problems
	case len(src.modules) == 0:
		return config.Problems{{File: dir, Message: "holds no .rego file (tests, _test.rego, do not count)"}}
	}
	c, problems := compile(src)
	if c == nil {
		return problems
	}
	packages := map[string]*ast.Package{}
	for _, file := range sortedFiles(src.modules) {
		m := src.modules[file]
		if path := m.Package.Path.String(); packages[path] == nil {
			packages[path] = m.Package
			problems = append(problems, c.checkUnbound(m.Package)...)
		}
	}
	return problems
}

// CheckUnbound is CheckDirectory for every folder that is a source of these documents.
func CheckUnbound(documents []*config.Document) config.Problems {
	var problems config.Problems
	for _, doc := range documents {
		var section struct {
			Sources []sourceConfig `toml:"sources"`
		}
		doc.Decode("policy", &section) // its problems are Load's to report
		for _, sc := range section.Sources {
			if info, err := os.Stat(sc.beside(sc.Path)); sc.Path != "" && err == nil && info.IsDir() {
				problems = append(problems, CheckDirectory(sc.beside(sc.Path))...)
			}
		}
	}
	return problems
}

// Unbound warns of packages in the folders of the configuration that hold rules of the contract and are bound by nobody: forgotten, most
// likely. Of a bundle, which several routers may share, that is no wonder.
func (s *Set) Unbound() config.Problems { return slices.Clone(s.unbound) }

// unbound are those of a source that no binding binds and no other package uses.
func (c *compiled) unbound(bindings []scopedBinding) config.Problems {
	used := map[string]bool{}
	for _, b := range bindings {
		used["data."+b.Package] = true
	}
	for _, n := range c.graph.nodes {
		for _, ref := range n.calls {
			for _, callee := range c.graph.callees(ref) {
				if pkg := callee.rule.Module.Package.Path; !pkg.Equal(n.rule.Module.Package.Path) {
					used[pkg.String()] = true
				}
			}
		}
	}
	var found config.Problems
	for _, file := range sortedFiles(c.source.modules) {
		pkg := c.source.modules[file].Package
		path := pkg.Path.String()
		for _, n := range c.graph.packages[path] {
			if !used[path] && slices.Contains(contract, n.name()) {
				used[path] = true // it is said once
				name := strings.TrimPrefix(path, "data.")
				found = append(found, problemAt(pkg.Location, "no binding binds the package %s, so its rule %s decides nothing; add [[policy.bindings]] with package = %q and for = \"everyone\", or \"org:ID\"", name, n.name(), name))
			}
		}
	}
	return found
}

// checkUnbound is checkPackage for a package that need not be a policy: it may serve others that are.
func (c *compiled) checkUnbound(pkg *ast.Package) config.Problems {
	path, name := pkg.Path.String(), strings.TrimPrefix(pkg.Path.String(), "data.")
	if path == "data.library" || strings.HasPrefix(path, "data.library.") {
		return config.Problems{problemAt(pkg.Location, "package %s: names below library are kept for the library that ships with Chaperone; choose another package", name)}
	}
	nodes := c.graph.packages[path]
	if slices.ContainsFunc(nodes, func(n *ruleNode) bool { return slices.Contains(contract, n.name()) }) {
		return append(c.checkPackage(path), c.checkDeclaration(path)...)
	}
	for _, n := range c.graph.nodes {
		if n.rule.Module.Package.Path.Equal(pkg.Path) {
			continue
		}
		for _, ref := range n.calls {
			if slices.ContainsFunc(c.graph.callees(ref), func(callee *ruleNode) bool { return slices.Contains(nodes, callee) }) {
				return nil
			}
		}
	}
	hint := ""
	for _, n := range nodes {
		if hint = meant(n.name()); hint != "" {
			hint = "; it has " + n.name() + hint
			break
		}
	}
	return config.Problems{problemAt(pkg.Location, "package %s has none of the rules %s, and no other package uses it, so it decides nothing%s",
		name, strings.Join(contract, ", "), hint)}
}

// ParseModule reads one Rego file as Load does. The module is nil where the file is empty, and where there are problems.
func ParseModule(file string, text []byte) (*ast.Module, config.Problems) {
	m, err := parse(file, text)
	if err != nil {
		return nil, RegoProblems(file, err)
	}
	return m, nil
}

// RegoProblems are OPA's errors with their places, in plain words too where newcomers meet them. Those without a place are
// of file.
func RegoProblems(file string, err error) config.Problems { return regoProblems(file, err) }
