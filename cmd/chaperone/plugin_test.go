package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chaperone/engine/journal"
	"chaperone/sdk/project"
)

// authors is what an author of each language edits: the file with the scoring function.
var authors = map[string]string{"go": "main.go", "rust": "src/lib.rs", "assemblyscript": "assembly/index.ts", "c": "scorer.c"}

// TestAuthorsWalk goes the way of somebody who writes a scorer: new, build, check, bench, have it rank; then change it, be told
// by check that the golden vectors no longer hold, and see the router's order change.
func TestAuthorsWalk(t *testing.T) {
	for _, lang := range project.Languages() {
		t.Run(lang, func(t *testing.T) {
			if lang == "go" && testing.Short() {
				t.Skip("Go's compiler and modules take seconds; this runs without -short")
			}
			compilers, err := filepath.Abs("../../sdk/assemblyscript/node_modules")
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(t.TempDir())
			done(t, "plugin", "new", "--lang", lang, "mine")
			if lang == "assemblyscript" { // in place of npm install
				if err := os.Symlink(compilers, "mine/node_modules"); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := project.Toolchain(t.Context(), "mine"); errors.Is(err, project.ErrToolchain) && os.Getenv("CHAPERONE_TEST_REQUIRE") == "" {
				t.Skip(err)
			}

			done(t, "plugin", "build", "mine")
			checked := done(t, "plugin", "check", "mine")
			if strings.Contains(checked, "failed") || !strings.Contains(checked, "golden vectors  ok  3 cases") {
				t.Errorf("check says\n%s", checked)
			}
			if ran := done(t, "plugin", "run", "mine"); !strings.Contains(ran, "quick           -0.00125\nslow but cheap  -0.002\n") {
				t.Errorf("run says\n%s", ran)
			}
			var bench struct {
				Speeds []struct{ Rows, Calls, Fuel int }
			}
			decode(t, done(t, "plugin", "bench", "mine", "--time", "10ms", "--json"), &bench)
			if len(bench.Speeds) != 3 || bench.Speeds[2].Rows != 200 || bench.Speeds[2].Fuel < 1000 {
				t.Errorf("bench says %v", bench)
			}

			w := serveWith(t, "mine/mine.wasm")
			if order := w.explained(t); !slices.Equal(order, []string{"cheap", "dear"}) {
				t.Errorf("the order is %v, should be by price", order)
			}
			w.compareRun(t)

			edit(t, filepath.Join("mine", authors[lang]), "-(price", "(price")
			done(t, "plugin", "build", "mine")
			if code, stdout, _ := chaperone(t, "plugin", "check", "mine"); code != exitInput || !strings.Contains(stdout, "golden vectors  failed") {
				t.Errorf("check of a plugin that no longer gives its golden vectors exits with %d and says\n%s", code, stdout)
			}
			edit(t, "mine/golden.json", "-0.0", "0.0")
			done(t, "plugin", "check", "mine")
			w.log.await(t, "generation=2")
			if order := w.explained(t); !slices.Equal(order, []string{"dear", "cheap"}) {
				t.Errorf("the order is %v, should be by price, the dearest first", order)
			}
			inspected := done(t, "plugin", "inspect", "mine", "--router", w.private)
			if !strings.Contains(inspected, "mine: runs; 1 calls, 0 abstentions, 0 errors") || !strings.Contains(inspected, " instructions for 2 rows, scored") {
				t.Errorf("inspect says\n%s", inspected)
			}
		})
	}
}

// done runs a command line that should succeed.
func done(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := chaperone(t, args...)
	if code != exitDone {
		t.Fatalf("%q exits with %d:\n%s%s", args, code, stdout, stderr)
	}
	return stdout
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

func edit(t *testing.T, path, old, with string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s has no %q", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), old, with)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ranked is a router that serves two endpoints which only their prices tell apart, and which a plugin alone ranks.
type ranked struct {
	url, private string
	log          *lines
}

func serveWith(t *testing.T, plugin string) *ranked {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `[server]
listen = "127.0.0.1:0"
private_listen = "127.0.0.1:0"
drain_delay = "0s"
[organisations.acme]
[[keys]]
organisation = "acme"
sha256 = "%x"
[routing]
temperature = 0.0
exploration = 0.0
[[scorers]]
name = "mine"
plugin = %q
[models."m/one"]
name = "One"
context_length = 32000
`, sha256.Sum256([]byte("sk-acme")), plugin)
	for i, name := range []string{"dear", "cheap"} {
		fmt.Fprintf(&b, `[providers.%s]
name = %[1]q
dialect = "openai"
base_url = "http://127.0.0.1:9"
[providers.%[1]s.credentials.own]
auth = "none"
[[endpoints]]
model = "m/one"
provider = %[1]q
upstream_model = "one"
price = { prompt = %d, completion = 1 }
`, name, 9-8*i)
	}
	put(t, "chaperone.toml", b.String())
	t.Setenv("CHAPERONE_KEY", "sk-acme")
	w := &ranked{log: &lines{}}
	var stop func() int
	w.url, w.private, stop = servingBoth(t, w.log, "chaperone.toml")
	t.Cleanup(func() {
		if code := stop(); code != exitDone {
			t.Errorf("serve exited with %d", code)
		}
	})
	return w
}

// explained is the providers in the order in which a request would be sent to them.
func (w *ranked) explained(t *testing.T) []string {
	t.Helper()
	var rec journal.Record
	decode(t, done(t, "explain", "--url", w.url, "--model", "m/one", "--max-tokens", "100", "--json"), &rec)
	if len(rec.Abstained) > 0 {
		t.Errorf("abstained: %v", rec.Abstained)
	}
	var order []string
	for _, c := range inOrder(rec.Candidates) {
		order = append(order, c.Provider)
	}
	return order
}

// compareRun holds what a plugin makes of the rows that explain writes to what it made of them in the router.
func (w *ranked) compareRun(t *testing.T) {
	t.Helper()
	var rec journal.Record
	decode(t, done(t, "explain", "--url", w.private, "--model", "m/one", "--max-tokens", "100", "--rows", "decided.json", "--json"), &rec)
	var ran struct {
		Scores []struct {
			ID    string
			Score float64
		}
	}
	decode(t, done(t, "plugin", "run", "mine", "--input", "decided.json", "--json"), &ran)
	if len(ran.Scores) != 2 {
		t.Fatalf("run says %+v", ran)
	}
	for _, s := range ran.Scores {
		for _, c := range rec.Candidates {
			if score, _ := c.Scores.Of("mine"); c.Row == s.ID && score != s.Score {
				t.Errorf("%s scores %v, scored %v in the router", s.ID, s.Score, score)
			}
		}
	}
}

func TestPluginCommandsSayWhatIsWrong(t *testing.T) {
	bare, err := filepath.Abs("../../testdata/wasm/sum.wasm")
	if err != nil {
		t.Fatal(err)
	}
	ttft, err := filepath.Abs("../../plugins/ttft-target/ttft-target.wasm")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"there/x":            "",
		"both/main.go":       "package main",
		"both/one.c":         "",
		"both/manifest.toml": "",
		"typo.json":          `{"rows": [{"price.expeced": 1}]}`,
		"empty.json":         `{"rows": []}`,
		"key.json":           `{"rows": [{"id": "a"}], "reqest": {}}`,
		"word.json":          `{"rows": [{"price.expected": "low"}]}`,
		"manifest.toml":      "abi = 2\n",
		"golden.json":        `{}`,
		"not.wasm":           "text",
		"none.toml":          "[[scorers]]\nname = \"value\"\n",
		"twice.toml":         fmt.Sprintf("[[scorers]]\nname = \"a\"\nplugin = %q\n[[scorers]]\nname = \"b\"\nplugin = %[1]q\n", ttft),
		"other.toml":         "[[scorers]]\nname = \"other\"\nplugin = \"other.wasm\"\n",
		"wrong.toml":         "[[scorers]]\nname = \"a\"\nplugin = \"a.wasm\"\nmemory_bytes = -1\n",
		"nothing.json":       "",
		"typo.toml":          "abi = 1\nkind = \"scorer\"\nname = \"x\"\nversion = \"1\"\ncolumns = [\"price.expeced\"]\nrows = 1\nscale = \"unit\"\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"new --lang perl x", exitInput, `there is no SDK for "perl"; there are assemblyscript, c, go, rust`},
		{"new --lang c X", exitInput, `the name is "X", should be 1 to 64 of a-z`},
		{"new --lang c there", exitInput, "there is there already"},
		{"new x", exitInput, `required flag(s) "lang" not set`},
		{"build there", exitInput, "there: is not a plugin project: open there/manifest.toml"},
		{"build both", exitInput, "asconfig.json (assemblyscript), *.c (c), *.go (go), Cargo.toml (rust) beside manifest.toml, has those of 2 languages"},
		{"pack " + bare, exitInput, "manifest.toml: kind: is missing"},
		{"pack not.wasm --manifest manifest.toml", exitInput, "manifest"},
		{"pack absent.wasm", exitFailed, "no such file"},
		{"check there", exitInput, "there/there.wasm is not there; chaperone plugin build there makes it"},
		{"check " + bare + " --golden golden.json", exitInput, "golden vectors: there are no cases"},
		{"run " + ttft + " --input typo.json", exitInput, `"price.expeced" is not known under columns; near it are price.expected`},
		{"run " + ttft + " --input empty.json", exitInput, "rows should have at least one row"},
		{"run " + ttft + " --input key.json", exitInput, `unknown field "reqest"`},
		{"run " + ttft + " --input word.json", exitInput, `price.expected should be a number, null, "+Inf" or "-Inf", is "low"`},
		{"run " + bare, exitFailed, "rows.json: no such file"},
		{"bench " + bare, exitInput, "has no valid manifest"},
		{"bench " + ttft + " --time -1s", exitInput, "--time: found -1s; expected more than 0s"},
		{"run " + ttft + " --input nothing.json", exitInput, "nothing.json: is empty; expected a JSON object"},
		{"check " + ttft + " --golden nothing.json", exitInput, "golden vectors: is empty; expected a JSON object"},
		{"pack " + bare + " --manifest typo.toml", exitInput, `typo.toml:5: columns: "price.expeced" is not known under columns; near it are price.expected`},
		{"bench " + ttft + " --config [1]", exitInput, "--config: json: cannot unmarshal array"},
		{"check " + filepath.Dir(ttft) + " --limits none.toml", exitInput, "none.toml has no [[scorers]] with a plugin"},
		{"run " + ttft + " --limits twice.toml", exitInput, "for several scorers; name one by --scorer: a, b"},
		{"bench " + ttft + " --limits other.toml", exitInput, "ttft-target.wasm; name one by --scorer: other"},
		{"inspect " + ttft + " --limits other.toml --scorer othr", exitInput, `other.toml: --scorer: found "othr"; did you mean "other"?`},
		{"bench " + ttft + " --limits wrong.toml", exitInput, "wrong.toml:4: scorers[0].memory_bytes"},
		{"bench " + ttft + " --limits absent.toml", exitInput, "absent.toml: there is no such file"},
		{"bench " + ttft + " --scorer a", exitInput, "--limits should name that"},
		{"check " + os.DevNull, exitInput, "is no regular file"},
		{"pack " + os.DevNull, exitInput, "is no regular file"},
		{"inspect not.wasm", exitInput, "is not a module that can be run"},
	} {
		code, stdout, stderr := chaperone(t, append([]string{"plugin"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(strings.Join(strings.Fields(stderr), " "), strings.Join(strings.Fields(c.says), " ")) {
			t.Errorf("plugin %s exits with %d and says %q%q; should be %d and %q", c.args, code, stdout, stderr, c.code, c.says)
		}
	}
	if _, err := os.Stat("x"); !errors.Is(err, os.ErrNotExist) {
		t.Error("a project that was refused has left a folder")
	}
}

// TestPluginCommandsKeepToTheLimitsOfARouter tries a module with the limits that two scorers of a configuration set for it.
func TestPluginCommandsKeepToTheLimitsOfARouter(t *testing.T) {
	module, err := os.ReadFile("../../plugins/ttft-target/ttft-target.wasm")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	put(t, "ttft.wasm", string(module))
	put(t, "copy.wasm", string(module))
	put(t, "rows.json", `{"rows": [{"price.expected": 1}]}`)
	put(t, "one.toml", "[[scorers]]\nname = \"one\"\nplugin = \"ttft.wasm\"\nfuel = { score = 5_000_000 }\n[[scorers]]\nname = \"two\"\nplugin = \"gone.wasm\"\ndisabled = true\nfuel = { score = 2 }\n")
	if checked := done(t, "plugin", "check", "ttft.wasm", "--limits", "one.toml"); !strings.Contains(checked, " of 5000000 instructions") {
		t.Errorf("check says\n%s", checked)
	}
	done(t, "plugin", "run", "copy.wasm", "--limits", "one.toml", "--scorer", "one")
	for _, command := range []string{"run", "bench", "inspect", "check"} {
		code, stdout, stderr := chaperone(t, "plugin", command, "copy.wasm", "--limits", "one.toml", "--scorer", "two")
		if code == exitDone || !strings.Contains(stdout+stderr, "ran out of fuel: the host's limit of its budget score is 2 instructions") {
			t.Errorf("%s exits with %d and says %s%s", command, code, stdout, stderr)
		}
	}
	put(t, "one.toml", "[[scorers]]\nname = \"one\"\nplugin = \"ttft.wasm\"\ncode_bytes = 100\n")
	if code, _, stderr := chaperone(t, "plugin", "run", "ttft.wasm", "--limits", "one.toml"); code != exitInput || !strings.Contains(stderr, "at most 100 are allowed; code_bytes under [[scorers]] raises that") {
		t.Errorf("run exits with %d and says %s", code, stderr)
	}
}

func TestPluginInspectTellsWhatAModuleMayDo(t *testing.T) {
	var d struct {
		Name, SHA256 string
		Imports, May []string
		Stateful     bool
		Fuel         []struct{ Rows, Instructions int }
	}
	decode(t, done(t, "plugin", "inspect", "../../plugins/thompson", "--json"), &d)
	if d.Name != "thompson" || len(d.SHA256) != 64 || !d.Stateful || !slices.Equal(d.Imports, []string{"chaperone.log"}) ||
		!slices.Contains(d.May, "keep what it learns from one request to the next") || len(d.Fuel) != 2 || d.Fuel[1].Instructions <= d.Fuel[0].Instructions {
		t.Errorf("inspect says %+v", d)
	}
	text := done(t, "plugin", "inspect", "../../plugins/ttft-target")
	for _, want := range []string{"columns   price.expected, stats.ttft_p50_ms", "imports   chaperone.log", "observes  -", "may       read 5 numbers of each permitted row"} {
		if !strings.Contains(text, want) {
			t.Errorf("inspect should say %q, says\n%s", want, text)
		}
	}
}
