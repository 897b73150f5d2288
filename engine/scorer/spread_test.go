package scorer_test

import (
	"fmt"
	"math"
	"testing"

	"chaperone/engine/scorer"
)

func shares(utilities []float64, s scorer.Spread) []float64 {
	r := rank(batchOf(len(utilities)), weigh(fixed{name: "s", scale: scorer.Unit, scores: utilities}), s)
	out := make([]float64, len(utilities))
	for i, row := range r.Rows {
		out[i] = row.Share
	}
	return out
}

func TestShares(t *testing.T) {
	e := math.Exp
	for _, c := range []struct {
		name      string
		utilities []float64
		spread    scorer.Spread
		want      []float64
	}{
		{"by utility", []float64{1, 0.95, 0.9}, scorer.Spread{Temperature: 0.05},
			[]float64{1 / (1 + e(-1) + e(-2)), e(-1) / (1 + e(-1) + e(-2)), e(-2) / (1 + e(-1) + e(-2))}},
		{"alike", []float64{0.7, 0.7, 0.7, 0.7}, scorer.DefaultSpread, []float64{0.25, 0.25, 0.25, 0.25}},
		{"strict order", []float64{0.9, 1, 0.9}, scorer.Spread{}, []float64{0, 1, 0}},
		{"strict order takes no ties", []float64{1, 1}, scorer.Spread{}, []float64{1, 0}},
		{"strict order but for exploration", []float64{0, 1, 0.5}, scorer.Spread{Exploration: 0.01}, []float64{0.005, 0.99, 0.005}},
		{"all others are hopeless", []float64{0, 1, 0}, scorer.DefaultSpread, []float64{0.005, 0.99, 0.005}},
		{"whoever has more keeps the proportion", []float64{1, 0.95, 0}, scorer.DefaultSpread,
			[]float64{0.995 / (1 + e(-1)), 0.995 * e(-1) / (1 + e(-1)), 0.005}},
		{"explored as far as can be", []float64{1, 0}, scorer.Spread{Temperature: 0.05, Exploration: 0.5}, []float64{0.5, 0.5}},
		{"so warm that nothing matters", []float64{1, 0}, scorer.Spread{Temperature: math.MaxFloat64}, []float64{0.5, 0.5}},
		{"so cold that nothing else matters", []float64{1, 0.999}, scorer.Spread{Temperature: math.SmallestNonzeroFloat64}, []float64{1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, got := range shares(c.utilities, c.spread) {
				if math.Abs(got-c.want[i]) > 1e-9 {
					t.Errorf("row %d has the share %v, want %v", i, got, c.want[i])
				}
			}
		})
	}
}

func TestATenthDearerGetsAboutASixthOfTheBest(t *testing.T) {
	r := rank(batchOf(2), weigh(fixed{name: "s", scale: scorer.Cost, scores: []float64{0.01, 0.011}}), scorer.DefaultSpread)
	if ratio := r.Rows[1].Share / r.Rows[0].Share; math.Abs(ratio-1.0/6) > 0.01 {
		t.Errorf("its share is %v of the best one's", ratio)
	}
}

// Every row but the best has its part of the exploration, for any utilities: also those that the lifting of others would
// have pushed below it.
func TestTheFloorHoldsForEveryRow(t *testing.T) {
	rng := seeded(t)
	for range 5000 {
		s := scorer.Spread{Temperature: 0.3 * rng.Float64(), Exploration: 0.5 * rng.Float64()}
		utilities := make([]float64, 2+rng.IntN(10))
		for i := range utilities {
			utilities[i] = rng.Float64()
		}
		floor := s.Exploration / float64(len(utilities)-1)
		got := shares(utilities, s)
		var below int
		for _, share := range got {
			if share < floor*(1-1e-9) {
				below++
			}
		}
		if below > 0 {
			t.Fatalf("spread %+v, utilities %v: %d of the shares %v are below %v", s, utilities, below, got, floor)
		}
		for i := range got {
			for j := range got {
				if utilities[i] > utilities[j] && got[i] < got[j]*(1-1e-9) {
					t.Fatalf("spread %+v, utilities %v: the shares %v are not in their order", s, utilities, got)
				}
			}
		}
	}
}

func TestDrawsFollowTheShares(t *testing.T) {
	b := batchOf(4)
	scorers := weigh(fixed{name: "s", scale: scorer.Unit, scores: []float64{0.9, 1, 0.95, 0}})
	const draws = 200_000
	counts := make([]float64, 4)
	var r *scorer.Ranking
	for seed := range uint64(draws) { // consecutive seeds: they have to be mixed well
		b.Seed = seed
		r = rank(b, scorers, scorer.DefaultSpread)
		counts[r.Order[0]]++
		if rest := fmt.Sprint(r.Order[1:]); rest != map[int]string{0: "[1 2 3]", 1: "[2 0 3]", 2: "[1 0 3]", 3: "[1 2 0]"}[r.Order[0]] {
			t.Fatalf("behind row %d come %s", r.Order[0], rest)
		}
	}
	for i, row := range r.Rows {
		deviation := math.Sqrt(row.Share * (1 - row.Share) / draws)
		if got := counts[i] / draws; math.Abs(got-row.Share) > 5*deviation {
			t.Errorf("row %d came first in %v of the draws, its share is %v", i, got, row.Share)
		}
	}
}

// The draw of a recorded decision has to come out the same in every later version: these values never change. They are
// splitmix64's first output for each seed, as its authors' reference implementation gives it.
func TestDrawsNeverChange(t *testing.T) {
	utilities := make([]float64, 1000)
	b := batchOf(len(utilities))
	for _, row := range b.Rows {
		row.Free = true // alike in every respect: the order is the catalog's and all shares are equal
	}
	for _, c := range []struct {
		seed   uint64
		output uint64
	}{
		{0, 0xe220a8397b1dcdaf},
		{1234567, 6457827717110365317},
		{math.MaxUint64, 0xe4d971771b652c20},
	} {
		b.Seed = c.seed
		want := int(float64(c.output>>11) / (1 << 53) * 1000)
		r := rank(b, weigh(fixed{name: "s", scale: scorer.Unit, scores: utilities}), scorer.Spread{Temperature: 1})
		if r.Order[0] != want {
			t.Errorf("seed %d draws row %d, want %d", c.seed, r.Order[0], want)
		}
	}
}
