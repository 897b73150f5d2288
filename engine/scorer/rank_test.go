package scorer_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"chaperone/engine/scorer"
)

var inf, nan = math.Inf(1), math.NaN()

func rank(b *scorer.Batch, scorers []scorer.Weighted, s scorer.Spread) *scorer.Ranking {
	return scorer.Rank(context.Background(), b, scorers, s)
}

func TestUtilities(t *testing.T) {
	for _, c := range []struct {
		name         string
		scale        scorer.Scale
		scores, want []float64
	}{
		{"costs by ratio", scorer.Cost, []float64{0.01, 0.011, 0.02}, []float64{1, 0.010001 / 0.011001, 0.010001 / 0.020001}},
		{"a cost of nothing", scorer.Cost, []float64{0, 1e-6, 1}, []float64{1, 0.5, 1e-6 / 1.000001}},
		{"all cost nothing", scorer.Cost, []float64{0, 0}, []float64{1, 1}},
		{"a cost below zero is zero", scorer.Cost, []float64{-5, -inf, 0, 1e-6}, []float64{1, 1, 1, 0.5}},
		{"an infinite cost", scorer.Cost, []float64{1, inf}, []float64{1, 0}},
		{"only infinite costs", scorer.Cost, []float64{inf, inf}, []float64{0, 0}},
		{"an unknown cost", scorer.Cost, []float64{nan, 2, 1}, []float64{0.5, 1.000001 / 2.000001, 1}},
		{"no known cost", scorer.Cost, []float64{nan, nan}, []float64{0.5, 0.5}},
		{"a huge cost", scorer.Cost, []float64{math.MaxFloat64, 1}, []float64{0, 1}},

		{"a range", scorer.MinMax, []float64{-10, 0, 10}, []float64{0, 0.5, 1}},
		{"all equal", scorer.MinMax, []float64{7, 7, 7}, []float64{0.5, 0.5, 0.5}},
		{"one finite score", scorer.MinMax, []float64{7, inf, -inf, nan}, []float64{0.5, 1, 0, 0.5}},
		{"infinities beside a range", scorer.MinMax, []float64{1, 2, 3, inf, -inf, nan}, []float64{0, 0.5, 1, 1, 0, 0.5}},
		{"no finite score", scorer.MinMax, []float64{inf, -inf, nan}, []float64{1, 0, 0.5}},
		{"a range that overflows", scorer.MinMax, []float64{-math.MaxFloat64, 0, math.MaxFloat64}, []float64{0, 0.5, 1}},
		{"a range of one bit", scorer.MinMax, []float64{0, math.SmallestNonzeroFloat64}, []float64{0, 1}},

		{"unit is clamped", scorer.Unit, []float64{-1, 0.3, 7, inf, -inf, nan}, []float64{0, 0.3, 1, 1, 0, 0.5}},
		{"no opinion at all", scorer.Unit, nil, []float64{0.5, 0.5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rank(batchOf(len(c.want)), weigh(fixed{name: "s", scale: c.scale, scores: c.scores}), scorer.Spread{})
			for i, want := range c.want {
				if got := r.Rows[i]; !near(got.Utility, want) || got.Utility != got.Parts[0] {
					t.Errorf("row %d has the utility %v and the part %v, want %v", i, got.Utility, got.Parts[0], want)
				}
				score := nan
				if i < len(c.scores) {
					score = c.scores[i]
				}
				if got := r.Rows[i].Scores[0]; got != score && !(math.IsNaN(got) && math.IsNaN(score)) {
					t.Errorf("row %d shows the score %v, was given %v", i, got, score)
				}
			}
		})
	}
}

func TestTheBlendIsTheWeightedMean(t *testing.T) {
	one := fixed{name: "one", scale: scorer.Unit, scores: []float64{1, 0, 0.5}}
	two := fixed{name: "two", scale: scorer.Unit, scores: []float64{0, 1, 0.5}}
	broken := fixed{name: "broken", scale: scorer.Unit, scores: []float64{0, 0, 1}, err: errBroken}
	for _, c := range []struct {
		name      string
		scorers   []scorer.Weighted
		want      []float64
		abstained string
	}{
		{"3 to 1", []scorer.Weighted{at(one, 3), at(two, 1)}, []float64{0.75, 0.25, 0.5}, ""},
		{"only ratios matter", []scorer.Weighted{at(one, 3e-9), at(two, 1e-9)}, []float64{0.75, 0.25, 0.5}, ""},
		{"the heaviest weights there are", []scorer.Weighted{at(one, math.MaxFloat64), at(two, math.MaxFloat64)}, []float64{0.5, 0.5, 0.5}, ""},
		{"weight 0 moves nothing", []scorer.Weighted{at(one, 1), at(two, 0)}, []float64{1, 0, 0.5}, ""},
		{"only weights of 0", []scorer.Weighted{at(one, 0), at(two, 0)}, []float64{0.5, 0.5, 0.5}, ""},
		{"no scorer", nil, []float64{0.5, 0.5, 0.5}, ""},
		{"an error moves nothing", []scorer.Weighted{at(one, 3), at(broken, 100), at(two, 1)}, []float64{0.75, 0.25, 0.5}, "broken: broken"},
		{"nothing but an error", []scorer.Weighted{at(broken, 1)}, []float64{0.5, 0.5, 0.5}, "broken: broken"},
		{"a panic", []scorer.Weighted{at(one, 1), at(fixed{name: "p", scale: scorer.Unit, panics: "boom"}, 1)}, []float64{1, 0, 0.5}, "p: panic: boom"},
		{"an infinite weight", []scorer.Weighted{at(one, inf), at(two, 1)}, []float64{0, 1, 0.5}, "one: weight is +Inf; it should be a finite number, 0 or greater"},
		{"a negative weight", []scorer.Weighted{at(one, -1), at(two, 1)}, []float64{0, 1, 0.5}, "one: weight is -1; it should be a finite number, 0 or greater"},
		{"no weight", []scorer.Weighted{at(one, nan), at(two, 1)}, []float64{0, 1, 0.5}, "one: weight is NaN; it should be a finite number, 0 or greater"},
		{"no scale", []scorer.Weighted{at(fixed{name: "x", scale: "dB"}, 1), at(two, 1)}, []float64{0, 1, 0.5}, `x: scale is "dB"; it should be cost, minmax or unit`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rank(batchOf(3), c.scorers, scorer.Spread{})
			for i, want := range c.want {
				if !near(r.Rows[i].Utility, want) {
					t.Errorf("row %d has the utility %v, want %v", i, r.Rows[i].Utility, want)
				}
			}
			var abstained []string
			for name, err := range r.Abstained {
				abstained = append(abstained, fmt.Sprintf("%s: %v", name, err))
				if k := slices.Index(r.Scorers, name); !math.IsNaN(r.Rows[0].Scores[k]) || !math.IsNaN(r.Rows[0].Parts[k]) {
					t.Errorf("%s abstained and yet shows a score", name)
				}
			}
			if got := strings.Join(abstained, "; "); got != c.abstained {
				t.Errorf("abstained: %q, want %q", got, c.abstained)
			}
		})
	}
}

func TestTermsAreThoseOfTheFirstExplainerThatCounts(t *testing.T) {
	b := workedBatch()
	value := native(t, "value")
	if r := rank(b, []scorer.Weighted{at(native(t, "price"), 1), at(value, 0.5)}, scorer.Spread{}); len(r.Rows[0].Terms) != 3 {
		t.Errorf("terms %v", r.Rows[0].Terms)
	}
	if r := rank(b, []scorer.Weighted{at(native(t, "price"), 1), at(value, 0)}, scorer.Spread{}); r.Rows[0].Terms != nil {
		t.Errorf("a scorer of weight 0 explains %v", r.Rows[0].Terms)
	}
}

func TestTiesBreakByPriceThenCatalogOrder(t *testing.T) {
	b := batchOf(4)
	b.Rows[0].Prices.Prompt, b.Rows[1].Prices.Prompt, b.Rows[2].Prices.Prompt, b.Rows[3].Prices.Prompt = 5000, 3000, 5000, 9000
	for _, row := range b.Rows {
		row.Prices.Completion = 0
	}
	b.Rows[3].Free = true
	if got := fmt.Sprint(rank(b, nil, scorer.Spread{}).Order); got != "[3 1 0 2]" {
		t.Errorf("order %s, want the free one, the cheaper, then as the catalog has them", got)
	}
	slices.Reverse(b.Rows)
	if got := fmt.Sprint(rank(b, nil, scorer.Spread{}).Order); got != "[0 2 3 1]" {
		t.Errorf("order %s: the order of the batch should not matter", got)
	}
	better := fixed{name: "s", scale: scorer.Unit, scores: []float64{0.5, 0.5, 0.5, 0.6}}
	if got := fmt.Sprint(rank(b, weigh(better), scorer.Spread{}).Order); got != "[3 0 2 1]" {
		t.Errorf("order %s: utility comes before price", got)
	}
}

func TestNoRowAndOneRow(t *testing.T) {
	for _, scorers := range [][]scorer.Weighted{nil, weigh(native(t, "value"))} {
		if r := rank(batchOf(0), scorers, scorer.DefaultSpread); len(r.Order) != 0 || len(r.Rows) != 0 {
			t.Errorf("no row: %+v", r)
		}
		if r := rank(batchOf(1), scorers, scorer.DefaultSpread); len(r.Order) != 1 || r.Rows[0].Share != 1 {
			t.Errorf("one row: %+v", r)
		}
	}
}

// The property that everything rests on: whatever scorers answer, Order is a permutation, utilities are 0…1, shares are
// probabilities, and the rows that were not drawn stand in the order of their utilities.
func TestNoScoreAddsDropsOrRepeatsARow(t *testing.T) {
	rng := seeded(t)
	strange := []float64{nan, inf, -inf, 0, math.Copysign(0, -1), math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64,
		-math.SmallestNonzeroFloat64, 1, 0.5, -1, 1e-300, 1e300, math.Float64frombits(0x7ff0000000000001)}
	number := func() float64 {
		switch rng.IntN(3) {
		case 0:
			return strange[rng.IntN(len(strange))]
		case 1:
			return math.Float64frombits(rng.Uint64())
		}
		return rng.NormFloat64()
	}
	for range 5000 {
		b := batchOf(rng.IntN(12))
		b.Seed = rng.Uint64()
		var scorers []scorer.Weighted
		for k := range rng.IntN(4) {
			f := fixed{name: fmt.Sprint(k), scale: []scorer.Scale{scorer.Cost, scorer.MinMax, scorer.Unit, "odd"}[rng.IntN(4)]}
			for range rng.IntN(len(b.Rows) + 2) {
				f.scores = append(f.scores, number())
			}
			switch rng.IntN(8) {
			case 0:
				f.err = errBroken
			case 1:
				f.panics = errBroken
			}
			scorers = append(scorers, scorer.Weighted{Scorer: f, Weight: number()})
		}
		spread := scorer.DefaultSpread
		if rng.IntN(2) == 0 {
			spread = scorer.Spread{Temperature: number(), Exploration: number()}
		}
		check(t, rank(b, scorers, spread), len(b.Rows))
		if t.Failed() {
			t.Fatalf("scorers %+v, spread %+v", scorers, spread)
		}
	}
}

func check(t *testing.T, r *scorer.Ranking, n int) {
	t.Helper()
	seen := make([]bool, n)
	for _, i := range r.Order {
		if seen[i] {
			t.Errorf("row %d is there twice in %v", i, r.Order)
		}
		seen[i] = true
	}
	if len(r.Order) != n || len(r.Rows) != n {
		t.Errorf("%d places and %d rows, want %d", len(r.Order), len(r.Rows), n)
	}
	sum := 0.0
	for i, row := range r.Rows {
		if !(row.Utility >= 0 && row.Utility <= 1) || !(row.Share >= 0 && row.Share <= 1) {
			t.Errorf("row %d has the utility %v and the share %v", i, row.Utility, row.Share)
		}
		sum += row.Share
	}
	if n > 0 && !near(sum, 1) {
		t.Errorf("the shares add up to %v", sum)
	}
	for k := 2; k < n; k++ {
		if r.Rows[r.Order[k]].Utility > r.Rows[r.Order[k-1]].Utility {
			t.Errorf("places %d and %d are not in the order of utilities", k, k+1)
		}
	}
}

func TestTenThousandRows(t *testing.T) {
	rng := seeded(t)
	const n = 10_000
	scores := make([]float64, n)
	for i := range scores {
		scores[i] = rng.ExpFloat64()
	}
	b := batchOf(n)
	r := rank(b, weigh(fixed{name: "s", scale: scorer.Cost, scores: scores}, native(t, "value")), scorer.DefaultSpread)
	check(t, r, n)
	for i, row := range r.Rows {
		if row.Share < 0.01/n {
			t.Fatalf("row %d has the share %v, less than its part of the exploration", i, row.Share)
		}
	}
}

func TestTheSameSeedRanksTheSame(t *testing.T) {
	rng := seeded(t)
	b := batchOf(20)
	scorers := weigh(native(t, "value"), native(t, "price"))
	for range 100 {
		b.Seed = rng.Uint64()
		if one, two := rank(b, scorers, scorer.DefaultSpread), rank(b, scorers, scorer.DefaultSpread); !reflect.DeepEqual(one, two) {
			t.Fatalf("seed %d gave %v and %v", b.Seed, one, two)
		}
	}
}

func TestCheckSaysAllThatIsWrong(t *testing.T) {
	one := fixed{name: "one", scale: scorer.Unit}
	if err := scorer.Check([]scorer.Weighted{at(one, 1), at(fixed{name: "two", scale: scorer.Cost}, 0)}, scorer.DefaultSpread); err != nil {
		t.Errorf("nothing is wrong, and yet: %v", err)
	}
	err := scorer.Check([]scorer.Weighted{at(one, inf), at(one, 1), at(fixed{name: "two", scale: "dB"}, 1)}, scorer.Spread{Temperature: -1, Exploration: 0.6})
	want := `scorer "one": weight is +Inf; it should be a finite number, 0 or greater
scorer "one" is there twice; each scorer needs a name of its own
scorer "two": scale is "dB"; it should be cost, minmax or unit
temperature is -1; it should be a finite number, 0 (strict order) or greater
exploration is 0.6; it should be 0…0.5`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestShadowsMoveNothing holds every ranking with shadow scorers to the one without them, and each shadow to the ranking that
// its scorer gives by itself.
func TestShadowsMoveNothing(t *testing.T) {
	rng := seeded(t)
	for range 2000 {
		b := batchOf(rng.IntN(12))
		b.Seed = rng.Uint64()
		var all, live []scorer.Weighted
		shadows := map[string]scorer.Weighted{}
		for k := range rng.IntN(6) {
			f := fixed{name: fmt.Sprint(k), scale: []scorer.Scale{scorer.Cost, scorer.MinMax, scorer.Unit}[rng.IntN(3)]}
			for range len(b.Rows) {
				f.scores = append(f.scores, []float64{nan, inf, -inf, rng.NormFloat64(), rng.Float64()}[rng.IntN(5)])
			}
			if rng.IntN(6) == 0 {
				f.panics = "boom"
			}
			w := scorer.Weighted{Scorer: f, Weight: rng.ExpFloat64(), Shadow: rng.IntN(2) == 0}
			if all = append(all, w); w.Shadow {
				shadows[f.name] = w
			} else {
				live = append(live, w)
			}
		}
		with, without := rank(b, all, scorer.DefaultSpread), rank(b, live, scorer.DefaultSpread)
		if len(with.Shadows) != len(shadows) {
			t.Fatalf("%d shadows are told of, there are %d", len(with.Shadows), len(shadows))
		}
		for _, s := range with.Shadows {
			check(t, s.Ranking, len(b.Rows))
			alone := rank(b, []scorer.Weighted{{Scorer: shadows[s.Scorer].Scorer, Weight: 1}}, scorer.DefaultSpread)
			if fmt.Sprint(s.Ranking) != fmt.Sprint(alone) {
				t.Errorf("the shadow %s ranks %v, by itself %v", s.Scorer, s.Ranking, alone)
			}
			if err, abstained := with.Abstained[s.Scorer]; abstained != (alone.Abstained[s.Scorer] != nil) {
				t.Errorf("the shadow %s: %v", s.Scorer, err)
			}
			delete(with.Abstained, s.Scorer)
		}
		if len(with.Abstained) == 0 {
			with.Abstained = nil
		}
		if with.Shadows = nil; fmt.Sprint(with) != fmt.Sprint(without) {
			t.Fatalf("with shadows %v, without %v", with, without)
		}
	}
}

// TestRankingAllocatesNothingARow holds the allocations of a ranking to a number that does not grow with its rows.
func TestRankingAllocatesNothingARow(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates; run without -race")
	}
	scorers := weigh(native(t, "value"), native(t, "latency"))
	few, many := batchOf(2), batchOf(200)
	allocations := func(b *scorer.Batch) float64 {
		return testing.AllocsPerRun(100, func() { rank(b, scorers, scorer.DefaultSpread) })
	}
	if f, m := allocations(few), allocations(many); f != m || m > 10 {
		t.Errorf("%v allocations for 2 rows, %v for 200; should be as many, and at most 10", f, m)
	}
}

func BenchmarkRank(b *testing.B) {
	for _, n := range []int{1, 20, 200} {
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) {
			batch := batchOf(n)
			scorers := weigh(native(b, "value"))
			b.ReportAllocs()
			for b.Loop() {
				batch.Seed = rand.Uint64()
				rank(batch, scorers, scorer.DefaultSpread)
			}
		})
	}
}
