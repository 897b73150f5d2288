package scorer_test

import (
	"context"
	"math"
	"testing"

	"chaperone/engine/catalog"
	"chaperone/engine/scorer"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// cell is one row of a worked example: USD a million tokens, what is expected of the row, and its generalised cost.
type cell struct {
	prompt, completion    float64
	ttft, tps, p, lost    float64
	price, time, risk     float64 // USD
	latency, speed        float64
	name                  string
	free                  bool
	perRequest, totalCost float64
}

// 2,000 prompt tokens, 500 output tokens, and an hour worth 3.60 USD: a second is worth 0.001 USD.
//
//	cheap     price  2000·0.20/10⁶ + 500·0.60/10⁶ = 0.0004 + 0.0003                    = 0.0007
//	          time   0.001 · (0.5 + 500/25)                                            = 0.0205
//	          risk   0.001 · (1 − 0.8)/0.8 · 4                                         = 0.0010
//	quick     price  2000·1/10⁶ + 500·3/10⁶ + 0.0005                                   = 0.0040
//	          time   0.001 · (0.25 + 500/200)                                          = 0.00275
//	          risk   none: it never fails                                              = 0
//	free      price  nothing is billed
//	          time   0.001 · (2 + 500/50)                                              = 0.0120
//	          risk   0.001 · (1 − 0.5)/0.5 · 1                                         = 0.0010
var worked = []cell{
	{name: "cheap", prompt: 0.2, completion: 0.6, ttft: 500, tps: 25, p: 0.8, lost: 4000,
		price: 0.0007, time: 0.0205, risk: 0.0010, totalCost: 0.0222, latency: 0.5, speed: 0.125},
	{name: "quick", prompt: 1, completion: 3, perRequest: 0.0005, ttft: 250, tps: 200, p: 1, lost: 1000,
		price: 0.0040, time: 0.00275, risk: 0, totalCost: 0.00675, latency: 1, speed: 1},
	{name: "free", prompt: 1, completion: 3, free: true, ttft: 2000, tps: 50, p: 0.5, lost: 1000,
		price: 0, time: 0.0120, risk: 0.0010, totalCost: 0.0130, latency: 0.125, speed: 0.25},
}

func workedBatch() *scorer.Batch {
	b := &scorer.Batch{
		Stats: &telemetry.View{}, Request: &wire.Request{PromptTokens: 2000, N: 1}, Now: noon, ValueOfTime: 3.6, OutputTokens: 500,
	}
	for i, c := range worked {
		b.Rows = append(b.Rows, &catalog.Row{Index: i, ID: c.name, Free: c.free, Prices: catalog.Prices{
			Prompt: catalog.Picodollars(c.prompt * 1e6), Completion: catalog.Picodollars(c.completion * 1e6),
			Request: catalog.Picodollars(c.perRequest * 1e12),
		}})
		b.Stats.Rows = append(b.Stats.Rows, telemetry.RowStats{ExpectedTTFT: c.ttft, ExpectedTPS: c.tps, Success: c.p, LostMillis: c.lost})
	}
	return b
}

func TestWorkedExampleOfTheGeneralisedCost(t *testing.T) {
	b := workedBatch()
	r := scorer.Rank(context.Background(), b, weigh(native(t, "value")), scorer.Spread{})
	for i, c := range worked {
		row := r.Rows[i]
		if !near(row.Scores[0], c.totalCost) {
			t.Errorf("%s costs %v USD, want %v", c.name, row.Scores[0], c.totalCost)
		}
		if len(row.Terms) != 3 || row.Terms[0].Name != "price" || row.Terms[1].Name != "time" || row.Terms[2].Name != "risk" {
			t.Fatalf("%s has the terms %+v, want price, time and risk", c.name, row.Terms)
		}
		for k, want := range []float64{c.price, c.time, c.risk} {
			if !near(row.Terms[k].USD, want) {
				t.Errorf("%s: %s is %v USD, want %v", c.name, row.Terms[k].Name, row.Terms[k].USD, want)
			}
		}
		// u = (0.00675 + 10⁻⁶)/(cost + 10⁻⁶)
		if want := 0.006751 / (c.totalCost + 1e-6); !near(row.Utility, want) || !near(row.Parts[0], want) {
			t.Errorf("%s has the utility %v, want %v", c.name, row.Utility, want)
		}
	}
	if got := names(b, r); got != "quick free cheap" {
		t.Errorf("the order is %s", got)
	}
}

func TestTheValueOfTimeDecides(t *testing.T) {
	for _, c := range []struct {
		hour float64
		want string
	}{
		{0, "free cheap quick"},    // price alone
		{0.36, "free cheap quick"}, // 0.0013, 0.00285, 0.004275
		{1.8, "quick free cheap"},  // 0.005375, 0.0065, 0.01145
		{1e9, "quick free cheap"},  // speed alone
	} {
		b := workedBatch()
		b.ValueOfTime = c.hour
		if got := names(b, scorer.Rank(context.Background(), b, weigh(native(t, "value")), scorer.Spread{})); got != c.want {
			t.Errorf("at %v USD an hour the order is %s, want %s", c.hour, got, c.want)
		}
	}
}

func TestNativeScorers(t *testing.T) {
	b := workedBatch()
	for _, c := range []struct {
		name string
		want func(cell) float64
	}{
		{"price", func(c cell) float64 { return c.price }},
		{"latency", func(c cell) float64 { return c.latency }},
		{"throughput", func(c cell) float64 { return c.speed }},
		{"uptime", func(c cell) float64 { return c.p }},
	} {
		r := scorer.Rank(context.Background(), b, weigh(native(t, c.name)), scorer.Spread{})
		for i, row := range worked {
			if got := r.Rows[i].Scores[0]; !near(got, c.want(row)) {
				t.Errorf("%s of %s is %v, want %v", c.name, row.name, got, c.want(row))
			}
		}
	}
	for _, name := range scorer.Natives {
		native(t, name)
	}
	if _, ok := scorer.Native("speed"); ok {
		t.Error("there should be no native scorer speed")
	}
}

func TestEachAnswerIsPaidForButWaitedForOnce(t *testing.T) {
	b := workedBatch()
	b.Request.N = 3
	terms := native(t, "value").(scorer.Explainer).Explain(b, 0, nil)
	if !near(terms[0].USD, 0.0004+3*0.0003) || !near(terms[1].USD, worked[0].time) {
		t.Errorf("three answers: %+v", terms)
	}
}

func TestWhatIsNotKnownIsNoOpinion(t *testing.T) {
	b := workedBatch()
	b.Stats = nil
	for _, name := range []string{"value", "latency", "throughput", "uptime"} {
		r := scorer.Rank(context.Background(), b, weigh(native(t, name)), scorer.Spread{})
		for i, row := range r.Rows {
			if !math.IsNaN(row.Scores[0]) || row.Utility != 0.5 {
				t.Errorf("%s of row %d without statistics is %v with the utility %v, want NaN and 0.5", name, i, row.Scores[0], row.Utility)
			}
		}
	}
	b.ValueOfTime = 0
	if got := names(b, scorer.Rank(context.Background(), b, weigh(native(t, "value")), scorer.Spread{})); got != "free cheap quick" {
		t.Errorf("time that is worth nothing need not be known, but the order is %s", got)
	}
}

func names(b *scorer.Batch, r *scorer.Ranking) string {
	s := ""
	for _, i := range r.Order {
		s += " " + b.Rows[i].ID
	}
	return s[1:]
}
