package scorer

import "math"

// epsilon keeps ratios of costs near zero from exploding: a millionth of a dollar is worth no detour.
const epsilon = 1e-6

// noOpinion is the utility of NaN.
const noOpinion = 0.5

// fillUtilities sets into to the utilities of scores: always 0…1, never NaN. The two may be the same slice.
func fillUtilities(scale Scale, scores, into []float64) {
	switch scale {
	case Cost:
		ofCosts(scores, into)
	case MinMax:
		ofRange(scores, into)
	case Unit:
		for i, s := range scores {
			into[i] = noOpinion
			if !math.IsNaN(s) {
				into[i] = min(max(s, 0), 1)
			}
		}
	}
}

func ofCosts(costs, into []float64) {
	least := math.Inf(1)
	for _, c := range costs {
		if c < least { // not NaN
			least = max(c, 0)
		}
	}
	for i, c := range costs {
		switch {
		case math.IsNaN(c):
			into[i] = noOpinion
		case math.IsInf(c, 1):
			into[i] = 0
		default:
			into[i] = (least + epsilon) / (max(c, 0) + epsilon)
		}
	}
}

func ofRange(scores, into []float64) {
	least, greatest := math.Inf(1), math.Inf(-1)
	for _, s := range scores {
		if !math.IsNaN(s) && !math.IsInf(s, 0) {
			least, greatest = min(least, s), max(greatest, s)
		}
	}
	half := 1.0
	if math.IsInf(greatest-least, 1) {
		half = 0.5 // the range itself does not fit a float64, half of it does
	}
	for i, s := range scores {
		switch {
		case math.IsNaN(s):
			into[i] = noOpinion
		case math.IsInf(s, 1):
			into[i] = 1
		case math.IsInf(s, -1):
			into[i] = 0
		case least == greatest:
			into[i] = 0.5
		default:
			into[i] = (s*half - least*half) / (greatest*half - least*half)
		}
	}
}
