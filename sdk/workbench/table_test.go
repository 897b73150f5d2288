package workbench

import (
	"math"
	"strings"
	"testing"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/scorer"
	"chaperone/engine/telemetry"
	"chaperone/engine/wasm"
	"chaperone/engine/wire"
)

// TestATableOfADecisionIsWhatScorersSaw holds the table that is written of a batch, read again, to what a plugin would find in
// the router, for names of every kind, those that nothing in the batch has among them.
func TestATableOfADecisionIsWhatScorersSaw(t *testing.T) {
	model := &catalog.Model{ID: "acme/chat"}
	nan := math.NaN()
	b := &scorer.Batch{
		Rows: []*catalog.Row{
			{Index: 0, ID: "acme/chat@one#paid", Model: model, Provider: &catalog.Provider{ID: "one"}, Quantization: "fp8", ProcessingRegions: []string{"eu", "us"},
				Prices: catalog.Prices{Prompt: 150_000, Completion: 600_000}, ContextLength: 128_000, DataPolicy: catalog.DataPolicy{RetentionDays: 30},
				Attributes: map[string]float64{"grid_gco2_kwh": 41.5, "bad name": 1}, Labels: map[string]string{"tier": "gold"}},
			{Index: 1, ID: "acme/chat@two#free", Model: model, Provider: &catalog.Provider{ID: "two"}, Free: true, DataPolicy: catalog.DataPolicy{RetentionDays: catalog.UnknownRetentionDays}},
		},
		Stats:     &telemetry.View{Rows: []telemetry.RowStats{{ExpectedTTFT: 0.1 + 0.2, Success: 1. / 3, TTFT: telemetry.Percentiles{P50: nan}}, {ExpectedTTFT: 5e-324, Success: 1}}},
		Principal: &account.Principal{Organisation: &account.Organisation{ID: "acme"}, Team: &account.Team{ID: "fraud"}},
		Request: &wire.Request{Model: "chat", Models: []string{"acme/large"}, Stream: true, N: 2, PromptTokens: 1000,
			Claims: wire.Claims{Tags: []string{"code"}, Metadata: map[string]string{"priority": "2.5", "word": "high"}}},
		Now: time.UnixMilli(1_800_000_000_123), Seed: math.MaxUint64, ValueOfTime: 1.5, OutputTokens: 250,
	}
	m := &wasm.Manifest{
		Columns: []string{"price.prompt", "price.expected", "context_length", "stats.ttft_p50_ms", "stats.ttft_expected_ms", "stats.success", "retention_days",
			"endpoint", "attr.grid_gco2_kwh", "attr.none", "provider:one", "provider:absent", "region:eu", "region:jp", "quantization:fp8", "quantization:int4",
			"label:tier", "label:tier=gold", "label:tier=silver", "label:none"},
		Request: []string{"prompt_tokens", "max_tokens", "stream", "n", "value_of_time", "hour", "org:acme", "org:other", "team:fraud", "team:none", "tag:code",
			"tag:chat", "model:chat", "model:acme/large", "model:acme/chat", "model:none", "meta.priority", "meta.word", "meta.none"},
	}
	text, err := b.Table("gen-1")
	if err != nil {
		t.Fatal(err)
	}
	table, err := ParseTable(text)
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	got := table.in(m)
	if !got.Now.Equal(b.Now) || got.Seed != b.Seed || table.Rows[1].ID != b.Rows[1].ID {
		t.Errorf("%v %v", got.Now, got.Seed)
	}
	same := func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b }
	for c, name := range m.Columns {
		column, err := scorer.Resolve(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Rows {
			if want := column(b, i); !same(got.Columns[c][i], want) {
				t.Errorf("%s of row %d is %v in the table, %v in the router", name, i, got.Columns[c][i], want)
			}
		}
	}
	for f, name := range m.Request {
		field, err := scorer.ResolveRequest(name)
		if err != nil {
			t.Fatal(err)
		}
		if want := field(b); !same(got.Request[f], want) {
			t.Errorf("%s is %v in the table, %v in the router", name, got.Request[f], want)
		}
	}
	if missing := strings.Join(table.Missing(m), " "); missing != "attr.none meta.none" {
		t.Errorf("missing are %q", missing)
	}
}
