package journal

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
)

// end is where a journal ends.
type end struct {
	at     chain     // behind its last whole frame
	last   uint64    // number of its last segment; 0: there is none
	latest time.Time // that the clock has shown while it was written
	found  []Event   // what was not as it should be
}

// findEnd finds the end of the journal in dir. What follows the last whole frame is set aside as SEGMENT.torn and cut off: nothing
// is destroyed, and the journal goes on in a new segment.
func findEnd(dir string, log *slog.Logger) (e end, err error) {
	all, err := segments(dir)
	if err != nil || len(all) == 0 {
		return e, err
	}
	s := all[len(all)-1]
	data, err := s.read()
	if err != nil {
		return e, fmt.Errorf("%s: %w", s.path, err)
	}
	h, first, err := readHeader(s.path, data)
	if err != nil && len(all) > 1 && !s.packed && len(data) < 64<<10 && !holdsFrame(data) {
		// The process ended while it made the segment: nothing is in there yet.
		if err := os.Rename(s.path, s.path+".torn"); err != nil {
			return e, err
		}
		e, err = findEnd(dir, log)
		e.found = append(e.found, Event{What: Recovered, Segment: s.number, Bytes: int64(len(data)), Detail: "its header was not whole"})
		return e, err
	}
	if err != nil {
		return e, err
	}
	if e.at, err = h.chain(); err != nil {
		return e, fmt.Errorf("%s: %w", s.path, err)
	}
	e.last, e.latest = s.number, later(h.Latest, h.At)
	l, at := newLinker(), len(first)
	l.add(&e.at, first)
	for at < len(data) {
		frame, torn := nextFrame(data[at:])
		if torn != nil {
			event, err := cut(s, data, at, torn)
			if err != nil {
				return e, err
			}
			log.Warn("the end of the journal was not whole and was set aside", "segment", s.number, "bytes", event.Bytes, "why", event.Detail)
			e.found = append(e.found, event)
			return e, nil
		}
		l.add(&e.at, frame)
		e.latest = later(e.latest, madeAt(frame))
		at += len(frame)
	}
	return e, nil
}

// later is the later of two, by what the clock showed.
func later(a, b time.Time) time.Time {
	if a, b = a.Round(0), b.Round(0); a.Before(b) {
		return b
	}
	return a
}

// madeAt is the time of a record or a checkpoint, which stands in both behind an id or a digest; zero for all else.
func madeAt(frame []byte) time.Time {
	if kind := frame[frameHead]; kind != kindDecision && kind != kindCheckpoint {
		return time.Time{}
	}
	_, text, _ := bytes.Cut(frame, []byte(`","at":"`))
	text, _, _ = bytes.Cut(text, []byte{'"'})
	at, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return time.Time{}
	}
	return at
}

// cut sets aside what follows end.
func cut(s segment, data []byte, end int, why error) (Event, error) {
	e := Event{What: Recovered, Segment: s.number, Bytes: int64(len(data) - end), Detail: why.Error()}
	if holdsFrame(data[end+1:]) {
		e.Detail += "; whole frames follow, as after a loss of power or if the file was changed"
	}
	if s.packed {
		return e, fmt.Errorf("%s: %w", s.path, why)
	}
	aside := strings.TrimSuffix(s.path, plainSuffix) + plainSuffix + ".torn"
	if _, err := os.Lstat(aside); err == nil {
		aside += time.Now().UTC().Format(".20060102T150405.000000000")
	}
	if err := writeWhole(aside, data[end:]); err != nil {
		return e, err
	}
	f, err := os.OpenFile(s.path, os.O_WRONLY, 0)
	if err != nil {
		return e, err
	}
	defer f.Close()
	if err := f.Truncate(int64(end)); err != nil {
		return e, err
	}
	return e, f.Sync()
}

// holdsFrame says whether some whole frame begins in data.
func holdsFrame(data []byte) bool {
	for i := range len(data) {
		if _, err := nextFrame(data[i:]); err == nil {
			return true
		}
	}
	return false
}
