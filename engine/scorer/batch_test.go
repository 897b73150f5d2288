package scorer_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/scorer"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// batchOf has n rows of one model, each a little dearer than the one before, without traffic.
func batchOf(n int) *scorer.Batch {
	model := &catalog.Model{ID: "acme/chat"}
	cat := &catalog.Catalog{Models: map[string]*catalog.Model{model.ID: model}}
	for i := range n {
		cat.Rows = append(cat.Rows, &catalog.Row{
			Index: i, ID: fmt.Sprintf("acme/chat@p%d#paid", i), Model: model, Provider: &catalog.Provider{ID: fmt.Sprintf("p%d", i)},
			Prices: catalog.Prices{Prompt: catalog.Picodollars(1_000_000 + i), Completion: catalog.Picodollars(2_000_000 + i)},
		})
	}
	return &scorer.Batch{
		Rows: cat.Rows, Stats: telemetry.NewStore(0, 0).Bind(cat).View(noon),
		Principal:   &account.Principal{Organisation: &account.Organisation{ID: "acme"}, Key: &account.Key{}},
		Request:     &wire.Request{Model: model.ID, N: 1, PromptTokens: 1000},
		Now:         noon,
		Seed:        1,
		ValueOfTime: 1, OutputTokens: 300,
	}
}

// fixed is a scorer that answers as it is told to.
type fixed struct {
	name   string
	scale  scorer.Scale
	scores []float64 // NaN beyond its end
	err    error
	panics any
}

func (f fixed) Name() string { return f.name }

func (f fixed) Scale() scorer.Scale { return f.scale }

func (f fixed) Score(_ context.Context, _ *scorer.Batch, scores []float64) error {
	copy(scores, f.scores)
	if f.panics != nil {
		panic(f.panics)
	}
	return f.err
}

func weigh(scorers ...scorer.Scorer) []scorer.Weighted {
	out := make([]scorer.Weighted, len(scorers))
	for i, s := range scorers {
		out[i] = scorer.Weighted{Scorer: s, Weight: 1}
	}
	return out
}

func at(s scorer.Scorer, weight float64) scorer.Weighted {
	return scorer.Weighted{Scorer: s, Weight: weight}
}

func native(t testing.TB, name string) scorer.Scorer {
	t.Helper()
	s, ok := scorer.Native(name)
	if !ok || s.Name() != name {
		t.Fatalf("there is no native scorer %q", name)
	}
	return s
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(b)) }

func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

var errBroken = errors.New("broken")
