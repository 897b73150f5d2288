package telemetry

import "math"

// Bins grow by a tenth, so that the geometric middle of a bin is within √1.1 − 1 = 4.9 % of every value in it. They reach
// from 0.1 to 0.1·1.1¹⁶⁸ ≈ 900,000: for TTFT a tenth of a millisecond to a quarter of an hour, for TPS every speed there is.
// What lies outside is counted in the bin at that end.
const (
	bins      = 168
	binGrowth = 1.1
	binLeast  = 0.1
)

var (
	logGrowth = math.Log(binGrowth)
	logLeast  = math.Log(binLeast)

	noPercentiles = Percentiles{math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN()}
)

// histogram counts values on a logarithmic scale.
type histogram [bins]uint32

// bin is where a value with that natural logarithm is counted.
func bin(log float64) int {
	return min(max(int((log-logLeast)/logGrowth), 0), bins-1)
}

// middle is the value that a bin stands for.
func middle(bin int) float64 {
	return math.Exp(logLeast + (float64(bin)+0.5)*logGrowth)
}

func (h *histogram) subtract(other *histogram) {
	for i, n := range other {
		h[i] -= n
	}
}

// percentiles are by nearest rank: the least value that at least that share of the n samples does not exceed.
func (h *histogram) percentiles(n int64) Percentiles {
	if n == 0 {
		return noPercentiles
	}
	var p Percentiles
	into := [...]*float64{&p.P50, &p.P75, &p.P90, &p.P95, &p.P99}
	percents := [...]int64{50, 75, 90, 95, 99}
	var seen int64
	next := 0
	for i, count := range h {
		seen += int64(count)
		for next < len(into) && seen*100 >= percents[next]*n {
			*into[next] = middle(i)
			next++
		}
		if next == len(into) {
			break
		}
	}
	return p
}
