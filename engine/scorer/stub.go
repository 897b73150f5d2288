package scorer

import "context"

// Native returns the native scorer of that name: price, latency, throughput, uptime or value.
func Native(name string) (Scorer, bool) { panic("stub") }

// Column is one resolved name of the vocabulary for rows.
type Column func(b *Batch, row int) float64

// RequestField is one resolved name of the vocabulary for requests.
type RequestField func(b *Batch) float64

// Ranking is what Rank gives.
type Ranking struct {
	Order []int       // indices into Batch.Rows, best first
	Rows  []RankedRow // parallel to Batch.Rows
	// Abstained names scorers that gave no opinion because of an error, with it.
	Abstained map[string]error
}

// RankedRow is how one row came out.
type RankedRow struct {
	Utility float64            // the blend, 0…1
	Share   float64            // probability with which it was to be tried first
	Scores  map[string]float64 // by scorer, as it gave them
	Parts   map[string]float64 // by scorer, as utilities
	Terms   []Term             // of the first Explainer in the blend
}

// Spread says how traffic spreads over rows that come close.
type Spread struct {
	Temperature float64 // τ; 0.05 by default
	Exploration float64 // floor of exploration; 0.01 by default
}

// Rank runs every scorer, blends and draws the order with b.Seed.
func Rank(ctx context.Context, b *Batch, scorers []Weighted, spread Spread) *Ranking { panic("stub") }
