package wire

import "io"

// Event is one server-sent event. Its slices are valid until the next call of Next.
type Event struct {
	Raw     []byte // the bytes as they came, with the blank line that ends the event
	Name    []byte // of its event field; empty: "message"
	Data    []byte // its data lines, joined by newlines
	Comment bool   // nothing but comments
}

// EventReader splits a stream into events.
type EventReader struct{}

// NewEventReader reads from r events of at most limit bytes each.
func NewEventReader(r io.Reader, limit int) *EventReader { panic("stub") }

// Next returns the next event; io.EOF at a clean end, io.ErrUnexpectedEOF where the stream ends inside an event.
func (er *EventReader) Next() (Event, error) { panic("stub") }
