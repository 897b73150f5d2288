package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"chaperone/engine/ledger"
	"chaperone/engine/wire"
)

// generationView is OpenRouter's form (https://openrouter.ai/docs/api-reference/get-a-generation). What this router does not have is null.
type generationView struct {
	ID                   string                 `json:"id"`
	RequestID            string                 `json:"request_id"`
	SessionID            *string                `json:"session_id"`
	Model                string                 `json:"model"`
	ProviderName         *string                `json:"provider_name"`
	ProviderResponses    []providerResponseView `json:"provider_responses"`
	APIType              string                 `json:"api_type"` // "completions", in whatever API of texts, "embeddings" or "rerank"
	API                  *string                `json:"api"`      // "chat", "messages", "responses" …
	Streamed             bool                   `json:"streamed"`
	Cancelled            bool                   `json:"cancelled"`
	CreatedAt            string                 `json:"created_at"`
	Latency              float64                `json:"latency"`         // ms, of the whole request
	GenerationTime       float64                `json:"generation_time"` // ms, since the first token
	ModerationLatency    *float64               `json:"moderation_latency"`
	TokensPrompt         int64                  `json:"tokens_prompt"`
	TokensCompletion     int64                  `json:"tokens_completion"`
	NativePrompt         int64                  `json:"native_tokens_prompt"`
	NativeCompletion     int64                  `json:"native_tokens_completion"`
	NativeReasoning      int64                  `json:"native_tokens_reasoning"`
	NativeCached         int64                  `json:"native_tokens_cached"`
	NativeImages         *int64                 `json:"native_tokens_completion_images"`
	MediaPrompt          int64                  `json:"num_media_prompt"` // images
	MediaCompletion      *int64                 `json:"num_media_completion"`
	AudioPrompt          *int64                 `json:"num_input_audio_prompt"`
	SearchResults        *int64                 `json:"num_search_results"`
	Fetches              *int64                 `json:"num_fetches"`
	SearchEngine         *string                `json:"web_search_engine"`
	FinishReason         *string                `json:"finish_reason"`
	NativeFinishReason   *string                `json:"native_finish_reason"`
	Usage                json.Number            `json:"usage"` // USD
	TotalCost            json.Number            `json:"total_cost"`
	UpstreamCost         json.Number            `json:"upstream_inference_cost"`
	CacheDiscount        *json.Number           `json:"cache_discount"`
	CacheSourceID        *string                `json:"response_cache_source_id"`
	BYOK                 bool                   `json:"is_byok"`
	UpstreamID           *string                `json:"upstream_id"` // the provider's, of the answer
	Origin               string                 `json:"origin"`      // of the page that asks, as the caller claims; likewise http_referer and user_agent
	Router               *string                `json:"router"`
	PresetID             *string                `json:"preset_id"`
	DataRegion           string                 `json:"data_region"` // of the router, which has no regions of its own
	ServiceTier          *string                `json:"service_tier"`
	ExternalUser         *string                `json:"external_user"`
	AppID                *int64                 `json:"app_id"`
	HTTPReferer          *string                `json:"http_referer"`
	UserAgent            *string                `json:"user_agent"`
	WorkspaceID          *string                `json:"workspace_id"` // the team
	App                  *string                `json:"app"`
	Tags                 []string               `json:"tags"`
	APIKeyID             string                 `json:"api_key_id"`
	TokensPerSecond      *float64               `json:"tokens_per_second"`
	TTFT                 *float64               `json:"ttft_ms"`
	NativeCacheWrite     int64                  `json:"native_tokens_cache_write"`
	Status               int                    `json:"status"`
	ErrorType            *string                `json:"error_type"`
	Attempts             int                    `json:"attempts"`
	CompletionIsEstimate bool                   `json:"usage_is_estimate"` // the provider counted nothing
}

type providerResponseView struct {
	ProviderName   string      `json:"provider_name"`
	EndpointID     string      `json:"endpoint_id"`
	ModelPermaslug string      `json:"model_permaslug"`
	Status         *int        `json:"status"`
	Latency        float64     `json:"latency"` // ms
	BYOK           bool        `json:"is_byok"`
	ID             string      `json:"id,omitempty"` // the provider's, of its answer
	Purpose        string      `json:"purpose"`
	Outcome        string      `json:"outcome"`
	BodySent       string      `json:"body_sent"`
	ServiceTier    string      `json:"routed_service_tier,omitempty"`
	Cost           json.Number `json:"cost"`
}

// ShowGeneration is one request of the key's organisation, as JSON: from the journal while it has it, and then from the ledger.
func (e *Engine) ShowGeneration(ctx context.Context, key, id string) ([]byte, error) {
	s := e.acquire()
	defer s.release()
	who, refused := e.authenticate(s, Call{Key: key})
	if refused != nil {
		return nil, refused
	}
	if id == "" {
		return nil, &wire.Error{Status: http.StatusBadRequest, Type: "invalid_request", Param: "id",
			Message: "id: missing; expected that of an answer, as in /v1/generation?id=gen-0123456789abcdef01234567"}
	}
	var g *ledger.Generation
	if rec := e.Record(id); rec != nil {
		g = ledger.Of(rec)
	} else if e.ledger != nil {
		var err error
		if g, err = e.ledger.Generation(ctx, id); err != nil {
			return nil, e.noLedger(err)
		}
	}
	if g == nil || g.Organisation != who.Organisation.ID {
		return nil, &wire.Error{Status: http.StatusNotFound, Type: "not_found", Param: "id",
			Message: fmt.Sprintf("no generation %q of this organisation is kept; a request's id is in its X-Generation-Id header", id)}
	}
	return json.Marshal(map[string]any{"data": viewGeneration(g)})
}

func viewGeneration(g *ledger.Generation) generationView {
	cost := json.Number(g.Cost.String())
	v := generationView{
		ID: g.ID, RequestID: g.ID, Model: g.Model, ProviderName: notEmpty(g.ProviderName), ProviderResponses: []providerResponseView{},
		APIType: apiType(g.API), API: notEmpty(g.API), SessionID: notEmpty(g.Session), PresetID: notEmpty(g.Preset), MediaPrompt: g.Images,
		ServiceTier: notEmpty(g.ServiceTier), CacheSourceID: notEmpty(g.CachedFrom), HTTPReferer: notEmpty(g.Site), DataRegion: "global", Streamed: g.Streamed, Cancelled: g.Error == "cancelled", CreatedAt: g.At.Format(time.RFC3339Nano),
		Latency: ms(g.Duration), GenerationTime: ms(g.Duration - g.TTFT), TokensPrompt: g.Usage.PromptTokens, TokensCompletion: g.Usage.CompletionTokens,
		NativePrompt: g.Usage.PromptTokens, NativeCompletion: g.Usage.CompletionTokens, NativeReasoning: g.Usage.ReasoningTokens,
		NativeCached: g.Usage.CachedTokens, NativeCacheWrite: g.Usage.CacheWriteTokens, FinishReason: notEmpty(g.FinishReason),
		NativeFinishReason: notEmpty(cmp.Or(g.NativeReason, g.FinishReason)), Usage: cost, TotalCost: cost, UpstreamCost: cost, ExternalUser: notEmpty(g.User),
		WorkspaceID: notEmpty(g.Team), App: notEmpty(g.App), Tags: append([]string{}, g.Tags...), APIKeyID: g.Key, Status: g.Status,
		UpstreamID: notEmpty(g.UpstreamID), UserAgent: notEmpty(g.UserAgent), Origin: cmp.Or(g.Origin, originOf(g.Site)),
		ErrorType: notEmpty(g.Error), Attempts: len(g.Attempts), CompletionIsEstimate: !g.Usage.Known && g.Cost > 0,
	}
	if g.Discount != 0 {
		discount := json.Number(g.Discount.String())
		v.CacheDiscount = &discount
	}
	if g.TTFT > 0 {
		ttft := ms(g.TTFT)
		v.TTFT = &ttft
	}
	if tps := g.TPS(); tps > 0 {
		v.TokensPerSecond = &tps
	}
	for _, a := range g.Attempts {
		r := providerResponseView{ProviderName: a.ProviderName, EndpointID: a.Endpoint, ModelPermaslug: a.Model, Latency: ms(a.Duration),
			ID: a.UpstreamID, Purpose: a.Purpose, Outcome: a.Outcome, BodySent: a.BodySent, ServiceTier: a.ServiceTier, Cost: json.Number(a.Cost.String())}
		if a.Status != 0 {
			r.Status = &a.Status
		}
		v.ProviderResponses = append(v.ProviderResponses, r)
	}
	return v
}

// apiType is OpenRouter's word (https://openrouter.ai/docs/client-sdks/python/components/apitype.md) for what an API is for.
func apiType(api string) string {
	switch wire.Shape(api) {
	case wire.Embeddings, wire.Rerank:
		return api
	}
	return "completions"
}

// originOf is the origin of an address (RFC 6454); "" where it is none.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// notEmpty is nil for "".
func notEmpty(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
