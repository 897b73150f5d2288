package policy

import (
	"math"
	"sync"
	"sync/atomic"

	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
)

// Live figures reach policies in buckets, so that rules on them can be memoised and do not flap with every sample. A
// figure stands for the worse edge of its bucket.
//
//	ttft_ms   edges at 10^(k/20), about 12 % apart; the upper edge
//	tps       the same edges; the lower edge
//	uptime    steps of 0.005; the lower edge
//	samples   0, 1, 2, 5, 10, 20, 50, 100 …; the lower edge
//
// A figure that gets worse is shown at once. One that gets better is shown when it is half a bucket past the edge (samples: a
// tenth), so that no figure which moves within half a bucket goes to and fro; and what is shown is never better than what was
// measured. A full uptime is shown at once too: there is no room beyond it.
const (
	bucketsPerDecade = 20
	uptimeSteps      = 200
	hysteresis       = 0.5 // of a bucket

	worstBucket = 1 << 20 // of figures that are no measurement
)

// figure is one kind of figure.
type figure struct {
	bucket func(v, margin float64) int // the bucket of v if it were worse by margin buckets
	lower  bool                        // less is better
	value  func(bucket int) float64
}

var (
	ttftFigure = figure{
		bucket: func(v, margin float64) int {
			if !(v > 0) || v >= worstTTFTMillis {
				return worstBucket
			}
			return int(math.Ceil(math.Log10(v)*bucketsPerDecade - 1e-9 + margin))
		},
		lower: true,
		value: func(bucket int) float64 {
			if bucket == worstBucket {
				return worstTTFTMillis
			}
			return min(worstTTFTMillis, edge(float64(bucket)))
		},
	}
	tpsFigure = figure{
		bucket: func(v, margin float64) int {
			if !(v > 0) || math.IsInf(v, 0) {
				return -worstBucket
			}
			return int(math.Floor(math.Log10(v)*bucketsPerDecade + 1e-9 - margin))
		},
		value: func(bucket int) float64 {
			if bucket == -worstBucket {
				return 0
			}
			return edge(float64(bucket))
		},
	}
	uptimeFigure = figure{
		bucket: func(v, margin float64) int {
			if !(v > 0) {
				return 0
			}
			if v >= 1 {
				return uptimeSteps
			}
			return max(0, int(math.Floor(v*uptimeSteps+1e-9-margin)))
		},
		value: func(bucket int) float64 { return float64(bucket) / uptimeSteps },
	}
)

// next is the bucket that v is shown in after last; nil: nothing has been shown yet.
func (f *figure) next(v float64, last *int) int {
	now := f.bucket(v, 0)
	if last == nil {
		return now
	}
	if f.lower {
		return max(now, min(*last, f.bucket(v, hysteresis)))
	}
	return min(now, max(*last, f.bucket(v, hysteresis)))
}

// edge is a bucket's border to three significant digits, so that authors can write it down.
func edge(k float64) float64 {
	v := math.Pow(10, k/bucketsPerDecade)
	digits := math.Pow(10, 2-math.Floor(math.Log10(v)))
	return math.Round(v*digits) / digits
}

func quantisedSamples(n int64) int64 {
	for unit := int64(1e12); unit > 0; unit /= 10 {
		for _, step := range [...]int64{5, 2, 1} {
			if n >= step*unit {
				return step * unit
			}
		}
	}
	return 0
}

func nextSamples(n int64, last *int64) int64 {
	now := quantisedSamples(n)
	if last == nil {
		return now
	}
	return min(now, max(*last, quantisedSamples(n-n/10)))
}

func known(measured, expected float64) float64 {
	if math.IsNaN(measured) || measured <= 0 {
		return expected
	}
	return measured
}

// shown is the figures of one row as policies see them: the buckets, and what they stand for.
type shown struct {
	ttft, tps [4]int
	uptime    int
	samples   int64
	stats     StatsInput
}

// next is what is shown of r after s; nil: nothing has been shown yet.
func (s *shown) next(r *telemetry.RowStats) shown {
	var n shown
	at := func(f *figure, v float64, last func(*shown) *int) int {
		if s == nil {
			return f.next(v, nil)
		}
		return f.next(v, last(s))
	}
	ttft := [4]float64{r.TTFT.P50, r.TTFT.P75, r.TTFT.P90, r.TTFT.P99}
	tps := [4]float64{r.TPS.P50, r.TPS.P75, r.TPS.P90, r.TPS.P99}
	for i := range ttft {
		n.ttft[i] = at(&ttftFigure, known(ttft[i], r.ExpectedTTFT), func(s *shown) *int { return &s.ttft[i] })
		n.tps[i] = at(&tpsFigure, known(tps[i], r.ExpectedTPS), func(s *shown) *int { return &s.tps[i] })
	}
	uptime := r.Uptime
	if math.IsNaN(uptime) || r.Samples == 0 {
		uptime = r.Success
	}
	n.uptime = at(&uptimeFigure, uptime, func(s *shown) *int { return &s.uptime })
	if s == nil {
		n.samples = nextSamples(r.Samples, nil)
	} else {
		n.samples = nextSamples(r.Samples, &s.samples)
	}
	t, p := ttftFigure.value, tpsFigure.value
	n.stats = StatsInput{
		Samples: n.samples,
		TTFT:    PercentilesInput{t(n.ttft[0]), t(n.ttft[1]), t(n.ttft[2]), t(n.ttft[3])},
		TPS:     PercentilesInput{p(n.tps[0]), p(n.tps[1]), p(n.tps[2]), p(n.tps[3])},
		Uptime:  uptimeFigure.value(n.uptime),
	}
	return n
}

// worstStats stands for figures that nobody has.
var worstStats = StatsInput{TTFT: PercentilesInput{worstTTFTMillis, worstTTFTMillis, worstTTFTMillis, worstTTFTMillis}}

// steady remembers what was last shown of every row. One view of the statistics is shown the same way to all who ask.
type steady struct {
	carried []*shown // of an earlier set, for the first tick; nil: nothing has been shown of that row
	mu      sync.Mutex
	recent  atomic.Pointer[[]tick] // the newest first
}

// continued goes on from what before has shown of its rows, each known by its id: a reload is no reason for a verdict to flap.
func (before *Set) continued(rows []*catalog.Row) *steady {
	s := &steady{}
	if before == nil {
		return s
	}
	last := map[string]*shown{}
	if recent := before.stats.recent.Load(); recent != nil {
		for i := range (*recent)[0].rows[:min(len((*recent)[0].rows), len(before.rows))] {
			last[before.rows[i].ID] = &(*recent)[0].rows[i]
		}
	} else {
		for i, shown := range before.stats.carried {
			last[before.rows[i].ID] = shown
		}
	}
	s.carried = make([]*shown, len(rows))
	for i, row := range rows {
		s.carried[i] = last[row.ID]
	}
	return s
}

type tick struct {
	view *telemetry.View
	rows []shown
}

// ticksKept is how many views are remembered: a request that is still being judged may hold an older one.
const ticksKept = 4

// at is the figures of the row with that index in view.
func (s *steady) at(view *telemetry.View, index int) *StatsInput {
	if view == nil || index < 0 || index >= len(view.Rows) {
		return &worstStats
	}
	return &s.tick(view).rows[index].stats
}

func (s *steady) tick(view *telemetry.View) *tick {
	if t := find(s.recent.Load(), view); t != nil {
		return t
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	recent := s.recent.Load()
	if t := find(recent, view); t != nil {
		return t
	}
	next := tick{view: view, rows: make([]shown, len(view.Rows))}
	for i := range view.Rows {
		var last *shown
		switch {
		case recent != nil && i < len((*recent)[0].rows):
			last = &(*recent)[0].rows[i]
		case recent == nil && i < len(s.carried):
			last = s.carried[i]
		}
		next.rows[i] = last.next(&view.Rows[i])
	}
	kept := []tick{next}
	if recent != nil {
		kept = append(kept, (*recent)[:min(len(*recent), ticksKept-1)]...)
	}
	s.recent.Store(&kept)
	return &kept[0]
}

func find(recent *[]tick, view *telemetry.View) *tick {
	if recent != nil {
		for i := range *recent {
			if t := &(*recent)[i]; t.view == view {
				return t
			}
		}
	}
	return nil
}
