package wasm_test

import (
	"context"
	"fmt"
	"testing"

	"chaperone/engine/wasm"
	"chaperone/plugins"
)

func TestScoreAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	h, _ := newHost(t)
	p := load(t, h, wasm.Config{Bytes: fixture(t, "sum"), Pool: 1})
	b, scores := batch(20), nans(20)
	got := testing.AllocsPerRun(500, func() {
		if err := p.Score(context.Background(), b, scores); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations a call, should be none", got)
	}
}

func BenchmarkScore(b *testing.B) {
	for _, guest := range []struct {
		name   string
		module []byte
	}{{"wat", fixture(b, "sum", "32", "256")}, {"go", plugins.CarbonAware}} {
		for _, rows := range []int{1, 20, 200} {
			b.Run(fmt.Sprintf("guest=%s/rows=%d", guest.name, rows), func(b *testing.B) {
				h, _ := newHost(b)
				p := load(b, h, wasm.Config{Bytes: guest.module, Pool: 1})
				in, scores := batch(rows), nans(rows)
				b.ReportAllocs()
				for b.Loop() {
					if err := p.Score(context.Background(), in, scores); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
