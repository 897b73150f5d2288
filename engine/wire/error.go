package wire

import "time"

// Error is every refusal or failure that a client sees: OpenRouter's envelope, which OpenAI's clients read too.
type Error struct {
	Status     int
	Type       string // OpenRouter's error_type vocabulary: "invalid_request", "rate_limit_exceeded" …
	Message    string // what happened, what to do
	Param      string // the field of the request that is at fault; "" where none
	Metadata   map[string]any
	RetryAfter time.Duration // 0: not said
	DecisionID string        // under which GET /v1/decisions/{id} shows the decision; "" before there is one
}

func (e *Error) Error() string { return e.Message }
