package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/route"
	"chaperone/engine/wire"
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

// pricing is USD per token (request, image: per unit), as decimal strings.
type pricing struct {
	Prompt     string `json:"prompt"`
	Completion string `json:"completion"`
	CacheRead  string `json:"input_cache_read"`
	CacheWrite string `json:"input_cache_write"`
	Hour       string `json:"input_cache_write_1h"`
	Reasoning  string `json:"internal_reasoning"`
	Request    string `json:"request"`
	Image      string `json:"image"`
	Audio      string `json:"audio"`

	Overrides []pricingOverride `json:"overrides,omitempty"`
}

// pricingOverride is OpenRouter's, with the days on which it holds alone.
type pricingOverride struct {
	MinPromptTokens int64             `json:"min_prompt_tokens,omitempty"` // longer prompts
	Start           *int              `json:"utc_start,omitempty"`         // HHMM
	End             *int              `json:"utc_end,omitempty"`
	Days            []string          `json:"utc_days,omitempty"` // "monday"
	Prices          map[string]string `json:"-"`
}

// priceNames are OpenRouter's, by ours.
var priceNames = map[string]string{
	"prompt": "prompt", "completion": "completion", "cache_read": "input_cache_read", "cache_write": "input_cache_write",
	"cache_write_1h": "input_cache_write_1h", "reasoning": "internal_reasoning", "request": "request", "image": "image", "audio": "audio",
}

// MarshalJSON has the prices beside the conditions.
func (o pricingOverride) MarshalJSON() ([]byte, error) {
	type conditions pricingOverride
	text, err := json.Marshal(conditions(o))
	if err != nil {
		return nil, err
	}
	all := map[string]any{}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	for name, price := range o.Prices {
		all[name] = price
	}
	return json.Marshal(all)
}

func pricesOf(r *catalog.Row) pricing {
	p := &r.Prices
	out := pricing{Prompt: p.Prompt.String(), Completion: p.Completion.String(), CacheRead: p.CacheRead.String(), CacheWrite: p.CacheWrite.String(),
		Hour: p.CacheWrite1h.String(), Reasoning: p.Reasoning.String(), Request: p.Request.String(), Image: p.Image.String(), Audio: p.Audio.String()}
	for i := range r.PriceOverrides.List {
		o := &r.PriceOverrides.List[i]
		shown := pricingOverride{MinPromptTokens: o.MinPromptTokens, Prices: map[string]string{}}
		if o.From != o.Until {
			shown.Start, shown.End = clock(o.From), clock(o.Until)
		}
		for _, day := range o.Days {
			shown.Days = append(shown.Days, strings.ToLower(day.String()))
		}
		for name, price := range o.Each() {
			shown.Prices[priceNames[name]] = price.String()
		}
		out.Overrides = append(out.Overrides, shown)
	}
	return out
}

func clock(d time.Duration) *int {
	hhmm := int(d/time.Hour*100 + d%time.Hour/time.Minute)
	return &hhmm
}

// usable is a model with those of its endpoints that a key may use, and what lists are ordered by.
type usable struct {
	route.UsableModel
	cheapest *catalog.Row
	tps      float64 // median output tokens a second of its fastest endpoint; 0: not known
	ttft     float64 // median milliseconds of its quickest endpoint; +Inf: not known
}

func (u *usable) price() catalog.Picodollars {
	return u.cheapest.Prices.Prompt + u.cheapest.Prices.Completion
}

// context is the longest context of its endpoints.
func (u *usable) context() int64 {
	longest := int64(0)
	for _, ep := range u.Endpoints {
		longest = max(longest, ep.Row.ContextLength)
	}
	return longest
}

// each gathers what the endpoints of a model have, each once and sorted.
func (u *usable) each(of func(*catalog.Row) []string) []string {
	set := map[string]bool{}
	for _, ep := range u.Endpoints {
		for _, s := range of(ep.Row) {
			set[s] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func (u *usable) providers() []string {
	return u.each(func(r *catalog.Row) []string { return []string{r.Provider.ID} })
}

func (u *usable) parameters() []string {
	return u.each(func(r *catalog.Row) []string { return slices.Collect(maps.Keys(r.Parameters)) })
}

// hasZDR says whether an endpoint has zero data retention at now.
func (u *usable) hasZDR(now time.Time) bool {
	return slices.ContainsFunc(u.Endpoints, func(ep route.Endpoint) bool { return ep.Row.DataPolicy.At(now).ZDR == catalog.Yes })
}

// distillable says whether the author permits other models to be trained on the answers of an endpoint.
func (u *usable) distillable(now time.Time) bool {
	return slices.ContainsFunc(u.Endpoints, func(ep route.Endpoint) bool { return ep.Row.Distillation.At(now) == catalog.Yes })
}

func (u *usable) view(now time.Time) modelView {
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

func unixOrZero(t time.Time) int64 { return max(t.Unix(), 0) }

// positive is nil for 0.
func positive(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

// anthropicModel is a model as Anthropic's API lists it (https://docs.claude.com/en/api/models-list).
type anthropicModel struct {
	Type            string `json:"type"`
	ID              string `json:"id"`
	DisplayName     string `json:"display_name"`
	CreatedAt       string `json:"created_at"` // RFC 3339; 1970 where it is not known
	MaxInputTokens  int64  `json:"max_input_tokens"`
	MaxOutputTokens *int64 `json:"max_tokens"`
}

func (u *usable) anthropic() anthropicModel {
	return anthropicModel{Type: "model", ID: u.Model.ID, DisplayName: u.Model.Name,
		CreatedAt: time.Unix(unixOrZero(u.Model.Created), 0).UTC().Format(time.RFC3339), MaxInputTokens: u.context(),
		MaxOutputTokens: positive(u.cheapest.MaxOutputTokens)}
}

// Listing asks for models.
type Listing struct {
	Key       string
	Query     url.Values
	Anthropic bool // in Anthropic's form and paging; otherwise in OpenRouter's, which OpenAI's clients read too
}

// Models lists, as JSON, the models that a key may use.
func (e *Engine) Models(ctx context.Context, l Listing) ([]byte, error) {
	s, who, err := e.listener(l.Key)
	if err != nil {
		return nil, err
	}
	defer s.release()
	now := e.options.Now()
	if l.Anthropic {
		chats, _ := readFilter(nil) // those that answer in text, which is all that Anthropic's API is for
		return pageForAnthropic(chats.choose(s.usable(ctx, who, now), now), l.Query)
	}
	f, refused := readFilter(l.Query)
	if refused != nil {
		return nil, refused
	}
	all := f.choose(s.usable(ctx, who, now), now)
	total := len(all)
	next := (*string)(nil)
	if f.paged {
		from := min(f.offset, total)
		to := min(from+f.limit, total)
		if all = all[from:to]; to < total {
			q := maps.Clone(l.Query)
			q.Set("offset", strconv.Itoa(to))
			link := "/api/v1/models?" + q.Encode()
			next = &link
		}
	}
	data := make([]modelView, len(all))
	for i := range all {
		data[i] = all[i].view(now)
	}
	return json.Marshal(map[string]any{"object": "list", "data": data, "total_count": total, "links": map[string]any{"next": next}})
}

// CountModels says, as JSON, how many models the same listing has.
func (e *Engine) CountModels(ctx context.Context, l Listing) ([]byte, error) {
	s, who, err := e.listener(l.Key)
	if err != nil {
		return nil, err
	}
	defer s.release()
	f, refused := readFilter(l.Query)
	if refused != nil {
		return nil, refused
	}
	now := e.options.Now()
	n := len(f.choose(s.usable(ctx, who, now), now))
	return json.Marshal(map[string]any{"data": map[string]any{"count": n}})
}

// Model shows one model, as JSON, by any of its names: bare as OpenAI's and Anthropic's APIs do, or within data as
// OpenRouter's does.
func (e *Engine) Model(ctx context.Context, l Listing, name string, withinData bool) ([]byte, error) {
	s, who, err := e.listener(l.Key)
	if err != nil {
		return nil, err
	}
	defer s.release()
	now := e.options.Now()
	m := s.router.Model(who, name)
	if m != nil {
		for _, u := range s.usable(ctx, who, now) {
			switch {
			case u.Model != m:
			case l.Anthropic:
				return json.Marshal(u.anthropic())
			case withinData:
				return json.Marshal(map[string]any{"data": u.view(now)})
			default:
				return json.Marshal(u.view(now))
			}
		}
	}
	return nil, noModel(name)
}

func noModel(name string) *wire.Error {
	return &wire.Error{Status: http.StatusNotFound, Type: "not_found", Param: "model",
		Message: fmt.Sprintf("%q is not a model that this key may use; GET /v1/models lists those that are", name)}
}

// listener is the newest snapshot, to be released, and who asks it for a listing.
func (e *Engine) listener(key string) (*snapshot, *account.Principal, error) {
	s := e.acquire()
	who, refused := e.authenticate(s, Call{Key: key})
	if refused != nil {
		s.release()
		return nil, nil, refused
	}
	return s, who, nil
}

// usable lists the models that a principal may use, by id.
func (s *snapshot) usable(ctx context.Context, who *account.Principal, now time.Time) []usable {
	models := s.router.Usable(ctx, who, now)
	out := make([]usable, len(models))
	stats := s.published.View(now).Minutes30
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
