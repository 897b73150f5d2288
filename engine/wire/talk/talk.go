// Package talk is the inner form of a conversation: what every chat API says in its own words, said once. One file an API
// reads that API's requests, answers and events into these types and writes them from it.
//
// Nothing is lost silently. A reader notes every field that it does not know, a writer everything that its API has no words
// for, each by its path; whoever translates then leaves that API's endpoints out. Only what is listed in hints may go without
// a word, because no answer depends on it.
package talk

import "encoding/json"

// Roles of a message. What tools answered is a part of a user's message.
const (
	System    = "system"
	Developer = "developer"
	User      = "user"
	Assistant = "assistant"
)

// Request is a conversation that is to be gone on with.
type Request struct {
	Messages []Message

	Tools    []Tool
	Choice   Choice
	Parallel *bool // whether several tools may be called at once; nil: not said
	Format   Format

	MaxTokens int64    // 0: not said
	Stop      []string // nil: not said
	Reasoning Reasoning
	Sampling  map[string]json.RawMessage // temperature, top_p, seed … under OpenRouter's names, as they stood

	N        int64 // 1 where not said
	Stream   bool
	Store    bool // the provider is to keep the answer
	User     string
	Metadata map[string]string
	Tier     string // service_tier; "" where not said
	Cache    *Cache // of the whole prompt

	// Unknown is what of the request has no place in these types, each as "path: what about it".
	Unknown []string
}

// Message is one turn.
type Message struct {
	Role  string
	Name  string // of the speaker, where several share a role
	Parts []Part
}

// Kind is what a part is.
type Kind string

// The kinds of parts.
const (
	Text      Kind = "text"
	Refusal   Kind = "refusal"
	Image     Kind = "image"
	Audio     Kind = "audio"
	Video     Kind = "video"
	File      Kind = "file"
	ToolCall  Kind = "tool_call"
	ToolReply Kind = "tool_reply"
	Thought   Kind = "thought"
)

// Part is one piece of a message. The pointer that goes with its kind is set, and no other.
type Part struct {
	Kind    Kind
	Text    string // of Text and Refusal
	Media   *Media
	Call    *Call
	Reply   *Reply
	Thought *Think
	Cache   *Cache // the provider is asked to keep the prompt up to here

	// Of a Text in an answer: its sources, and of its tokens what OpenAI says of each.
	Citations []Citation
	LogProbs  []json.RawMessage
}

// Media is an image, a recording, a film or a file. Exactly one of URL, Data, Text and ID says what is in it.
type Media struct {
	URL    string
	Data   string // base64
	Text   string // of a plain text file
	ID     string // of a file that the provider keeps
	Type   string // "image/png"; "" where not said
	Name   string
	Detail string // low, high, auto; "" where not said
}

// Call is a call of one of the client's tools.
type Call struct {
	ID        string
	Name      string
	Arguments string // JSON as the model wrote it, which may be broken; of a custom tool any text
	Custom    bool
}

// Reply is what a tool answered.
type Reply struct {
	CallID string
	Parts  []Part // text and media
	Failed bool
}

// Think is a piece of reasoning. Signature and Data are bound to whoever made them: they go back unmodified or not at all.
type Think struct {
	Text      string
	Summary   string
	Signature string
	Data      string // encrypted; Text is empty then
	Format    string // OpenRouter's name of the form: "anthropic-claude-v1", "openai-responses-v1" …; "" where not said
	ID        string
}

// Sealed says whether only its maker can read it or check it.
func (t *Think) Sealed() bool { return t.Signature != "" || t.Data != "" }

// Cache asks for the prompt to be kept. It changes what a request costs, never its answer.
type Cache struct {
	TTL string // "5m", "1h"; "" where not said
}

// Tool is a function of the client's, or a custom tool, which takes text as the model writes it in place of JSON.
type Tool struct {
	Name        string
	Description string
	Schema      json.RawMessage // of a function; nil: takes nothing
	Strict      *bool
	Cache       *Cache
	Custom      bool
	Grammar     *Grammar // that the text for a custom tool has to follow; nil: any text
}

// Grammar is the form of a text.
type Grammar struct {
	Syntax     string // lark, regex
	Definition string
}

// Choice is which tools the model is to call.
type Choice struct {
	Mode    string  // auto, none, required, named; "" where not said
	Tool    Named   // the one, where named
	Allowed []Named // with auto and required: only these of the tools; nil: all
}

// Named is one of the tools, by its name.
type Named struct {
	Name   string
	Custom bool
}

// Format is the form that the answer has to have.
type Format struct {
	Kind        string // "" and "text": any; json_object; json_schema
	Name        string
	Description string
	Schema      json.RawMessage
	Strict      *bool
}

// Reasoning is how much the model is to think. The zero value: nothing is said.
type Reasoning struct {
	Effort  string // none, minimal, low, medium, high, xhigh, max
	Tokens  int64
	Enabled *bool
	Exclude bool // think, but do not show it
	Summary string
}

// Finish is why an answer ended, in OpenAI's words.
const (
	Stop     = "stop"
	Length   = "length"
	Calls    = "tool_calls"
	Filtered = "content_filter"
	Failed   = "error"
)

// Answer is a whole answer.
type Answer struct {
	ID      string
	Model   string
	Choices []Alternative
	Usage   Usage
}

// Alternative is one of n.
type Alternative struct {
	Index        int
	Parts        []Part
	Finish       string
	Native       string // the provider's own word for Finish
	StopSequence string // that ended it; "" where none or not said
}

// Usage is what a provider says it counted. Known is false where it said nothing.
type Usage struct {
	Known            bool  `json:"known"`
	PromptTokens     int64 `json:"prompt_tokens"` // with those of CachedTokens and CacheWriteTokens
	CompletionTokens int64 `json:"completion_tokens"`
	CachedTokens     int64 `json:"cached_tokens"`
	CacheWriteTokens int64 `json:"cache_write_tokens"`
	ReasoningTokens  int64 `json:"reasoning_tokens"`
	// Of CacheWriteTokens, those for a cache that is kept for an hour, and of PromptTokens, those of audio.
	CacheWrite1hTokens int64 `json:"cache_write_1h_tokens,omitempty"`
	AudioTokens        int64 `json:"audio_tokens,omitempty"`
}

// Note takes in what a further event says: counts only grow while an answer comes.
func (u *Usage) Note(v Usage) {
	u.Known = u.Known || v.Known
	u.PromptTokens = max(u.PromptTokens, v.PromptTokens)
	u.CompletionTokens = max(u.CompletionTokens, v.CompletionTokens)
	u.CachedTokens = max(u.CachedTokens, v.CachedTokens)
	u.CacheWriteTokens = max(u.CacheWriteTokens, v.CacheWriteTokens)
	u.ReasoningTokens = max(u.ReasoningTokens, v.ReasoningTokens)
	u.CacheWrite1hTokens = max(u.CacheWrite1hTokens, v.CacheWrite1hTokens)
	u.AudioTokens = max(u.AudioTokens, v.AudioTokens)
}

// Delta is what one event adds to a streamed answer. Exactly the fields that go with its kind are set.
type Delta struct {
	Kind   DeltaKind
	Choice int    // of n
	Call   int    // of the calls of that choice, in order, from 0
	Text   string // of text, refusal, thought, signature, data, arguments
	ID     string // of a call or a thought
	Name   string // of a tool
	Custom bool   // of a call and its arguments: the tool is a custom one
	Format string // of a thought
	Block  int    // of a thought: pieces with the same number belong together

	Citation *Citation
	LogProbs []json.RawMessage // of a piece of text

	Finish       string
	Native       string
	StopSequence string
}

// DeltaKind is what an event adds.
type DeltaKind int

// The kinds of deltas.
const (
	AddText      DeltaKind = iota
	AddRefusal             // text in place of an answer
	AddThought             // text of reasoning
	AddSummary             // text of a summary of it
	AddSignature           // of the reasoning before it
	AddSealed              // encrypted reasoning, whole
	BeginCall              // ID and Name
	AddArguments           // text of a call's arguments
	AddCitation            // of the text before it
	EndChoice              // Finish, Native, StopSequence
)

// EventReader turns the events of one provider's stream into deltas. It belongs to one attempt.
type EventReader interface {
	// Read appends to deltas what the data of one event adds. unknown names output that has no place in Delta; then
	// the stream cannot be translated any further.
	Read(deltas []Delta, name, data []byte) (out []Delta, unknown string, err error)
}

// Label is who serves a stream.
type Label struct {
	ID       string
	Model    string
	Provider string
	Created  int64 // seconds since 1970
	// Asked is the client's request, of which some APIs repeat parts in their answers.
	Asked []byte
	// Sequence is how many events the client has had, where its API numbers them.
	Sequence int
}

// Bill is the usage of a whole answer with what it cost.
type Bill struct {
	Usage
	Cost string // USD
	// What of the cost is the prompt's and the answer's.
	PromptCost, CompletionCost string
	Estimated                  bool   // the provider counted nothing
	Tier                       string // service tier that served, "default" for the standard one; "" where neither request nor provider speaks of one
	Rescued                    string // how; "" where nothing broke off
}

// EventWriter writes the events of one client's stream. It belongs to the client's stream, whoever serves it: when an answer
// that broke off is gone on with elsewhere, the writer knows what the client already has.
type EventWriter interface {
	// Serve says who serves from here on.
	Serve(l Label)
	// Append appends the events that add these deltas. unsaid names one that the API has no words for; then the stream
	// cannot be written any further.
	Append(dst []byte, deltas []Delta) (out []byte, unsaid string)
	// Passed takes note of an event that went to the client as it came.
	Passed(name, data []byte)
	// End appends what ends a good answer, the end mark included. bill is nil where the usage has gone out in events that
	// went as they came.
	End(dst []byte, bill *Bill) []byte
	// Aside appends an event that adds nothing to the answer and has one more member, of that name.
	Aside(dst []byte, name string, value []byte) []byte
}
