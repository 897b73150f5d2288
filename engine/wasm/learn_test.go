package wasm_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/wasm"
	"chaperone/engine/wire"
)

// learner is the fixture that counts attempts and adds up what they cost.
func learner(t testing.TB) []byte {
	return fixture(t, "learn", "scale ", "stateful = true\nobserve = [\"endpoint\", \"cost_usd\"]\nscale ")
}

// learned is what the fixture makes of attempts: their number × 1000 + what they cost.
func learned(t *testing.T, p *wasm.Plugin) float64 {
	t.Helper()
	return scoreWhenReady(t, p, table(0, 0, 0))[0]
}

func attempt(usd float64) wasm.Attempt {
	return wasm.Attempt{Row: batch(1).Rows[0], At: time.UnixMilli(1_800_000_000_000), OK: true, Counts: true,
		Cost: catalog.Picodollars(usd * 1e12)}
}

func observe(t *testing.T, p *wasm.Plugin, usd ...float64) {
	t.Helper()
	for _, cost := range usd {
		p.Observe(attempt(cost))
	}
	if err := p.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestStatefulPluginLearnsFromAttempts(t *testing.T) {
	h, _ := newHost(t)
	p := load(t, h, wasm.Config{Bytes: learner(t), Pool: 4})
	if got := learned(t, p); got != 0 {
		t.Errorf("before any attempt it scores %v", got)
	}
	observe(t, p, 1, 2, 4)
	if got := learned(t, p); got != 3007 {
		t.Errorf("after three attempts it scores %v, should be 3007", got)
	}
	var many []wasm.Attempt
	for range 100 { // more than its manifest's rows: in several batches
		many = append(many, attempt(0.5))
	}
	p.Observe(many...)
	for deadline := time.Now().Add(20 * time.Second); learned(t, p) != 103057; { // by itself
		if time.Now().After(deadline) {
			t.Fatalf("it scores %v, should come to 103057", learned(t, p))
		}
	}
	if s := p.Stats(); s.Observed != 103 || s.Missed != 0 || s.Pool != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestWhatIsKnownOfAnAttempt(t *testing.T) {
	h, _ := newHost(t)
	row := &catalog.Row{ID: "a/b/c", Provider: &catalog.Provider{ID: "acme"}, Attributes: map[string]float64{"x": 7}}
	good := wasm.Attempt{Row: row, OK: true, Counts: true, TTFT: 200 * time.Millisecond, Duration: 1200 * time.Millisecond,
		Usage: wire.Usage{Known: true, PromptTokens: 30, CompletionTokens: 50}, Cost: 2e12}
	failed := wasm.Attempt{Row: row, Counts: true, RateLimited: true}
	gone := wasm.Attempt{Row: row}
	for _, c := range []struct {
		name               string
		good, failed, gone float64
	}{
		{"ok", 1, 0, math.NaN()},
		{"rate_limited", 0, 1, 0},
		{"ttft_ms", 200, math.NaN(), math.NaN()},
		{"duration_ms", 1200, math.NaN(), math.NaN()},
		{"tps", 50, math.NaN(), math.NaN()},
		{"prompt_tokens", 30, math.NaN(), math.NaN()},
		{"output_tokens", 50, math.NaN(), math.NaN()},
		{"cost_usd", 2, 0, 0},
		{"attr.x", 7, 7, 7},
		{"provider:acme", 1, 1, 1},
		{"stats.ttft_p50_ms", math.NaN(), math.NaN(), math.NaN()},
	} {
		module := fixture(t, "learn", "scale ", "stateful = true\nobserve = [\"endpoint\", \""+c.name+"\"]\nscale ")
		for i, a := range []wasm.Attempt{good, failed, gone} {
			p := load(t, h, wasm.Config{Bytes: module})
			p.Observe(a)
			if err := p.Flush(context.Background()); err != nil {
				t.Fatal(err)
			}
			want := []float64{c.good, c.failed, c.gone}[i]
			if math.IsNaN(want) {
				want = 0 // which the fixture leaves out
			}
			if got := learned(t, p) - 1000; math.Abs(got-want) > 1e-9 {
				t.Errorf("%s of attempt %d is %v, should be %v", c.name, i, got, want)
			}
		}
	}
}

func TestLearnedStateSurvivesATrapAReloadAndARestart(t *testing.T) {
	h, log := newHost(t)
	file := filepath.Join(t.TempDir(), "state", "learned")
	config := wasm.Config{Bytes: learner(t), State: file, Limits: patient}
	p := load(t, h, config)
	observe(t, p, 1, 2)
	if _, err := p.ScoreTable(context.Background(), table(0, -1), 1); !errors.Is(err, wasm.ErrTrap) {
		t.Fatal(err)
	}
	if got := learned(t, p); got != 2003 {
		t.Errorf("after a trap it scores %v, should be 2003", got)
	}

	next := load(t, h, config)
	p.Observe(attempt(10)) // of which the old one has not been told yet
	if err := next.Inherit(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	if got := learned(t, next); got != 3013 {
		t.Errorf("after a reload it scores %v, should be 3013", got)
	}
	observe(t, next, 100)
	p.Observe(attempt(1000)) // which it passes on
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := next.Close(context.Background()); err != nil {
		t.Fatal(err)
	}

	again := load(t, h, config)
	if got := learned(t, again); got != 6113 {
		t.Errorf("after a restart it scores %v, should be 6113", got)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".state-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	// What a plugin refuses is put aside, and it starts anew.
	other := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(other, []byte("of another version"), 0o600); err != nil {
		t.Fatal(err)
	}
	anew := load(t, h, wasm.Config{Bytes: learner(t), State: other})
	if got := learned(t, anew); got != 0 {
		t.Errorf("it scores %v, should start anew", got)
	}
	if left, err := os.ReadFile(other); err != nil || string(left) != "of another version" {
		t.Errorf("before it has learned anything its file holds %q (%v): another version may be about to come back", left, err)
	}
	observe(t, anew, 1)
	if kept, err := os.ReadFile(other + ".refused"); err != nil || string(kept) != "of another version" {
		t.Errorf("%q %v", kept, err)
	}
	if !strings.Contains(log.String(), "plugin starts without what it had learned") {
		t.Error("the log does not say so")
	}
}

// TestASuccessionLosesNoAttempt goes on telling a plugin of attempts while a successor takes over.
func TestASuccessionLosesNoAttempt(t *testing.T) {
	h, _ := newHost(t)
	p := load(t, h, wasm.Config{Bytes: learner(t), Limits: patient})
	observe(t, p, 0)
	told := 1
	for range 10 {
		next := load(t, h, wasm.Config{Bytes: learner(t), Limits: patient})
		inherited := make(chan error, 1)
		go func() { inherited <- next.Inherit(context.Background(), p) }()
		for going := true; going; {
			select {
			case err := <-inherited:
				if err != nil {
					t.Fatal(err)
				}
				going = false
			default:
				observe(t, p, 0)
				observe(t, next)
				told++
			}
		}
		p = next
	}
	observe(t, p)
	if got := learned(t, p); got != float64(1000*told) || p.Stats().Missed > 0 {
		t.Errorf("it scores %v, should be %d, and missed %d", got, 1000*told, p.Stats().Missed)
	}
}

func TestAttemptsThatAPluginCannotTakeAreCountedAndForgotten(t *testing.T) {
	h, _ := newHost(t)
	p := load(t, h, wasm.Config{Bytes: learner(t)})
	observe(t, p, 1)
	p.Observe(attempt(-1)) // at which it traps
	if err := p.Flush(context.Background()); err != nil && !errors.Is(err, wasm.ErrTrap) {
		t.Fatal(err)
	}
	for p.Stats().Missed == 0 {
		_ = p.Flush(context.Background())
	}
	if got := learned(t, p); got != 1001 {
		t.Errorf("afterwards it scores %v, should be 1001", got)
	}
	p.Observe(make([]wasm.Attempt, 0)...)

	gated, gate := newGate(t)
	busy := load(t, gated, wasm.Config{Bytes: fixture(t, "misbehave")})
	busy.Observe(attempt(1)) // observes nothing: ignored
	close(gate.open)
	if s := busy.Stats(); s.Missed != 0 || s.Observed != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestObserveNeverWaits(t *testing.T) {
	h, _ := newHost(t)
	p := load(t, h, wasm.Config{Bytes: learner(t)})
	flood := make([]wasm.Attempt, 10_000)
	for i := range flood {
		flood[i] = attempt(0)
	}
	p.Observe(flood...)
	if err := p.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Observed+s.Missed != 10_000 || s.Missed < 5_000 {
		t.Errorf("stats %+v", s)
	}
}

func TestGoldenVectorsDecideWhetherAVersionIsAccepted(t *testing.T) {
	h, _ := newHost(t)
	golden := func(score string) *wasm.Golden {
		g, err := wasm.ParseGolden([]byte(`{"cases": [
			{"name": "knows nothing", "columns": {"attr.x": [0, 0]}, "scores": [0, 0]},
			{"name": "has learned", "observe": {"cost_usd": [1, 2, null]}, "columns": {"attr.x": [0]}, "scores": [` + score + `]}]}`))
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	load(t, h, wasm.Config{Bytes: learner(t), Golden: golden("3003")})
	_, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: learner(t), Golden: golden("3004")})
	if !errors.Is(err, wasm.ErrGolden) || !strings.Contains(err.Error(), `case "has learned": row 0 scores 3003, should be 3004`) {
		t.Error(err)
	}
}
