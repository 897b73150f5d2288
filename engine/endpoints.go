package engine

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/telemetry"
)

// endpointView is one row as a key sees it: OpenRouter's fields, and then what policy can read and what it says.
type endpointView struct {
	Name                    string           `json:"name"`
	ModelID                 string           `json:"model_id"`
	ModelName               string           `json:"model_name"`
	ProviderName            string           `json:"provider_name"`
	Tag                     string           `json:"tag"`
	Quantization            string           `json:"quantization"`
	ContextLength           int64            `json:"context_length"`
	MaxOutputTokens         *int64           `json:"max_completion_tokens"`
	MaxPromptTokens         *int64           `json:"max_prompt_tokens"`
	Pricing                 pricing          `json:"pricing"`
	Parameters              []string         `json:"supported_parameters"`
	SupportsImplicitCaching bool             `json:"supports_implicit_caching"` // cached input has a price of its own
	SupportsToolChoice      toolChoice       `json:"supports_tool_choice"`
	SupportsVoiceCloning    bool             `json:"supports_voice_cloning"`
	Status                  int              `json:"status"` // 0: ok, -1: resting after failures or a rate limit
	Uptime5m                *float64         `json:"uptime_last_5m"`
	Uptime30m               *float64         `json:"uptime_last_30m"` // percent; 429s are left out
	Uptime1d                *float64         `json:"uptime_last_1d"`
	Latency                 *percentilesView `json:"latency_last_30m"`    // TTFT, milliseconds
	Throughput              *percentilesView `json:"throughput_last_30m"` // output tokens a second

	ID                string          `json:"id"`
	CredentialGroup   string          `json:"credential_group"`
	Resting           string          `json:"resting,omitempty"`       // why: breaker_open, probing, announced_wait, rate_limited, no_headroom
	RestingUntil      *string         `json:"resting_until,omitempty"` // RFC 3339
	CatalogDoubt      string          `json:"catalog_doubt,omitempty"` // unknown_model or unsupported, where it last said so in place of an answer
	ProcessingRegions []string        `json:"processing_regions"`
	Jurisdiction      string          `json:"jurisdiction"`
	Headquarters      string          `json:"headquarters"`
	Certifications    []string        `json:"certifications"`
	DataPolicy        dataPolicyView  `json:"data_policy"`
	Distillation      catalog.Tri     `json:"distillation"` // whether other models may be trained on its answers
	Permitted         bool            `json:"permitted"`    // for a plain request of this key
	Denials           []policy.Reason `json:"denials,omitempty"`
}

// toolChoice says which forms of tool_choice an endpoint takes; a catalog knows all of them or none.
type toolChoice struct {
	Auto     bool `json:"auto"`
	Function bool `json:"function"`
	None     bool `json:"none"`
	Required bool `json:"required"`
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

// percent is nil where nothing was measured.
func percent(share float64) *float64 {
	if math.IsNaN(share) {
		return nil
	}
	share *= 100
	return &share
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

func viewDataPolicy(d catalog.DataPolicy) dataPolicyView {
	return dataPolicyView{d.Training, d.RetainsPrompts, d.RetentionDays, d.ZDR, d.Publishes, d.Evidence, day(d.AsOf), day(d.ReviewBy)}
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

// Endpoints lists, as JSON, every endpoint of a model with live statistics, terms, and what the key's policies say of it. A
// model of a catalog variant that does not exist (author/slug:free) has none.
func (e *Engine) Endpoints(ctx context.Context, key, model string) ([]byte, error) {
	s, who, err := e.listener(key)
	if err != nil {
		return nil, err
	}
	defer s.release()
	m := s.router.Model(who, model)
	list := []endpointView{}
	if m == nil {
		base, _, variant := strings.Cut(model, ":")
		if m = s.router.Model(who, base); m == nil || !variant {
			return nil, noModel(model)
		}
	} else {
		now := e.options.Now()
		stats := s.published.View(now)
		for _, ep := range s.router.Endpoints(ctx, who, m, now) {
			list = append(list, viewEndpoint(ep, stats, now, who.Organisation.ErrorDetail, e.health.Doubt(ep.Row)))
		}
	}
	return json.Marshal(map[string]any{"data": map[string]any{
		"id": m.ID, "name": m.Name, "description": m.Description, "created": unixOrZero(m.Created),
		"architecture": architectureOf(m), "endpoints": list,
	}})
}

// ZDREndpoints lists, as JSON, the endpoints with zero data retention that a key may use.
func (e *Engine) ZDREndpoints(ctx context.Context, key string) ([]byte, error) {
	s, who, err := e.listener(key)
	if err != nil {
		return nil, err
	}
	defer s.release()
	now := e.options.Now()
	stats := s.published.View(now)
	list := []endpointView{}
	for _, u := range s.router.Usable(ctx, who, now) {
		for _, ep := range u.Endpoints {
			if ep.Row.DataPolicy.At(now).ZDR == catalog.Yes {
				list = append(list, viewEndpoint(ep, stats, now, who.Organisation.ErrorDetail, e.health.Doubt(ep.Row)))
			}
		}
	}
	return json.Marshal(map[string]any{"data": list})
}

func viewEndpoint(ep route.Endpoint, stats telemetry.PublishedView, now time.Time, detail, doubt string) endpointView {
	row := ep.Row
	half := &stats.Minutes30.Rows[row.Index]
	v := endpointView{
		Name: row.Provider.Name + " | " + row.Model.ID, ID: row.ID, ModelID: row.Model.ID, ModelName: row.Model.Name,
		ProviderName: row.Provider.Name, Tag: row.Tag, CredentialGroup: row.Group.Name, Quantization: row.Quantization,
		ContextLength: row.ContextLength, MaxOutputTokens: positive(row.MaxOutputTokens), Pricing: pricesOf(row),
		Parameters:              slices.Sorted(maps.Keys(row.Parameters)),
		SupportsImplicitCaching: row.Prices.CacheRead < row.Prices.Prompt, SupportsToolChoice: toolChoices(row.Parameters["tool_choice"]),
		Uptime5m: percent(stats.Minutes5.Rows[row.Index].Uptime), Uptime30m: percent(half.Uptime), Uptime1d: percent(stats.Day.Rows[row.Index].Uptime),
		Latency: viewPercentiles(half.TTFT), Throughput: viewPercentiles(half.TPS),
		ProcessingRegions: row.ProcessingRegions, Jurisdiction: row.Jurisdiction, Headquarters: row.Headquarters, Certifications: row.Certifications,
		Permitted: len(ep.Denials) == 0 && !row.Disabled, Distillation: row.Distillation.At(now), CatalogDoubt: doubt,
	}
	if ep.Rest.Why != "" {
		v.Status, v.Resting = -1, ep.Rest.Why
		if !ep.Rest.Until.IsZero() {
			until := ep.Rest.Until.UTC().Format(time.RFC3339Nano)
			v.RestingUntil = &until
		}
	}
	if detail == "full" {
		v.Denials = ep.Denials
	}
	v.DataPolicy = viewDataPolicy(row.DataPolicy.At(now))
	return v
}

func toolChoices(all bool) toolChoice { return toolChoice{all, all, all, all} }

// providerView is one provider, as OpenRouter lists it, and its terms under each group of credentials.
type providerView struct {
	Name           string                    `json:"name"`
	Slug           string                    `json:"slug"`
	PrivacyURL     *string                   `json:"privacy_policy_url"`
	TermsURL       *string                   `json:"terms_of_service_url"`
	StatusURL      *string                   `json:"status_page_url"`
	Headquarters   *string                   `json:"headquarters"` // ISO 3166-1; null: not known
	Datacenters    []string                  `json:"datacenters"`  // null: not known by country; see an endpoint's processing_regions
	Jurisdiction   string                    `json:"jurisdiction"`
	Certifications []string                  `json:"certifications"`
	DataPolicies   map[string]dataPolicyView `json:"data_policies"` // by group of credentials
}

// Providers lists, as JSON, the providers of the catalog, by name of their slug.
func (e *Engine) Providers(_ context.Context, key string) ([]byte, error) {
	s, _, err := e.listener(key)
	if err != nil {
		return nil, err
	}
	defer s.release()
	now := e.options.Now()
	known := map[string]*catalog.Provider{}
	for _, row := range s.catalog.Rows {
		known[row.Provider.ID] = row.Provider
	}
	list := make([]providerView, 0, len(known))
	for _, id := range slices.Sorted(maps.Keys(known)) {
		p := known[id]
		v := providerView{Name: p.Name, Slug: p.ID, PrivacyURL: stated(p.PrivacyURL), TermsURL: stated(p.TermsURL), StatusURL: stated(p.StatusURL),
			Headquarters: stated(p.Headquarters), Jurisdiction: p.Jurisdiction, Certifications: p.Certifications, DataPolicies: map[string]dataPolicyView{}}
		for _, g := range p.Groups {
			v.DataPolicies[g.Name] = viewDataPolicy(g.DataPolicy.At(now))
		}
		list = append(list, v)
	}
	return json.Marshal(map[string]any{"data": list})
}

// stated is nil where nothing is known.
func stated(s string) *string {
	if s == "" || s == "unknown" {
		return nil
	}
	return &s
}
