package policies_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/compile"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/tester"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/policy"
	"chaperone/engine/wire"
)

var update = flag.Bool("update", false, "rewrite schemas/*.json")

func TestTheLibraryPassesItsOwnTestsWithFullCoverage(t *testing.T) {
	ctx := context.Background()
	modules, store, err := tester.LoadWithRegoVersion([]string{"."}, func(path string, info os.FileInfo, _ int) bool {
		return !info.IsDir() && filepath.Ext(path) != ".rego"
	}, ast.RegoV1)
	if err != nil {
		t.Fatal(err)
	}
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		t.Fatal(err)
	}
	coverage := cover.New()
	compiler := ast.NewCompiler().WithStrict(true).WithUseTypeCheckAnnotations(true)
	results, err := tester.NewRunner().SetCompiler(compiler).SetStore(store).SetModules(modules).
		SetCoverageQueryTracer(coverage).RunTests(ctx, txn)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for r := range results {
		n++
		if !r.Pass() {
			t.Errorf("%s", r)
		}
	}
	if n < 60 {
		t.Errorf("%d tests ran", n)
	}
	report := coverage.Report(modules)
	for file, r := range report.Files {
		if len(r.NotCovered) > 0 {
			t.Errorf("%s: not covered: %+v", file, r.NotCovered)
		}
	}
	if report.Coverage != 100 {
		t.Errorf("coverage is %v %%", report.Coverage)
	}
}

func TestSchemasAreCurrent(t *testing.T) {
	for name, want := range map[string][]byte{"schemas/row.json": policy.Schema(true), "schemas/request.json": policy.Schema(false)} {
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what engine/policy reads (%v); write it anew: go generate ./policies", name, err)
		}
	}
}

var block = regexp.MustCompile("(?s)```(toml|rego)\n(.*?)```")

func TestEveryExampleOfTheReadmeLoads(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := block.FindAllStringSubmatch(string(readme), -1)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "rego"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i, b := range blocks {
		if b[1] != "rego" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "rego", fmt.Sprintf("own%d.rego", i)), []byte(b[2]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	writeBundle(t, filepath.Join(dir, "rego"), filepath.Join(dir, "central.tar.gz"))
	shown := map[string]bool{}
	for i, b := range blocks {
		if b[1] != "toml" {
			continue
		}
		set, problems := load(filepath.Join(dir, "chaperone.toml"), b[2])
		if err := problems.Err(); err != nil {
			t.Errorf("example %d:\n%s\n%v", i+1, b[2], err)
			continue
		}
		if set.Digest() == "" {
			t.Errorf("example %d has no digest", i+1)
		}
		for _, m := range regexp.MustCompile(`package += "library\.(\w+)"`).FindAllStringSubmatch(b[2], -1) {
			shown[m[1]] = true
		}
	}
	modules, err := filepath.Glob("*.rego")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range modules {
		if name := strings.TrimSuffix(file, ".rego"); !strings.HasSuffix(name, "_test") && !shown[name] {
			t.Errorf("no example in README.md binds library.%s", name)
		}
	}
}

// writeBundle is what `opa build -b from -o to` does.
func writeBundle(t *testing.T, from, to string) {
	t.Helper()
	var out bytes.Buffer
	if err := compile.New().WithAsBundle(true).WithPaths(from).WithOutput(&out).WithRegoVersion(ast.RegoV1).Build(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// ownPolicy binds the package org.p of the files beside it to everyone.
const ownPolicy = "[[policy.sources]]\nname = \"own\"\npath = \".\"\n[[policy.bindings]]\npackage = \"org.p\"\nfor = \"everyone\"\n"

// section is what README.md has from one text to another.
func section(t *testing.T, from, to string) string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, begins := strings.Cut(string(readme), from)
	found, _, ends := strings.Cut(after, to)
	if !begins || !ends {
		t.Fatalf("README.md has nothing from %q to %q", from, to)
	}
	return found
}

var mistake = regexp.MustCompile("(?m)^\\| `((?:default|deny|violation|allow|reject|require|prefer).*?)` \\| (.*) \\|$")

// Every row of the tables of mistakes is refused, in the words that the table says.
func TestEveryMistakeOfTheReadmeIsRefused(t *testing.T) {
	rows := mistake.FindAllStringSubmatch(section(t, "### What is refused", "### What is warned of"), -1)
	if len(rows) < 40 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "p.rego"), []byte("package org.p\n\n"+row[1]+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, problems := load(filepath.Join(dir, "chaperone.toml"), ownPolicy)
		for _, want := range strings.Split(row[2], " | ") {
			if !strings.Contains(problems.Error(), want) {
				t.Errorf("%s\nis not refused with %q:\n%v", row[1], want, problems)
			}
		}
	}
}

var warning = regexp.MustCompile("(?m)^\\| `((?:deny|params).*?)` \\| (.*) \\|$")

// Every row of the table of warnings loads, and is warned of in the words that the table says.
func TestEveryWarningOfTheReadmeIsGiven(t *testing.T) {
	rows := warning.FindAllStringSubmatch(section(t, "### What is warned of", "### What is denied"), -1)
	if len(rows) < 7 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		dir, text := t.TempDir(), "[[policy.bindings]]\npackage = \"library.providers\"\nfor = \"everyone\"\n"+row[1]+"\n"
		if strings.HasPrefix(row[1], "deny") {
			text = ownPolicy
			if err := os.WriteFile(filepath.Join(dir, "p.rego"), []byte("package org.p\n\n"+row[1]+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		set, problems := load(filepath.Join(dir, "chaperone.toml"), text)
		if len(problems) > 0 {
			t.Errorf("%s\nis refused: %v", row[1], problems)
		} else if found := set.Warnings(time.Now()); len(found) != 1 || !strings.Contains(found[0].String(), row[2]) {
			t.Errorf("%s\nis not warned of with %q:\n%v", row[1], row[2], found)
		}
	}
}

// Every row of the table of denials denies, in the words that the table says.
func TestEveryDenialOfTheReadmeIsGiven(t *testing.T) {
	rows := mistake.FindAllStringSubmatch(section(t, "### What is denied", "\nWhile a policy"), -1)
	if len(rows) < 14 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		row[1] = strings.ReplaceAll(row[1], `\|`, "|") // as a table must have it
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "p.rego"), []byte("package org.p\n\n"+row[1]+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		set, problems := load(filepath.Join(dir, "chaperone.toml"), "[policy]\nevaluation_timeout = \"1m\"\n"+ownPolicy)
		if len(problems) > 0 {
			t.Errorf("%s\nis refused: %v", row[1], problems)
			continue
		}
		acme := &account.Organisation{ID: "acme"}
		v := set.Judge(context.Background(), &policy.Query{
			Principal: &account.Principal{Organisation: acme, Key: &account.Key{ID: "key_0123456789ab"}, DataClass: "public"},
			Request:   &wire.Request{Model: "acme/large", N: 1, ResponseFormat: "text"},
			Rows:      []*catalog.Row{{ID: "acme/large@alpha#paid"}},
		}).Verdicts[0]
		if v.Permit.Row() != nil || len(v.Denials) != 1 || !strings.Contains(v.Denials[0].Message, row[2]) {
			t.Errorf("%s\ngives %+v, not %q", row[1], v.Denials, row[2])
		}
	}
}

func TestEveryModuleStatesWhatItIs(t *testing.T) {
	modules, err := filepath.Glob("*.rego")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range modules {
		if strings.HasSuffix(file, "_test.rego") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		module, err := ast.ParseModuleWithOpts(file, string(text), ast.ParserOptions{ProcessAnnotation: true})
		if err != nil {
			t.Fatal(err)
		}
		var a *ast.Annotations
		for _, found := range module.Annotations {
			if found.Scope == "package" {
				a = found
			}
		}
		if a == nil || a.Title == "" || a.Description == "" || fmt.Sprint(a.Custom["control"]) == "" || fmt.Sprint(a.Custom["severity"]) == "" {
			t.Errorf("%s: the package's metadata lacks title, description, control or severity", file)
		}
	}
}

func load(path, text string) (*policy.Set, config.Problems) {
	doc, problems := config.Parse(path, []byte(text))
	if len(problems) > 0 {
		return nil, problems
	}
	return policy.Load(context.Background(), policy.Config{
		Documents: []*config.Document{doc},
		Accounts: &account.Accounts{Organisations: map[string]*account.Organisation{
			"acme": {ID: "acme", Teams: map[string]*account.Team{"fraud": {ID: "fraud"}}},
		}},
		Catalog: &catalog.Catalog{
			Providers: map[string]*catalog.Provider{"openai": {ID: "openai", Certifications: []string{"soc2"}}},
			Models:    map[string]*catalog.Model{"openai/gpt-4o-mini": {ID: "openai/gpt-4o-mini"}},
			Aliases:   map[string]string{"gpt-4o-mini": "openai/gpt-4o-mini"},
			Rows:      []*catalog.Row{{ID: "acme/large@alpha#paid"}},
		},
	})
}
