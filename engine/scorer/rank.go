package scorer

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
)

// Ranking is what Rank gives.
type Ranking struct {
	Order []int       // indices into Batch.Rows, best first
	Rows  []RankedRow // parallel to Batch.Rows
	// Scorers are the names of those that blend, in their order, and Shadows how each shadow scorer would have ranked.
	Scorers []string
	Shadows []Shadow
	// Abstained names scorers that gave no opinion because of an error, with it.
	Abstained map[string]error
}

// RankedRow is how one row came out. Scores and Parts are parallel to Ranking.Scorers.
type RankedRow struct {
	Utility float64   // the blend, 0…1
	Share   float64   // probability with which it was to be tried first
	Scores  []float64 // as the scorer gave them: NaN and infinities too
	Parts   []float64 // as utilities; NaN where the scorer abstained
	Terms   []Term    // of the first Explainer in the blend
}

// Shadow is the ranking that there would have been if a shadow scorer had ranked by itself, with the same spread and seed.
type Shadow struct {
	Scorer string
	*Ranking
}

// Rank runs every scorer, blends and draws the order with b.Seed: the first place is drawn by share, the rows that were not
// drawn follow in the order of their utilities. Ties of utility are broken by expected price, then catalog order.
//
// A row's utility is the weighted mean of its parts. Without a scorer, or where all weights are 0, every row has the utility
// 0.5. Whatever scorers do, Order is a permutation of the rows: one that fails or panics abstains. A shadow scorer has no part
// in any of it.
func Rank(ctx context.Context, b *Batch, scorers []Weighted, spread Spread) *Ranking {
	live := scorers
	if slices.ContainsFunc(scorers, func(s Weighted) bool { return s.Shadow }) {
		live = slices.DeleteFunc(slices.Clone(scorers), func(s Weighted) bool { return s.Shadow })
	}
	r := rank(ctx, b, live, spread)
	for _, s := range scorers {
		if s.Shadow {
			alone := rank(ctx, b, []Weighted{{Scorer: s.Scorer, Weight: 1}}, spread)
			for name, err := range alone.Abstained {
				r.abstain(name, err)
			}
			r.Shadows = append(r.Shadows, Shadow{s.Scorer.Name(), alone})
		}
	}
	return r
}

func rank(ctx context.Context, b *Batch, scorers []Weighted, spread Spread) *Ranking {
	n, k := len(b.Rows), len(scorers)
	r := &Ranking{Order: make([]int, n), Rows: make([]RankedRow, n), Scorers: make([]string, k)}
	figures := make([]float64, 2*n*k)
	for i := range r.Rows {
		at := 2 * k * i
		r.Rows[i].Scores = figures[at : at+k : at+k]
		r.Rows[i].Parts = figures[at+k : at+2*k : at+2*k]
	}
	r.blend(ctx, b, scorers)
	r.sort(b)
	spread.fillShares(r.Rows, r.Order)
	if first := draw(b.Seed, r.Rows, r.Order); first > 0 {
		drawn := r.Order[first]
		copy(r.Order[1:first+1], r.Order[:first])
		r.Order[0] = drawn
	}
	return r
}

// blend sets the rows' utilities and what explains them.
func (r *Ranking) blend(ctx context.Context, b *Batch, scorers []Weighted) {
	n := len(r.Rows)
	// Weights count relative to the heaviest, so that the sum of the largest there are is still finite.
	heaviest := 0.0
	for _, s := range scorers {
		if s.Weight > heaviest && !math.IsInf(s.Weight, 1) { // not NaN
			heaviest = s.Weight
		}
	}
	var total float64
	var explainer Explainer
	// Each scorer gets a slice that no other has: one that keeps it cannot touch another's scores.
	buffer := make([]float64, n*len(scorers))
	for k, s := range scorers {
		r.Scorers[k] = s.Scorer.Name()
		scores := buffer[k*n : (k+1)*n : (k+1)*n]
		if err := run(ctx, b, s, scores); err != nil {
			r.abstain(r.Scorers[k], err)
			for i := range r.Rows {
				r.Rows[i].Scores[k], r.Rows[i].Parts[k] = math.NaN(), math.NaN()
			}
			continue
		}
		for i := range r.Rows {
			r.Rows[i].Scores[k] = scores[i]
		}
		fillUtilities(s.Scorer.Scale(), scores, scores)
		weight := 0.0
		if s.Weight > 0 {
			weight = s.Weight / heaviest
			if e, ok := s.Scorer.(Explainer); ok && explainer == nil {
				explainer = e
			}
		}
		total += weight
		for i := range r.Rows {
			r.Rows[i].Parts[k] = scores[i]
			r.Rows[i].Utility += float64(weight * scores[i]) // converted: no fused multiply-add, the same sum everywhere
		}
	}
	var terms []Term
	for i := range r.Rows {
		if total == 0 {
			r.Rows[i].Utility = noOpinion
			continue
		}
		r.Rows[i].Utility = min(r.Rows[i].Utility/total, 1)
		if explainer == nil {
			continue
		}
		from := len(terms)
		terms = explainer.Explain(b, i, terms)
		if i == 0 {
			terms = slices.Grow(terms, len(terms)*(n-1))
		}
		r.Rows[i].Terms = terms[from:len(terms):len(terms)]
	}
}

// run fills scores, or says why the scorer abstains.
func run(ctx context.Context, b *Batch, s Weighted, scores []float64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if err := checkWeighted(s); err != nil {
		return err
	}
	for i := range scores {
		scores[i] = math.NaN()
	}
	return s.Scorer.Score(ctx, b, scores)
}

func (r *Ranking) abstain(name string, err error) {
	if r.Abstained == nil {
		r.Abstained = map[string]error{}
	}
	r.Abstained[name] = err
}

// sort orders the rows by utility, then expected price, then place in the catalog.
func (r *Ranking) sort(b *Batch) {
	for i := range r.Order {
		r.Order[i] = i
	}
	slices.SortStableFunc(r.Order, func(i, j int) int {
		if c := cmp.Compare(r.Rows[j].Utility, r.Rows[i].Utility); c != 0 {
			return c
		}
		if c := cmp.Compare(expectedPrice(b, b.Rows[i]), expectedPrice(b, b.Rows[j])); c != 0 {
			return c
		}
		return cmp.Compare(b.Rows[i].Index, b.Rows[j].Index)
	})
}
