package telemetry

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"chaperone/engine/catalog"
)

// Board is the store as one catalog sees it. It is safe for concurrent use, beside other boards of the store.
type Board struct {
	store  *Store
	rows   []*catalog.Row
	series []*series // by row index
	models [][]int   // row indices by model
	view   atomic.Pointer[View]
	making sync.Mutex
}

// find is the series of a row, also of one that another catalog has; nil where nothing is known of it.
func (b *Board) find(row *catalog.Row) *series {
	if i := row.Index; i >= 0 && i < len(b.rows) && b.rows[i] == row {
		return b.series[i]
	}
	b.store.mu.RLock()
	defer b.store.mu.RUnlock()
	return b.store.rows[row.ID]
}

// Observe records how an attempt at a row ended. The row may be of an older catalog: a request can outlive a reload. What
// ended before the window is dropped.
func (b *Board) Observe(row *catalog.Row, o Outcome) {
	s := b.find(row)
	if s == nil {
		s = b.store.add(row.ID)
	}
	if o.Counts || o.RateLimited {
		s.observe(&o, b.store.slot(o.At))
	}
}

// Failures is the row's consecutive failures just now; unlike a View it is never late.
func (b *Board) Failures(row *catalog.Row) int {
	s := b.find(row)
	if s == nil {
		return 0
	}
	return int(s.failures.Load())
}

// View is the statistics at now's tick; callers share it. Whoever comes first after a tick makes the next one; the others
// go on with the last meanwhile.
func (b *Board) View(now time.Time) *View {
	last := b.view.Load()
	if b.current(last, now) {
		return last
	}
	if last == nil {
		b.making.Lock()
	} else if !b.making.TryLock() {
		return last
	}
	defer b.making.Unlock()
	if last = b.view.Load(); b.current(last, now) {
		return last
	}
	v := &View{Tick: b.store.ticks.Add(1), At: now, Rows: make([]RowStats, len(b.rows))}
	b.fill(v)
	b.view.Store(v)
	return v
}

// current says whether v will do at now. A now well before it is a clock that was set back.
func (b *Board) current(v *View, now time.Time) bool {
	if v == nil {
		return false
	}
	age := now.Sub(v.At)
	return -b.store.tick < age && age < b.store.tick
}

func (b *Board) fill(v *View) {
	number := b.store.slot(v.At)
	for _, rows := range b.models {
		sums := make([]summary, len(rows))
		for k, i := range rows {
			sums[k] = b.series[i].summarize(number)
		}
		b.fillModel(v, rows, sums)
	}
}

// fillModel sets the statistics of one model's rows, whose windows add up to sums.
func (b *Board) fillModel(v *View, rows []int, sums []summary) {
	seen := make([]evidence, len(rows))
	ttft, tps := make([]float64, len(rows)), make([]float64, len(rows))
	success, lost := make([]float64, len(rows)), make([]float64, len(rows))
	for k, i := range rows {
		seen[k] = ofLog(sums[k].ttft, b.rows[i].Expected.TTFTMillis)
	}
	shrink(seen, math.Log(DefaultTTFTMillis), ttft)
	for k, i := range rows {
		seen[k] = ofLog(sums[k].tps, b.rows[i].Expected.TPS)
	}
	shrink(seen, math.Log(DefaultTPS), tps)
	for k := range rows {
		seen[k] = ofMean(sums[k].attempts(), float64(sums[k].ok))
	}
	shrink(seen, DefaultSuccess, success)
	for k := range rows {
		seen[k] = ofMean(sums[k].failed+sums[k].limited, sums[k].lost)
	}
	shrink(seen, DefaultLostMillis, lost)
	for k, i := range rows {
		v.Rows[i] = RowStats{
			Samples:      sums[k].attempts(),
			TTFT:         sums[k].ttftAt,
			TPS:          sums[k].tpsAt,
			Uptime:       share(sums[k].ok, sums[k].ok+sums[k].failed),
			RateLimited:  share(sums[k].limited, sums[k].attempts()),
			ExpectedTTFT: math.Exp(ttft[k]),
			ExpectedTPS:  math.Exp(tps[k]),
			Success:      min(max(success[k], leastSuccess), 1),
			LostMillis:   lost[k],
			Failures:     int(b.series[i].failures.Load()),
		}
	}
}

func (s *summary) attempts() int64 { return s.ok + s.failed + s.limited }

// ofLog is evidence on a logarithmic scale; a figure that is not positive is not stated.
func ofLog(seen logNormal, figure float64) evidence {
	e := evidence{n: float64(seen.n)}
	if seen.n > 0 {
		e.mean = seen.sum / e.n
	}
	if figure > 0 && !math.IsInf(figure, 1) {
		e.figure, e.stated = math.Log(figure), true
	}
	return e
}

func ofMean(n int64, sum float64) evidence {
	e := evidence{n: float64(n)}
	if n > 0 {
		e.mean = sum / e.n
	}
	return e
}

// share is NaN where there is nothing to have a share of.
func share(part, whole int64) float64 {
	return float64(part) / float64(whole)
}
