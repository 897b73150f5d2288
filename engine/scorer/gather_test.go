package scorer_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"chaperone/engine/catalog"
	"chaperone/engine/scorer"
	"chaperone/engine/telemetry"
)

// mixed is a batch of some rows of a catalog whose statistics are random, at a tick.
func mixed(rng *rand.Rand, cat *catalog.Catalog, view *telemetry.View) *scorer.Batch {
	b := known()
	b.Rows, b.Catalog, b.Stats = nil, cat, view
	for _, i := range rng.Perm(len(cat.Rows))[:rng.IntN(len(cat.Rows)+1)] {
		b.Rows = append(b.Rows, cat.Rows[i])
	}
	b.Request.PromptTokens, b.OutputTokens = rng.Int64N(1e6), rng.Int64N(1e4)
	return b
}

func randomCatalog(rng *rand.Rand) *catalog.Catalog {
	cat := &catalog.Catalog{}
	for i := range 1 + rng.IntN(20) {
		row := *known().Rows[rng.IntN(2)]
		row.Index, row.ID, row.Free = i, string(rune('a'+i)), rng.IntN(4) == 0
		row.Prices.Prompt = catalog.Picodollars(rng.Int64N(1e7))
		row.Attributes = map[string]float64{"grid_gco2_kwh": rng.NormFloat64()}
		cat.Rows = append(cat.Rows, &row)
	}
	return cat
}

func randomView(rng *rand.Rand, cat *catalog.Catalog, tick uint64) *telemetry.View {
	v := &telemetry.View{Tick: tick, Rows: make([]telemetry.RowStats, len(cat.Rows))}
	for i := range v.Rows {
		s := &v.Rows[i]
		s.ExpectedTTFT, s.Success, s.TTFT.P50 = rng.Float64(), rng.Float64(), math.Float64frombits(0x7ff8000000000000|rng.Uint64N(1<<40))
	}
	return v
}

// TestGatheringGivesWhatEachColumnGives holds what a gatherer keeps to the columns themselves, over views and catalogs that
// come and go, old ones among them.
func TestGatheringGivesWhatEachColumnGives(t *testing.T) {
	rng := seeded(t)
	var names []string
	var columns []scorer.Column
	for _, c := range columnCases {
		column, err := scorer.Resolve(c.name)
		if err != nil {
			t.Fatal(err)
		}
		names, columns = append(names, c.name), append(columns, column)
	}
	g, err := scorer.NewGatherer(names)
	if err != nil {
		t.Fatal(err)
	}
	const capacity = 24
	into := make([]byte, 8*capacity*len(names))
	compare := func(b *scorer.Batch) {
		t.Helper()
		g.Fill(b, into, 8*capacity)
		for c, column := range columns {
			for i := range b.Rows {
				want := column(b, i)
				if math.IsNaN(want) {
					want = math.NaN()
				}
				if got := binary.LittleEndian.Uint64(into[8*(c*capacity+i):]); got != math.Float64bits(want) {
					t.Fatalf("%s of row %s is gathered as %x, should be %x", names[c], b.Rows[i].ID, got, math.Float64bits(want))
				}
			}
		}
	}
	for range 30 {
		cat := randomCatalog(rng)
		var views []*telemetry.View
		for tick := range uint64(5) {
			views = append(views, randomView(rng, cat, tick+1))
			for range 10 {
				compare(mixed(rng, cat, views[rng.IntN(len(views))]))
			}
		}
		compare(mixed(rng, cat, nil))
		none := mixed(rng, cat, views[0])
		none.Catalog = nil
		compare(none)
	}
}

func TestGatheringByManyAtOnce(t *testing.T) {
	rng := seeded(t)
	cat := randomCatalog(rng)
	g, err := scorer.NewGatherer([]string{"price.prompt", "stats.success"})
	if err != nil {
		t.Fatal(err)
	}
	success, _ := scorer.Resolve("stats.success")
	views := []*telemetry.View{randomView(rng, cat, 1), randomView(rng, cat, 2), randomView(rng, cat, 3)}
	var all sync.WaitGroup
	for k := range 4 {
		own := rand.New(rand.NewPCG(uint64(k), rng.Uint64()))
		all.Go(func() {
			into := make([]byte, 8*32*2)
			for n := range 3000 {
				b := mixed(own, cat, views[n/1000])
				g.Fill(b, into, 8*32)
				for i := range b.Rows {
					if got := math.Float64frombits(binary.LittleEndian.Uint64(into[8*(32+i):])); got != success(b, i) {
						t.Errorf("row %d at tick %d: %v", i, b.Stats.Tick, got)
						return
					}
				}
			}
		})
	}
	all.Wait()
}

func TestAGathererSaysAllThatIsNotKnown(t *testing.T) {
	_, err := scorer.NewGatherer([]string{"price.promt", "price.prompt", "attr."})
	if err == nil || !strings.Contains(err.Error(), "near it are price.prompt") || !strings.Contains(err.Error(), `"attr." names nothing`) {
		t.Errorf("%v", err)
	}
}
