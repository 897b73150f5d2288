package policies_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/compile"

	"chaperone/engine/config"
	"chaperone/engine/policy"
)

// yard is where bundles come from: a file that is put in another's place, or a server.
type yard struct {
	*testing.T
	dir     string
	bundles *policy.Bundles
	source  string // of chaperone.toml
	key     string // that bundles must be signed with
}

const fetchedRule = "package org.fetched\n\ndeny contains \"%s\" if input.endpoint.provider == \"alpha\"\n"

func newYard(t *testing.T) *yard {
	y := &yard{T: t, dir: t.TempDir(), source: "bundle = \"b.tar.gz\"\n", key: "verification_key = \"key\"\nalgorithm = \"HS256\"\n"}
	y.bundles = policy.NewBundles(filepath.Join(y.dir, "kept"), slog.New(slog.DiscardHandler))
	put(t, "secret", y.dir, "key")
	return y
}

// at has the source be a server.
func (y *yard) at(serve http.HandlerFunc) *yard {
	s := httptest.NewServer(serve)
	y.Cleanup(s.Close)
	y.source = fmt.Sprintf("bundle = \"%s/b.tar.gz\"\nmax_age = \"24h\"\n", s.URL)
	return y
}

// unsigned has the source demand no signature.
func (y *yard) unsigned() *yard {
	y.key = ""
	return y
}

// load loads what is there by now.
func (y *yard) load() (*policy.Set, config.Problems) {
	c, problems := configOf(filepath.Join(y.dir, "chaperone.toml"), "[[policy.sources]]\nname = \"central\"\n"+
		y.key+y.source+"[[policy.bindings]]\npackage = \"org.fetched\"\nfor = \"everyone\"\n")
	if len(problems) > 0 {
		y.Fatal(problems)
	}
	c.Bundles = y.bundles
	return policy.Load(context.Background(), c)
}

// takes loads bundles one after the other, all but the last of which are good, and is what is said of that.
func (y *yard) takes(texts ...[]byte) string {
	for i, text := range texts {
		put(y.T, string(text), y.dir, "b.tar.gz")
		if _, problems := y.load(); i == len(texts)-1 {
			return problems.Error()
		} else if len(problems) > 0 {
			y.Fatal(problems)
		}
	}
	return ""
}

// build is what `opa build` makes of files, signed.
func (y *yard) build(revision string, files map[string]string, more ...func(*compile.Compiler)) []byte {
	dir, err := os.MkdirTemp(y.dir, "src")
	if err != nil {
		y.Fatal(err)
	}
	for name, text := range files {
		put(y.T, text, dir, name)
	}
	var out bytes.Buffer
	c := compile.New().WithAsBundle(true).WithPaths(dir).WithOutput(&out).WithRegoVersion(ast.RegoV1).WithRevision(revision).
		WithBundleSigningConfig(bundle.NewSigningConfig("secret", "HS256", ""))
	for _, change := range more {
		change(c)
	}
	if err := c.Build(context.Background()); err != nil {
		y.Fatal(err)
	}
	return out.Bytes()
}

func (y *yard) rule(revision, why string) []byte {
	return y.build(revision, map[string]string{"p.rego": fmt.Sprintf(fetchedRule, why)})
}

// delta is a bundle of changes, which opa build does not write.
func (y *yard) delta() []byte {
	const text = `{"data": [{"op": "remove", "path": "/a"}]}`
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	tape := tar.NewWriter(zip)
	if err := tape.WriteHeader(&tar.Header{Name: "/patch.json", Mode: 0o600, Size: int64(len(text))}); err != nil {
		y.Fatal(err)
	}
	if _, err := tape.Write([]byte(text)); err != nil {
		y.Fatal(err)
	}
	if err := tape.Close(); err != nil {
		y.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		y.Fatal(err)
	}
	return out.Bytes()
}

// comings are the first column of the table of bundles, each with how it comes about; it gives what is said.
var comings = map[string]func(*yard) string{
	"an HTML page in a bundle's place": func(y *yard) string { return y.unsigned().takes([]byte("<html>")) },
	"a bundle without a signature": func(y *yard) string {
		return y.takes(y.build("1", map[string]string{"p.rego": fmt.Sprintf(fetchedRule, "x")}, func(c *compile.Compiler) { c.WithBundleSigningConfig(nil) }))
	},
	"a delta bundle": func(y *yard) string { return y.unsigned().takes(y.delta()) },
	"policies that are compiled already (`opa build -t plan`)": func(y *yard) string {
		return y.takes(y.build("1", map[string]string{"p.rego": fmt.Sprintf(fetchedRule, "x")}, func(c *compile.Compiler) { c.WithTarget("plan").WithEntrypoints("org/fetched/deny") }))
	},
	"a `data.json` beside the rules": func(y *yard) string {
		return y.takes(y.build("1", map[string]string{"p.rego": fmt.Sprintf(fetchedRule, "x"), "data.json": `{"blocked": []}`}))
	},
	"tests and no rules": func(y *yard) string {
		return y.takes(y.build("1", map[string]string{"p_test.rego": "package org.fetched_test\n\ntest_nothing if true\n"}))
	},
	"revision 1 after revision 2":         func(y *yard) string { return y.takes(y.rule("2", "x"), y.rule("1", "x")) },
	"revision 2 after another revision 2": func(y *yard) string { return y.takes(y.rule("2", "x"), y.rule("2", "y")) },
	"revision `abc` after revision 2":     func(y *yard) string { return y.takes(y.rule("2", "x"), y.rule("abc", "x")) },
	"revision `abc`, then `def`, then `abc` again": func(y *yard) string {
		first := y.rule("abc", "x")
		return y.takes(first, y.rule("def", "y"), first)
	},
	"a server's 404": func(y *yard) string {
		_, problems := y.at(http.NotFound).load()
		return problems.Error()
	},
	"a server that hangs up midway": func(y *yard) string {
		_, problems := y.at(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("PK"))
		}).load()
		return problems.Error()
	},
	"no word of the server for longer than `max_age`": func(y *yard) string {
		text := y.rule("1", "x")
		set, problems := y.at(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) }).load()
		if len(problems) > 0 {
			y.Fatal(problems)
		}
		q := anybody()
		if j := set.Judge(y.Context(), q); len(j.Rejections) > 0 {
			y.Fatalf("rejected at once: %v", j.Rejections)
		}
		q.Now = q.Now.Add(48 * time.Hour)
		said := ""
		for _, r := range set.Judge(y.Context(), q).Rejections {
			said += r.Message
		}
		return said
	},
}

var plainRow = regexp.MustCompile(`(?m)^\| (.+?) \| (.+) \|$`)

// bundled is the table of bundles.
func bundled(t *testing.T) (all []example) {
	t.Helper()
	for _, row := range plainRow.FindAllStringSubmatch(section(t, "| what comes | what is said |\n|---|---|\n", "\n### What is refused"), -1) {
		come := comings[row[1]]
		if come == nil {
			t.Errorf("nothing here makes %q", row[1])
			continue
		}
		all = append(all, example{written: row[1], want: row[2], said: come(newYard(t))})
	}
	if len(all) != len(comings) {
		t.Errorf("%d rows of README.md for %d that are made here", len(all), len(comings))
	}
	return all
}

func TestEveryBundleOfTheReadmeIsRefused(t *testing.T) {
	for _, e := range bundled(t) {
		if !strings.Contains(e.said, e.want) {
			t.Errorf("%s: nothing says %q: %s", e.written, e.want, e.said)
		}
	}
}
