package policy

import (
	"slices"
	"sync/atomic"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
)

// Input is what a policy reads. It is total: every field is always present with its type, and what is not known has the
// worst value that the field can take. The JSON Schemas in policies/schemas are generated from this type.
type Input struct {
	Principal PrincipalInput `json:"principal" doc:"who asks, as operators wrote it"`
	Claims    ClaimsInput    `json:"claims" doc:"what the caller says of itself and may lie about"`
	Request   RequestInput   `json:"request" doc:"what is asked for"`
	Endpoint  EndpointInput  `json:"endpoint" doc:"the row that is judged; absent from rules that judge the whole request"`
	Time      TimeInput      `json:"time" doc:"when, in UTC"`
}

// PrincipalInput is input.principal.
type PrincipalInput struct {
	Organisation string            `json:"organisation" doc:"id"`
	Team         string            `json:"team" doc:"id; empty where the key belongs to no team"`
	Key          string            `json:"key" doc:"id of the key: key_ and 12 hex digits"`
	Labels       map[string]string `json:"labels" doc:"of organisation, team and key; the narrower wins"`
	DataClass    string            `json:"data_class" enum:"public,internal,confidential,restricted" doc:"the floor that the operators set; input.request.data_class is the class in effect"`
}

// ClaimsInput is input.claims.
type ClaimsInput struct {
	User      string            `json:"user" doc:"empty where not said" many:"each end user has its own"`
	Metadata  map[string]string `json:"metadata" many:"callers write what they like into it"`
	Tags      []string          `json:"tags" many:"callers write what they like into it"`
	DataClass string            `json:"data_class" doc:"empty where not said; it can only raise input.request.data_class"`
}

// RequestInput is input.request.
type RequestInput struct {
	API                string           `json:"api" enum:"chat,completions,count_tokens,embeddings,messages,rerank,responses" doc:"that it came in"`
	Model              string           `json:"model" doc:"as sent"`
	Models             []string         `json:"models" doc:"the fallbacks after model, as sent"`
	Stream             bool             `json:"stream"`
	MaxOutputTokens    int64            `json:"max_output_tokens" doc:"every alias of the field read as one; 1000000000 where not sent" many:"callers send any number"`
	N                  int64            `json:"n" doc:"answers asked for"`
	ToolKinds          []string         `json:"tool_kinds" doc:"sorted: function, web_search, mcp …"`
	ToolCount          int64            `json:"tool_count"`
	EgressHosts        []string         `json:"egress_hosts" doc:"hosts that a provider would contact for this request; sorted" many:"callers name any host"`
	InputModalities    []string         `json:"input_modalities" doc:"sorted: audio, file, image, text, video"`
	OutputModalities   []string         `json:"output_modalities" doc:"sorted"`
	ResponseFormat     string           `json:"response_format" doc:"text where not sent"`
	Store              bool             `json:"store" doc:"the provider is asked to keep the answer"`
	Background         bool             `json:"background"`
	PreviousResponse   bool             `json:"previous_response" doc:"builds on state at the provider"`
	FileReferences     bool             `json:"file_references" doc:"names files at the provider"`
	Reasoning          ReasoningInput   `json:"reasoning"`
	Preferences        PreferencesInput `json:"preferences" doc:"the request's provider object"`
	Parameters         []string         `json:"parameters" doc:"top-level parameters sent; sorted"`
	PromptTokens       int64            `json:"prompt_tokens" doc:"estimate" many:"nearly every request has its own"`
	DataClass          string           `json:"data_class" enum:"public,internal,confidential,restricted" doc:"in effect: the higher of the operators' floor and the caller's claim"`
	DataClassRank      int64            `json:"data_class_rank" doc:"0 public, 1 internal, 2 confidential, 3 restricted" values:"4"`
	ProviderToolsAsked bool             `json:"provider_tools" doc:"some tool would run at the provider"`
	ProviderStateAsked bool             `json:"provider_state" doc:"store, background, previous_response or file_references"`
}

// ReasoningInput is input.request.reasoning.
type ReasoningInput struct {
	Effort string `json:"effort" doc:"empty where not sent"`
	Tokens int64  `json:"tokens" doc:"0 where not sent" many:"callers send any number"`
}

// PreferencesInput is input.request.preferences.
type PreferencesInput struct {
	Order             []string `json:"order"`
	Only              []string `json:"only"`
	Ignore            []string `json:"ignore"`
	AllowFallbacks    bool     `json:"allow_fallbacks"`
	RequireParameters bool     `json:"require_parameters"`
	DataCollection    string   `json:"data_collection" enum:"allow,deny"`
	ZDR               bool     `json:"zdr"`
	DistillableText   bool     `json:"distillable_text"`
	Quantizations     []string `json:"quantizations"`
	Sort              string   `json:"sort" doc:"empty where not sent"`
}

// EndpointInput is input.endpoint.
type EndpointInput struct {
	ID                string             `json:"id" doc:"model@tag#group"`
	Provider          string             `json:"provider" doc:"id"`
	Model             string             `json:"model" doc:"id: author/slug"`
	Tag               string             `json:"tag" doc:"provider or provider/variant"`
	Credentials       string             `json:"credentials" doc:"name of the group of credentials whose terms hold"`
	Free              bool               `json:"free" doc:"the provider bills nothing: such terms often pay with data"`
	SelfHosted        bool               `json:"self_hosted" doc:"reached without a credential: a machine of one's own"`
	ProcessingRegions []string           `json:"processing_regions" doc:"where it may be processed, sorted; every region for a global deployment; [\"unknown\"] where not stated" filled:"unknown"`
	Jurisdiction      string             `json:"jurisdiction" doc:"whose law reaches the data: ISO 3166-1 alpha-2, EU or unknown"`
	Headquarters      string             `json:"headquarters" doc:"ISO 3166-1 alpha-2 or unknown"`
	Quantization      string             `json:"quantization" doc:"unknown where not stated"`
	DataPolicy        DataPolicyInput    `json:"data_policy"`
	Distillation      string             `json:"distillation" enum:"yes,no,unknown" doc:"the model's author permits other models to be trained on its answers"`
	Certifications    []string           `json:"certifications" doc:"sorted"`
	Price             PriceInput         `json:"price"`
	ContextLength     int64              `json:"context_length"`
	MaxOutputTokens   int64              `json:"max_output_tokens" doc:"the context length where there is no other limit"`
	InputModalities   []string           `json:"input_modalities" doc:"sorted"`
	OutputModalities  []string           `json:"output_modalities" doc:"sorted"`
	Parameters        []string           `json:"parameters" doc:"request parameters that it supports; sorted"`
	Attributes        map[string]float64 `json:"attributes"`
	Labels            map[string]string  `json:"labels"`
	Stats             StatsInput         `json:"stats" doc:"live, in buckets; estimates where samples is 0"`
}

// DataPolicyInput is input.endpoint.data_policy. Claims past their review date are unknown.
type DataPolicyInput struct {
	Training       string `json:"training" enum:"yes,no,unknown" doc:"prompts train models"`
	RetainsPrompts string `json:"retains_prompts" enum:"yes,no,unknown"`
	RetentionDays  int64  `json:"retention_days" doc:"36500 where not known"`
	ZDR            string `json:"zdr" enum:"yes,no,unknown" doc:"zero data retention holds as things are"`
	ZDROption      bool   `json:"zdr_option" doc:"zero data retention can be switched on for one request"`
	Publishes      string `json:"publishes" enum:"yes,no,unknown" doc:"prompts may be published"`
	AsOf           string `json:"as_of" doc:"date of the evidence, YYYY-MM-DD; 0001-01-01 where there is none"`
	EvidenceDays   int64  `json:"evidence_days" doc:"age of the evidence; 36500 where there is none"`
}

// PriceInput is input.endpoint.price: USD per million tokens, but for request and image. Where prices depend on the time or the prompt,
// each is the dearest: a verdict has no clock, and what it permits stays permitted.
type PriceInput struct {
	Prompt     float64 `json:"prompt" doc:"USD per million tokens; like every price at its dearest, where it depends on the time or the prompt"`
	Completion float64 `json:"completion" doc:"USD per million tokens"`
	CacheRead  float64 `json:"cache_read" doc:"USD per million tokens"`
	CacheWrite float64 `json:"cache_write" doc:"USD per million tokens"`
	Request    float64 `json:"request" doc:"USD a request"`
	Image      float64 `json:"image" doc:"USD an input image"`
}

// StatsInput is input.endpoint.stats.
type StatsInput struct {
	Samples int64            `json:"samples" doc:"attempts in the window; 0: the other figures are estimates"`
	TTFT    PercentilesInput `json:"ttft_ms" doc:"time to first token, milliseconds"`
	TPS     PercentilesInput `json:"tps" doc:"output tokens a second"`
	Uptime  float64          `json:"uptime" doc:"share of attempts that succeed, 0…1" most:"1"`
}

// PercentilesInput is a distribution.
type PercentilesInput struct {
	P50 float64 `json:"p50"`
	P75 float64 `json:"p75"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// TimeInput is input.time.
type TimeInput struct {
	Date    string `json:"date" doc:"YYYY-MM-DD"`
	Hour    int64  `json:"hour" values:"24"`
	Minute  int64  `json:"minute" values:"60"`
	Weekday string `json:"weekday" enum:"monday,tuesday,wednesday,thursday,friday,saturday,sunday"`
}

// What stands for a figure that nobody has stated: the worst that it could be.
const (
	unlimitedTokens  = 1_000_000_000
	worstTTFTMillis  = 3_600_000
	unknown          = "unknown"
	unknownEvidence  = "0001-01-01"
	noRegionIsStated = unknown
)

var (
	weekdays      = [...]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
	unknownRegion = []string{noRegionIsStated}
)

// fillRequest fills everything that is the same for every row.
func (in *Input) fillRequest(q *Query) {
	who, req, now := q.Principal, q.Request, q.Now.UTC()
	in.Principal = PrincipalInput{
		Organisation: who.Organisation.ID,
		Key:          who.Key.ID,
		Labels:       who.Labels,
		DataClass:    account.DataClasses[classRank(who.DataClass)],
	}
	if who.Team != nil {
		in.Principal.Team = who.Team.ID
	}
	in.Claims = ClaimsInput{
		User:      req.Claims.User,
		Metadata:  req.Claims.Metadata,
		Tags:      req.Claims.Tags,
		DataClass: req.Claims.DataClass,
	}
	rank := classRank(who.DataClass)
	if req.Claims.DataClass != "" {
		rank = max(rank, classRank(req.Claims.DataClass))
	}
	limit := req.MaxOutputTokens
	if limit <= 0 {
		limit = unlimitedTokens
	}
	p := &req.Preferences
	in.Request = RequestInput{
		API:                req.Shape.String(),
		Model:              req.Model,
		Models:             req.Models,
		Stream:             req.Stream,
		MaxOutputTokens:    limit,
		N:                  req.N,
		ToolKinds:          req.ToolKinds,
		ToolCount:          int64(req.ToolCount),
		EgressHosts:        req.EgressHosts,
		InputModalities:    req.InputModalities,
		OutputModalities:   req.OutputModalities,
		ResponseFormat:     req.ResponseFormat,
		Store:              req.Store,
		Background:         req.Background,
		PreviousResponse:   req.PreviousResponse,
		FileReferences:     req.FileReferences,
		Reasoning:          ReasoningInput{Effort: req.ReasoningEffort, Tokens: req.ReasoningTokens},
		Parameters:         req.Parameters,
		PromptTokens:       req.PromptTokens,
		DataClass:          account.DataClasses[rank],
		DataClassRank:      int64(rank),
		ProviderToolsAsked: asksProviderTools(req.ToolKinds),
		ProviderStateAsked: req.Store || req.Background || req.PreviousResponse || req.FileReferences,
		Preferences: PreferencesInput{
			Order:             p.Order,
			Only:              p.Only,
			Ignore:            p.Ignore,
			AllowFallbacks:    p.AllowFallbacks,
			RequireParameters: p.RequireParameters,
			DataCollection:    orDeny(p.DataCollection),
			ZDR:               p.ZDR,
			DistillableText:   p.DistillableText,
			Quantizations:     p.Quantizations,
			Sort:              p.Sort,
		},
	}
	in.Time = TimeInput{Date: dateOf(now), Hour: int64(now.Hour()), Minute: int64(now.Minute()), Weekday: weekdays[now.Weekday()]}
}

// orDeny reads a data_collection that is not known to allow as one that does not.
func orDeny(collection string) string {
	if collection != "allow" {
		return "deny"
	}
	return collection
}

// dated is the text of the day that was last asked for: nearly every request is of the same.
var dated atomic.Pointer[struct {
	day  int64
	text string
}]

func dateOf(now time.Time) string {
	last := dated.Load()
	if last == nil || last.day != day(now) {
		last = &struct {
			day  int64
			text string
		}{day(now), now.UTC().Format(time.DateOnly)}
		dated.Store(last)
	}
	return last.text
}

// classRank is the place of a data class; a class that nobody knows counts as the highest.
func classRank(class string) int {
	if i := slices.Index(account.DataClasses, class); i >= 0 {
		return i
	}
	return len(account.DataClasses) - 1
}

// asksProviderTools is true unless every tool is one that the caller runs itself.
func asksProviderTools(kinds []string) bool {
	return slices.ContainsFunc(kinds, func(kind string) bool { return kind != "function" && kind != "custom" })
}

// fillEndpoint fills everything of a row that neither the day nor live statistics change.
func (in *Input) fillEndpoint(row *catalog.Row) {
	e, prices := &in.Endpoint, row.DearestPrices()
	*e = EndpointInput{
		ID:                row.ID,
		Tag:               row.Tag,
		Free:              row.Free,
		ProcessingRegions: row.ProcessingRegions,
		Jurisdiction:      stated(row.Jurisdiction),
		Headquarters:      stated(row.Headquarters),
		Quantization:      stated(row.Quantization),
		Certifications:    row.Certifications,
		Price: PriceInput{
			Prompt:     perMillion(prices.Prompt),
			Completion: perMillion(prices.Completion),
			CacheRead:  perMillion(prices.CacheRead),
			CacheWrite: perMillion(prices.CacheWrite),
			Request:    float64(prices.Request) / 1e12,
			Image:      float64(prices.Image) / 1e12,
		},
		ContextLength:    row.ContextLength,
		MaxOutputTokens:  row.MaxOutputTokens,
		InputModalities:  row.InputModalities,
		OutputModalities: row.OutputModalities,
		Parameters:       supported(row.Parameters),
		Attributes:       row.Attributes,
		Labels:           row.Labels,
	}
	if row.Provider != nil {
		e.Provider = row.Provider.ID
	}
	if row.Model != nil {
		e.Model = row.Model.ID
	}
	if row.Group != nil {
		e.Credentials = row.Group.Name
		e.SelfHosted = row.Group.NoAuth
	}
	if len(e.ProcessingRegions) == 0 {
		// Not an empty list: "every region is one of ours" would be true of it.
		e.ProcessingRegions = unknownRegion
	}
	if e.MaxOutputTokens <= 0 {
		e.MaxOutputTokens = row.ContextLength
	}
}

// dailyFields are what fillTerms fills.
var dailyFields = []string{"input.endpoint.data_policy", "input.endpoint.distillation"}

// fillTerms fills what the day changes.
func (in *Input) fillTerms(row *catalog.Row, now time.Time) {
	d := row.DataPolicy.At(now)
	in.Endpoint.DataPolicy = DataPolicyInput{
		Training:       stated(string(d.Training)),
		RetainsPrompts: stated(string(d.RetainsPrompts)),
		RetentionDays:  int64(d.RetentionDays),
		ZDR:            stated(string(d.ZDR)),
		ZDROption:      d.ZDROption != "",
		Publishes:      stated(string(d.Publishes)),
		AsOf:           unknownEvidence,
		EvidenceDays:   catalog.UnknownRetentionDays,
	}
	in.Endpoint.Distillation = stated(string(row.Distillation.At(now)))
	p := &in.Endpoint.DataPolicy
	if p.RetentionDays < 0 || p.RetainsPrompts == unknown && p.ZDR != string(catalog.Yes) && p.RetentionDays == 0 {
		p.RetentionDays = catalog.UnknownRetentionDays
	}
	// Whole days: what a policy reads of a row's terms changes at midnight UTC and at no other moment.
	reviewed := d.ReviewBy.IsZero() || day(now) <= day(d.ReviewBy)
	if reviewed && !d.AsOf.IsZero() && day(d.AsOf) <= day(now) {
		p.AsOf = d.AsOf.UTC().Format(time.DateOnly)
		p.EvidenceDays = day(now) - day(d.AsOf)
	}
}

func stated(s string) string {
	if s == "" {
		return unknown
	}
	return s
}

func perMillion(p catalog.Picodollars) float64 { return float64(p) / 1e6 }

func supported(parameters map[string]bool) []string {
	var names []string
	for name, yes := range parameters {
		if yes {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// fillStats fills live statistics; without a view every figure is the worst.
func (in *Input) fillStats(s *steady, view *telemetry.View, row *catalog.Row) {
	in.Endpoint.Stats = *s.at(view, row.Index)
}
