package scorer

import (
	"errors"
	"fmt"
	"math"
)

// Spread says how traffic spreads over rows that come close. Its zero value is strict order: the best row always comes first.
type Spread struct {
	// Temperature is τ: a row's share is proportional to exp((u − u_best)/τ). At 0 the best row has it all.
	Temperature float64
	// Exploration is what the rows other than the best get together at the least, in equal parts, so that estimates stay
	// true; 0…0.5.
	Exploration float64
}

// DefaultSpread gives a row that is 10 % dearer about a sixth of the best one's share, and 1 % to exploration.
var DefaultSpread = Spread{Temperature: 0.05, Exploration: 0.01}

const mostExploration = 0.5

func (s Spread) check() error {
	var errs []error
	if !(s.Temperature >= 0) || math.IsInf(s.Temperature, 1) {
		errs = append(errs, fmt.Errorf("temperature is %v; it should be a finite number, 0 (strict order) or greater", s.Temperature))
	}
	if !(s.Exploration >= 0 && s.Exploration <= mostExploration) {
		errs = append(errs, fmt.Errorf("exploration is %v; it should be 0…%v", s.Exploration, mostExploration))
	}
	return errors.Join(errs...)
}

// fillShares sets the Share of every row, given their order by utility, best first. The shares add up to 1.
func (s Spread) fillShares(rows []RankedRow, order []int) {
	if len(order) == 0 {
		return
	}
	best := rows[order[0]].Utility
	var sum float64
	for place, i := range order {
		weight := 0.0
		switch {
		case place == 0:
			weight = 1
		case s.Temperature > 0:
			weight = math.Exp((rows[i].Utility - best) / s.Temperature)
		}
		rows[i].Share = weight
		sum += weight
	}
	for i := range rows {
		rows[i].Share /= sum
	}
	s.explore(rows, order)
}

// explore lifts the rows that have less than their part of the exploration, and takes that from the others in proportion.
// Shares fall along the order, so the rows to lift are its end.
func (s Spread) explore(rows []RankedRow, order []int) {
	if len(order) < 2 || !(s.Exploration > 0) {
		return
	}
	floor := min(s.Exploration, mostExploration) / float64(len(order)-1)
	keep, scale := len(order), 1.0 // of order, the first keep are not lifted; their shares are scaled
	had := 0.0                     // by those that are
	for keep > 1 && float64(rows[order[keep-1]].Share*scale) < floor {
		keep--
		had += rows[order[keep]].Share
		scale = (1 - floor*float64(len(order)-keep)) / (1 - had)
	}
	for place, i := range order {
		if place < keep {
			rows[i].Share *= scale
		} else {
			rows[i].Share = floor
		}
	}
}

// draw is the place in order of the row that the seed chooses by its share.
func draw(seed uint64, rows []RankedRow, order []int) int {
	left := uniform(seed)
	for place, i := range order {
		left -= rows[i].Share
		if left < 0 {
			return place
		}
	}
	return 0 // rounding error has left a sliver beyond the last share
}

// uniform is a number in [0, 1) that depends on nothing but the seed: one step of splitmix64 (Steele, Lea and Flood, "Fast
// splittable pseudorandom number generators", OOPSLA 2014). Written out rather than taken from math/rand/v2, because a
// recorded decision has to be drawn again the same way by any later version, on any platform and in any language, and one
// step of a generator with a single word of state is all that one draw needs.
func uniform(seed uint64) float64 {
	z := seed + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float64(z>>11) / (1 << 53)
}
