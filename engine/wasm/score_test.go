package wasm_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/scorer"
	"chaperone/engine/telemetry"
	"chaperone/engine/wasm"
	"chaperone/engine/wire"
)

// batch is n rows with attr.x = 1, 2, 3 … and no attr.y.
func batch(n int) *scorer.Batch {
	b := &scorer.Batch{
		Principal: &account.Principal{Organisation: &account.Organisation{ID: "acme"}},
		Request:   &wire.Request{PromptTokens: 100},
		Stats:     &telemetry.View{Rows: make([]telemetry.RowStats, n)},
		Now:       time.UnixMilli(1_800_000_000_123),
		Seed:      42,
	}
	for i := range n {
		b.Rows = append(b.Rows, &catalog.Row{Index: i, Attributes: map[string]float64{"x": float64(i + 1)},
			Model: &catalog.Model{}, Provider: &catalog.Provider{}, Group: &catalog.CredentialGroup{}})
	}
	b.Catalog = &catalog.Catalog{Rows: b.Rows}
	return b
}

func nans(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
	}
	return out
}

// table is rows with x and NaN, and the request's one field.
func table(field float64, x ...float64) *wasm.Table {
	return &wasm.Table{Columns: [][]float64{x, nans(len(x))}, Request: []float64{field}, Now: time.UnixMilli(1_800_000_000_000), Seed: 7}
}

func TestScoresTheRowsOfABatchFromTheirColumns(t *testing.T) {
	h, _ := newHost(t)
	p := load(t, h, wasm.Config{Bytes: fixture(t, "sum"), Pool: 2})
	b := batch(5)
	for _, r := range b.Rows {
		r.Attributes["y"] = 0.5
	}
	delete(b.Rows[3].Attributes, "y")
	scores := nans(5)
	if err := p.Score(context.Background(), b, scores); err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{101.5, 102.5, 103.5, math.NaN(), 105.5} {
		if got := scores[i]; got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("row %d scored %v, should be %v", i, got, want)
		}
	}
	if p.Name() != "fixture" || p.Scale() != scorer.MinMax || len(p.Digest()) != 64 || p.Manifest().Version != "0.1.0" {
		t.Errorf("name %q, scale %q, digest %q, manifest %+v", p.Name(), p.Scale(), p.Digest(), p.Manifest())
	}
	if s := p.Stats(); s.Calls != 1 || s.Errors != 0 || s.Instances != 2 || s.Pool != 2 {
		t.Errorf("stats %+v", s)
	}
}

func TestAbstainsOnMoreRowsThanTheManifestAllows(t *testing.T) {
	h, _ := newHost(t)
	p := load(t, h, wasm.Config{Bytes: fixture(t, "sum"), Pool: 1})
	if err := p.Score(context.Background(), batch(32), nans(32)); err != nil {
		t.Errorf("32 rows: %v", err)
	}
	for range 20 {
		scores := nans(33)
		if err := p.Score(context.Background(), batch(33), scores); !errors.Is(err, wasm.ErrRows) {
			t.Errorf("33 rows: %v", err)
		}
		if !math.IsNaN(scores[0]) {
			t.Errorf("scores were touched: %v", scores)
		}
	}
	if p.Disabled() {
		t.Error("asking for too much disabled the plugin")
	}
	if err := p.Score(context.Background(), batch(0), nil); err != nil {
		t.Errorf("no rows: %v", err)
	}
}

func TestStrangeScoresComeThroughAsTheyAre(t *testing.T) {
	h, _ := newHost(t)
	p := load(t, h, wasm.Config{Bytes: fixture(t, "misbehave"), Pool: 1})
	want := []float64{math.Inf(1), math.Inf(-1), math.NaN(), math.Copysign(0, -1), math.MaxFloat64, math.SmallestNonzeroFloat64}
	got, err := p.ScoreTable(context.Background(), table(-1, want...), len(want))
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if math.Float64bits(got[i]) != math.Float64bits(want[i]) {
			t.Errorf("row %d: %v, should be %v", i, got[i], want[i])
		}
	}
}

func TestEachMisbehaviourIsNamedAndTheNextCallIsFine(t *testing.T) {
	h, log := newHost(t)
	for _, c := range []struct {
		mode float64
		is   error
		text string
	}{
		{0, wasm.ErrTrap, "unreachable"},
		{1, wasm.ErrTrap, "out of bounds memory access"},
		{2, wasm.ErrTrap, "integer divide by zero"},
		{3, wasm.ErrTrap, "invalid table access"},
		{4, wasm.ErrTrap, "invalid conversion to integer"},
		{5, wasm.ErrFuel, "the host's limit of its budget score is 10000000 instructions"},
		{6, wasm.ErrFuel, "the host's limit of its budget score is 10000000 instructions"},
		{9, wasm.ErrFuel, "the host's limit of its budget score is 10000000 instructions"},
		{10, wasm.ErrFuel, "the host's limit of its budget score is 10000000 instructions"},
		{11, wasm.ErrAbstained, "abstained"},
		{12, wasm.ErrReturned, "status 7"},
		{13, wasm.ErrFuel, "the host's limit of its budget score is 10000000 instructions"},
		{17, wasm.ErrTrap, "out of bounds memory access"},
	} {
		p := load(t, h, wasm.Config{Bytes: fixture(t, "misbehave"), Pool: 1})
		_, err := p.ScoreTable(context.Background(), table(c.mode, 1, 2), 2)
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("mode %v: %v, should be %v with %q in one line", c.mode, err, c.is, c.text)
		}
		got := scoreWhenReady(t, p, table(-1, 3, 4))
		if got[0] != 3 || got[1] != 4 {
			t.Errorf("after mode %v: scores %v", c.mode, got)
		}
	}
	for _, mode := range []float64{7, 8} { // ends by the stack's limit or by fuel, whichever is first
		p := load(t, h, wasm.Config{Bytes: fixture(t, "misbehave"), Pool: 1})
		if _, err := p.ScoreTable(context.Background(), table(mode, 1), 1); !errors.Is(err, wasm.ErrTrap) && !errors.Is(err, wasm.ErrFuel) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	for _, mode := range []float64{14, 15, 16} { // lengths and addresses that a host must not believe, and a destroyed arena
		p := load(t, h, wasm.Config{Bytes: fixture(t, "misbehave"), Pool: 1})
		if _, err := p.ScoreTable(context.Background(), table(mode, 1), 1); err != nil {
			t.Errorf("mode %v: %v", mode, err)
		}
		if got := scoreWhenReady(t, p, table(-1, 3)); got[0] != 3 {
			t.Errorf("after mode %v: scores %v", mode, got)
		}
	}
	if strings.Contains(log.String(), "\nlevel=ERROR forged") {
		t.Error("a guest forged a line of the log")
	}
	if n := strings.Count(log.String(), "forged"); n == 0 || n > 200 {
		t.Errorf("%d lines of a guest in the log, should be some and few", n)
	}
}

// scoreWhenReady scores as soon as a lost instance has been replaced.
func scoreWhenReady(t *testing.T, p *wasm.Plugin, in *wasm.Table) []float64 {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		scores, err := p.ScoreTable(context.Background(), in, len(in.Columns[0]))
		if err == nil {
			return scores
		}
		if !errors.Is(err, wasm.ErrBusy) {
			t.Fatal(err)
		}
	}
	t.Fatal("no instance came back")
	return nil
}

func TestFuelIsTheSameForTheSameCall(t *testing.T) {
	h, _ := newHost(t)
	p := load(t, h, wasm.Config{Bytes: fixture(t, "sum"), Pool: 1})
	used := func(rows int) int64 {
		before := p.Stats().Fuel
		if err := p.Score(context.Background(), batch(rows), nans(rows)); err != nil {
			t.Fatal(err)
		}
		return p.Stats().Fuel - before
	}
	one, twenty := used(1), used(20)
	if one <= 0 || twenty <= one {
		t.Errorf("%d for a row, %d for twenty", one, twenty)
	}
	for range 10 {
		if got := used(20); got != twenty {
			t.Errorf("%d, was %d before", got, twenty)
		}
	}
	if most := p.Stats().MostFuel; most != twenty {
		t.Errorf("the most is %d, should be %d", most, twenty)
	}
	exact := load(t, h, wasm.Config{Bytes: fixture(t, "sum"), Pool: 1, Limits: wasm.Limits{Fuel: wasm.Fuel{Score: twenty}}})
	if err := exact.Score(context.Background(), batch(20), nans(20)); err != nil {
		t.Errorf("with as much as it takes: %v", err)
	}
	short := load(t, h, wasm.Config{Bytes: fixture(t, "sum"), Pool: 1, Limits: wasm.Limits{Fuel: wasm.Fuel{Score: twenty - 1}}})
	if err := short.Score(context.Background(), batch(20), nans(20)); !errors.Is(err, wasm.ErrFuel) {
		t.Errorf("with one less: %v", err)
	}
}

func TestManifestAsksForFuelAndTheHostLimitsIt(t *testing.T) {
	h, _ := newHost(t)
	for _, c := range []struct {
		wants string
		limit int64
		says  string
	}{
		{"score = 1000", 0, "its budget score is 1000 instructions; raise score under [fuel] in its manifest, the host allows 10000000"},
		{"score = 9000", 2000, "the host's limit of its budget score is 2000 instructions; fuel = { score = N } under [[scorers]] raises it"},
		{"init = 9000", 3000, "the host's limit of its budget score is 3000 instructions"},
	} {
		p := load(t, h, wasm.Config{Bytes: fixture(t, "misbehave", "scale ", "fuel = { "+c.wants+" }\nscale "), Pool: 1,
			Limits: wasm.Limits{Fuel: wasm.Fuel{Score: c.limit}}})
		_, err := p.ScoreTable(context.Background(), table(5, 1), 1)
		if !errors.Is(err, wasm.ErrFuel) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s, limit %d: %v, should say %q", c.wants, c.limit, err, c.says)
		}
		if s := p.Stats(); s.OutOfFuel != 1 || s.Errors != 1 {
			t.Errorf("stats %+v", s)
		}
	}
}

func TestRepeatedFailuresDisableAPluginLoudly(t *testing.T) {
	h, log := newHost(t)
	p := load(t, h, wasm.Config{Bytes: fixture(t, "misbehave"), Pool: 2, Name: "shaky"})
	fail := func() {
		t.Helper()
		if _, err := p.ScoreTable(context.Background(), table(0, 1), 1); !errors.Is(err, wasm.ErrTrap) {
			t.Fatal(err)
		}
	}
	for range 9 {
		fail()
	}
	if _, err := p.ScoreTable(context.Background(), table(11, 1), 1); !errors.Is(err, wasm.ErrAbstained) {
		t.Fatal(err) // which is a healthy answer: the count begins again
	}
	for range 9 {
		fail()
	}
	if p.Disabled() || p.Stats().Disabled {
		t.Fatal("disabled after 9 failures in a row")
	}
	fail()
	if !p.Disabled() || !p.Stats().Disabled {
		t.Fatal("not disabled after 10 failures in a row")
	}
	if _, err := p.ScoreTable(context.Background(), table(-1, 1), 1); !errors.Is(err, wasm.ErrDisabled) {
		t.Errorf("a disabled plugin: %v", err)
	}
	if !strings.Contains(log.String(), `level=ERROR msg="plugin disabled: it abstains until it is loaded again" plugin=shaky`) {
		t.Errorf("the log does not say so:\n%s", log)
	}
	if s := p.Stats(); s.Traps != 19 || s.Errors != 20 || s.Abstentions != 1 || s.Calls != 21 {
		t.Errorf("stats %+v", s)
	}
}

func TestNothingOfAnEarlierCallIsLeftInTheArena(t *testing.T) {
	h, _ := newHost(t)
	p := load(t, h, wasm.Config{Bytes: fixture(t, "peek"), Pool: 1})
	for _, rows := range []int{32, 1, 20, 3, 32, 2} {
		x := make([]float64, rows)
		got, err := p.ScoreTable(context.Background(), table(0, x...), rows)
		if err != nil {
			t.Fatal(err)
		}
		if got[0] != 0 {
			t.Errorf("%d rows: %v values behind the last row", rows, got[0])
		}
	}
}

func TestClockAndRandomnessAreTheBatchs(t *testing.T) {
	h, log := newHost(t)
	bytes := fixture(t, "wasi")
	in := table(0, 0, 0, 0, 0, 0)
	// The first two numbers of SplitMix64 from seed 7, as its authors' C code gives them.
	want := []float64{1_800_000_000_000, 7191089600892374487, 309689372594955804, 0, 5000}
	p := load(t, h, wasm.Config{Bytes: bytes, Pool: 2})
	for range 4 {
		got, err := p.ScoreTable(context.Background(), in, 5)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("row %d: %v, should be %v", i, got[i], want[i])
			}
		}
	}
	if !strings.Contains(log.String(), `msg="to the log" plugin=fixture`) {
		t.Errorf("standard output is not in the log:\n%s", log)
	}
	_, err := p.ScoreTable(context.Background(), table(0, 1, 2, 3), 3)
	if !errors.Is(err, wasm.ErrTrap) || !strings.Contains(err.Error(), "proc_exit(9)") {
		t.Errorf("proc_exit: %v", err)
	}
}

func TestBusyPluginAbstainsAfterItsWait(t *testing.T) {
	h, gate := newGate(t)
	p := load(t, h, wasm.Config{Bytes: fixture(t, "misbehave"), Pool: 1, Limits: wasm.Limits{Wait: time.Millisecond}})
	held := make(chan error)
	go func() {
		_, err := p.ScoreTable(context.Background(), table(14, 1), 1)
		held <- err
	}()
	<-gate.entered
	if _, err := p.ScoreTable(context.Background(), table(-1, 1), 1); !errors.Is(err, wasm.ErrBusy) {
		t.Errorf("while another call is under way: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.ScoreTable(ctx, table(-1, 1), 1); !errors.Is(err, context.Canceled) && !errors.Is(err, wasm.ErrBusy) {
		t.Errorf("with a context that has ended: %v", err)
	}
	close(gate.open)
	if err := <-held; err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.Waits != 2 || s.Busy == 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestManyCallersShareThePool(t *testing.T) {
	h, _ := newHost(t)
	p := load(t, h, wasm.Config{Bytes: fixture(t, "misbehave"), Pool: 3})
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for i := range 200 {
				x := float64(1000*caller + i)
				mode := -1.0
				if caller == 0 && i%20 == 10 {
					mode = 0
				}
				got, err := p.ScoreTable(context.Background(), table(mode, x, x+0.5), 2)
				switch {
				case mode == 0 && errors.Is(err, wasm.ErrTrap), errors.Is(err, wasm.ErrBusy):
				case err != nil:
					t.Errorf("caller %d: %v", caller, err)
				case got[0] != x || got[1] != x+0.5:
					t.Errorf("caller %d got %v for %v", caller, got, x)
				}
			}
		})
	}
	wg.Wait()
	if s := p.Stats(); s.Calls != 1600 || s.Traps != 10 {
		t.Errorf("stats %+v", s)
	}
}

func TestCloseUnderLoad(t *testing.T) {
	h, _ := newHost(t)
	for range 20 {
		p, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: fixture(t, "misbehave"), Pool: 2, Limits: patient})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		scored := make(chan struct{}, 1)
		for caller := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					mode := -1.0
					if caller == 0 && i%50 == 20 {
						mode = 0 // an instance is being replaced while the plugin closes
					}
					_, err := p.ScoreTable(context.Background(), table(mode, 1, 2), 2)
					select {
					case scored <- struct{}{}:
					default:
					}
					if errors.Is(err, wasm.ErrClosed) {
						return
					}
					// Four callers share two instances, one of which may be on its way: on a busy machine a caller waits too long.
					if err != nil && !errors.Is(err, wasm.ErrTrap) && !errors.Is(err, wasm.ErrBusy) {
						t.Error(err)
						return
					}
				}
			})
		}
		<-scored
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}
