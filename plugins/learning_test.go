package plugins_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"chaperone/engine/wasm"
)

var begun = time.UnixMilli(1_798_761_600_000) // 1 January 2027

// spend tells committed-spend of an attempt.
func spend(t *testing.T, p *wasm.Plugin, at time.Time, commitment, usd float64) {
	t.Helper()
	if err := p.ObserveTable(t.Context(), [][]float64{{commitment}, {usd}}, at); err != nil {
		t.Fatal(err)
	}
}

func TestCommittedSpendLeavesACommitmentThatIsUsedUp(t *testing.T) {
	h := host(t)
	config := wasm.Config{Bytes: module(t, "committed-spend"), State: filepath.Join(t.TempDir(), "state")}
	// A committed row of 5 dollars a request, with 100 committed; and one of 2 dollars.
	prefersCommitted := func(p *wasm.Plugin, at time.Time) bool {
		t.Helper()
		scores, err := p.ScoreTable(t.Context(), &wasm.Table{
			Columns: [][]float64{{5, 2}, {7, math.NaN()}, {100, math.NaN()}}, Now: at}, 2)
		if err != nil {
			t.Fatal(err)
		}
		return scores[0] > scores[1]
	}

	p := load(t, h, config)
	spend(t, p, begun, 7, 90)
	spend(t, p, begun, 8, 1e6)          // another's
	spend(t, p, begun, math.NaN(), 1e6) // of no commitment
	spend(t, p, begun, 7, math.NaN())   // a cost that is not known
	if !prefersCommitted(p, begun) {
		t.Error("10 dollars of the commitment are left for a request of 5, but another is preferred")
	}
	spend(t, p, begun, 7, 6)
	if prefersCommitted(p, begun) {
		t.Error("4 dollars of the commitment are left for a request of 5, but it is preferred")
	}
	closed(t, p)

	p = load(t, h, config)
	defer closed(t, p)
	if prefersCommitted(p, begun.AddDate(0, 0, 30)) {
		t.Error("a restart has given the commitment back")
	}
	if !prefersCommitted(p, begun.AddDate(0, 1, 0)) {
		t.Error("the next month has not given the commitment back")
	}
	spend(t, p, begun.AddDate(0, 1, 0), 7, 1)
	if !prefersCommitted(p, begun.AddDate(0, 1, 1)) {
		t.Error("what was spent in the last month counts in this one")
	}
}

// TestThompsonFindsTheBestEndpointAndRemembersIt runs the bandit against a world in which one endpoint is quick, one slow and
// one fails, none of which the statistics say.
func TestThompsonFindsTheBestEndpointAndRemembersIt(t *testing.T) {
	h := host(t)
	config := wasm.Config{Bytes: module(t, "thompson"), State: filepath.Join(t.TempDir(), "state")}
	const rows, tokens = 3, 500
	endpoints := []float64{6755399441055744, 1234567890123456, 4503599627370497}
	pace := []float64{20, 8, 8} // milliseconds a token
	ok := []float64{1, 1, 0}
	all := func(v float64) []float64 { return []float64{v, v, v} }
	choose := func(p *wasm.Plugin, seed uint64, at time.Time) int {
		t.Helper()
		scores, err := p.ScoreTable(t.Context(), &wasm.Table{
			Columns: [][]float64{endpoints, all(0.001), all(400), all(60), all(0.98)},
			Request: []float64{tokens, 10}, Now: at, Seed: seed * 0x9e3779b97f4a7c15}, rows)
		if err != nil {
			t.Fatal(err)
		}
		best := 0
		for row, s := range scores {
			if s > scores[best] {
				best = row
			}
		}
		return best
	}
	share := func(p *wasm.Plugin, at time.Time) (share [rows]float64) {
		const draws = 300
		for i := range uint64(draws) {
			share[choose(p, 1_000_000+i, at)] += 1. / draws
		}
		return share
	}

	p := load(t, h, config)
	if s := share(p, begun); min(s[0], s[1], s[2]) < 0.15 {
		t.Errorf("before it has seen anything the shares are %.2f, should be even", s)
	}
	at := begun
	for i := range uint64(200) {
		at = at.Add(10 * time.Second)
		row := choose(p, i, at)
		if err := p.ObserveTable(t.Context(), [][]float64{{endpoints[row]}, {ok[row]}, {pace[row] * tokens}, {tokens}}, at); err != nil {
			t.Fatal(err)
		}
	}
	learned := share(p, at)
	if learned[1] < 0.9 {
		t.Errorf("after 200 attempts the shares are %.2f, the quick one's should be 0.9 at least", learned)
	}
	closed(t, p)

	p = load(t, h, config)
	defer closed(t, p)
	if s := share(p, at); s != learned {
		t.Errorf("after a restart the shares are %.2f, were %.2f", s, learned)
	}
	if s := share(p, at.AddDate(0, 0, 30)); min(s[0], s[1], s[2]) < 0.1 {
		t.Errorf("a month later the shares are %.2f, should be nearly even again: what was seen is old", s)
	}
}

func TestThompsonBeginsAnewWhereTheStateIsNotItsOwn(t *testing.T) {
	h := host(t)
	state := filepath.Join(t.TempDir(), "state")
	writeFile(t, state, "something else")
	p := load(t, h, wasm.Config{Bytes: module(t, "thompson"), State: state})
	if err := p.ObserveTable(t.Context(), [][]float64{{1}, {1}, {4000}, {200}}, begun); err != nil {
		t.Fatal(err)
	}
	closed(t, p)
	if got := string(read(t, state+".refused")); got != "something else" {
		t.Errorf("the state that was refused is kept as %q", got)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
