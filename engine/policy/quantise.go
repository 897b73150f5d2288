package policy

import "math"

// Live figures reach policies in buckets, so that rules on them can be memoised and do not flap with every sample. A
// figure stands for the worse edge of its bucket.
//
//	ttft_ms   20 buckets an octave-and-a-half decade: edges at 10^(k/20), about 12 % apart; the upper edge
//	tps       the same edges; the lower edge
//	uptime    steps of 0.005; the lower edge
//	samples   0, 1, 2, 5, 10, 20, 50, 100 …; the lower edge
const bucketsPerDecade = 20

func quantisedTTFT(measured, expected float64) float64 {
	v := known(measured, expected)
	if !(v > 0) || v >= worstTTFTMillis {
		return worstTTFTMillis
	}
	return min(worstTTFTMillis, edge(math.Ceil(math.Log10(v)*bucketsPerDecade-1e-9)))
}

func quantisedTPS(measured, expected float64) float64 {
	v := known(measured, expected)
	if !(v > 0) || math.IsInf(v, 0) {
		return 0
	}
	return edge(math.Floor(math.Log10(v)*bucketsPerDecade + 1e-9))
}

// edge is a bucket's border to three significant digits, so that authors can write it down.
func edge(k float64) float64 {
	v := math.Pow(10, k/bucketsPerDecade)
	digits := math.Pow(10, 2-math.Floor(math.Log10(v)))
	return math.Round(v*digits) / digits
}

func quantisedUptime(v float64) float64 {
	if !(v > 0) {
		return 0
	}
	return math.Floor(min(v, 1)*200+1e-9) / 200
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

func known(measured, expected float64) float64 {
	if math.IsNaN(measured) || measured <= 0 {
		return expected
	}
	return measured
}
