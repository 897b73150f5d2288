package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestADirectoryIsHeldAgainstTheContractWithoutBindings(t *testing.T) {
	const good = "package acme.good\n\nimport data.acme.shared\n\ndeny contains \"no\" if shared.bad\n"
	const shared = "package acme.shared\n\nbad if input.endpoint.free\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  []string // one for each problem; none: it is right
	}{
		{"a policy and what it uses", map[string]string{"good.rego": good, "shared/shared.rego": shared}, nil},
		{"everything at once", map[string]string{
			"good.rego": good, "shared.rego": shared,
			"near.rego":  "package acme.near\n\nviolation contains \"no\" if input.endpoint.free\n",
			"shape.rego": "package acme.shape\n\ndeny := true if input.endpoint.free\n",
			"param.rego": "package acme.param\n\ndeny contains \"no\" if input.endpoint.provider == data.params.name\n",
		}, []string{
			"near.rego:1: package acme.near has none of the rules", "did you mean deny?",
			"shape.rego:3: deny is a single value here and must be a set",
			"param.rego:3: data.params.name is read, and the package declares no parameters",
		}},
		{"a package of the library", map[string]string{"x.rego": "package library.mine\n\ndeny contains \"no\" if input.endpoint.free\n"}, []string{"x.rego:1: package library.mine: names below library"}},
		{"nothing", map[string]string{"x_test.rego": "package x_test\n"}, []string{"holds no .rego file"}},
		{"no Rego", map[string]string{"x.rego": "package"}, []string{"x.rego:1: rego_parse_error"}},
	} {
		dir := t.TempDir()
		for name, text := range test.files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		err := CheckDirectory(dir).Err()
		if (err == nil) != (test.want == nil) {
			t.Errorf("%s: %v; should have %q", test.name, err, test.want)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; should have %q", test.name, err, want)
			}
		}
	}
	if err := CheckDirectory(filepath.Join(t.TempDir(), "absent")).Err(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("an absent folder: %v", err)
	}
}

// Kubernetes mounts a folder's files as links into a hidden folder beside them, and editors keep links that lead nowhere.
func TestWhatBeginsWithADotIsNoModule(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	put("..2026_11_23/p.rego", "# METADATA\n# title: T\npackage acme.p\n\ndefault allow := false\n\nallow if input.endpoint.free\n")
	link("..2026_11_23", "..data")
	link("..data/p.rego", "p.rego")
	put(".git/q.rego", "no Rego")
	put("._p.rego", "no Rego either")
	link("somebody@host.1:2", ".#p.rego")
	if problems := CheckDirectory(dir); len(problems) > 0 {
		t.Fatal(problems)
	}
	link("..data", "shared")
	if problems := CheckDirectory(dir); len(problems) != 1 || !strings.Contains(problems[0].Message, "shared is a link to a folder, which is not followed") {
		t.Fatal(problems)
	}
}

func TestAForgottenBindingIsWarnedOf(t *testing.T) {
	f := module(goodDeny)
	f["rego/forgotten.rego"] = "package org.forgotten\n\nimport data.org.helper\n\nreject contains \"x\" if helper.deny\n"
	f["rego/helper.rego"] = "package org.helper\n\ndeny contains \"x\" if input.request.stream\n"
	f["rego/more.rego"] = "package org.forgotten\n\ndeny contains \"x\" if input.endpoint.free\n"
	found := f.mustLoad(t).Unbound()
	if len(found) != 1 || !strings.HasSuffix(found[0].File, "rego/forgotten.rego") || !strings.Contains(found[0].Message, "no binding binds the package org.forgotten") {
		t.Fatal(found)
	}
}
