package scorer

import (
	"context"
	"math"

	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
)

// Natives are the names of the native scorers.
var Natives = []string{"value", "price", "latency", "throughput", "uptime"}

// Native returns the native scorer of that name:
//
//	value       the generalised cost: price, time and risk in USD
//	price       what the request is expected to cost, USD
//	latency     least expected TTFT of the batch / the row's own
//	throughput  the row's expected TPS / the greatest of the batch
//	uptime      the probability that an attempt succeeds
//
// Expected values are the shrunk ones of telemetry. Those of a row that the view does not hold are not known: NaN.
func Native(name string) (Scorer, bool) {
	switch name {
	case "value":
		return value{}, true
	case "price":
		return price{}, true
	case "latency":
		return latency{}, true
	case "throughput":
		return throughput{}, true
	case "uptime":
		return uptime{}, true
	}
	return nil, false
}

var _ Explainer = value{}

type price struct{}

func (price) Name() string { return "price" }

func (price) Scale() Scale { return Cost }

func (price) Score(_ context.Context, b *Batch, scores []float64) error {
	for i, row := range b.Rows {
		scores[i] = expectedPrice(b, row)
	}
	return nil
}

type latency struct{}

func (latency) Name() string { return "latency" }

func (latency) Scale() Scale { return Unit }

func (latency) Score(_ context.Context, b *Batch, scores []float64) error {
	least := math.Inf(1)
	for i := range b.Rows {
		if st := stats(b, i); st != nil && st.ExpectedTTFT > 0 {
			least = min(least, st.ExpectedTTFT)
		}
	}
	for i := range b.Rows {
		if st := stats(b, i); st != nil && st.ExpectedTTFT > 0 {
			scores[i] = least / st.ExpectedTTFT
		}
	}
	return nil
}

type throughput struct{}

func (throughput) Name() string { return "throughput" }

func (throughput) Scale() Scale { return Unit }

func (throughput) Score(_ context.Context, b *Batch, scores []float64) error {
	greatest := 0.0
	for i := range b.Rows {
		if st := stats(b, i); st != nil && st.ExpectedTPS > greatest {
			greatest = st.ExpectedTPS
		}
	}
	for i := range b.Rows {
		if st := stats(b, i); st != nil && st.ExpectedTPS > 0 {
			scores[i] = st.ExpectedTPS / greatest
		}
	}
	return nil
}

type uptime struct{}

func (uptime) Name() string { return "uptime" }

func (uptime) Scale() Scale { return Unit }

func (uptime) Score(_ context.Context, b *Batch, scores []float64) error {
	for i := range b.Rows {
		if st := stats(b, i); st != nil {
			scores[i] = st.Success
		}
	}
	return nil
}

// stats are those of b.Rows[row]; nil where the view does not hold it.
func stats(b *Batch, row int) *telemetry.RowStats {
	if b.Stats == nil {
		return nil
	}
	if i := b.Rows[row].Index; i >= 0 && i < len(b.Stats.Rows) {
		return &b.Stats.Rows[i]
	}
	return nil
}

// usd is dollars a picodollar.
const usd = 1e-12

// expectedPrice is what the request is expected to cost at a row, in USD: its prompt once, its answers N times, as prices are now.
func expectedPrice(b *Batch, row *catalog.Row) float64 {
	if b.Request == nil {
		return math.NaN()
	}
	if row.Free {
		return 0
	}
	p := row.PricesAt(b.Request.PromptTokens, b.Now)
	prompt := float64(p.Prompt) * float64(b.Request.PromptTokens)
	answers := float64(p.Completion) * float64(max(b.OutputTokens, 0)) * float64(max(b.Request.N, 1))
	images := float64(p.Image) * float64(b.Request.Images)
	return (prompt + answers + images + float64(p.Request)) * usd
}

// prices are what is billed: nothing under free credentials, whatever the list says.
func prices(row *catalog.Row) *catalog.Prices {
	if row.Free {
		return &nothing
	}
	return &row.Prices
}

var nothing catalog.Prices
