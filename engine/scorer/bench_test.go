package scorer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/scorer"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

func BenchmarkRank(b *testing.B) {
	for _, n := range []int{1, 20, 200} {
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) {
			cat := &catalog.Catalog{}
			m := &catalog.Model{ID: "a/b"}
			for i := range n {
				cat.Rows = append(cat.Rows, &catalog.Row{Index: i, ID: fmt.Sprint(i), Model: m, Prices: catalog.Prices{Prompt: catalog.Picodollars(1e6 + i*1e4), Completion: catalog.Picodollars(2e6 + i*1e4)}})
			}
			now := time.Now()
			v := telemetry.NewStore(0, 0).Bind(cat).View(now)
			s, _ := scorer.Native("value")
			bt := &scorer.Batch{Rows: cat.Rows, Stats: v, Request: &wire.Request{PromptTokens: 1000, N: 1}, Now: now, ValueOfTime: 1, OutputTokens: 300}
			ws := []scorer.Weighted{{Scorer: s, Weight: 1}}
			b.ReportAllocs()
			for b.Loop() {
				bt.Seed++
				scorer.Rank(context.Background(), bt, ws, scorer.DefaultSpread)
			}
		})
	}
}
