// Package telemetry keeps live statistics of endpoints and the process's metrics.
package telemetry

import "time"

// Outcome is how one attempt at a row ended.
type Outcome struct {
	At           time.Time
	OK           bool          // it produced an answer
	Counts       bool          // whether it says anything about the endpoint: false for a client's own error or cancellation
	RateLimited  bool          // 429: kept apart from failures
	TTFT         time.Duration // to the first content; 0 where none came
	Generation   time.Duration // first content to end
	OutputTokens int64
	FailedAfter  time.Duration // what a failed attempt cost before it was noticed
	NotBefore    time.Time     // an announced wait (Retry-After); zero: none
}

// Percentiles of a distribution; NaN where there is no sample.
type Percentiles struct{ P50, P75, P90, P99 float64 }

// RowStats is what is known of a row at one tick.
type RowStats struct {
	Samples      int64       // attempts in the window that count
	TTFT         Percentiles // milliseconds
	TPS          Percentiles // output tokens a second
	Uptime       float64     // share of attempts that succeeded, 0…1; NaN without a sample
	RateLimited  float64     // share of attempts answered 429; NaN without a sample
	ExpectedTTFT float64     // milliseconds; shrunk towards the model's other rows and the catalog's figures
	ExpectedTPS  float64
	Success      float64 // probability that an attempt succeeds, shrunk likewise; 0.01…1
	LostMillis   float64 // what a failed attempt costs before it is noticed, expected
	NotBefore    time.Time // the provider asked for no request before this moment; zero: none
	Failures     int       // consecutive failures just now
}

// View is the statistics of all rows of one catalog at one tick. It is immutable: one decision reads one View.
type View struct {
	Tick uint64
	At   time.Time
	Rows []RowStats // by catalog.Row.Index
}
