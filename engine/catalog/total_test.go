package catalog_test

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"chaperone/engine/catalog"
)

func TestAMillionUsagesSumExactly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var sum, byHalves catalog.Total
	var high, low int64 // as a database adds them
	exact := new(big.Int)
	for range 1_000_000 {
		price := catalog.Prices{Prompt: catalog.Picodollars(random.Int64N(1e9)), Completion: catalog.Picodollars(random.Int64N(1e9)), Request: catalog.Picodollars(random.Int64N(1e12))}
		prompt, completion := random.Int64N(2_000_000), random.Int64N(200_000)
		cost := price.Cost(catalog.Counts{Prompt: prompt, Completion: completion})
		sum = sum.Add(cost)
		high, low = high+int64(cost)>>32, low+int64(cost)&math.MaxUint32
		want := new(big.Int).Mul(big.NewInt(prompt), big.NewInt(int64(price.Prompt)))
		want.Add(want, new(big.Int).Mul(big.NewInt(completion), big.NewInt(int64(price.Completion))))
		exact.Add(exact, want.Add(want, big.NewInt(int64(price.Request))))
	}
	byHalves = catalog.TotalOf(high, low)
	if exact.IsInt64() {
		t.Fatalf("%s fits into 64 bits: nothing is shown", exact)
	}
	if sum.Big().Cmp(exact) != 0 || byHalves.Big().Cmp(exact) != 0 {
		t.Errorf("summed %s, by halves %s; exactly it is %s", sum.Big(), byHalves.Big(), exact)
	}
	if h, l := sum.Halves(); catalog.TotalOf(h, l) != sum {
		t.Errorf("%s becomes %s by its halves", sum, catalog.TotalOf(h, l))
	}
}

func TestTotalsAreNumbers(t *testing.T) {
	for _, c := range []struct {
		amounts []catalog.Picodollars
		text    string
	}{
		{nil, "0"},
		{[]catalog.Picodollars{1}, "0.000000000001"},
		{[]catalog.Picodollars{-1}, "-0.000000000001"},
		{[]catalog.Picodollars{2_500_000}, "0.0000025"},
		{[]catalog.Picodollars{math.MaxInt64, math.MaxInt64, 2}, "18446744.073709551616"},
		{[]catalog.Picodollars{math.MinInt64, math.MinInt64}, "-18446744.073709551616"},
		{[]catalog.Picodollars{math.MaxInt64, math.MaxInt64, math.MinInt64, math.MinInt64, 2}, "0"},
	} {
		var sum catalog.Total
		for _, a := range c.amounts {
			sum = sum.Add(a)
		}
		text, err := json.Marshal(sum)
		if err != nil || string(text) != c.text || sum.String() != c.text {
			t.Errorf("%v: %s, %v; want %s", c.amounts, text, err, c.text)
		}
	}
}
