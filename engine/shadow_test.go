package engine_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"chaperone/engine"
	"chaperone/engine/journal"
	"chaperone/engine/sim"
	"chaperone/engine/wasm"
)

// decide decides one request and gives its record as the journal has it.
func (w *small) decide(t *testing.T) *journal.Record {
	t.Helper()
	plan, err := w.engine.Decide(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","messages":[{"role":"user","content":"hello"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(journal.Of(plan))
	if err != nil {
		t.Fatal(err)
	}
	var rec journal.Record
	if err := json.Unmarshal(text, &rec); err != nil {
		t.Fatal(err)
	}
	return &rec
}

// reconfigure puts text before the configuration's first table and reloads.
func (w *small) reconfigure(t *testing.T, original, text string) error {
	t.Helper()
	w.write(t, "chaperone.toml", text+original)
	return w.engine.Reload(t.Context())
}

// TestAShadowScorerIsRecordedAndMovesNothing has a plugin that likes the dearest row best rank beside one that likes the
// cheapest, and then decide.
func TestAShadowScorerIsRecordedAndMovesNothing(t *testing.T) {
	w := openSmall(t, `deny contains "never" if input.endpoint.free`, "", slog.DiscardHandler, sim.Profile{}, sim.Profile{}, sim.Profile{})
	config, err := os.ReadFile(filepath.Join(w.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile("../testdata/wasm/sum.wasm")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := wasm.Pack(sum, []byte("abi = 1\nkind = \"scorer\"\nname = \"sum\"\nversion = \"1\"\ncolumns = [\"price.prompt\"]\nrows = 64\nscale = \"minmax\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "sum.wasm", string(packed))
	const strict = "[routing]\ntemperature = 0.0\nexploration = 0.0\n"
	load := func(scorers string) *journal.Record {
		t.Helper()
		if err := w.reconfigure(t, string(config), strict+scorers); err != nil {
			t.Fatal(err)
		}
		return w.decide(t)
	}

	rec := load("[[scorers]]\nname = \"dearest\"\nplugin = \"sum.wasm\"\nshadow = true\nweight = 100\n")
	if len(rec.Scorers) != 1 || rec.Scorers[0] != "value" || len(rec.Shadows) != 1 || rec.Shadows[0] != "dearest" {
		t.Fatalf("scorers %v, shadows %v; without one that decides, value does", rec.Scorers, rec.Shadows)
	}
	for i, c := range rec.Candidates {
		s := c.Shadows.Of("dearest")
		if c.Place != i+1 || s == nil || s.Place != 3-i || s.Score == nil || s.Utility == nil || *s.Utility != float64(i)/2 {
			t.Errorf("%s has the place %d and under the shadow %+v", c.Provider, c.Place, s)
		}
		if _, blended := c.Parts.Of("dearest"); blended {
			t.Error("the shadow has a part in the blend")
		}
		if want := float64(i / 2); s.Share != want || *c.Share != float64((2-i)/2) {
			t.Errorf("%s has the shares %v and %v", c.Provider, *c.Share, s.Share)
		}
	}
	if stats := w.engine.PluginStats()["dearest"]; stats.Calls != 1 {
		t.Errorf("%+v", stats)
	}

	rec = load("[[scorers]]\nname = \"dearest\"\nplugin = \"sum.wasm\"\n")
	if len(rec.Shadows) != 0 || rec.Candidates[2].Place != 1 || rec.Candidates[0].Shadows != nil {
		t.Errorf("where it decides: %+v", rec.Candidates)
	}

	// A disabled plugin is not even read.
	rec = load("[[scorers]]\nname = \"dearest\"\nplugin = \"absent.wasm\"\ndisabled = true\n")
	if rec.Candidates[0].Place != 1 || len(rec.Scorers) != 1 || rec.Scorers[0] != "value" {
		t.Errorf("where it is disabled: %+v", rec.Candidates)
	}
	err = w.reconfigure(t, string(config), "[[scorers]]\nname = \"value\"\nshadow = true\n")
	if err == nil || !strings.Contains(err.Error(), "none of them decides, so that value does") {
		t.Errorf("value as nothing but a shadow: %v", err)
	}
}

// TestAnOperatorSetsWhatAPluginMayTake has a plugin with other instances, memory and patience than it would have by itself.
func TestAnOperatorSetsWhatAPluginMayTake(t *testing.T) {
	w := openSmall(t, `deny contains "never" if input.endpoint.free`, "", slog.DiscardHandler, sim.Profile{}, sim.Profile{})
	config, err := os.ReadFile(filepath.Join(w.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, manifest string) {
		t.Helper()
		module, err := os.ReadFile("../testdata/wasm/" + name + ".wasm")
		if err != nil {
			t.Fatal(err)
		}
		packed, err := wasm.Pack(module, fmt.Appendf(nil, "abi = 1\nkind = \"scorer\"\nname = %q\nversion = \"1\"\ncolumns = [\"price.prompt\"]\n"+
			"rows = 64\nscale = \"minmax\"\n%s", name, manifest))
		if err != nil {
			t.Fatal(err)
		}
		w.write(t, name+".wasm", string(packed))
	}
	put("misbehave", "request = [\"meta.mode\"]\n")
	put("learn", "stateful = true\nobserve = [\"endpoint\", \"ok\"]\n")
	scorer := func(name, settings string) error {
		return w.reconfigure(t, string(config), fmt.Sprintf("[[scorers]]\nname = %q\nplugin = \"%[1]s.wasm\"\n%s\n", name, settings))
	}

	// Four at once, of which each takes its ten million instructions: without patience some find no instance.
	if err := scorer("misbehave", `wait = "20s"`+"\ninstances = 1"); err != nil {
		t.Fatal(err)
	}
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range 2 {
				if _, err := w.engine.Decide(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","metadata":{"mode":"5"},"messages":[{"role":"user","content":"hello"}]}`)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	asking.Wait()
	if s := w.engine.PluginStats()["misbehave"]; s.Pool != 1 || s.OutOfFuel != 8 || s.Busy != 0 {
		t.Errorf("%+v", s)
	}

	if err := scorer("misbehave", "instances = 3\nmemory_bytes = 65537"); err != nil {
		t.Fatal(err)
	}
	if s := w.engine.PluginStats()["misbehave"]; s.Pool != 3 || s.Memory != 3<<16 {
		t.Errorf("%+v", s)
	}
	if err := scorer("misbehave", "code_bytes = 10"); err == nil || !strings.Contains(err.Error(), "at most 10 are allowed; code_bytes under [[scorers]] raises that") {
		t.Error(err)
	}
	put("memory_huge", "")
	if err := scorer("memory_huge", "memory_bytes = 65537"); err == nil || !strings.Contains(err.Error(), "at most 2 are allowed") {
		t.Error(err)
	}
	if err := scorer("learn", "instances = 2"); err == nil || !strings.Contains(err.Error(), ":4: scorers[0].instances: found 2; expected 1, since learn.wasm is stateful") {
		t.Error(err)
	}
}

// TestWhatPluginsDoIsInTheMetricsAndTheReport has a plugin rank, and run out of fuel.
func TestWhatPluginsDoIsInTheMetricsAndTheReport(t *testing.T) {
	w := openSmall(t, `deny contains "never" if input.endpoint.free`, "", slog.DiscardHandler, sim.Profile{}, sim.Profile{})
	config, err := os.ReadFile(filepath.Join(w.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	module, err := filepath.Abs("../plugins/cost-latency/cost-latency.wasm")
	if err != nil {
		t.Fatal(err)
	}
	scorers := fmt.Sprintf("[[scorers]]\nname = \"value\"\n[[scorers]]\nname = \"target\"\nplugin = %q\n[[scorers]]\nname = \"starved\"\nplugin = %[1]q\nshadow = true\nfuel = { score = 10 }\n", module)
	if err := w.reconfigure(t, string(config), scorers); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.decide(t)
	}
	reports := w.engine.Plugins()
	if len(reports) != 2 || reports[0].Name != "target" || reports[0].Shadow || !reports[1].Shadow || len(reports[0].SHA256) != 64 {
		t.Fatalf("%+v", reports)
	}
	for i, outcome := range []string{"scored", "the plugin ran out of fuel"} {
		if runs := reports[i].Runs; len(runs) != 3 || runs[0].Rows != 2 || runs[0].Fuel < 10 || !strings.HasPrefix(runs[0].Outcome, outcome) || runs[0].At.Before(runs[2].At) {
			t.Errorf("%s ran %+v", reports[i].Name, runs)
		}
	}
	recorder := httptest.NewRecorder()
	w.engine.Metrics().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`chaperone_plugin_calls_total{plugin="target"} 3`, `chaperone_plugin_out_of_fuel_total{plugin="starved"} 3`,
		`chaperone_plugin_abstentions_total{plugin="starved"} 3`, `chaperone_plugin_disabled{plugin="target"} 0`,
		fmt.Sprintf(`chaperone_plugin_fuel_total{plugin="target"} %d`, reports[0].Fuel), `chaperone_plugin_waits_total{plugin="target"} 0`,
		`chaperone_plugin_instances{plugin="target"} `, `chaperone_plugin_memory_bytes{plugin="target"} `,
		`chaperone_plugin_missed_total{plugin="target"} 0`,
	} {
		if !strings.Contains(recorder.Body.String(), "\n"+line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
}
