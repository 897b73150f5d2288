package policies_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// unwritten are the kinds that no example can make.
var unwritten = []string{
	// A defect, here or in OPA.
	"%s is read as a whole after compilation",
	"the Rego compiler failed on this source: %v",
	"the bundle is not signed, and a verification_key is set",
	"%s: the evaluation has no allowance",
	"the evaluation has no allowance",
	"the query has no answer",
	"the query has more than one answer",
	"evaluation failed: %v",
	"prefer is %s; expected an object of weights",
	"judging failed: %v",
	"there is no principal or no request to judge",
	"there is no row to judge",
	// What is on the disk, on a server, in a recording or in force already.
	"found %q of %d bytes; expected at most %d",
	"the bundle has more than %d bytes",
	"which bundles have been in force cannot be read from %s (%s), so an old one could not be told; put that right, or remove the file to begin anew",
	"the archive holds no module of the source %q (%s)",
	"the file holds no Rego; expected a package and its rules",
	// The speed of the machine.
	"package %s: %v, on an input made for trying policies out; such requests are denied",
	"evaluation took longer than %s",
	"the request ended before it was judged: ",
	"the request ended while it was judged: ",
}

// Every kind of mistake that engine/policy can report is made by some example of README.md.
func TestEveryKindOfMistakeHasAnExample(t *testing.T) {
	var said strings.Builder
	for _, examples := range [][]example{refused(t), bundled(t), misconfigured(t), warned(t), denied(t), ignored(t)} {
		for _, e := range examples {
			said.WriteString(e.said + "\n")
		}
	}
	kinds := kindsOfMistakes(t)
	if len(kinds) < 100 {
		t.Fatalf("only %d kinds are found in engine/policy", len(kinds))
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		if !slices.Contains(unwritten, kind) && !formatted(kind).MatchString(said.String()) {
			t.Errorf("%s: no example of README.md makes this mistake: %q", kinds[kind], kind)
		}
	}
	for _, kind := range unwritten {
		if _, exists := kinds[kind]; !exists {
			t.Errorf("%q is no kind of mistake; take it out of unwritten", kind)
		}
	}
}

var verb = regexp.MustCompile(`%[a-z]`)

// formatted fits whatever fmt makes of the format.
func formatted(format string) *regexp.Regexp {
	parts := verb.Split(format, -1)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(strings.Join(parts, "(?s:.*?)"))
}

// kindsOfMistakes are the texts and formats of what Load and CheckDirectory report, with their places in engine/policy, and what is
// said in plain words beside OPA's. Of some files the texts that are returned count too, since others report those, and of those that
// evaluate policies or follow bundles whatever they say.
func kindsOfMistakes(t *testing.T) map[string]string {
	files, err := filepath.Glob("../engine/policy/*.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	set := token.NewFileSet()
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		note := func(args []ast.Expr) {
			for _, arg := range args {
				if sum, ok := arg.(*ast.BinaryExpr); ok { // of a text and what is not known before
					arg = sum.X
					if _, ok := arg.(*ast.BasicLit); !ok {
						arg = sum.Y
					}
				}
				lit, ok := arg.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					continue
				}
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				if len(verb.ReplaceAllString(text, "")) > 8 {
					kinds[text] = set.Position(lit.Pos()).String()
				}
				return
			}
		}
		returned := slices.Contains([]string{"compile.go", "params.go", "obligation.go", "reason.go", "config.go", "waiver.go"}, filepath.Base(file))
		whatever := slices.Contains([]string{"meter.go", "evaluate.go", "bundle.go", "remote.go", "revision.go"}, filepath.Base(file))
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				switch called(n) {
				case "Problem":
					note(n.Args[1:])
				case "problem", "problemAt", "report", "refuse":
					note(n.Args)
				case "Sprintf", "Errorf", "New":
					if whatever {
						note(n.Args)
					}
				}
			case *ast.ReturnStmt:
				for _, result := range n.Results {
					if call, ok := result.(*ast.CallExpr); ok && returned && (called(call) == "Sprintf" || called(call) == "Errorf") {
						note(call.Args)
					}
				}
				if whatever {
					note(n.Results)
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && (key.Name == "Message" || key.Name == "why") {
					note([]ast.Expr{n.Value})
					if call, ok := n.Value.(*ast.CallExpr); ok {
						note(call.Args)
					}
				}
			case *ast.ValueSpec:
				if n.Names[0].Name != "plainWords" {
					break
				}
				for _, row := range n.Values[0].(*ast.CompositeLit).Elts {
					note(row.(*ast.CompositeLit).Elts[1:])
				}
			}
			return true
		})
	}
	return kinds
}

// called is the name of the function or method that is called.
func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}
