package policy

import (
	"context"
	"math"
	"slices"
	"testing"

	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
)

func plainBucket(f *figure, v float64) float64 { return f.value(f.next(v, nil)) }

func TestBucketsRoundToTheWorse(t *testing.T) {
	r := seeded(t)
	last := 0.0
	for v := 1.0; v < 100_000; v *= 1 + r.Float64()/10 {
		ttft, tps := plainBucket(&ttftFigure, v), plainBucket(&tpsFigure, v)
		if ttft < v*0.995 || ttft > v*1.13 || ttft < last {
			t.Fatalf("ttft %v becomes %v", v, ttft)
		}
		if tps > v*1.005 || tps < v/1.13 {
			t.Fatalf("tps %v becomes %v", v, tps)
		}
		last = ttft
	}
	for in, want := range map[float64]float64{0.9999: 0.995, 1: 1, 0.5: 0.5, -1: 0, math.NaN(): 0, 2: 1} {
		if got := plainBucket(&uptimeFigure, in); got != want {
			t.Errorf("uptime %v becomes %v, want %v", in, got, want)
		}
	}
	for in, want := range map[float64]float64{math.NaN(): worstTTFTMillis, math.Inf(1): worstTTFTMillis, 0: worstTTFTMillis, -1: worstTTFTMillis, 1e12: worstTTFTMillis} {
		if got := plainBucket(&ttftFigure, in); got != want {
			t.Errorf("ttft %v becomes %v, want %v", in, got, want)
		}
	}
	for _, in := range []float64{math.NaN(), math.Inf(1), 0, -1} {
		if got := plainBucket(&tpsFigure, in); got != 0 {
			t.Errorf("tps %v becomes %v, want 0", in, got)
		}
	}
	for in, want := range map[int64]int64{0: 0, 1: 1, 4: 2, 9: 5, 10: 10, 49: 20, 999: 500, 1000: 1000} {
		if got := quantisedSamples(in); got != want {
			t.Errorf("%d samples become %d, want %d", in, got, want)
		}
	}
}

// Whatever has been shown before: a figure that moves within half a bucket never goes to and fro, is never shown better than
// it is, and never more than a bucket and a half worse.
func TestFiguresDoNotFlap(t *testing.T) {
	r := seeded(t)
	kinds := map[string]struct {
		figure *figure
		at     func(x float64) float64 // the figure that lies x buckets up
	}{
		"ttft":   {&ttftFigure, func(x float64) float64 { return math.Pow(10, x/bucketsPerDecade) }},
		"tps":    {&tpsFigure, func(x float64) float64 { return math.Pow(10, x/bucketsPerDecade) }},
		"uptime": {&uptimeFigure, func(x float64) float64 { return (120 + x) / uptimeSteps }},
	}
	for name, k := range kinds {
		for n := range 3000 {
			f := k.figure
			low := 2 + 70*r.Float64()
			last := f.next(k.at(80*r.Float64()), nil)
			ups, downs := 0, 0
			for range 30 {
				v := k.at(low + hysteresis*r.Float64()*0.999)
				next := f.next(v, &last)
				if next > last {
					ups++
				} else if next < last {
					downs++
				}
				last = next
				x := f.bucket(v, 0)
				if f.lower && (next < x || next > x+1) || !f.lower && (next > x || next < x-1) {
					t.Fatalf("%s, case %d: %v is of bucket %d and shown in %d", name, n, v, x, next)
				}
			}
			if ups > 0 && downs > 0 {
				t.Fatalf("%s, case %d: went up %d times and down %d times within half a bucket from %v", name, n, ups, downs, low)
			}
		}
	}
	last := int64(0)
	for range 3000 {
		now := int64(r.IntN(2000))
		next := nextSamples(now, &last)
		if next > now || next > last && now-now/10 < next {
			t.Fatalf("%d samples are shown as %d after %d", now, next, last)
		}
		last = next
	}
}

// A rule on a percentile that hovers about its limit gives one verdict, not a different one each tick.
func TestARuleOnLatencyDoesNotFlap(t *testing.T) {
	set := files{"chaperone.toml": bindingOf("package = \"library.performance\"\nparams = { max_ttft_ms = 2000 }", "everyone")}.mustLoad(t)
	q := query()
	q.Rows = q.Rows[:1]
	set = set.on(q.Rows)
	r := seeded(t)
	changes, last := 0, ""
	for range 200 {
		ttft := 2000 * (0.98 + 0.04*r.Float64()) // the edge of a bucket is at 2000
		q.Stats = &telemetry.View{Rows: []telemetry.RowStats{{Samples: 100, TTFT: telemetry.Percentiles{P50: ttft, P75: ttft, P90: ttft, P99: ttft}, Uptime: 1}}}
		got := permitted(set.Judge(context.Background(), q))
		if got != last {
			changes++
		}
		last = got
	}
	if changes > 2 {
		t.Fatalf("the verdict changed %d times in 200 ticks", changes)
	}
	fast := &telemetry.View{Rows: []telemetry.RowStats{{Samples: 100, TTFT: telemetry.Percentiles{P50: 500, P75: 500, P90: 500, P99: 500}, Uptime: 1}}}
	q.Stats = fast
	if got := permitted(set.Judge(context.Background(), q)); got != "alpha" {
		t.Fatalf("well below the limit: %q", got)
	}
}

// A reload does not begin anew: what hovers about the edge of a bucket is shown as before, though the rows stand in another order.
func TestFiguresDoNotFlapAtAReload(t *testing.T) {
	f := files{"chaperone.toml": bindingOf("package = \"library.performance\"\nparams = { max_ttft_ms = 2000 }", "everyone")}
	view := func(ttft ...float64) *telemetry.View {
		v := &telemetry.View{}
		for _, ms := range ttft {
			v.Rows = append(v.Rows, telemetry.RowStats{Samples: 100, TTFT: telemetry.Percentiles{P50: ms, P75: ms, P90: ms, P99: ms}, Uptime: 1})
		}
		return v
	}
	judge := func(set *Set, rows []*catalog.Row, v *telemetry.View) string {
		q := query()
		q.Rows, q.Stats = rows, v
		return permitted(set.Judge(context.Background(), q))
	}
	c := f.config(t)
	rows := c.Catalog.Rows
	set, problems := Load(context.Background(), c)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	judge(set, rows, view(500, 2050, 500, 500)) // trainer is over the limit
	if got := judge(set, rows, view(500, 1990, 500, 500)); got != "alpha silent american" {
		t.Fatalf("not yet half a bucket past the edge: %q", got)
	}
	for range 3 { // reloads
		rows = slices.Clone(rows)
		slices.Reverse(rows)
		for i := range rows {
			row := *rows[i]
			row.Index = i
			rows[i] = &row
		}
		c.Previous, c.Catalog = set, &catalog.Catalog{Rows: rows}
		if set, problems = Load(context.Background(), c); len(problems) > 0 {
			t.Fatal(problems)
		}
	}
	if got := judge(set, rows, view(500, 500, 1990, 500)); got != "american silent alpha" {
		t.Fatalf("after reloads: %q", got)
	}
	if got := judge(set, rows, view(500, 500, 1000, 500)); got != "american silent trainer alpha" {
		t.Fatalf("well below the limit: %q", got)
	}
}

// All who hold one view see the same figures, also when younger views have been shown meanwhile.
func TestAViewIsShownTheSameToAll(t *testing.T) {
	r := seeded(t)
	s := &steady{}
	old := randomViewOf(r, 5)
	before := *s.at(old, 3)
	s.at(randomViewOf(r, 5), 0)
	s.at(randomViewOf(r, 5), 0)
	if after := *s.at(old, 3); after != before {
		t.Fatalf("%+v, then %+v", before, after)
	}
	if *s.at(nil, 0) != worstStats || *s.at(old, 5) != worstStats || *s.at(old, -1) != worstStats {
		t.Fatal("what nobody has measured is the worst")
	}
}
