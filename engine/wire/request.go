// Package wire turns bytes into meaning and back: the strict skim of a request, named edits, server-sent events, what
// accounting needs of an answer, and the error envelope. It knows shapes, not providers.
package wire

import "time"

// Request is what one strict pass finds in a body. The body itself is never changed.
type Request struct {
	Shape  Shape
	Head   Head
	Body   []byte   // as received; the request owns it
	Digest [32]byte // SHA-256 of Body: what a permit is bound to

	Model            string   // "" where the body names none
	Models           []string // fallbacks after Model
	Stream           bool
	IncludeUsage     bool     // the client asked for stream_options.include_usage
	MaxOutputTokens  int64    // max_tokens, max_completion_tokens and max_output_tokens read as one; 0: not sent
	N                int64    // 1 where not sent
	ToolKinds        []string // sorted, unique: "function", "web_search", "mcp" …
	ToolCount        int
	Plugins          []string // OpenRouter's that are enabled, by id, sorted; they are among ToolKinds too
	EgressHosts      []string // hosts that a provider would contact for this request: URLs of parts, remote MCP; sorted
	InputModalities  []string // sorted: text image audio file video
	Images           int64    // parts that are one
	OutputModalities []string
	ResponseFormat   string // "text" where not sent
	Store            bool
	Background       bool
	PreviousResponse bool   // previous_response_id or conversation is set
	FileReferences   bool   // a part names a provider-side file by id
	ReasoningEffort  string // "" where not sent
	ReasoningTokens  int64
	Preferences      Preferences
	Parameters       []string // top-level request parameters sent, OpenRouter's names, sorted
	PromptTokens     int64    // estimate: see EstimateTokens
	SessionID        string   // session_id; 256 bytes at most
	PromptCacheKey   string
	CacheTTL         time.Duration // the longest that cache_control asks a provider to keep a prompt; 0: not said
	ServiceTier      string        // "" where not sent; "fast" is read as "priority"
	Preset           string        // "" where not sent

	Claims Claims
	// UpstreamUser is what providers are told for Claims.User; "": nothing.
	UpstreamUser string

	fields   fieldIndex
	sealed   []string
	seals    []Seal
	foreign  bool
	versions *versions // shared by copies: they have the same body
	opening  [2]span   // of the first message with instructions, and of the first other one
}

// Claims is what the caller says of itself and may lie about.
type Claims struct {
	User      string
	Metadata  map[string]string // never nil
	Tags      []string
	DataClass string // "" where not claimed
	Trace     map[string]string
	App       App
}

// App is the program that a request comes from, as its headers name it
// (https://openrouter.ai/docs/app-attribution).
type App struct {
	URL        string   // HTTP-Referer
	Title      string   // X-OpenRouter-Title or X-Title
	Categories []string // X-OpenRouter-Categories
	UserAgent  string   // User-Agent
	Origin     string   // Origin, which browsers send: of the page that asks
}

// Preferences is OpenRouter's provider object. Nil slices and pointers: not sent.
type Preferences struct {
	Order             []string
	Only              []string
	Ignore            []string
	AllowFallbacks    bool // true where not sent
	RequireParameters bool
	DataCollection    string // allow | deny; "allow" where not sent
	ZDR               bool
	DistillableText   bool
	Quantizations     []string
	Sort              string   // "" | price | throughput | latency | exacto
	Partition         string   // "model" where not sent
	MinThroughput     *Cutoffs // tokens a second
	MaxLatency        *Cutoffs // seconds
	MaxPrice          *PriceCeiling
}

// Cutoffs are percentile thresholds; 0: none. A bare number is P50.
type Cutoffs struct{ P50, P75, P90, P99 float64 }

// PriceCeiling is USD: prompt and completion per million tokens, the others per unit; negative: no ceiling.
type PriceCeiling struct{ Prompt, Completion, Request, Image, Audio float64 }

// Edit is one named change to a top-level field of a body: Value nil removes the field, a field that is absent is added.
// Field may name one level below with a dot ("stream_options.include_usage").
type Edit struct {
	Field string
	Value []byte // JSON
}
