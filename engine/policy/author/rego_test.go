package author_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chaperone/engine/policy"
	"chaperone/engine/policy/author"
	"chaperone/policies"
)

func TestRegoTestsRunWithCoverageOfWhatIsNoTest(t *testing.T) {
	texts := map[string][]byte{
		"a.rego": []byte("package acme.a\n\ndeny contains \"no\" if input.endpoint.free\n\ndeny contains \"never\" if {\n\tinput.endpoint.provider == \"x\"\n\tinput.endpoint.model == \"y\"\n}\n"),
		"a_test.rego": []byte(`package acme.a_test

import data.acme.a

test_holds if "no" in a.deny with input as {"endpoint": {"free": true}}

test_fails if {
	print("deny is", a.deny)
	count(a.deny) == 7
}

todo_test_later if false
`),
	}
	results, coverage, problems := author.TestRego(t.Context(), texts)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range results {
		got = append(got, strings.Join([]string{r.Name, r.Place, r.Why, r.Output}, "|"))
	}
	slices.Sort(got)
	want := []string{
		"acme.a_test.test_fails|a_test.rego:7|not true at line 9: count(a.deny) == 7|deny is set()",
		"acme.a_test.test_holds|a_test.rego:5||",
		"acme.a_test.todo_test_later|a_test.rego:12||",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nshould be\n%q", got, want)
	}
	if coverage.Percent <= 0 || coverage.Percent >= 100 || !slices.ContainsFunc(coverage.NotCovered, func(place string) bool { return strings.HasPrefix(place, "a.rego:") }) {
		t.Errorf("coverage is %+v; should be a part, with what is missing of a.rego", coverage)
	}
	for _, place := range coverage.NotCovered {
		if strings.HasPrefix(place, "a_test.rego") {
			t.Errorf("%s: tests do not count", place)
		}
	}
}

func TestRegoThatCannotBeTestedIsReportedWithItsPlace(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"package a\n\ntest_x if {", "a_test.rego:3: rego_parse_error"},
		{"package a\n\ntest_x if y", "a_test.rego:3: rego_unsafe_var_error"},
	} {
		_, _, problems := author.TestRego(t.Context(), map[string][]byte{"a_test.rego": []byte(test.text)})
		if err := problems.Err(); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%q: %v; should start with %q", test.text, err, test.want)
		}
	}
}

func TestANewPolicyPassesItsCheckAndItsTests(t *testing.T) {
	dir := t.TempDir()
	files, binding, err := author.New("acme.vision", dir)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string][]byte{}
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.Path, []byte(f.Text), 0o644); err != nil {
			t.Fatal(err)
		}
		texts[f.Path] = []byte(f.Text)
		formatted, problems := author.Format(f.Path, []byte(f.Text))
		if err := problems.Err(); err != nil || string(formatted) != f.Text {
			t.Errorf("%s is laid out otherwise than opa fmt does (%v):\n%s", f.Path, err, formatted)
		}
	}
	if err := policy.CheckDirectory(dir).Err(); err != nil {
		t.Error(err)
	}
	results, coverage, problems := author.TestRego(t.Context(), texts)
	if err := problems.Err(); err != nil || len(results) != 2 || coverage.Percent != 100 {
		t.Fatalf("%v, %d tests, %+v", err, len(results), coverage)
	}
	for _, r := range results {
		if !r.OK {
			t.Errorf("%+v", r)
		}
	}
	// The binding is read as it is printed.
	w := world(t, binding)
	n := whyNot(t, w, "beta", "")
	if n.Permitted || n.Denials[0].Code != "vision" || !whyNot(t, w, "alpha", "").Permitted {
		t.Errorf("%+v should be denied by the new policy, and alpha permitted", n)
	}
}

func TestNamesOfPoliciesThatCannotBe(t *testing.T) {
	for _, name := range []string{"", "Acme", "acme.", "acme/vision", "../x", "acme.if", "library.mine", "acme.x_test", "acme.input"} {
		if files, _, err := author.New(name, "rego"); err == nil || !strings.Contains(err.Error(), "found ") {
			t.Errorf("%q: %v, %d files", name, err, len(files))
		}
	}
}

func TestTheLibraryDescribesItself(t *testing.T) {
	all, problems := author.Describe(policies.FS, "library")
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Glob("../../../policies/*.rego")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range modules {
		if !strings.HasSuffix(m, "_test.rego") {
			n++
		}
	}
	if len(all) != n || n == 0 {
		t.Errorf("%d policies are described; there are %d", len(all), n)
	}
	for _, d := range all {
		if d.Title == "" || d.Control == "" || d.Severity == "" || !strings.HasPrefix(d.File, "library/") {
			t.Errorf("%+v lacks something", d)
		}
		for _, p := range d.Parameters {
			if p.Type == "" || p.Description == "" {
				t.Errorf("%s: %+v lacks something", d.Package, p)
			}
		}
		if d.Package == "library.providers" && (len(d.Parameters) != 2 || d.Parameters[0].Required || d.Parameters[0].Type != "array of string") {
			t.Errorf("%+v", d.Parameters)
		}
		if d.Package == "library.retention" && (len(d.Parameters) != 1 || !d.Parameters[0].Required) {
			t.Errorf("%+v", d.Parameters)
		}
	}
}
