package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
)

// ErrEventTooLarge is returned for an event that is longer than the reader's limit.
var ErrEventTooLarge = errors.New("server-sent event is too large")

// Event is one server-sent event. Its slices are valid until the next call of Next.
type Event struct {
	Raw     []byte // the bytes as they came, with the blank line that ends the event (the last event may lack it)
	Name    []byte // of its event field; empty: "message"
	Data    []byte // its data lines, joined by newlines
	Comment bool   // nothing but comments
}

// EventReader splits a stream into events (https://html.spec.whatwg.org/multipage/server-sent-events.html). It does not
// allocate once its buffer has grown to the largest event.
//
// Unlike a browser it also returns events without data, so that a relay can pass them on, and it returns the last event
// though no blank line follows it, where its last line is whole: many servers end with "data: [DONE]\n". The end mark is
// returned without its line end too. Blank lines that end nothing and a byte order mark at the start are dropped.
type EventReader struct {
	r     io.Reader
	limit int

	buf        []byte // unread bytes are buf[start:]
	start, pos int    // of the event; of the next byte to look at
	line       int    // start of the line
	begun      bool   // the byte order mark has been looked for
	err        error  // of the reader, once it has ended

	fields    bool // a line that is no comment
	name      span
	data      span   // of the first data line
	dataLines int    // how many
	joined    []byte // the data lines, where there are several
}

// span is a part of a body, or of an event by offsets from its start, which may move in the buffer.
type span struct{ from, to int }

// firstEvent is what a buffer begins with: most events of a text fit in.
const firstEvent = 512

// NewEventReader reads from r events of at most limit bytes each.
func NewEventReader(r io.Reader, limit int) *EventReader {
	return &EventReader{r: r, limit: limit, buf: make([]byte, 0, firstEvent)}
}

// Next returns the next event; io.EOF at a clean end, io.ErrUnexpectedEOF where the stream ends inside an event,
// ErrEventTooLarge, or the reader's own error. After an error there is nothing more to read.
func (er *EventReader) Next() (Event, error) {
	if !er.begun {
		er.skipMark()
	}
	er.begin()
	for {
		for er.pos < len(er.buf) {
			switch er.buf[er.pos] {
			case '\n':
				er.pos++
				if ev, ok := er.endLine(er.pos - 1); ok {
					return er.checked(ev)
				}
			case '\r':
				// Whether a newline belongs to it must be known before the line can end: a lone one at the end of what
				// has arrived waits for the next byte.
				if er.pos+1 == len(er.buf) && er.err == nil {
					goto more
				}
				end := er.pos
				er.pos++
				if er.pos < len(er.buf) && er.buf[er.pos] == '\n' {
					er.pos++
				}
				if ev, ok := er.endLine(end); ok {
					return er.checked(ev)
				}
			default:
				if i := bytes.IndexAny(er.buf[er.pos:], "\r\n"); i >= 0 {
					er.pos += i
				} else {
					er.pos = len(er.buf)
				}
			}
		}
	more:
		if er.pos-er.start > er.limit {
			return er.tooLarge()
		}
		if er.err != nil {
			return er.last()
		}
		er.fill()
	}
}

func (er *EventReader) checked(ev Event) (Event, error) {
	if len(ev.Raw) > er.limit {
		return er.tooLarge()
	}
	return ev, nil
}

func (er *EventReader) tooLarge() (Event, error) {
	er.buf, er.err = er.buf[:er.pos], ErrEventTooLarge
	return Event{}, ErrEventTooLarge
}

// skipMark drops the byte order mark that a stream may begin with.
func (er *EventReader) skipMark() {
	const mark = "\ufeff"
	for len(er.buf) < len(mark) && strings.HasPrefix(mark, string(er.buf)) && er.err == nil {
		er.fill()
	}
	if bytes.HasPrefix(er.buf, []byte(mark)) {
		er.pos = len(mark)
	}
	er.begun = true
}

// begin forgets the event before.
func (er *EventReader) begin() {
	er.start, er.line = er.pos, er.pos
	er.fields, er.name, er.data, er.dataLines = false, span{}, span{}, 0
}

// fill reads more.
func (er *EventReader) fill() {
	if er.start > 0 {
		n := copy(er.buf, er.buf[er.start:])
		er.buf = er.buf[:n]
		er.pos -= er.start
		er.line -= er.start
		er.start = 0
	}
	if len(er.buf) == cap(er.buf) {
		er.buf = append(er.buf, 0)[:len(er.buf)]
	}
	for range 100 {
		n, err := er.r.Read(er.buf[len(er.buf):cap(er.buf)])
		er.buf = er.buf[:len(er.buf)+n]
		er.err = err
		if n > 0 || err != nil {
			return
		}
	}
	er.err = io.ErrNoProgress
}

// endLine takes the line that ends at end; ok where it is blank and ends an event.
func (er *EventReader) endLine(end int) (ev Event, ok bool) {
	line := er.buf[er.line:end]
	from := er.line - er.start
	er.line = er.pos
	if len(line) > 0 {
		er.field(line, from)
		return Event{}, false
	}
	if from == 0 {
		er.begin()
		return Event{}, false
	}
	return er.event(), true
}

// field takes a line that is not blank and begins at from.
func (er *EventReader) field(line []byte, from int) {
	if line[0] == ':' {
		return
	}
	er.fields = true
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	at := span{from + len(line) - len(value), from + len(line)}
	switch string(name) {
	case "event":
		er.name = at
	case "data":
		switch er.dataLines++; er.dataLines {
		case 1:
			er.data = at
		case 2:
			er.joined = append(er.joined[:0], er.at(er.data)...)
			fallthrough
		default:
			er.joined = append(er.joined, '\n')
			er.joined = append(er.joined, value...)
		}
	}
}

func (er *EventReader) at(s span) []byte { return er.buf[er.start+s.from : er.start+s.to] }

func (er *EventReader) event() Event {
	ev := Event{Raw: er.buf[er.start:er.pos], Name: er.at(er.name), Data: er.at(er.data), Comment: !er.fields}
	if er.dataLines > 1 {
		ev.Data = er.joined
	}
	return ev
}

// last is what Next returns once the reader has ended.
func (er *EventReader) last() (Event, error) {
	if er.err != io.EOF {
		return Event{}, er.err
	}
	rest := er.buf[er.line:er.pos]
	switch {
	case er.start == er.pos:
		return Event{}, io.EOF
	case len(rest) > 0 && isEndMark(rest):
		er.field(rest, er.line-er.start)
	case len(rest) > 0 || er.fields && er.dataLines == 0:
		er.start, er.line = er.pos, er.pos
		return Event{}, io.ErrUnexpectedEOF
	}
	return er.event(), nil
}

// isEndMark reports whether a line without its end is "data: [DONE]": of any other line more might have followed.
func isEndMark(line []byte) bool {
	value, ok := bytes.CutPrefix(line, []byte("data:"))
	return ok && string(bytes.TrimSpace(value)) == "[DONE]"
}
