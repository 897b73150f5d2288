package journal

import (
	"encoding/json"
	"maps"
	"math"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/telemetry"
)

// statistics are what policy and scorers read at one tick. A decision names its tick; the frames of one segment before it
// add up to the figures, so that they are written once a tick and only as far as they have changed.
type statistics struct {
	Tick uint64    `json:"tick"`
	At   time.Time `json:"at"`
	// Rows by id: those that differ from the frame before it, in the same segment. All of them in the first.
	Rows map[string]Figures `json:"rows"`
	Gone []string           `json:"gone,omitempty"` // rows that are no longer there
}

// Figures is a row's telemetry.RowStats, which scorers read; null stands for NaN. Percentiles are the 50th, 75th, 90th, 95th
// and 99th.
type Figures struct {
	Samples      int64       `json:"samples"`
	TTFT         [5]*float64 `json:"ttft_ms"`
	TPS          [5]*float64 `json:"tps"`
	Uptime       *float64    `json:"uptime"`
	RateLimited  *float64    `json:"rate_limited"`
	ExpectedTTFT *float64    `json:"expected_ttft_ms"`
	ExpectedTPS  *float64    `json:"expected_tps"`
	Success      *float64    `json:"success"`
	LostMillis   *float64    `json:"lost_ms"`
	Failures     int         `json:"failures"`
	// Shown is what policies read: rounded, with a memory of what was shown before.
	Shown policy.StatsInput `json:"shown"`
}

func figuresOf(s *telemetry.RowStats, shown *policy.StatsInput) Figures {
	five := func(p *telemetry.Percentiles) [5]*float64 {
		return [5]*float64{finite(p.P50), finite(p.P75), finite(p.P90), finite(p.P95), finite(p.P99)}
	}
	return Figures{
		Samples: s.Samples, TTFT: five(&s.TTFT), TPS: five(&s.TPS), Uptime: finite(s.Uptime), RateLimited: finite(s.RateLimited),
		ExpectedTTFT: finite(s.ExpectedTTFT), ExpectedTPS: finite(s.ExpectedTPS), Success: finite(s.Success),
		LostMillis: finite(s.LostMillis), Failures: s.Failures, Shown: *shown,
	}
}

// Stats is the telemetry.RowStats that f was made of.
func (f *Figures) Stats() telemetry.RowStats {
	or := func(v *float64) float64 {
		if v == nil {
			return math.NaN()
		}
		return *v
	}
	five := func(v *[5]*float64) telemetry.Percentiles {
		return telemetry.Percentiles{P50: or(v[0]), P75: or(v[1]), P90: or(v[2]), P95: or(v[3]), P99: or(v[4])}
	}
	return telemetry.RowStats{
		Samples: f.Samples, TTFT: five(&f.TTFT), TPS: five(&f.TPS), Uptime: or(f.Uptime), RateLimited: or(f.RateLimited),
		ExpectedTTFT: or(f.ExpectedTTFT), ExpectedTPS: or(f.ExpectedTPS), Success: or(f.Success), LostMillis: or(f.LostMillis),
		Failures: f.Failures,
	}
}

// Seen is the statistics that decisions read: those of one view, of the rows of one catalog. It is made once a tick.
type Seen struct {
	Stats *telemetry.View
	Rows  []*catalog.Row      // all of the catalog's, in order of Row.Index
	Shown []policy.StatsInput // likewise, as policies read them
}

// teller writes statistics as far as the segment does not have them yet, and knows which catalogs' rows it has.
type teller struct {
	told map[uint64]bool // ticks
	last map[string]told
	rows map[string]bool // catalog digests
}

type told struct {
	stats telemetry.RowStats
	shown policy.StatsInput
}

func newTeller() teller { return teller{map[uint64]bool{}, map[string]told{}, map[string]bool{}} }

// news is what is to be written before a decision that saw s; nil where it is there already.
func (t *teller) news(s *Seen) []byte {
	if s == nil || t.told[s.Stats.Tick] {
		return nil
	}
	t.told[s.Stats.Tick] = true
	out := statistics{Tick: s.Stats.Tick, At: s.Stats.At, Rows: map[string]Figures{}}
	for _, row := range s.Rows {
		now, shown := &s.Stats.Rows[row.Index], &s.Shown[row.Index]
		if before, known := t.last[row.ID]; !known || before.shown != *shown || !same(&before.stats, now) {
			out.Rows[row.ID], t.last[row.ID] = figuresOf(now, shown), told{*now, *shown}
		}
	}
	if len(t.last) > len(s.Rows) {
		here := make(map[string]bool, len(s.Rows))
		for _, row := range s.Rows {
			here[row.ID] = true
		}
		for id := range t.last {
			if !here[id] {
				out.Gone = append(out.Gone, id)
				delete(t.last, id)
			}
		}
	}
	body, err := json.Marshal(out)
	if err != nil {
		panic("journal: statistics: " + err.Error()) // NaN and infinities are left out
	}
	return body
}

// same says whether two are, NaN being the same as NaN.
func same(a, b *telemetry.RowStats) bool {
	if *a == *b {
		return true
	}
	eq := func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) }
	five := func(x, y *telemetry.Percentiles) bool {
		return eq(x.P50, y.P50) && eq(x.P75, y.P75) && eq(x.P90, y.P90) && eq(x.P95, y.P95) && eq(x.P99, y.P99)
	}
	return a.Samples == b.Samples && five(&a.TTFT, &b.TTFT) && five(&a.TPS, &b.TPS) && eq(a.Uptime, b.Uptime) &&
		eq(a.RateLimited, b.RateLimited) && eq(a.ExpectedTTFT, b.ExpectedTTFT) && eq(a.ExpectedTPS, b.ExpectedTPS) &&
		eq(a.Success, b.Success) && eq(a.LostMillis, b.LostMillis) && a.Failures == b.Failures
}

// table holds statistics by tick, and rows by catalog digest, as read back from a segment.
type table struct {
	ticks map[uint64]map[string]*Figures
	last  map[string]*Figures
	rows  map[string][]rowName
}

func (t *table) add(body []byte) error {
	var s statistics
	if err := json.Unmarshal(body, &s); err != nil {
		return err
	}
	now := make(map[string]*Figures, len(t.last)+len(s.Rows))
	for id, f := range t.last {
		now[id] = f
	}
	for id, f := range s.Rows {
		now[id] = &f
	}
	for _, id := range s.Gone {
		delete(now, id)
	}
	if t.ticks == nil {
		t.ticks = map[uint64]map[string]*Figures{}
	}
	t.ticks[s.Tick], t.last = now, now
	return nil
}

func (t *table) name(body []byte) error {
	var names rowNames
	if err := json.Unmarshal(body, &names); err != nil {
		return err
	}
	rows := maps.Clone(t.rows) // records that are being decoded have the old one
	if rows == nil {
		rows = map[string][]rowName{}
	}
	rows[names.Catalog] = names.Rows
	t.rows = rows
	return nil
}
