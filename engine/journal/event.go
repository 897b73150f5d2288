package journal

import "time"

// Event is something that befell the journal itself.
type Event struct {
	At      time.Time `json:"at"`
	What    string    `json:"what"`
	Segment uint64    `json:"segment,omitempty"`
	Bytes   int64     `json:"bytes,omitempty"`
	Count   uint64    `json:"count,omitempty"` // records
	Detail  string    `json:"detail,omitempty"`
}

// What can befall it.
const (
	Recovered = "recovered" // the end of Segment was no whole frame after a crash: Bytes were set aside
	Dropped   = "dropped"   // Count records could not be written
	Expired   = "expired"   // segments up to Segment were past their retention and were removed
)
