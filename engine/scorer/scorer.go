// Package scorer ranks the rows that policy permits: the Scorer interface, the native scorers, the vocabulary of columns,
// and how scores blend and traffic spreads.
package scorer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// Batch is what is ranked: the permitted rows of one request. Scorers read it; none may change it.
type Batch struct {
	Rows      []*catalog.Row
	Catalog   *catalog.Catalog // that all rows are of; nil: no one catalog
	Stats     *telemetry.View
	Principal *account.Principal
	Request   *wire.Request
	Now       time.Time
	Seed      uint64
	// ValueOfTime is USD an hour.
	ValueOfTime float64
	// OutputTokens is what one answer is expected to be long.
	OutputTokens int64
}

// Scale says how a scorer's numbers become utilities in 0…1.
type Scale string

// The scales. On each of them NaN is no opinion, a utility of 0.5.
const (
	// Cost: lower is better, USD. The utility is the ratio (least + ε)/(cost + ε) with ε = 10⁻⁶ USD; a cost below zero
	// counts as zero, +Inf has the utility 0.
	Cost Scale = "cost"
	// MinMax: higher is better. The utility is linear from the least finite score, 0, to the greatest, 1; where these are
	// equal it is 0.5. +Inf is 1, −Inf is 0.
	MinMax Scale = "minmax"
	// Unit: higher is better, already 0…1 and clamped to it.
	Unit Scale = "unit"
)

// Scorer gives every row of a batch a number.
type Scorer interface {
	// Name is unique in a configuration.
	Name() string
	Scale() Scale
	// Score fills scores (len(b.Rows), pre-filled with NaN: no opinion). An error makes the scorer abstain: it moves nothing.
	// It does not keep scores.
	Score(ctx context.Context, b *Batch, scores []float64) error
}

// Term is one part of a score in dollars, for explanations.
type Term struct {
	Name string  `json:"name"`
	USD  float64 `json:"usd"`
}

// Explainer is a Scorer that can state a row's score as a sum of dollars.
type Explainer interface {
	// Explain appends to terms what b.Rows[row] is made of.
	Explain(b *Batch, row int, terms []Term) []Term
}

// Weighted is a scorer with its weight in the blend. A scorer of weight 0 is run and its scores are shown, but it moves
// nothing. A shadow scorer has no place in the blend, whatever its weight: Ranking.Shadows says how it would have ranked.
type Weighted struct {
	Scorer Scorer
	Weight float64
	Shadow bool
}

// Check says what is wrong with a configuration of scorers, all of it at once: a weight that is negative, infinite or not a
// number, a scale that there is not, a name twice, or a spread out of its range. Rank is defined for these too (it lets such
// a scorer abstain), but nobody can have meant them.
func Check(scorers []Weighted, spread Spread) error {
	var errs []error
	seen := map[string]bool{}
	for _, s := range scorers {
		name := s.Scorer.Name()
		if seen[name] {
			errs = append(errs, fmt.Errorf("scorer %q is there twice; each scorer needs a name of its own", name))
		}
		seen[name] = true
		if err := checkWeighted(s); err != nil {
			errs = append(errs, fmt.Errorf("scorer %q: %w", name, err))
		}
	}
	return errors.Join(append(errs, spread.check())...)
}

func checkWeighted(s Weighted) error {
	if !(s.Weight >= 0) || math.IsInf(s.Weight, 1) {
		return fmt.Errorf("weight is %v; it should be a finite number, 0 or greater", s.Weight)
	}
	switch scale := s.Scorer.Scale(); scale {
	case Cost, MinMax, Unit:
		return nil
	default:
		return fmt.Errorf("scale is %q; it should be %s, %s or %s", scale, Cost, MinMax, Unit)
	}
}
