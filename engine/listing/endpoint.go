package listing

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
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
	CatalogDoubt      string          `json:"catalog_doubt,omitempty"` // unknown_model, unsupported or context_length, where it last said so in place of an answer
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

// Live is what is known just now of endpoints.
type Live struct {
	Stats       telemetry.PublishedView
	Doubt       func(*catalog.Row) string // why a provider makes one doubt what the catalog says; "": nothing does
	Now         time.Time
	ErrorDetail string // of whoever asks: "full" shows why an endpoint is denied
}

// Endpoints lists, as JSON, endpoints of m with live statistics, terms, and what the key's policies say of each.
func (l *Live) Endpoints(m *catalog.Model, all []route.Endpoint) ([]byte, error) {
	return json.Marshal(map[string]any{"data": map[string]any{
		"id": m.ID, "name": m.Name, "description": m.Description, "created": unixOrZero(m.Created),
		"architecture": architectureOf(m), "endpoints": l.views(all),
	}})
}

// ZDR lists, as JSON, those of the models' endpoints that have zero data retention.
func (l *Live) ZDR(models []route.UsableModel) ([]byte, error) {
	var all []route.Endpoint
	for _, m := range models {
		for _, ep := range m.Endpoints {
			if ep.Row.DataPolicy.At(l.Now).ZDR == catalog.Yes {
				all = append(all, ep)
			}
		}
	}
	return json.Marshal(map[string]any{"data": l.views(all)})
}

func (l *Live) views(all []route.Endpoint) []endpointView {
	list := make([]endpointView, len(all))
	for i, ep := range all {
		list[i] = l.view(ep)
	}
	return list
}

func (l *Live) view(ep route.Endpoint) endpointView {
	row := ep.Row
	half := &l.Stats.Minutes30.Rows[row.Index]
	v := endpointView{
		Name: row.Provider.Name + " | " + row.Model.ID, ID: row.ID, ModelID: row.Model.ID, ModelName: row.Model.Name,
		ProviderName: row.Provider.Name, Tag: row.Tag, CredentialGroup: row.Group.Name, Quantization: row.Quantization,
		ContextLength: row.ContextLength, MaxOutputTokens: positive(row.MaxOutputTokens), Pricing: pricesOf(row),
		Parameters:              slices.Sorted(maps.Keys(row.Parameters)),
		SupportsImplicitCaching: row.Prices.CacheRead < row.Prices.Prompt, SupportsToolChoice: toolChoices(row.Parameters["tool_choice"]),
		Uptime5m: percent(l.Stats.Minutes5.Rows[row.Index].Uptime), Uptime30m: percent(half.Uptime), Uptime1d: percent(l.Stats.Day.Rows[row.Index].Uptime),
		Latency: viewPercentiles(half.TTFT), Throughput: viewPercentiles(half.TPS),
		ProcessingRegions: row.ProcessingRegions, Jurisdiction: row.Jurisdiction, Headquarters: row.Headquarters, Certifications: row.Certifications,
		Permitted: len(ep.Denials) == 0 && !row.Disabled, Distillation: row.Distillation.At(l.Now), CatalogDoubt: l.Doubt(row),
	}
	if ep.Rest.Why != "" {
		v.Status, v.Resting = -1, ep.Rest.Why
		if !ep.Rest.Until.IsZero() {
			until := ep.Rest.Until.UTC().Format(time.RFC3339Nano)
			v.RestingUntil = &until
		}
	}
	if l.ErrorDetail == "full" {
		v.Denials = ep.Denials
	}
	v.DataPolicy = viewDataPolicy(row.DataPolicy.At(l.Now))
	return v
}

func toolChoices(all bool) toolChoice { return toolChoice{all, all, all, all} }
