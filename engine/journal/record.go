// Package journal keeps one record a request: who asked, what was considered, what each rule and scorer said, what each
// attempt came to. It never holds prompt or completion text.
package journal

import (
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/scorer"
	"chaperone/engine/wire"
)

// Record is one decision and what came of it.
type Record struct {
	ID           string            `json:"id"`
	At           time.Time         `json:"at"`
	Generation   uint64            `json:"generation"` // of the snapshot that planned
	Seed         uint64            `json:"seed"`
	Organisation string            `json:"organisation"`
	Team         string            `json:"team,omitempty"`
	Key          string            `json:"key"`
	DataClass    string            `json:"data_class"`              // the floor that operators set
	Labels       map[string]string `json:"labels,omitempty"`        // of organisation, team and key
	Claims       *Claims           `json:"claims,omitempty"`        // nil where the caller said nothing of itself
	Sealed       *Sealed           `json:"sealed_claims,omitempty"` // claims on disk
	Request      Request           `json:"request"`
	Policy       string            `json:"policy_digest"`
	Catalog      string            `json:"catalog_digest"`
	// Configuration is the digest of Artefacts; "" where nothing is kept on disk.
	Configuration string             `json:"configuration_digest,omitempty"`
	Tick          uint64             `json:"statistics_tick"`
	Sticky        []string           `json:"sticky,omitempty"`        // rows that were ahead because they hold the conversation's prompt
	Holds         []string           `json:"holds,omitempty"`         // rows whose providers hold it, those that were not ahead too
	Made          []string           `json:"made_by,omitempty"`       // accounts whose sealed reasoning the request sends back: it can go to them alone
	ValueOfTime   *float64           `json:"value_of_time,omitempty"` // USD an hour, where the organisation has its own
	PlanMicros    int64              `json:"plan_us"`
	Scorers       []string           `json:"scorers,omitempty"`
	Shadows       []string           `json:"shadows,omitempty"`   // shadow scorers that ranked beside them
	Weights       map[string]float64 `json:"weights,omitempty"`   // of scorers, where policy prefers some
	Abstained     map[string]string  `json:"abstained,omitempty"` // scorer → why
	Candidates    []Candidate        `json:"candidates"`
	Rejections    []policy.Reason    `json:"rejections,omitempty"`
	Warnings      []policy.Reason    `json:"warnings,omitempty"` // of bindings that only warn or run dry
	Log           policy.LogLevel    `json:"log,omitempty"`      // what the obligations let be recorded; "": as configured
	Dispatched    bool               `json:"dispatched"`
	Question      bool               `json:"question,omitempty"` // only what would be decided was asked
	Attempts      []Attempt          `json:"attempts,omitempty"`
	Outcome       Outcome            `json:"outcome"`

	numbered bool // candidates have their index
}

// Claims is what the caller says of itself.
type Claims struct {
	User      string            `json:"user,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	Tags      []string          `json:"tags,omitempty"`
	DataClass string            `json:"data_class,omitempty"`
	Session   string            `json:"session,omitempty"`
	Trace     map[string]string `json:"trace,omitempty"`
	App       *App              `json:"app,omitempty"` // nil where it is not named
}

// App is the program that asks, as its headers name it.
type App struct {
	URL        string   `json:"url,omitempty"`
	Title      string   `json:"title,omitempty"`
	Categories []string `json:"categories,omitempty"`
	UserAgent  string   `json:"user_agent,omitempty"`
	Origin     string   `json:"origin,omitempty"`
}

// Request is what routing and policy could read of the request; no content.
type Request struct {
	API              string      `json:"api"` // that it came in, as wire.Shape names it; "" in records of before there was another than chat
	Model            string      `json:"model"`
	Models           []string    `json:"models,omitempty"`
	Stream           bool        `json:"stream"`
	MaxOutputTokens  int64       `json:"max_output_tokens,omitempty"`
	N                int64       `json:"n"`
	ToolKinds        []string    `json:"tool_kinds,omitempty"`
	ToolCount        int         `json:"tool_count,omitempty"`
	EgressHosts      []string    `json:"egress_hosts,omitempty"`
	InputModalities  []string    `json:"input_modalities"`
	Images           int64       `json:"images,omitempty"`
	OutputModalities []string    `json:"output_modalities"`
	ResponseFormat   string      `json:"response_format"`
	Store            bool        `json:"store,omitempty"`
	Background       bool        `json:"background,omitempty"`
	PreviousResponse bool        `json:"previous_response,omitempty"`
	FileReferences   bool        `json:"file_references,omitempty"`
	ReasoningEffort  string      `json:"reasoning_effort,omitempty"`
	ReasoningTokens  int64       `json:"reasoning_tokens,omitempty"`
	Preferences      Preferences `json:"preferences"`
	Preset           string      `json:"preset,omitempty"`
	ServiceTier      string      `json:"service_tier,omitempty"`
	DataClass        string      `json:"data_class"` // in effect: the higher of the floor and the claim
	PromptTokens     int64       `json:"estimated_prompt_tokens"`
	Parameters       []string    `json:"parameters,omitempty"`
	BodyBytes        int         `json:"body_bytes"`
}

// Preferences is the request's provider object, as wire.Preferences has it.
type Preferences struct {
	Order             []string      `json:"order,omitempty"`
	Only              []string      `json:"only,omitempty"`
	Ignore            []string      `json:"ignore,omitempty"`
	AllowFallbacks    bool          `json:"allow_fallbacks"`
	RequireParameters bool          `json:"require_parameters,omitempty"`
	DataCollection    string        `json:"data_collection"`
	ZDR               bool          `json:"zdr,omitempty"`
	DistillableText   bool          `json:"distillable_text,omitempty"`
	Quantizations     []string      `json:"quantizations,omitempty"`
	Sort              string        `json:"sort,omitempty"`
	Partition         string        `json:"partition"`
	MinThroughput     *Cutoffs      `json:"min_throughput,omitempty"`
	MaxLatency        *Cutoffs      `json:"max_latency,omitempty"`
	MaxPrice          *PriceCeiling `json:"max_price,omitempty"`
}

// Cutoffs is wire.Cutoffs.
type Cutoffs struct {
	P50 float64 `json:"p50"`
	P75 float64 `json:"p75"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// PriceCeiling is wire.PriceCeiling.
type PriceCeiling struct {
	Prompt     float64 `json:"prompt"`
	Completion float64 `json:"completion"`
	Request    float64 `json:"request"`
	Image      float64 `json:"image"`
	Audio      float64 `json:"audio"`
}

// Candidate is a row that was considered.
type Candidate struct {
	Row         string              `json:"row"`
	Model       string              `json:"model"`
	Provider    string              `json:"provider"`
	Tag         string              `json:"tag"`
	Group       string              `json:"credential_group"`
	Place       int                 `json:"place,omitempty"` // 1-based place in the plan; absent where excluded
	Excluded    *route.Exclusion    `json:"excluded,omitempty"`
	Warnings    []policy.Reason     `json:"warnings,omitempty"`
	Obligations *policy.Obligations `json:"obligations,omitempty"`
	Unusable    bool                `json:"unusable,omitempty"` // it had no address or no credential
	Resting     bool                `json:"resting,omitempty"`  // in the plan or denied by policy: health would have put it last
	Rest        string              `json:"rest,omitempty"`     // why
	RestMs      float64             `json:"rest_ms,omitempty"`  // how long yet; absent where nobody knows
	Utility     *float64            `json:"utility,omitempty"`
	Share       *float64            `json:"share,omitempty"`
	Scores      ByScorer            `json:"scores,omitempty"`  // as the scorer gave it; absent where that is not finite
	Parts       ByScorer            `json:"parts,omitempty"`   // as a utility; absent where the scorer abstained
	Terms       []scorer.Term       `json:"terms,omitempty"`   // in dollars
	Shadows     Shadows             `json:"shadows,omitempty"` // what shadow scorers made of it

	index int // of the row in its catalog
}

// Attempt is one permit carried to one endpoint with one credential.
type Attempt struct {
	Row        string      `json:"row"`
	Provider   string      `json:"provider"`
	ProviderID string      `json:"provider_id"`
	Tag        string      `json:"tag"`
	Model      string      `json:"model"`
	Credential string      `json:"credential,omitempty"` // its name, never the key
	Generation uint64      `json:"generation"`           // of the policies that permitted it
	Purpose    string      `json:"purpose"`              // one of For…
	StartedMs  float64     `json:"started_ms"`           // since the decision
	TTFTMs     float64     `json:"ttft_ms,omitempty"`
	DurationMs float64     `json:"duration_ms"`
	Outcome    string      `json:"outcome"` // "ok", "cancelled" or the fault's kind
	Scope      string      `json:"scope,omitempty"`
	Status     int         `json:"status,omitempty"`      // the provider's HTTP status; 0: none came
	UpstreamID string      `json:"upstream_id,omitempty"` // of the answer, as its provider calls it
	BodySent   string      `json:"body_sent"`             // none | part | all
	Usage      wire.Usage  `json:"usage"`
	Impossible *wire.Usage `json:"impossible_usage,omitempty"` // what the provider said that it counted, and cannot have
	// ServiceTier is that which has served, and by whose prices it is billed: "default" for none where one was asked for; "" else.
	ServiceTier string              `json:"service_tier,omitempty"`
	Cost        catalog.Picodollars `json:"cost_picodollars"`
}

// What an attempt was made for.
const (
	ForAnswer   = "answer"   // the first of a request
	ForRetry    = "retry"    // the same endpoint and credential once more
	ForFallback = "fallback" // the next
	ForHedge    = "hedge"    // another, beside one that was slow
	ForContinue = "continue" // to go on from where an answer broke off
	ForSplice   = "splice"   // to give an answer that broke off once more, and have the rest of it
)

// Outcome is how the whole request ended.
type Outcome struct {
	Status       int     `json:"status"`          // as the client saw it
	Error        string  `json:"error,omitempty"` // error_type
	Provider     string  `json:"provider,omitempty"`
	Model        string  `json:"model,omitempty"`
	Row          string  `json:"row,omitempty"`
	FinishReason string  `json:"finish_reason,omitempty"`        // OpenRouter's word
	NativeReason string  `json:"native_finish_reason,omitempty"` // the provider's own, where it is another
	QueuedMs     float64 `json:"queued_ms,omitempty"`            // waiting for a place, at the router and at endpoints
	TTFTMs       float64 `json:"ttft_ms,omitempty"`
	DurationMs   float64 `json:"duration_ms"`
	// Rescued is what saved an answer that broke off, continue or splice; NotRescued is why nothing was tried to.
	Rescued    string              `json:"rescued,omitempty"`
	NotRescued string              `json:"not_rescued,omitempty"`
	CachedFrom string              `json:"cached_from,omitempty"` // the id of the answer that was given once more
	Usage      wire.Usage          `json:"usage"`
	Cost       catalog.Picodollars `json:"cost_picodollars"` // of the answer and of failed attempts that were billed
	// CacheDiscount is how much less the answer has cost than without a cache; negative where it has cost more.
	CacheDiscount catalog.Picodollars `json:"cache_discount_picodollars,omitempty"`
	Fallbacks     int                 `json:"fallbacks"` // attempts with another endpoint or credential than the one before
}
