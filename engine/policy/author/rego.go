package author

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

	"chaperone/engine/config"
	"chaperone/engine/policy"
)

// testTimeout is how long one Rego test may take.
const testTimeout = 5 * time.Second

// The endings of files that hold tests.
const (
	regoTests = "_test.rego"
	caseTests = "_test.toml"
)

// RegoResult is what became of one Rego test.
type RegoResult struct {
	Place  string `json:"place"` // file:line
	Name   string `json:"name"`  // package.test_name
	OK     bool   `json:"ok"`
	Skip   bool   `json:"skip,omitempty"`   // todo_test_…
	Why    string `json:"why,omitempty"`    // the expression that failed, or the error
	Output string `json:"output,omitempty"` // of print
}

// RegoCoverage is how much of the modules that are no tests was evaluated.
type RegoCoverage struct {
	Percent    float64  `json:"percent"`
	NotCovered []string `json:"not_covered"` // file:line, or file:line-line
}

// TestFiles are the files below dir: Rego modules, those with tests among them, and tables of cases. What begins with a dot stays
// out.
func TestFiles(dir string) (modules, cases []string, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != dir && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return filepath.SkipDir
			}
		case entry.IsDir():
		case filepath.Ext(path) == ".rego":
			modules = append(modules, path)
		case strings.HasSuffix(path, caseTests):
			cases = append(cases, path)
		}
		return nil
	})
	return modules, cases, err
}

// HasTests says whether one of these modules holds tests.
func HasTests(modules []string) bool {
	return slices.ContainsFunc(modules, func(file string) bool { return strings.HasSuffix(file, regoTests) })
}

// TestRego runs the tests in modules with OPA's own runner. texts are the modules by their files. The problems are those
// for which nothing could be run.
func TestRego(ctx context.Context, texts map[string][]byte) (results []RegoResult, reached *RegoCoverage, problems config.Problems) {
	defer func() {
		if r := recover(); r != nil {
			results, reached, problems = nil, nil, config.Problems{{File: "rego", Message: fmt.Sprintf("the Rego compiler failed on these files: %v", r)}}
		}
	}()
	modules := map[string]*ast.Module{}
	for file, text := range texts {
		m, found := policy.ParseModule(file, text)
		problems = append(problems, found...)
		if m != nil {
			modules[file] = m
		}
	}
	if len(problems) > 0 {
		return nil, nil, problems
	}
	store := inmem.New()
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, nil, config.Problems{{File: "rego", Message: err.Error()}}
	}
	defer store.Abort(ctx, txn)
	coverage := cover.New()
	found, err := tester.NewRunner().
		SetCompiler(ast.NewCompiler().WithEnablePrintStatements(true).WithUseTypeCheckAnnotations(true)).
		SetStore(store).SetModules(modules).SetTimeout(testTimeout).CapturePrintOutput(true).EnableTracing(true).
		SetCoverageQueryTracer(coverage).RunTests(ctx, txn)
	if err != nil {
		return nil, nil, policy.RegoProblems("rego", err)
	}
	for r := range found {
		results = append(results, regoResult(r))
	}
	return results, uncovered(coverage.Report(modules)), nil
}

func regoResult(r *tester.Result) RegoResult {
	out := RegoResult{Name: strings.TrimPrefix(r.Package, "data.") + "." + r.Name, OK: r.Pass(), Skip: r.Skip, Output: strings.TrimSpace(string(r.Output))}
	if r.Location != nil {
		out.Place = fmt.Sprintf("%s:%d", r.Location.File, r.Location.Row)
	}
	switch {
	case r.Error != nil:
		out.Why = r.Error.Error()
	case r.Fail:
		out.Why = "not true"
		if at := failedAt(r); at != nil {
			out.Why = fmt.Sprintf("not true at line %d: %s", at.Row, strings.TrimSpace(string(at.Text)))
		}
	}
	return out
}

// failedAt is the expression of the test that was the last to fail; those of the policy that it asks fail as they should.
func failedAt(r *tester.Result) *ast.Location {
	if r.Location == nil {
		return nil
	}
	for _, e := range slices.Backward(r.Trace) {
		if e.Op == topdown.FailOp && e.Location != nil && e.Location.File == r.Location.File && e.Location.Row >= r.Location.Row {
			return e.Location
		}
	}
	return nil
}

// uncovered leaves the tests out, which would only make the share look better.
func uncovered(report cover.Report) *RegoCoverage {
	c := &RegoCoverage{NotCovered: []string{}}
	var covered, all int
	var files []string
	for file := range report.Files {
		if !strings.HasSuffix(file, regoTests) {
			files = append(files, file)
		}
	}
	slices.Sort(files)
	for _, file := range files {
		f := report.Files[file]
		covered += f.CoveredLines
		all += f.CoveredLines + f.NotCoveredLines
		for _, r := range f.NotCovered {
			if r.End.Row > r.Start.Row {
				c.NotCovered = append(c.NotCovered, fmt.Sprintf("%s:%d-%d", file, r.Start.Row, r.End.Row))
			} else {
				c.NotCovered = append(c.NotCovered, fmt.Sprintf("%s:%d", file, r.Start.Row))
			}
		}
	}
	if all > 0 {
		c.Percent = float64(covered) * 100 / float64(all)
	}
	return c
}
