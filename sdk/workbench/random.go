package workbench

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"chaperone/engine/wasm"
)

// plausible makes a batch of numbers as a router has them: one in ten is not known.
func plausible(r *rand.Rand, m *wasm.Manifest, rows int) *wasm.Table {
	return fill(r, m, rows, func(name string) float64 { return plausibleValue(r, name) })
}

func plausibleValue(r *rand.Rand, name string) float64 {
	switch {
	case r.IntN(10) == 0 && name != "endpoint":
		return math.NaN()
	case name == "endpoint":
		return float64(r.Uint64() >> 11)
	case strings.Contains(name, ":"), slices.Contains([]string{"stream", "ok", "rate_limited"}, name):
		return float64(r.IntN(2))
	case slices.Contains([]string{"price.expected", "price.request", "price.image", "cost_usd"}, name):
		return r.ExpFloat64() / 1000
	case strings.HasPrefix(name, "price."):
		return r.ExpFloat64() * 5
	case slices.Contains([]string{"stats.success", "stats.uptime", "stats.rate_limited"}, name):
		return r.Float64()
	case name == "hour":
		return float64(r.IntN(24))
	default:
		return math.Trunc(r.ExpFloat64() * 1000)
	}
}

// attempts makes finished attempts at the rows of a batch, as many as it has rows.
func attempts(r *rand.Rand, m *wasm.Manifest, t *wasm.Table, rows int) [][]float64 {
	var columns [][]float64
	for _, name := range m.Observe {
		column := make([]float64, rows)
		same := slices.Index(m.Columns, name)
		for i := range column {
			if column[i] = plausibleValue(r, name); same >= 0 {
				column[i] = t.Columns[same][i]
			}
		}
		columns = append(columns, column)
	}
	return columns
}

// extreme makes a batch of what no router has, but no plugin should fall over.
func extreme(r *rand.Rand, m *wasm.Manifest, rows int) *wasm.Table {
	values := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), math.MaxFloat64, -math.MaxFloat64,
		math.SmallestNonzeroFloat64, -1, 1 << 53, 1e300, -1e-300, math.MaxInt64, math.MinInt64}
	return fill(r, m, rows, func(string) float64 { return values[r.IntN(len(values))] })
}

// unknown makes a batch of which nothing is known.
func unknown(r *rand.Rand, m *wasm.Manifest, rows int) *wasm.Table {
	return fill(r, m, rows, func(string) float64 { return math.NaN() })
}

func fill(r *rand.Rand, m *wasm.Manifest, rows int, value func(name string) float64) *wasm.Table {
	t := &wasm.Table{Now: time.UnixMilli(1_800_000_000_000 + r.Int64N(1e9)), Seed: r.Uint64()}
	for _, name := range m.Columns {
		column := make([]float64, rows)
		for i := range column {
			column[i] = value(name)
		}
		t.Columns = append(t.Columns, column)
	}
	for _, name := range m.Request {
		t.Request = append(t.Request, value(name))
	}
	return t
}
