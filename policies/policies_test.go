package policies_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// example is a row of a table: what somebody writes, what the table says that it leads to, and what it leads to.
type example struct{ written, want, said string }

var tableRow = regexp.MustCompile("(?m)^\\| `([^|]*?(?:\\\\\\|[^|]*?)*)` \\| (.*) \\|$")

// rows are those of the tables of a section that begin with code.
func rows(t *testing.T, from, to string, least int) (all []example) {
	t.Helper()
	for _, row := range tableRow.FindAllStringSubmatch(section(t, from, to), -1) {
		written := strings.NewReplacer(`\|`, "|", " ↵ ", "\n").Replace(row[1]) // a | in a table has a backslash
		all = append(all, example{written: written, want: row[2]})
	}
	if len(all) < least {
		t.Fatalf("%d rows between %q and %q", len(all), from, to)
	}
	return all
}

// put makes a file and the folders above it.
func put(t *testing.T, text string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

var ownPackage = regexp.MustCompile(`(?m)^pac?kage `)

// module is a file of package org.p with these rules, unless they name their package.
func module(rules string) string {
	if ownPackage.MatchString(rules) {
		return rules + "\n"
	}
	return "package org.p\n\n" + rules + "\n"
}

// refused are the tables of what Rego is refused.
func refused(t *testing.T) []example {
	all := rows(t, "### What is refused", "### What is refused of a configuration", 40)
	for i, e := range all {
		dir := t.TempDir()
		put(t, module(e.written), dir, "p.rego")
		_, problems := load(filepath.Join(dir, "chaperone.toml"), ownPolicy)
		all[i].said = problems.Error() + "\n" + policy.CheckDirectory(dir).Error()
	}
	return all
}

// putExamples makes a folder rego of the examples in Rego.
func putExamples(t *testing.T, dir string) {
	t.Helper()
	for i, b := range block.FindAllStringSubmatch(section(t, "# Policies", "### What is refused"), -1) {
		if b[1] == "rego" {
			put(t, b[2], dir, "rego", fmt.Sprintf("own%d.rego", i))
		}
	}
}

// misconfigured is the tables of what TOML is refused, of chaperone.toml and then of a team's file.
func misconfigured(t *testing.T) []example {
	dir := t.TempDir()
	putExamples(t, dir)
	writeBundle(t, filepath.Join(dir, "rego"), filepath.Join(dir, "central.tar.gz"))
	put(t, "", dir, "empty.pem")
	put(t, "secret", dir, "key.pem")
	put(t, "secret", dir, "token")
	put(t, "", dir, "empty", "nothing.txt")
	put(t, module(`deny contains "x" if input.request.stream`), dir, "load", "p.rego")
	put(t, module(`deny contains "y" if input.endpoint.free`), dir, "load", "load_test.rego")
	put(t, module(`deny contains "x" if input.request.stream`), dir, "upper", "P.Rego")
	main := filepath.Join(dir, "chaperone.toml")
	all := rows(t, "### What is refused of a configuration", "What a team's file may not say", 40)
	for i, e := range all {
		_, problems := load(main, e.written+"\n")
		all[i].said = problems.Error()
	}
	ofTeams := rows(t, "What a team's file may not say", "### What is warned of", 6)
	for i, e := range ofTeams {
		_, problems := load(main, "[[policy.bindings]]\npackage = \"library.retention\"\nfor = \"everyone\"\nparams = { max_days = 30 }\n", e.written+"\n")
		ofTeams[i].said = problems.Error()
	}
	return append(all, ofTeams...)
}

func TestEveryMistakeOfTheReadmeIsRefused(t *testing.T) {
	for _, e := range append(refused(t), misconfigured(t)...) {
		for _, want := range strings.Split(e.want, " | ") {
			if !strings.Contains(e.said, want) {
				t.Errorf("%s\nis not refused with %q:\n%v", e.written, want, e.said)
			}
		}
	}
}

// warned is the table of what loads and is warned of.
func warned(t *testing.T) []example {
	all := rows(t, "### What is warned of", "### What is denied", 7)
	for i, e := range all {
		dir, toml := t.TempDir(), "[[policy.bindings]]\npackage = \"library.providers\"\nfor = \"everyone\"\n"+e.written+"\n"
		switch {
		case strings.HasPrefix(e.written, "["):
			toml = e.written + "\n"
			putExamples(t, dir)
			put(t, module(`deny contains "x" if input.request.stream`), dir, "forgotten", "p.rego")
		case !strings.HasPrefix(e.written, "params"):
			toml = ownPolicy
			put(t, module(e.written), dir, "p.rego")
		}
		set, problems := load(filepath.Join(dir, "chaperone.toml"), toml)
		if len(problems) > 0 {
			t.Errorf("%s\nis refused: %v", e.written, problems)
			continue
		}
		found := set.Warnings(time.Now())
		if len(found) == 0 {
			found = set.Unbound()
		}
		if len(found) == 1 {
			all[i].said = found[0].String()
		}
	}
	return all
}

func TestEveryWarningOfTheReadmeIsGiven(t *testing.T) {
	for _, e := range warned(t) {
		if !strings.Contains(e.said, e.want) {
			t.Errorf("%s\nis not warned of, once, with %q: %s", e.written, e.want, e.said)
		}
	}
}

// denied is the table of what loads and denies.
func denied(t *testing.T) []example {
	all := rows(t, "### What is denied", "\nWhile a policy", 14)
	for i, e := range all {
		dir, toml := t.TempDir(), e.written+"\n"
		if !strings.HasPrefix(e.written, "[") {
			toml = "[policy]\nevaluation_timeout = \"1m\"\n" + ownPolicy
			put(t, module(e.written), dir, "p.rego")
		}
		set, problems := load(filepath.Join(dir, "chaperone.toml"), toml)
		if len(problems) > 0 {
			t.Errorf("%s\nis refused: %v", e.written, problems)
			continue
		}
		j := set.Judge(context.Background(), anybody())
		for _, reason := range slices.Concat(j.Rejections, j.Verdicts[0].Denials) { // none where it is permitted
			all[i].said += reason.Message + "\n"
		}
	}
	return all
}

func TestEveryDenialOfTheReadmeIsGiven(t *testing.T) {
	for _, e := range denied(t) {
		if !strings.Contains(e.said, e.want) {
			t.Errorf("%s\ndoes not deny with %q: %s", e.written, e.want, e.said)
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

// ignored is the table of weights that do not count.
func ignored(t *testing.T) []example {
	all := rows(t, "### What is ignored", "### What judging costs", 4)
	for i, e := range all {
		dir, toml := t.TempDir(), e.written+"\n"
		if strings.HasPrefix(e.written, "[") {
			putExamples(t, dir)
		} else {
			toml = ownPolicy
			put(t, module(e.written), dir, "p.rego")
		}
		set, problems := load(filepath.Join(dir, "chaperone.toml"), toml)
		if len(problems) > 0 {
			t.Errorf("%s\nis refused: %v", e.written, problems)
			continue
		}
		j := set.Judge(context.Background(), anybody())
		if j.Weights != nil || j.Verdicts[0].Permit.Row() == nil {
			t.Errorf("%s\nweights %v, denials %v", e.written, j.Weights, j.Verdicts[0].Denials)
		}
		for _, reason := range j.Ignored {
			all[i].said += reason.Message + "\n"
		}
	}
	return all
}

func TestEveryWeightThatDoesNotCountIsReported(t *testing.T) {
	for _, e := range ignored(t) {
		if !strings.Contains(e.said, e.want) {
			t.Errorf("%s\nis not ignored with %q: %s", e.written, e.want, e.said)
		}
	}
}

// anybody is a plain request of somebody at acme, of one row.
func anybody() *policy.Query {
	return &policy.Query{
		Principal: &account.Principal{Organisation: &account.Organisation{ID: "acme"}, Key: &account.Key{ID: "key_0123456789ab"}, DataClass: "public"},
		Request:   &wire.Request{Model: "acme/large", N: 1, ResponseFormat: "text"},
		Rows:      []*catalog.Row{{ID: "acme/large@alpha#paid"}},
		Now:       time.Now(),
	}
}

// load loads chaperone.toml, and the files of teams that it includes.
func load(path, text string, teams ...string) (*policy.Set, config.Problems) {
	c, problems := configOf(path, text, teams...)
	if len(problems) > 0 {
		return nil, problems
	}
	return policy.Load(context.Background(), c)
}

// accounts are what the examples speak of: an organisation with a team and a key, and a label.
func accounts() *account.Accounts {
	const toml = "[organisations.acme]\nlabels = { tier = \"trial\" }\n[organisations.acme.teams.fraud]\n" +
		"[[keys]]\norganisation = \"acme\"\nsha256 = \"9876543210fe0000000000000000000000000000000000000000000000000000\"\n"
	doc, problems := config.Parse("accounts.toml", []byte(toml))
	if len(problems) > 0 {
		panic(problems)
	}
	found, problems := account.Load([]*config.Document{doc}, nil)
	if len(problems) > 0 {
		panic(problems)
	}
	return found
}

func configOf(path, text string, teams ...string) (c policy.Config, problems config.Problems) {
	var documents []*config.Document
	for i, text := range append([]string{text}, teams...) {
		name := path
		if i > 0 {
			name = filepath.Join(filepath.Dir(path), "team.toml")
		}
		doc, problems := config.Parse(name, []byte(text))
		if len(problems) > 0 {
			return c, problems
		}
		documents = append(documents, doc)
	}
	alpha, large := &catalog.Provider{ID: "alpha"}, &catalog.Model{ID: "acme/large"}
	return policy.Config{
		Documents: documents,
		Accounts:  accounts(),
		Scorers:   []string{"latency", "price", "value"},
		Catalog: &catalog.Catalog{
			Providers: map[string]*catalog.Provider{"openai": {ID: "openai", Certifications: []string{"soc2"}}, alpha.ID: alpha},
			Models:    map[string]*catalog.Model{"openai/gpt-4o-mini": {ID: "openai/gpt-4o-mini"}, large.ID: large},
			Aliases:   map[string]string{"gpt-4o-mini": "openai/gpt-4o-mini"},
			Rows:      []*catalog.Row{{ID: "acme/large@alpha#paid", Model: large, Provider: alpha, Tag: "alpha", Attributes: map[string]float64{"quality": 0.9}}},
		},
	}, nil
}
