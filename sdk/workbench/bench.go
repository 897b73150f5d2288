package workbench

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"chaperone/engine/wasm"
)

// Speed is what calls with so many rows took.
type Speed struct {
	Rows   int   `json:"rows"`
	Calls  int   `json:"calls"`
	Median int64 `json:"median_ns"` // of a call, gathering of input and reading of scores included
	P99    int64 `json:"p99_ns"`
	Fuel   int64 `json:"fuel"` // instructions of a call
}

// Bench measures calls of 1, 20 and 200 rows, as far as the plugin accepts as many, each for about that long.
func Bench(ctx context.Context, p *wasm.Plugin, each time.Duration, seed uint64) ([]Speed, error) {
	r := rand.New(rand.NewPCG(seed, 0))
	var out []Speed
	for _, rows := range []int{1, 20, 200} {
		if rows > p.Manifest().Rows {
			break
		}
		t := plausible(r, p.Manifest(), rows)
		var took []int64
		used := p.Stats().Fuel
		for begun := time.Now(); time.Since(begun) < each || len(took) < 10; {
			at := time.Now()
			if _, err := p.ScoreTable(ctx, t, rows); err != nil && !errors.Is(err, wasm.ErrAbstained) {
				return nil, err
			}
			took = append(took, time.Since(at).Nanoseconds())
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
		slices.Sort(took)
		out = append(out, Speed{rows, len(took), took[len(took)/2], took[len(took)*99/100], (p.Stats().Fuel - used) / int64(len(took))})
	}
	return out, nil
}
