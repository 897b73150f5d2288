// Package dispatch carries a plan out: attempts in order, fallback on everything before the commit point, the relay of the
// answer, and the account of every attempt.
package dispatch

import (
	"chaperone/engine/route"
)

// Response is what the client gets. Exactly one of Body and Stream is set.
type Response struct {
	Plan   *route.Plan
	Status int
	Header []Field
	Body   []byte
	Stream *Stream
}

// Field is one response header.
type Field struct{ Name, Value string }

// Stream is a committed answer in events. Read returns at most one flush's worth: whole events as they arrived. It ends with
// io.EOF after [DONE] or after the in-band error event; it never returns another error. Close cancels the upstream and may
// be called at any time from any goroutine.
type Stream struct{}
