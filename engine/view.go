package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// The views are what the API tells of models, endpoints and decisions: OpenRouter's fields, which hold OpenAI's, and our own
// beside them.

type modelView struct {
	ID            string       `json:"id"`
	Object        string       `json:"object"`
	Created       int64        `json:"created"`
	OwnedBy       string       `json:"owned_by"`
	Name          string       `json:"name"`
	Description   string       `json:"description,omitempty"`
	ContextLength int64        `json:"context_length"`
	Architecture  architecture `json:"architecture"`
	Pricing       pricing      `json:"pricing"` // of the cheapest endpoint
	Providers     []string     `json:"providers"`
}

type architecture struct {
	InputModalities  []string `json:"input_modalities"`
	OutputModalities []string `json:"output_modalities"`
}

// pricing is USD per token (request, image: per unit), as decimal strings.
type pricing struct {
	Prompt     string `json:"prompt"`
	Completion string `json:"completion"`
	CacheRead  string `json:"input_cache_read"`
	CacheWrite string `json:"input_cache_write"`
	Request    string `json:"request"`
	Image      string `json:"image"`
	Audio      string `json:"audio"`
}

func pricesOf(p catalog.Prices) pricing {
	return pricing{p.Prompt.String(), p.Completion.String(), p.CacheRead.String(), p.CacheWrite.String(), p.Request.String(), p.Image.String(), p.Audio.String()}
}

// Models lists, as JSON, the models that a key may use: OpenAI's list with OpenRouter's fields.
func (e *Engine) Models(ctx context.Context, key string) ([]byte, error) {
	s := e.acquire()
	defer s.release()
	who, err := e.authenticate(s, Call{Key: key})
	if err != nil {
		return nil, err
	}
	data := []modelView{}
	for _, u := range s.router.Usable(ctx, who, e.options.Now()) {
		author, _, _ := strings.Cut(u.Model.ID, "/")
		v := modelView{ID: u.Model.ID, Object: "model", OwnedBy: author, Name: u.Model.Name, Description: u.Model.Description,
			ContextLength: u.Model.ContextLength, Architecture: architecture{u.Model.InputModalities, u.Model.OutputModalities}}
		if !u.Model.Created.IsZero() {
			v.Created = u.Model.Created.Unix()
		}
		cheapest := u.Endpoints[0].Row
		seen := map[string]bool{}
		for _, ep := range u.Endpoints {
			if ep.Row.Prices.Prompt+ep.Row.Prices.Completion < cheapest.Prices.Prompt+cheapest.Prices.Completion {
				cheapest = ep.Row
			}
			if !seen[ep.Row.Provider.ID] {
				seen[ep.Row.Provider.ID] = true
				v.Providers = append(v.Providers, ep.Row.Provider.ID)
			}
		}
		v.Pricing = pricesOf(cheapest.Prices)
		data = append(data, v)
	}
	return json.Marshal(map[string]any{"object": "list", "data": data})
}

type endpointView struct {
	Name              string           `json:"name"`
	ID                string           `json:"id"`
	ModelID           string           `json:"model_id"`
	ProviderName      string           `json:"provider_name"`
	Tag               string           `json:"tag"`
	CredentialGroup   string           `json:"credential_group"`
	Quantization      string           `json:"quantization"`
	ContextLength     int64            `json:"context_length"`
	MaxOutputTokens   *int64           `json:"max_completion_tokens"`
	Pricing           pricing          `json:"pricing"`
	Parameters        []string         `json:"supported_parameters"`
	Status            int              `json:"status"`                  // 0: ok, -1: resting after failures or a rate limit
	Resting           string           `json:"resting,omitempty"`       // why: breaker_open, probing, announced_wait, rate_limited, no_headroom
	RestingUntil      *string          `json:"resting_until,omitempty"` // RFC 3339
	Uptime            *float64         `json:"uptime_recent"`           // percent, over the statistics window
	Latency           *percentilesView `json:"latency_recent"`          // TTFT, milliseconds
	Throughput        *percentilesView `json:"throughput_recent"`       // output tokens a second
	ProcessingRegions []string         `json:"processing_regions"`
	Jurisdiction      string           `json:"jurisdiction"`
	Headquarters      string           `json:"headquarters"`
	Certifications    []string         `json:"certifications"`
	DataPolicy        dataPolicyView   `json:"data_policy"`
	Distillation      catalog.Tri      `json:"distillation"` // whether other models may be trained on its answers
	Permitted         bool             `json:"permitted"`    // for a plain request of this key
	Denials           []policy.Reason  `json:"denials,omitempty"`
}

type percentilesView struct {
	P50 float64 `json:"p50"`
	P75 float64 `json:"p75"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

func viewPercentiles(p telemetry.Percentiles) *percentilesView {
	if math.IsNaN(p.P50) {
		return nil
	}
	return &percentilesView{p.P50, p.P75, p.P90, p.P99}
}

type dataPolicyView struct {
	Training       catalog.Tri `json:"training"`
	RetainsPrompts catalog.Tri `json:"retains_prompts"`
	RetentionDays  int         `json:"retention_days"`
	ZDR            catalog.Tri `json:"zdr"`
	Publishes      catalog.Tri `json:"publishes"`
	Evidence       string      `json:"evidence,omitempty"`
	AsOf           string      `json:"as_of,omitempty"`
	ReviewBy       string      `json:"review_by,omitempty"`
}

// Endpoints lists, as JSON, every endpoint of a model with live statistics, terms, and what the key's policies say of it.
func (e *Engine) Endpoints(ctx context.Context, key, model string) ([]byte, error) {
	s := e.acquire()
	defer s.release()
	who, err := e.authenticate(s, Call{Key: key})
	if err != nil {
		return nil, err
	}
	m := s.catalog.Models[model]
	if m == nil {
		return nil, &wire.Error{Status: http.StatusNotFound, Type: "not_found",
			Message: fmt.Sprintf("%q is not a model of this router; GET /v1/models lists those that this key may use", model)}
	}
	now := e.options.Now()
	list := []endpointView{}
	for _, ep := range s.router.Endpoints(ctx, who, m, now) {
		list = append(list, viewEndpoint(ep, now, who.Organisation.ErrorDetail))
	}
	return json.Marshal(map[string]any{"data": map[string]any{
		"id": m.ID, "name": m.Name, "description": m.Description, "created": max(m.Created.Unix(), 0),
		"architecture": architecture{m.InputModalities, m.OutputModalities}, "endpoints": list,
	}})
}

func viewEndpoint(ep route.Endpoint, now time.Time, detail string) endpointView {
	row := ep.Row
	v := endpointView{
		Name: row.Provider.Name + " | " + row.Model.ID, ID: row.ID, ModelID: row.Model.ID, ProviderName: row.Provider.Name,
		Tag: row.Tag, CredentialGroup: row.Group.Name, Quantization: row.Quantization, ContextLength: row.ContextLength,
		Pricing: pricesOf(row.Prices), Parameters: slices.Sorted(maps.Keys(row.Parameters)), ProcessingRegions: row.ProcessingRegions,
		Jurisdiction: row.Jurisdiction, Headquarters: row.Headquarters, Certifications: row.Certifications,
		Latency: viewPercentiles(ep.Stats.TTFT), Throughput: viewPercentiles(ep.Stats.TPS),
		Permitted: len(ep.Denials) == 0 && !row.Disabled, Distillation: row.Distillation.At(now),
	}
	if row.MaxOutputTokens > 0 {
		v.MaxOutputTokens = &row.MaxOutputTokens
	}
	if ep.Rest.Why != "" {
		v.Status, v.Resting = -1, ep.Rest.Why
		if !ep.Rest.Until.IsZero() {
			until := ep.Rest.Until.UTC().Format(time.RFC3339Nano)
			v.RestingUntil = &until
		}
	}
	if !math.IsNaN(ep.Stats.Uptime) {
		percent := 100 * ep.Stats.Uptime
		v.Uptime = &percent
	}
	if detail == "full" {
		v.Denials = ep.Denials
	}
	d := row.DataPolicy.At(now)
	v.DataPolicy = dataPolicyView{d.Training, d.RetainsPrompts, d.RetentionDays, d.ZDR, d.Publishes, d.Evidence, day(d.AsOf), day(d.ReviewBy)}
	return v
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

// Decision is the record of a decision, as JSON, for a key of the organisation that it was made for.
func (e *Engine) Decision(_ context.Context, key, id string) ([]byte, error) {
	s := e.acquire()
	defer s.release()
	who, err := e.authenticate(s, Call{Key: key})
	if err != nil {
		return nil, err
	}
	rec := e.Record(id)
	if rec == nil || rec.Organisation != who.Organisation.ID {
		return nil, &wire.Error{Status: http.StatusNotFound, Type: "not_found",
			Message: fmt.Sprintf("no decision %q of this organisation is kept; a request's id is in its X-Generation-Id header", id)}
	}
	return json.Marshal(forClient(rec, who.Organisation.ErrorDetail))
}

// Route is a decision that was not dispatched, as JSON.
func (e *Engine) Route(ctx context.Context, c Call) ([]byte, error) {
	p, err := e.Decide(ctx, c)
	if err != nil {
		return nil, err
	}
	return json.Marshal(forClient(journal.Of(p), p.Principal.Organisation.ErrorDetail))
}

// forClient takes out of a record what its organisation's error_detail keeps from callers.
func forClient(rec *journal.Record, detail string) *journal.Record {
	if detail == "full" {
		return rec
	}
	out := *rec
	out.Rejections = nil
	out.Candidates = nil
	if detail == "codes" {
		for _, c := range rec.Candidates {
			if c.Excluded != nil {
				c.Excluded = &route.Exclusion{Stage: c.Excluded.Stage, Code: c.Excluded.Code}
			}
			out.Candidates = append(out.Candidates, c)
		}
	}
	return &out
}

// Record is the record of a decision, nil where it is not kept.
func (e *Engine) Record(id string) *journal.Record {
	rec, err := e.journal.Get(id)
	if err != nil {
		e.options.Log.Error("the journal cannot be read", slog.String("decision", id), slog.Any("error", err))
	}
	return rec
}
