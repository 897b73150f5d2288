package catalog_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"chaperone/engine/catalog"
)

// A price as written, as a TOML number or a string, becomes exactly that many picodollars a token.
func TestPricesAreExact(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	written := []string{"0", "0.0", "0.1", "0.15", "0.2", "0.3", "0.7", "1.1", "2.675", "0.000001", "99999.999999", "12345.678901", "3", "0.29", "4.35", "1.005"}
	for range 400 {
		written = append(written, fmt.Sprintf("%d.%0*d", random.IntN(100_000), 1+random.IntN(6), random.IntN(10)))
	}
	for _, text := range written {
		want, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatal(text)
		}
		want.Mul(want, big.NewRat(1_000_000, 1)) // 10⁻¹² USD a token are 10⁶ in a USD per million tokens
		for _, form := range []string{text, `"` + text + `"`} {
			got := load(t, priced("prompt = "+form+", completion = 0")).Rows[0].Prices.Prompt
			if want.Cmp(big.NewRat(int64(got), 1)) != 0 {
				t.Fatalf("%s USD per million tokens is read as %d picodollars a token, want %s", form, got, want)
			}
		}
	}
	for text, want := range map[string]catalog.Picodollars{"0.000000000001": 1, "0.04": 40_000_000_000, "999.999999999999": 999_999_999_999_999, "1": catalog.Dollar} {
		for _, form := range []string{text, `"` + text + `"`} {
			if got := load(t, priced("prompt = 0, completion = 0, request = "+form)).Rows[0].Prices.Request; got != want {
				t.Errorf("%s USD a request is read as %d picodollars, want %d", form, got, want)
			}
		}
	}
}

func TestPicodollarsPrintExactly(t *testing.T) {
	for amount, want := range map[catalog.Picodollars]string{
		0: "0", 1: "0.000000000001", 2_500_000: "0.0000025", catalog.Dollar: "1", 12 * catalog.Dollar / 10: "1.2", -1: "-0.000000000001",
		math.MaxInt64: "9223372.036854775807", math.MinInt64: "-9223372.036854775808",
	} {
		if got := amount.String(); got != want {
			t.Errorf("%d prints as %s, want %s", int64(amount), got, want)
		}
	}
	if got := (3 * catalog.Dollar / 2).USD(); got != 1.5 {
		t.Errorf("1.5 USD is %v", got)
	}
}

func TestCost(t *testing.T) {
	p := catalog.Prices{Prompt: 100, Completion: 1000, CacheRead: 10, CacheWrite: 125, CacheWrite1h: 200, Reasoning: 3000, Request: 7, Image: 5000, Audio: 400}
	for _, c := range []struct {
		name string
		of   catalog.Counts
		want catalog.Picodollars
	}{
		{"nothing but the request", catalog.Counts{}, 7},
		{"prompt and completion", catalog.Counts{Prompt: 10, Completion: 2}, 7 + 1000 + 2000},
		{"cached tokens are part of the prompt", catalog.Counts{Prompt: 10, Cached: 4}, 7 + 600 + 40},
		{"and so are those written", catalog.Counts{Prompt: 10, Cached: 4, CacheWrite: 5}, 7 + 100 + 40 + 625},
		{"some of them for an hour", catalog.Counts{Prompt: 10, Cached: 4, CacheWrite: 5, CacheWrite1h: 2}, 7 + 100 + 40 + 375 + 400},
		{"reasoning is part of the completion", catalog.Counts{Completion: 10, Reasoning: 4}, 7 + 6000 + 12000},
		{"audio is part of the prompt", catalog.Counts{Prompt: 10, Audio: 3}, 7 + 700 + 1200},
		{"images", catalog.Counts{Images: 3}, 7 + 15000},
		{"more cached than sent", catalog.Counts{Prompt: 10, Cached: 50, CacheWrite: 50}, 7 + 100},
		{"more written than the rest", catalog.Counts{Prompt: 10, Cached: 4, CacheWrite: 50}, 7 + 40 + 750},
		{"more reasoning than output", catalog.Counts{Completion: 1, Reasoning: 5}, 7 + 3000},
		{"negative counts", catalog.Counts{-1, -1, -1, -1, -1, -1, -1, -1}, 7},
	} {
		if got := p.Cost(c.of); got != c.want {
			t.Errorf("%s costs %d, want %d", c.name, got, c.want)
		}
	}
	if got := p.Cost(catalog.Counts{Prompt: math.MaxInt64, Completion: math.MaxInt64}); got != math.MaxInt64 {
		t.Errorf("beyond all range costs %d", got)
	}
	if n := testing.AllocsPerRun(100, func() { p.Cost(catalog.Counts{Prompt: 1000, Cached: 500, Completion: 50, Images: 1}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Cost is the sum as arithmetic without bounds has it, cut at the largest amount.
func FuzzCost(f *testing.F) {
	f.Add(int64(10), int64(4), int64(5), int64(2), int64(3), int64(1), int64(1), int64(2), int64(100), int64(1000))
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MinInt64), int64(1)<<40, int64(1), int64(-5), int64(1)<<50, int64(9), int64(1)<<22, int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, prompt, cached, written, hour, audio, completion, reasoning, images, price, other int64) {
		price, other = price&math.MaxInt64, other&math.MaxInt64
		p := catalog.Prices{
			Prompt: catalog.Picodollars(price), Completion: catalog.Picodollars(other), CacheRead: catalog.Picodollars(price / 10),
			CacheWrite: catalog.Picodollars(price / 4), CacheWrite1h: catalog.Picodollars(price / 2), Reasoning: catalog.Picodollars(other / 7),
			Request: catalog.Picodollars(other / 3), Image: catalog.Picodollars(other / 5), Audio: catalog.Picodollars(price / 3),
		}
		sent, said := max(prompt, 0), max(completion, 0)
		read := min(max(cached, 0), sent)
		kept := min(max(written, 0), sent-read)
		long := min(max(hour, 0), kept)
		heard := min(max(audio, 0), sent-read-kept)
		thought := min(max(reasoning, 0), said)
		sum := big.NewInt(int64(p.Request))
		for _, part := range [][2]int64{
			{sent - read - kept - heard, int64(p.Prompt)}, {read, int64(p.CacheRead)}, {kept - long, int64(p.CacheWrite)}, {long, int64(p.CacheWrite1h)},
			{heard, int64(p.Audio)}, {said - thought, int64(p.Completion)}, {thought, int64(p.Reasoning)}, {max(images, 0), int64(p.Image)},
		} {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(part[0]), big.NewInt(part[1])))
		}
		if limit := big.NewInt(math.MaxInt64); sum.Cmp(limit) > 0 {
			sum = limit
		}
		got := p.Cost(catalog.Counts{Prompt: prompt, Cached: cached, CacheWrite: written, CacheWrite1h: hour, Audio: audio, Completion: completion, Reasoning: reasoning, Images: images})
		if sum.Cmp(big.NewInt(int64(got))) != 0 {
			t.Fatalf("costs %d, want %s", got, sum)
		}
	})
}

func FuzzPrice(f *testing.F) {
	for _, text := range []string{"0.15", "1", "00.1", "1.", ".5", "+1", "1_0", "0x1", "99999.9999999", "", " 1", "１"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "'\n\r") {
			return
		}
		doc := []byte(priced("prompt = '" + text + "', completion = 0"))
		prices, ok := tryPrices(t, doc)
		if !ok {
			return
		}
		want, valid := new(big.Rat).SetString(text)
		if !valid || want.Mul(want, big.NewRat(1_000_000, 1)).Cmp(big.NewRat(int64(prices.Prompt), 1)) != 0 {
			t.Fatalf("%q is read as %d picodollars a token", text, prices.Prompt)
		}
	})
}
