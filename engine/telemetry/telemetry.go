// Package telemetry keeps live statistics of endpoints and the process's metrics.
package telemetry

import "time"

// Outcome is how one attempt at a row ended.
type Outcome struct {
	At     time.Time // when it ended
	OK     bool      // it produced an answer
	Counts bool      // whether it says anything about the endpoint: false for a client's own error or cancellation
	// RateLimited is a 429: kept apart from failures, whatever OK and Counts say.
	RateLimited bool
	TTFT        time.Duration // to the first content; 0 where none came, or where the answer came in one piece
	// Generation is from the first content to the end; of an answer in one piece, the whole attempt.
	Generation   time.Duration
	OutputTokens int64
	FailedAfter  time.Duration // what a failed or rate-limited attempt cost before it was noticed
}

// Percentiles of a distribution; NaN where there is no sample. They are within 5 % of the sample of that rank.
type Percentiles struct{ P50, P75, P90, P95, P99 float64 }

// RowStats is what is known of a row at one tick.
type RowStats struct {
	Samples     int64       // attempts in the window that count: succeeded, failed and rate-limited
	TTFT        Percentiles // milliseconds
	TPS         Percentiles // output tokens a second
	Uptime      float64     // share of attempts that succeeded, 429s left out, 0…1; NaN without a sample
	RateLimited float64     // share of attempts answered 429; NaN without a sample

	// The expected values are shrunk towards the catalog's figures and the model's other rows: see the file shrink.go.
	ExpectedTTFT float64 // milliseconds
	ExpectedTPS  float64
	Success      float64 // probability that an attempt succeeds, a 429 being no success; 0.01…1
	LostMillis   float64 // what a failed attempt costs before it is noticed

	Failures int // consecutive failures just now; a 429 neither adds one nor ends them
}

// View is the statistics of all rows of one catalog at one tick. It is immutable: one decision reads one View.
type View struct {
	Tick uint64
	At   time.Time
	Rows []RowStats // by catalog.Row.Index
}
