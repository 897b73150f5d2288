package journal

import (
	"fmt"
	"time"

	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/scorer"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// sample is a record such as a request with that many endpoints leaves, a quarter of them denied.
func sample(id string, at time.Time, rows int) *Record {
	r := &Record{
		ID: id, At: at, Generation: 1, Seed: 7, Organisation: "acme", Team: "search", Key: "key_0123456789ab", DataClass: "internal",
		Labels: map[string]string{"country": "de"}, Policy: fmt.Sprintf("%064d", 1), Catalog: fmt.Sprintf("%064d", 2), PlanMicros: 31,
		Scorers: []string{"value"}, Dispatched: true,
		Request: Request{
			Model: "m/one", N: 1, InputModalities: []string{"text"}, OutputModalities: []string{"text"}, ResponseFormat: "text",
			PromptTokens: 812, Parameters: []string{"max_tokens", "temperature"}, BodyBytes: 3205, DataClass: "internal",
			Preferences: Preferences{AllowFallbacks: true, DataCollection: "allow", Partition: "model"},
		},
		Attempts: []Attempt{{Row: "m/one@p0#own", Provider: "P0", ProviderID: "p0", Tag: "p0", Model: "m/one", Generation: 1, Purpose: ForAnswer,
			StartedMs: 0.21, TTFTMs: 312.25, DurationMs: 1203.5, Outcome: "ok", Status: 200, BodySent: "all",
			Usage: wire.Usage{Known: true, PromptTokens: 800, CompletionTokens: 200}, Cost: 1234567}},
		Outcome: Outcome{Status: 200, Provider: "P0", Model: "m/one", Row: "m/one@p0#own", FinishReason: "stop", TTFTMs: 312.5, DurationMs: 1204,
			Usage: wire.Usage{Known: true, PromptTokens: 800, CompletionTokens: 200}, Cost: 1234567},
	}
	denials := []policy.Reason{{
		Binding: "library.training for everyone", Package: "library.training", Rule: "deny", Code: "training", Message: "the provider trains on prompts",
		File: "library/training.rego", Line: 12, Enforcement: "deny"}}
	for i := range rows {
		c := Candidate{Row: fmt.Sprintf("m/one@p%d#own", i), Model: "m/one", Provider: fmt.Sprintf("p%d", i), Tag: fmt.Sprintf("p%d", i), Group: "own"}
		if i%4 == 3 {
			c.Excluded = &route.Exclusion{Stage: route.StagePolicy, Code: "data_policy:training", Message: "the provider trains on prompts", Denials: denials}
		} else {
			utility, share := 1/float64(i+1), 0.3/float64(i+1)
			c.Place, c.Utility, c.Share = i+1, &utility, &share
			c.Scores, c.Parts = ByScorer{{"value", 0.00123 * float64(i+1)}}, ByScorer{{"value", utility}}
			c.Terms = []scorer.Term{{Name: "price", USD: 0.0011 * float64(i+1)}, {Name: "time", USD: 0.0001}, {Name: "risk", USD: 0}}
		}
		r.Candidates = append(r.Candidates, c)
	}
	return r
}

// planned is a sample as a plan leaves it, with what it saw.
func planned(rows int) (*Record, *Seen) {
	rec := sample(idOf(1), time.Now(), rows)
	rec.numbered = true
	for i := range rec.Candidates {
		rec.Candidates[i].index = i
	}
	return rec, &Seen{Stats: &telemetry.View{Tick: 1, Rows: make([]telemetry.RowStats, rows)}, Rows: rowsOf(rec.Candidates), Shown: make([]policy.StatsInput, rows)}
}
