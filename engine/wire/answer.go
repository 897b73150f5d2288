package wire

// Usage is what a provider says it counted. Known is false where it said nothing.
type Usage struct {
	Known            bool  `json:"known"`
	PromptTokens     int64 `json:"prompt_tokens"`
	CompletionTokens int64 `json:"completion_tokens"`
	CachedTokens     int64 `json:"cached_tokens"`
	CacheWriteTokens int64 `json:"cache_write_tokens"`
	ReasoningTokens  int64 `json:"reasoning_tokens"`
}

// Chunk is what routing and accounting need of one streamed event (or of a whole answer) in OpenAI's chat form.
type Chunk struct {
	Commits      bool   // holds text, reasoning, refusal, tool-call or audio output that is not empty
	FinishReason string // "" where none; the last one found
	Usage        Usage
	Err          *UpstreamError // an error object in place of an answer
	OutputBytes  int            // bytes of generated text in it (content, reasoning, refusal, arguments), to estimate tokens
	HasChoices   bool           // a "choices" array is present

	fields fieldIndex
}

// UpstreamError is an error object as providers send it; every field may be empty.
type UpstreamError struct {
	Code    string // number or string, as text
	Type    string
	Message string
}
