package scorer

import (
	"context"
	"math"

	"chaperone/engine/telemetry"
)

// value is the default scorer, the generalised cost of a row in USD:
//
//	cost = price + vot · time + (1 − p)/p · vot · time_lost
//
//	price      what the request is expected to cost there
//	time       expected TTFT + expected output tokens / expected TPS, seconds
//	p          the probability that an attempt succeeds; (1 − p)/p failures are to be expected before one does
//	time_lost  what a failure costs before it is noticed, seconds
//	vot        value of time, USD a second: Batch.ValueOfTime is stated by the hour
type value struct{}

func (value) Name() string { return "value" }

func (value) Scale() Scale { return Cost }

func (value) Score(_ context.Context, b *Batch, scores []float64) error {
	for i := range b.Rows {
		price, time, risk := generalisedCost(b, i)
		scores[i] = price + time + risk
	}
	return nil
}

// Explain states the terms price, time and risk.
func (value) Explain(b *Batch, row int, terms []Term) []Term {
	price, time, risk := generalisedCost(b, row)
	return append(terms, Term{"price", price}, Term{"time", time}, Term{"risk", risk})
}

func generalisedCost(b *Batch, row int) (price, time, risk float64) {
	price = expectedPrice(b, b.Rows[row])
	if b.ValueOfTime == 0 {
		return price, 0, 0 // ranks by price alone, whatever is known of time
	}
	st := stats(b, row)
	if st == nil {
		return price, math.NaN(), math.NaN()
	}
	perSecond := b.ValueOfTime / 3600
	return price, perSecond * seconds(st, b.OutputTokens), perSecond * expectedLoss(st)
}

// seconds is how long an answer of that many tokens is expected to take.
func seconds(st *telemetry.RowStats, outputTokens int64) float64 {
	return st.ExpectedTTFT/1000 + float64(max(outputTokens, 0))/st.ExpectedTPS
}

// expectedLoss is the seconds that failures are expected to take before an attempt succeeds.
func expectedLoss(st *telemetry.RowStats) float64 {
	return (1 - st.Success) / st.Success * st.LostMillis / 1000
}
