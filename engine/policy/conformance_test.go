package policy

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/dependencies"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/test/cases"
	"github.com/open-policy-agent/opa/v1/test/cases/testdata"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/util"
)

// OPA's own conformance cases, on the whole input and on its projection onto what both analyses (dependencies.Base, and a
// walk over every rule for the constant prefixes of references) say is read: the method by which read-sets are derived.
func TestOPAsOwnCasesGiveTheSameOnTheProjection(t *testing.T) {
	ran, projected := 0, 0
	eachCase(t, func(path string, c *cases.TestCase) {
		input := caseInput(c)
		if input == nil {
			return
		}
		compiler, query, ok := compileCase(c)
		if !ok {
			return // it is about an error of compilation
		}
		prefixes := inputPrefixes(compiler, query)
		input = noisy(input)
		narrow := project(input, prefixes)
		wide := evaluateCase(c, compiler, input)
		again := evaluateCase(c, compiler, narrow)
		ran++
		if narrow.Compare(input) != 0 {
			projected++
		}
		if wide != again {
			t.Errorf("%s (%s): on the whole input %s, on what is read %s\nread: %v", c.Note, path, wide, again, prefixes)
		}
	})
	if ran < 250 || projected == 0 {
		t.Fatalf("%d cases ran, of which %d had something to leave out", ran, projected)
	}
	t.Logf("%d cases with object inputs, of which %d had something to leave out", ran, projected)
}

// Charging what an evaluation makes changes no answer of OPA's own cases, as far as they stay within the allowance.
func TestOPAsOwnCasesGiveTheSameUnderTheMeter(t *testing.T) {
	ran, spent := 0, 0
	eachCase(t, func(path string, c *cases.TestCase) {
		plain, query, ok := compileCase(c)
		if !ok || mocks(plain, query) {
			return
		}
		charged, _, _ := compileCase(c)
		for _, m := range charged.Modules {
			meterModule(m)
		}
		var input ast.Value
		if object := caseInput(c); object != nil {
			input = object
		}
		m := newMeter()
		want := evaluateQuery(c, plain, query, input, func(q *topdown.Query) *topdown.Query { return q })
		got := evaluateQuery(c, charged, query, input, func(q *topdown.Query) *topdown.Query {
			return q.WithCancel(m).WithBuiltins(metered).WithInterQueryBuiltinValueCache(newPatterns(context.Background()))
		})
		ran++
		if m.spent() {
			spent++
		} else if got != want {
			t.Errorf("%s (%s): charged %s, plainly %s", c.Note, path, got, want)
		}
	})
	if ran < 1500 || spent > 10 {
		t.Fatalf("%d cases ran, of which %d took more than the allowance", ran, spent)
	}
	t.Logf("%d cases, of which %d took more than the allowance", ran, spent)
}

// mocks says whether something is replaced by another, as no policy may.
func mocks(compiler *ast.Compiler, query ast.Body) (found bool) {
	note := func(w *ast.With) bool { found = true; return true }
	ast.WalkWiths(query, note)
	for _, m := range compiler.Modules {
		ast.WalkWiths(m, note)
	}
	return found
}

// evaluateQuery is what c's query gives: values in any order, or an error.
func evaluateQuery(c *cases.TestCase, compiler *ast.Compiler, body ast.Body, input ast.Value, with func(*topdown.Query) *topdown.Query) string {
	ctx := context.Background()
	store := caseStore(c)
	txn := storage.NewTransactionOrDie(ctx, store)
	defer store.Abort(ctx, txn)
	qc := compiler.QueryCompiler()
	compiled, err := qc.Compile(body)
	if err != nil {
		return "error: " + err.Error()
	}
	q := topdown.NewQuery(compiled).WithQueryCompiler(qc).WithCompiler(compiler).WithStore(store).WithTransaction(txn).
		WithStrictBuiltinErrors(c.StrictError).WithTime(time.Unix(0, 0)).WithSeed(zeroReader{})
	if input != nil {
		q = q.WithInput(ast.NewTerm(input))
	}
	var results []string
	err = with(q).Iter(ctx, func(r topdown.QueryResult) error {
		results = append(results, fmt.Sprint(map[ast.Var]*ast.Term(r)))
		return nil
	})
	if err != nil {
		return "error: " + err.Error()
	}
	slices.Sort(results)
	return strings.Join(results, "; ")
}

func caseStore(c *cases.TestCase) storage.Store {
	if c.Data == nil {
		return inmem.New()
	}
	return inmem.NewFromObject(*c.Data)
}

// eachCase calls f with OPA's cases, but for those that another moment or machine changes.
func eachCase(t *testing.T, f func(path string, c *cases.TestCase)) {
	t.Helper()
	err := fs.WalkDir(testdata.V1, "v1", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".yaml") && !strings.HasSuffix(path, ".json") {
			return err
		}
		text, err := fs.ReadFile(testdata.V1, path)
		if err != nil {
			return err
		}
		var set cases.Set
		if err := util.Unmarshal(text, &set); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for i := range set.Cases {
			c := &set.Cases[i]
			if !strings.Contains(c.Note, "time.now") && !strings.Contains(c.Note, "rand.") && !strings.Contains(c.Note, "http.send") && !strings.Contains(c.Note, "net.lookup") {
				f(path, c)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func caseInput(c *cases.TestCase) ast.Object {
	var v ast.Value
	switch {
	case c.InputTerm != nil:
		t, err := ast.ParseTerm(*c.InputTerm)
		if err != nil {
			return nil
		}
		v = t.Value
	case c.Input != nil:
		var err error
		if v, err = ast.InterfaceToValue(*c.Input); err != nil {
			return nil
		}
	}
	obj, _ := v.(ast.Object)
	return obj
}

// noisy is input with more in each of its objects: the cases' own inputs hold little that is not read.
func noisy(input ast.Object) ast.Object {
	out := ast.NewObject()
	input.Foreach(func(k, v *ast.Term) {
		if obj, ok := v.Value.(ast.Object); ok {
			v = ast.NewTerm(noisy(obj))
		}
		out.Insert(k, v)
	})
	out.Insert(ast.StringTerm("nobody asks for this"), ast.ObjectTerm(ast.Item(ast.StringTerm("x"), ast.NumberTerm("1"))))
	return out
}

func compileCase(c *cases.TestCase) (*ast.Compiler, ast.Body, bool) {
	modules := map[string]*ast.Module{}
	for i, text := range c.Modules {
		m, err := ast.ParseModuleWithOpts(fmt.Sprintf("m%d.rego", i), text, ast.ParserOptions{AllFutureKeywords: true})
		if err != nil {
			return nil, nil, false
		}
		modules[fmt.Sprintf("m%d.rego", i)] = m
	}
	query, err := ast.ParseBody(c.Query)
	if err != nil {
		return nil, nil, false
	}
	compiler := ast.NewCompiler()
	compiler.Compile(modules)
	return compiler, query, !compiler.Failed()
}

// inputPrefixes is what can be read of the input, each to the last constant part.
func inputPrefixes(compiler *ast.Compiler, query ast.Body) []ast.Ref {
	var all []ast.Ref
	note := func(ref ast.Ref) {
		if len(ref) > 0 && ref[0].Equal(ast.InputRootDocument) {
			all = append(all, ref.ConstantPrefix())
		}
	}
	walk := func(x any) {
		ast.WalkRefs(x, func(ref ast.Ref) bool { note(ref); return false })
		ast.WalkTerms(x, func(term *ast.Term) bool {
			if v, ok := term.Value.(ast.Var); ok && v.Equal(ast.InputRootDocument.Value) {
				all = append(all, ast.InputRootRef)
			}
			_, isRef := term.Value.(ast.Ref)
			return isRef
		})
	}
	walk(query)
	for _, m := range compiler.Modules {
		walk(m)
	}
	if base, err := dependencies.Base(compiler, query); err == nil {
		for _, ref := range base {
			note(ref)
		}
	}
	return all
}

// project is what of input lies under the prefixes.
func project(input ast.Object, prefixes []ast.Ref) ast.Object {
	below := map[string][]ast.Ref{} // by the first part
	var keys []*ast.Term
	for _, ref := range prefixes {
		if len(ref) == 1 {
			return input
		}
		if below[ref[1].String()] == nil {
			keys = append(keys, ref[1])
		}
		below[ref[1].String()] = append(below[ref[1].String()], ref[1:])
	}
	out := ast.NewObject()
	for _, key := range keys {
		v := input.Get(key)
		if v == nil {
			continue
		}
		if obj, ok := v.Value.(ast.Object); ok {
			v = ast.NewTerm(project(obj, below[key.String()]))
		}
		out.Insert(key, v)
	}
	return out
}

func evaluateCase(c *cases.TestCase, compiler *ast.Compiler, input ast.Value) string {
	rs, err := rego.New(rego.Query(c.Query), rego.Compiler(compiler), rego.Store(caseStore(c)), rego.ParsedInput(input), rego.StrictBuiltinErrors(c.StrictError)).
		Eval(context.Background())
	if err != nil {
		return "error: " + strings.Join(strings.Fields(err.Error()), " ")
	}
	var b strings.Builder
	for _, r := range rs {
		for _, e := range r.Expressions {
			fmt.Fprint(&b, e.Value, " ")
		}
		fmt.Fprint(&b, map[string]any(r.Bindings), "; ") // maps print in the order of their keys
	}
	return b.String()
}
