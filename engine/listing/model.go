// Package listing tells a key of the models, endpoints and providers that it may use, as OpenRouter's and Anthropic's APIs do.
package listing

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/route"
	"chaperone/engine/telemetry"
)

// What is told of models, endpoints and providers has OpenRouter's fields, which hold OpenAI's, and our own beside them
// (https://openrouter.ai/docs/api_reference/models).

// modelView is one model as a key may use it.
type modelView struct {
	ID                string       `json:"id"`
	CanonicalSlug     string       `json:"canonical_slug"`
	Object            string       `json:"object"`
	Created           int64        `json:"created"` // seconds since 1970; 0: not known
	OwnedBy           string       `json:"owned_by"`
	Name              string       `json:"name"`
	Description       string       `json:"description"`
	ContextLength     int64        `json:"context_length"` // the longest of its endpoints
	Architecture      architecture `json:"architecture"`
	Pricing           pricing      `json:"pricing"` // of the cheapest endpoint
	TopProvider       topProvider  `json:"top_provider"`
	PerRequestLimits  *struct{}    `json:"per_request_limits"`
	Parameters        []string     `json:"supported_parameters"` // those that any of its endpoints supports
	DefaultParameters *struct{}    `json:"default_parameters"`
	SupportedVoices   []string     `json:"supported_voices"`
	Links             modelLinks   `json:"links"`
	Providers         []string     `json:"providers"`
	ProcessingRegions []string     `json:"processing_regions"` // of any of its endpoints
	ZDR               bool         `json:"zdr"`                // an endpoint has zero data retention
	Distillable       bool         `json:"distillable"`        // an endpoint's answers may be used to train other models
}

type modelLinks struct {
	Details string `json:"details"`
}

type architecture struct {
	Modality         string   `json:"modality"` // "text+image->text"
	InputModalities  []string `json:"input_modalities"`
	OutputModalities []string `json:"output_modalities"`
	Tokenizer        string   `json:"tokenizer"`
	InstructType     *string  `json:"instruct_type"`
}

func architectureOf(m *catalog.Model) architecture {
	return architecture{
		Modality:        strings.Join(m.InputModalities, "+") + "->" + strings.Join(m.OutputModalities, "+"),
		InputModalities: m.InputModalities, OutputModalities: m.OutputModalities, Tokenizer: "Other",
	}
}

// topProvider is the cheapest endpoint's limits. This router moderates nothing; whether a provider does is not known.
type topProvider struct {
	ContextLength   int64  `json:"context_length"`
	MaxOutputTokens *int64 `json:"max_completion_tokens"`
	Moderated       bool   `json:"is_moderated"`
}

// Model is a model with those of its endpoints that a key may use, and what lists are ordered by.
type Model struct {
	route.UsableModel
	cheapest *catalog.Row
	tps      float64 // median output tokens a second of its fastest endpoint; 0: not known
	ttft     float64 // median milliseconds of its quickest endpoint; +Inf: not known
}

// Of makes ready to be listed what a key may use, as published statistics have it.
func Of(models []route.UsableModel, stats *telemetry.View) []Model {
	out := make([]Model, len(models))
	for i, m := range models {
		u := &out[i]
		u.UsableModel = m
		u.cheapest = slices.MinFunc(m.Endpoints, func(a, b route.Endpoint) int {
			return cmp.Compare(a.Row.Prices.Prompt+a.Row.Prices.Completion, b.Row.Prices.Prompt+b.Row.Prices.Completion)
		}).Row
		u.measure(stats)
	}
	return out
}

// measure reads what lists are ordered by.
func (u *Model) measure(stats *telemetry.View) {
	u.ttft = math.Inf(1)
	for _, ep := range u.Endpoints {
		st := &stats.Rows[ep.Row.Index]
		if p := st.TPS.P50; !math.IsNaN(p) {
			u.tps = max(u.tps, p)
		}
		if p := st.TTFT.P50; !math.IsNaN(p) {
			u.ttft = min(u.ttft, p)
		}
	}
}

func (u *Model) price() catalog.Picodollars {
	return u.cheapest.Prices.Prompt + u.cheapest.Prices.Completion
}

// context is the longest context of its endpoints.
func (u *Model) context() int64 {
	longest := int64(0)
	for _, ep := range u.Endpoints {
		longest = max(longest, ep.Row.ContextLength)
	}
	return longest
}

// each gathers what the endpoints of a model have, each once and sorted.
func (u *Model) each(of func(*catalog.Row) []string) []string {
	set := map[string]bool{}
	for _, ep := range u.Endpoints {
		for _, s := range of(ep.Row) {
			set[s] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func (u *Model) providers() []string {
	return u.each(func(r *catalog.Row) []string { return []string{r.Provider.ID} })
}

func (u *Model) parameters() []string {
	return u.each(func(r *catalog.Row) []string { return slices.Collect(maps.Keys(r.Parameters)) })
}

// hasZDR says whether an endpoint has zero data retention at now.
func (u *Model) hasZDR(now time.Time) bool {
	return slices.ContainsFunc(u.Endpoints, func(ep route.Endpoint) bool { return ep.Row.DataPolicy.At(now).ZDR == catalog.Yes })
}

// distillable says whether the author permits other models to be trained on the answers of an endpoint.
func (u *Model) distillable(now time.Time) bool {
	return slices.ContainsFunc(u.Endpoints, func(ep route.Endpoint) bool { return ep.Row.Distillation.At(now) == catalog.Yes })
}

func (u *Model) view(now time.Time) modelView {
	m := u.Model
	author, _, _ := strings.Cut(m.ID, "/")
	v := modelView{
		ID: m.ID, CanonicalSlug: m.ID, Object: "model", Created: unixOrZero(m.Created), OwnedBy: author, Name: m.Name,
		Description: m.Description, ContextLength: u.context(), Architecture: architectureOf(m), Pricing: pricesOf(u.cheapest),
		TopProvider: topProvider{ContextLength: u.cheapest.ContextLength, MaxOutputTokens: positive(u.cheapest.MaxOutputTokens)},
		Parameters:  u.parameters(), Links: modelLinks{"/api/v1/models/" + m.ID + "/endpoints"},
		Providers: u.providers(), ZDR: u.hasZDR(now), Distillable: u.distillable(now),
	}
	v.ProcessingRegions = u.each(func(r *catalog.Row) []string { return r.ProcessingRegions })
	return v
}

// Show is a model, as JSON, as OpenAI's and OpenRouter's APIs have it.
func (u *Model) Show(now time.Time) ([]byte, error) { return json.Marshal(u.view(now)) }

func unixOrZero(t time.Time) int64 { return max(t.Unix(), 0) }

// positive is nil for 0.
func positive(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}
