// Package scorer ranks the rows that policy permits: the Scorer interface, the native scorers, the vocabulary of columns,
// and how scores blend and traffic spreads.
package scorer

import (
	"context"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// Batch is what is ranked: the permitted rows of one request. Scorers read it; none may change it.
type Batch struct {
	Rows      []*catalog.Row
	Stats     *telemetry.View
	Principal *account.Principal
	Request   *wire.Request
	Now       time.Time
	Seed      uint64
	// ValueOfTime is USD an hour.
	ValueOfTime float64
	// OutputTokens is what the answer is expected to be long.
	OutputTokens int64
}

// Scale says how a scorer's numbers become utilities in 0…1.
type Scale string

// The scales.
const (
	Cost   Scale = "cost"   // lower is better, by ratio, USD
	MinMax Scale = "minmax" // higher is better, linear between the least and the greatest
	Unit   Scale = "unit"   // already 0…1
)

// Scorer gives every row of a batch a number.
type Scorer interface {
	// Name is unique in a configuration.
	Name() string
	Scale() Scale
	// Score fills scores (len(b.Rows), pre-filled with NaN: no opinion). An error makes the scorer abstain: it moves nothing.
	Score(ctx context.Context, b *Batch, scores []float64) error
}

// Term is one part of a score in dollars, for explanations.
type Term struct {
	Name string  `json:"name"`
	USD  float64 `json:"usd"`
}

// Explainer is a Scorer that can state a row's score as a sum of dollars.
type Explainer interface {
	Explain(b *Batch, row int) []Term
}

// Weighted is a scorer with its weight in the blend.
type Weighted struct {
	Scorer Scorer
	Weight float64
}
