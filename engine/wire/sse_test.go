package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"chaperone/engine/wire"
)

// events reads a stream to its end; each event is copied as "raw|name|data|comment".
func events(r io.Reader, limit int) (all []string, raw []byte, err error) {
	er := wire.NewEventReader(r, limit)
	for {
		ev, err := er.Next()
		if err != nil {
			return all, raw, err
		}
		raw = append(raw, ev.Raw...)
		all = append(all, fmt.Sprintf("%q|%s|%s|%v", ev.Raw, ev.Name, ev.Data, ev.Comment))
	}
}

func TestEventsAreSplitAsBrowsersDo(t *testing.T) {
	for _, c := range []struct {
		name, stream string
		want         []string // name|data|comment
		err          error
	}{
		{"one", "data: a\n\n", []string{"|a|false"}, io.EOF},
		{"nothing", "", nil, io.EOF},
		{"blank lines", "\n\r\n\r\n\n", nil, io.EOF},
		{"carriage returns", "data: a\r\rdata: b\r\r", []string{"|a|false", "|b|false"}, io.EOF},
		{"both", "data: a\r\n\r\ndata: b\r\n\r\n", []string{"|a|false", "|b|false"}, io.EOF},
		{"mixed", "data: a\r\ndata: b\n\rdata: c\n\n", []string{"|a\nb|false", "|c|false"}, io.EOF},
		{"byte order mark", "\ufeffdata: a\n\n", []string{"|a|false"}, io.EOF},
		{"byte order mark later", "data: a\n\n\ufeffdata: b\n\n", []string{"|a|false", "||false"}, io.EOF},
		{"no space", "data:a\ndata:  b\n\n", []string{"|a\n b|false"}, io.EOF},
		{"three lines", "data: {\ndata: \"a\":1\ndata: }\n\n", []string{"|{\n\"a\":1\n}|false"}, io.EOF},
		{"empty data", "data\n\ndata:\n\ndata:\ndata\n\n", []string{"||false", "||false", "|\n|false"}, io.EOF},
		{"name", "event: message_start\ndata: {}\n\n", []string{"message_start|{}|false"}, io.EOF},
		{"last name counts", "event: a\nevent: b\ndata: 1\n\nevent: c\n\n", []string{"b|1|false", "c||false"}, io.EOF},
		{"comment", ": keep-alive\n\n:\n\n", []string{"||true", "||true"}, io.EOF},
		{"comment within", ": a\ndata: b\n: c\n\n", []string{"|b|false"}, io.EOF},
		{"other fields", "id: 1\nretry: 5\nDATA: no\ndata : no\ndata: yes\n\n", []string{"|yes|false"}, io.EOF},
		{"colons", "data: a: b\n\n", []string{"|a: b|false"}, io.EOF},
		{"no blank line after [DONE]", "data: a\n\ndata: [DONE]\n", []string{"|a|false", "|[DONE]|false"}, io.EOF},
		{"no line end after [DONE]", "data: a\n\ndata:[DONE]", []string{"|a|false", "|[DONE]|false"}, io.EOF},
		{"carriage return after [DONE]", "data: [DONE]\r", []string{"|[DONE]|false"}, io.EOF},
		{"no blank line after a whole line", "data: {}\n", []string{"|{}|false"}, io.EOF},
		{"no blank line after a comment", "data: a\n\n: bye\n", []string{"|a|false", "||true"}, io.EOF},
		{"cut in a line", "data: a\n\ndata: {\"b\":", []string{"|a|false"}, io.ErrUnexpectedEOF},
		{"cut in the end mark", "data: [DON", nil, io.ErrUnexpectedEOF},
		{"cut in a comment", "data: a\n\n: by", []string{"|a|false"}, io.ErrUnexpectedEOF},
		{"cut after the name", "event: a\n", nil, io.ErrUnexpectedEOF},
	} {
		got, _, err := events(strings.NewReader(c.stream), 1<<20)
		for i := range got {
			_, got[i], _ = strings.Cut(got[i], `"|`)
		}
		if !slices.Equal(got, c.want) || err != c.err {
			t.Errorf("%s: %q, %v; should be %q, %v", c.name, got, err, c.want, c.err)
		}
	}
}

func TestRawIsVerbatim(t *testing.T) {
	stream := "data: a\r\n\r\n: c\n\nevent: x\rdata: b\r\rdata: 1\ndata: 2\n\ndata: [DONE]\n"
	if _, raw, err := events(strings.NewReader(stream), 100); string(raw) != stream || err != io.EOF {
		t.Errorf("%q, %v", raw, err)
	}
}

func TestTooLargeAnEventEndsTheStream(t *testing.T) {
	exact := "data: " + strings.Repeat("a", 92) + "\n\n"
	for _, r := range []func(io.Reader) io.Reader{iotest.OneByteReader, func(r io.Reader) io.Reader { return r }} {
		if all, _, err := events(r(strings.NewReader(exact+exact)), len(exact)); len(all) != 2 || err != io.EOF {
			t.Errorf("events of the limit's length: %d, %v", len(all), err)
		}
		if all, _, err := events(r(strings.NewReader(exact+"data: "+strings.Repeat("a", 93)+"\n\n")), len(exact)); len(all) != 1 || !errors.Is(err, wire.ErrEventTooLarge) {
			t.Errorf("one byte longer: %d, %v", len(all), err)
		}
	}
	endless := io.MultiReader(strings.NewReader("data: "), endlessly{})
	if _, _, err := events(endless, 1<<16); !errors.Is(err, wire.ErrEventTooLarge) {
		t.Errorf("a line without end: %v", err)
	}
}

type endlessly struct{}

func (endlessly) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

func TestAReadersErrorIsPassedOn(t *testing.T) {
	broken := errors.New("broken")
	got, _, err := events(io.MultiReader(strings.NewReader("data: a\n\ndata: b\n"), iotest.ErrReader(broken)), 100)
	if len(got) != 1 || err != broken {
		t.Errorf("%q, %v", got, err)
	}
}

// An event must not wait for the bytes of the next one, or every token would come one late.
func TestAnEventIsThereAsSoonAsItsBlankLine(t *testing.T) {
	for _, stream := range []string{"data: a\n\n", "data: a\r\n\r\n"} {
		r, w := io.Pipe()
		go w.Write([]byte(stream)) // the pipe stays open: reading on would block for ever
		ev, err := wire.NewEventReader(r, 100).Next()
		if err != nil || string(ev.Data) != "a" {
			t.Errorf("%q: %q, %v", stream, ev.Data, err)
		}
		r.Close()
	}
}

func TestEventsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	stream := bytes.Repeat([]byte("data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\ndata: a\ndata: b\n\n"), 2000)
	er := wire.NewEventReader(bytes.NewReader(stream), 1<<20)
	if n := testing.AllocsPerRun(3000, func() {
		if _, err := er.Next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

// pieces reads as many bytes at a time as the rng says.
type pieces struct {
	r   io.Reader
	rng *rand.Rand
}

func (p pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.rng.IntN(4))]) }

func FuzzEventsDoNotDependOnReads(f *testing.F) {
	for _, s := range []string{
		"data: a\r\n\r\ndata: b\n\n", "\ufeffdata: a\r\rdata: b\r\r", ": c\n\nevent: e\ndata: 1\ndata: 2\n\ndata: [DONE]",
		"\n\n\r\r\n\n", "data: x", "\n\n\ufeffdata: a\n\n", "\xef\xbbdata: a\n\n",
	} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		want, raw, wantErr := events(bytes.NewReader(stream), 64)
		for _, r := range []io.Reader{
			pieces{bytes.NewReader(stream), rand.New(rand.NewPCG(seed, 2))},
			iotest.OneByteReader(bytes.NewReader(stream)),
			iotest.DataErrReader(bytes.NewReader(stream)),
		} {
			got, _, err := events(r, 64)
			if !slices.Equal(got, want) || err != wantErr {
				t.Fatalf("%q: %q, %v; read at once %q, %v", stream, got, err, want, wantErr)
			}
		}
		if wantErr == io.EOF && !inOrder(raw, stream) {
			t.Fatalf("%q became %q", stream, raw)
		}
	})
}

// inOrder reports whether part is what is left of whole without a byte order mark at its start and without some line ends.
func inOrder(part, whole []byte) bool {
	for _, c := range bytes.TrimPrefix(whole, []byte("\ufeff")) {
		switch {
		case len(part) > 0 && c == part[0]:
			part = part[1:]
		case c != '\r' && c != '\n':
			return false
		}
	}
	return len(part) == 0
}
