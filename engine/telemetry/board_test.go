package telemetry_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// catalogOf has rows of the given model names, in order; their ids are a, b, c …
func catalogOf(models ...string) *catalog.Catalog {
	cat := &catalog.Catalog{Models: map[string]*catalog.Model{}}
	for i, name := range models {
		if cat.Models[name] == nil {
			cat.Models[name] = &catalog.Model{ID: name}
		}
		row := &catalog.Row{Index: i, ID: string(rune('a' + i)), Model: cat.Models[name]}
		cat.Models[name].Rows = append(cat.Models[name].Rows, row)
		cat.Rows = append(cat.Rows, row)
	}
	return cat
}

// answered is an attempt that succeeded with that TTFT and speed.
func answered(at time.Time, ttft time.Duration, tps float64) telemetry.Outcome {
	return telemetry.Outcome{
		At: at, OK: true, Counts: true, TTFT: ttft, OutputTokens: 100,
		Generation: time.Duration(100 / tps * float64(time.Second)),
	}
}

func failed(at time.Time, after time.Duration) telemetry.Outcome {
	return telemetry.Outcome{At: at, Counts: true, FailedAfter: after}
}

func limited(at time.Time, after time.Duration) telemetry.Outcome {
	return telemetry.Outcome{At: at, RateLimited: true, FailedAfter: after}
}

func near(a, b, relative float64) bool { return math.Abs(a-b) <= relative*math.Abs(b) }

func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestOutcomesAreCountedByKind(t *testing.T) {
	cat := catalogOf("m", "m")
	board := telemetry.NewStore(0, 0).Bind(cat)
	row := cat.Rows[0]
	for range 6 {
		board.Observe(row, answered(noon, 400*time.Millisecond, 80))
	}
	board.Observe(row, failed(noon, 3*time.Second))
	board.Observe(row, failed(noon, time.Second))
	board.Observe(row, limited(noon, 0))
	board.Observe(row, limited(noon, 0))
	board.Observe(row, telemetry.Outcome{At: noon, TTFT: time.Hour}) // a client that went away says nothing
	st := board.View(noon).Rows[0]
	if st.Samples != 10 || st.Uptime != 0.75 || st.RateLimited != 0.2 || st.Failures != 2 {
		t.Errorf("samples %d, uptime %v, rate-limited %v, failures %d; want 10, 0.75, 0.2, 2", st.Samples, st.Uptime, st.RateLimited, st.Failures)
	}
	// (10·0.6 + 10·0.98)/20; lost: 4 attempts of 1,000 ms on average, (4·1000 + 10·2000)/14
	if !near(st.Success, 0.79, 1e-12) || !near(st.LostMillis, 24000.0/14, 1e-12) {
		t.Errorf("success %v, lost %v ms; want 0.79, %v", st.Success, st.LostMillis, 24000.0/14)
	}
	if !near(st.TTFT.P50, 400, 0.05) || !near(st.TPS.P99, 80, 0.05) {
		t.Errorf("TTFT %v, TPS %v; want 400 ms and 80 within 5 %%", st.TTFT.P50, st.TPS.P99)
	}
	none := board.View(noon).Rows[1]
	if none.Samples != 0 || !math.IsNaN(none.Uptime) || !math.IsNaN(none.RateLimited) || !math.IsNaN(none.TTFT.P50) || !math.IsNaN(none.TPS.P99) {
		t.Errorf("a row without traffic should know nothing, has %+v", none)
	}
}

func TestFailuresEndWithASuccessOnly(t *testing.T) {
	cat := catalogOf("m")
	board := telemetry.NewStore(0, 0).Bind(cat)
	row := cat.Rows[0]
	for i, step := range []struct {
		o    telemetry.Outcome
		want int
	}{
		{failed(noon, 0), 1},
		{failed(noon, 0), 2},
		{limited(noon, 0), 2},
		{telemetry.Outcome{At: noon}, 2},
		{answered(noon, time.Second, 50), 0},
		{failed(noon, 0), 1},
	} {
		board.Observe(row, step.o)
		if got := board.Failures(row); got != step.want {
			t.Errorf("step %d: %d consecutive failures, want %d", i, got, step.want)
		}
	}
}

func TestShortOutputsSayNothingOfSpeed(t *testing.T) {
	cat := catalogOf("m")
	board := telemetry.NewStore(0, 0).Bind(cat)
	o := answered(noon, time.Second, 50)
	o.OutputTokens, o.Generation = 3, time.Microsecond
	board.Observe(cat.Rows[0], o)
	st := board.View(noon).Rows[0]
	if st.Samples != 1 || !math.IsNaN(st.TPS.P50) || !near(st.ExpectedTPS, telemetry.DefaultTPS, 1e-12) {
		t.Errorf("3 tokens in a microsecond gave %+v", st)
	}
}

func TestPercentilesAreWithinFivePercentOfTheSampleOfTheirRank(t *testing.T) {
	rng := seeded(t)
	for range 200 {
		cat := catalogOf("m")
		board := telemetry.NewStore(0, 0).Bind(cat)
		n := 1 + rng.IntN(300)
		ttft, tps := make([]float64, n), make([]float64, n)
		middle, width := rng.Float64()*8, rng.Float64()*2
		for i := range n {
			ttft[i] = min(max(math.Exp(middle+width*rng.NormFloat64()), 0.11), 8e5)
			tps[i] = min(max(math.Exp(4+rng.NormFloat64()), 0.11), 8e5)
			o := answered(noon, 0, tps[i])
			o.TTFT = time.Duration(ttft[i] * float64(time.Millisecond))
			board.Observe(cat.Rows[0], o)
		}
		slices.Sort(ttft)
		slices.Sort(tps)
		st := board.View(noon).Rows[0]
		for _, c := range []struct {
			percent, ttft, tps float64
		}{{50, st.TTFT.P50, st.TPS.P50}, {75, st.TTFT.P75, st.TPS.P75}, {90, st.TTFT.P90, st.TPS.P90}, {99, st.TTFT.P99, st.TPS.P99}} {
			rank := int(math.Ceil(c.percent*float64(n)/100)) - 1
			if !near(c.ttft, ttft[rank], 0.05) || !near(c.tps, tps[rank], 0.05) {
				t.Fatalf("p%v of %d samples: TTFT %v for %v, TPS %v for %v", c.percent, n, c.ttft, ttft[rank], c.tps, tps[rank])
			}
		}
	}
}

func TestTheWindowForgets(t *testing.T) {
	const window = 5 * time.Minute
	rng := seeded(t)
	cat := catalogOf("m")
	board := telemetry.NewStore(window, time.Nanosecond).Bind(cat)
	var ends []time.Time
	now := noon
	for range 3000 {
		now = now.Add(time.Duration(rng.ExpFloat64() * float64(3*time.Second)))
		if rng.IntN(200) == 0 {
			now = now.Add(time.Duration(rng.IntN(20)) * time.Minute)
		}
		board.Observe(cat.Rows[0], answered(now, time.Duration(1+rng.IntN(1000))*time.Millisecond, 50))
		ends = append(ends, now)
		var least, most int64
		for _, end := range ends {
			if now.Sub(end) <= window*9/10 {
				least++
			}
			if now.Sub(end) < window {
				most++
			}
		}
		if got := board.View(now).Rows[0].Samples; got < least || got > most {
			t.Fatalf("%d samples at %v; nine tenths of the window have %d, all of it %d", got, now, least, most)
		}
	}
	st := board.View(now.Add(window)).Rows[0]
	if st.Samples != 0 || !math.IsNaN(st.TTFT.P50) || !math.IsNaN(st.TTFT.P99) || !near(st.ExpectedTTFT, telemetry.DefaultTTFTMillis, 1e-12) {
		t.Errorf("after the window there should be nothing left, there is %+v", st)
	}
}

func TestWhatEndedBeforeTheWindowIsDropped(t *testing.T) {
	cat := catalogOf("m")
	board := telemetry.NewStore(time.Minute, time.Second).Bind(cat)
	board.Observe(cat.Rows[0], answered(noon, time.Second, 50))
	board.Observe(cat.Rows[0], answered(noon.Add(-30*time.Second), time.Second, 50))
	board.Observe(cat.Rows[0], answered(noon.Add(-2*time.Minute), time.Second, 50))
	board.Observe(cat.Rows[0], answered(time.Time{}, time.Second, 50))
	if got := board.View(noon).Rows[0].Samples; got != 2 {
		t.Errorf("%d samples; want the one of now and the one of half a minute ago", got)
	}
}

func TestCallersShareAViewUntilTheNextTick(t *testing.T) {
	cat := catalogOf("m")
	board := telemetry.NewStore(0, time.Second).Bind(cat)
	first := board.View(noon)
	board.Observe(cat.Rows[0], failed(noon, 0))
	if again := board.View(noon.Add(999 * time.Millisecond)); again != first || first.Rows[0].Samples != 0 {
		t.Error("the view should be the same within a tick, untouched by what happens")
	}
	second := board.View(noon.Add(time.Second))
	if second.Tick <= first.Tick || second.Rows[0].Samples != 1 || first.Rows[0].Samples != 0 {
		t.Errorf("after a tick: %+v then %+v", first, second)
	}
	if late := board.View(noon.Add(500 * time.Millisecond)); late != second {
		t.Error("a caller whose clock reading is a little older should get the newest view")
	}
	if back := board.View(noon.Add(-time.Hour)); back.Tick <= second.Tick {
		t.Error("a clock that was set back should not freeze the view")
	}
}

func TestStatisticsOutliveAReload(t *testing.T) {
	store := telemetry.NewStore(time.Minute, time.Millisecond)
	before := catalogOf("m", "m")
	old := store.Bind(before)
	old.Observe(before.Rows[0], failed(noon, 0))
	old.Observe(before.Rows[1], failed(noon, 0))

	after := catalogOf("m", "m", "m") // a, b and c, but a is gone
	after.Rows = after.Rows[1:]
	for i, row := range after.Rows {
		row.Index = i
	}
	board := store.Bind(after)
	v := board.View(noon)
	if len(v.Rows) != 2 || v.Rows[0].Samples != 1 || v.Rows[1].Samples != 0 {
		t.Errorf("b should have its sample and c none: %+v", v.Rows)
	}
	// A request that began before the reload ends: its row's index means another row now.
	board.Observe(before.Rows[1], failed(noon, 0))
	board.Observe(before.Rows[0], failed(noon, 0))
	v = board.View(noon.Add(time.Second))
	if v.Rows[0].Samples != 2 || v.Rows[1].Samples != 0 {
		t.Errorf("b should have two samples and c none: %+v", v.Rows)
	}
	if got := board.Failures(before.Rows[0]); got != 2 {
		t.Errorf("a, which is of the old catalog, has %d failures, want 2", got)
	}
	if v := store.Bind(before).View(noon); v.Rows[0].Samples != 2 {
		t.Errorf("a is back within its window with %d samples, want 2", v.Rows[0].Samples)
	}
	board.Observe(after.Rows[0], failed(noon.Add(time.Hour), 0))
	store.Bind(after)
	if got := store.Bind(before).Failures(before.Rows[0]); got != 0 {
		t.Errorf("a is back long after its window with %d failures, want it forgotten", got)
	}
}

func TestTheSameObservationsGiveTheSameView(t *testing.T) {
	rng := seeded(t)
	cat := catalogOf("m", "m", "n", "m", "n")
	cat.Rows[1].Expected = catalog.Expected{TTFTMillis: 300, TPS: 120}
	type observation struct {
		row int
		o   telemetry.Outcome
	}
	var all []observation
	at := noon
	for range 500 {
		at = at.Add(time.Duration(rng.IntN(2000)) * time.Millisecond)
		o := answered(at, time.Duration(1+rng.IntN(3000))*time.Millisecond, 1+200*rng.Float64())
		switch rng.IntN(6) {
		case 0:
			o = failed(at, time.Duration(rng.IntN(5000))*time.Millisecond)
		case 1:
			o = limited(at, 0)
		}
		all = append(all, observation{rng.IntN(len(cat.Rows)), o})
	}
	view := func() string {
		board := telemetry.NewStore(0, 0).Bind(cat)
		for _, ob := range all {
			board.Observe(cat.Rows[ob.row], ob.o)
		}
		return fmt.Sprintf("%+v", board.View(at).Rows) // NaN equals NaN in print
	}
	if one, two := view(), view(); !reflect.DeepEqual(one, two) {
		t.Errorf("the same observations gave\n%s\n%s", one, two)
	}
}

func TestObserveCostsNextToNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates and slows down")
	}
	cat := catalogOf("m", "m")
	board := telemetry.NewStore(0, 0).Bind(cat)
	outcomes := []telemetry.Outcome{answered(noon, 300*time.Millisecond, 70), failed(noon, time.Second), limited(noon, 0)}
	for _, o := range outcomes {
		board.Observe(cat.Rows[0], o)
		if allocations := testing.AllocsPerRun(100, func() { board.Observe(cat.Rows[0], o) }); allocations != 0 {
			t.Errorf("observing %+v allocates %v times", o, allocations)
		}
	}
	const calls = 20_000
	best := time.Duration(math.MaxInt64)
	for range 20 { // the least of many: other processes only add
		start := time.Now()
		for range calls {
			board.Observe(cat.Rows[0], outcomes[0])
		}
		best = min(best, time.Since(start)/calls)
	}
	if best > time.Microsecond {
		t.Errorf("observing takes %v, should take at most 1 µs", best)
	}
}

func TestManyAtOnce(t *testing.T) {
	cat := catalogOf("m", "m", "n")
	store := telemetry.NewStore(time.Second, time.Millisecond)
	board := store.Bind(cat)
	const goroutines, each = 8, 2000
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			var tick uint64
			for i := range each {
				now := noon.Add(time.Duration(i) * 50 * time.Microsecond)
				board.Observe(cat.Rows[i%2], answered(now, time.Millisecond, 50))
				v := board.View(now)
				if v.Tick < tick {
					t.Errorf("tick %d after tick %d", v.Tick, tick)
				}
				tick = v.Tick
				if i%500 == 0 {
					store.Bind(cat).View(now)
				}
			}
		})
	}
	wg.Wait()
	end := noon.Add(each * 50 * time.Microsecond)
	v := board.View(end.Add(time.Millisecond))
	if v.Rows[0].Samples != goroutines*each/2 || v.Rows[1].Samples != goroutines*each/2 {
		t.Errorf("%d and %d samples, want %d each", v.Rows[0].Samples, v.Rows[1].Samples, goroutines*each/2)
	}
}

func BenchmarkObserve(b *testing.B) {
	cat := catalogOf("m")
	board := telemetry.NewStore(0, 0).Bind(cat)
	o := answered(noon, 300*time.Millisecond, 70)
	b.ReportAllocs()
	for b.Loop() {
		board.Observe(cat.Rows[0], o)
	}
}

func BenchmarkView(b *testing.B) {
	for _, n := range []int{20, 1000} {
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) {
			models := make([]string, n)
			for i := range models {
				models[i] = fmt.Sprint(i / 20)
			}
			cat := catalogOf(models...)
			board := telemetry.NewStore(0, time.Nanosecond).Bind(cat)
			now := noon
			for b.Loop() {
				b.StopTimer()
				now = now.Add(time.Second)
				for _, row := range cat.Rows {
					board.Observe(row, answered(now, 300*time.Millisecond, 70))
				}
				b.StartTimer()
				board.View(now)
			}
		})
	}
}
