package engine_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone/engine"
	"chaperone/engine/sim"
	"chaperone/engine/wasm"
)

// TestPluginLearnsFromTrafficAndKeepsItOverReloadsAndRestarts counts the attempts that a stateful plugin is told of: what it
// saves must be the number of requests, whatever the engine went through meanwhile.
func TestPluginLearnsFromTrafficAndKeepsItOverReloadsAndRestarts(t *testing.T) {
	provider, err := sim.Start(t.Context(), sim.Profile{Name: "one"})
	if err != nil {
		t.Fatal(err)
	}
	defer provider.Close()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	module, err := os.ReadFile("../testdata/wasm/learn.wasm")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := wasm.Pack(module, []byte("abi = 1\nkind = \"scorer\"\nname = \"learn\"\nversion = \"1\"\ncolumns = [\"price.prompt\"]\n"+
		"rows = 16\nscale = \"minmax\"\nstateful = true\nobserve = [\"endpoint\", \"ok\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	write("learn.wasm", string(packed))
	golden := `{"cases": [{"name": "one", "observe": {"ok": [1, 0]}, "columns": {"price.prompt": [1]}, "scores": [2001]}]}`
	write("golden.json", golden)
	config := fmt.Sprintf(`[organisations.acme]
[[keys]]
organisation = "acme"
sha256 = "%x"
[[scorers]]
name = "learn"
plugin = "learn.wasm"
golden = "golden.json"
state = "state/learn"
fuel = { score = 100_000 }
[models."m/one"]
name = "One"
context_length = 32000
[providers.one]
name = "One"
dialect = "openai"
base_url = %q
[providers.one.credentials.own]
auth = "none"
[[endpoints]]
model = "m/one"
provider = "one"
upstream_model = "one"
price = { prompt = 1, completion = 4 }
`, sha256.Sum256([]byte("sk-acme")), provider.URL())
	write("chaperone.toml", config)

	ctx := context.Background()
	open := func() *engine.Engine {
		t.Helper()
		e, err := engine.Open(ctx, engine.Options{ConfigPath: filepath.Join(dir, "chaperone.toml"),
			Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	ask := func(e *engine.Engine, n int) {
		t.Helper()
		for range n {
			body := `{"model":"m/one","messages":[{"role":"user","content":"hello"}]}`
			if _, err := e.Do(ctx, engine.Call{Key: "sk-acme", Body: []byte(body)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	saved := func() (count, ok float64) {
		t.Helper()
		state, err := os.ReadFile(filepath.Join(dir, "state", "learn"))
		if err != nil || len(state) != 16 {
			t.Fatalf("%d bytes: %v", len(state), err)
		}
		return math.Float64frombits(binary.LittleEndian.Uint64(state)), math.Float64frombits(binary.LittleEndian.Uint64(state[8:]))
	}

	e := open()
	ask(e, 3)
	if err := e.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	ask(e, 4)
	write("golden.json", strings.Replace(golden, "2001", "2002", 1))
	if err := e.Reload(ctx); err == nil || !strings.Contains(err.Error(), `case "one": row 0 scores 2001, should be 2002`) {
		t.Errorf("a plugin that does not reproduce its golden vectors: %v", err)
	}
	write("golden.json", golden)
	ask(e, 5)
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if count, ok := saved(); count != 12 || ok != 12 {
		t.Errorf("it learned of %v attempts, %v of them good, should be 12", count, ok)
	}
	e = open()
	ask(e, 1)
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if count, ok := saved(); count != 13 || ok != 13 {
		t.Errorf("after a restart it learned of %v attempts, %v of them good, should be 13", count, ok)
	}

	// Who only decides leaves the file to the router, and so does a configuration that is refused.
	write("state/learn", "of another version")
	left := func(by string) {
		t.Helper()
		if state, err := os.ReadFile(filepath.Join(dir, "state", "learn")); err != nil || string(state) != "of another version" {
			t.Errorf("%s left %q (%v)", by, state, err)
		}
	}
	if _, err := engine.Check(ctx, engine.Options{ConfigPath: filepath.Join(dir, "chaperone.toml"), Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Error(err)
	}
	left("a check")
	write("chaperone.toml", config+"[[policy.bindings]]\npackage = \"nothing\"\nfor = \"everyone\"\n")
	if _, err := engine.Open(ctx, engine.Options{ConfigPath: filepath.Join(dir, "chaperone.toml"), Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("a binding of nothing was accepted")
	}
	left("a configuration that is refused")
}

// TestColumnsThatNothingHasAreWarnedAbout has a plugin ask for what no endpoint of the catalog has.
func TestColumnsThatNothingHasAreWarnedAbout(t *testing.T) {
	log := make(told, 100)
	w := openSmall(t, `deny contains "never" if input.endpoint.free`, "attributes = { there = 1.0 }", log, sim.Profile{})
	config, err := os.ReadFile(filepath.Join(w.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile("../testdata/wasm/sum.wasm")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := wasm.Pack(module, []byte("abi = 1\nkind = \"scorer\"\nname = \"sum\"\nversion = \"1\"\nrows = 16\nscale = \"minmax\"\n"+
		`columns = ["price.prompt", "attr.a", "provider:p0", "provider:p1", "region:mars", "label:x", "label:y=1", "attr.b", "attr.b_01", "attr.there", "attr.there_01", "attr.thereabouts"]`))
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "sum.wasm", string(packed))
	if err := w.reconfigure(t, string(config), "[[scorers]]\nname = \"sum\"\nplugin = \"sum.wasm\"\n"); err != nil {
		t.Fatal(err)
	}
	if line := log.next(t, "a plugin asks for columns that nothing in the catalog has"); !strings.HasSuffix(line,
		"scorer=sum columns=attr.a, provider:p1, region:mars, label:x, label:y=1, and 3 more") {
		t.Error(line)
	}
}
