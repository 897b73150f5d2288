package journal

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
)

// findEnd finds the end of the journal in dir: the place behind its last whole frame and the number of its last segment. What
// follows that frame is set aside as SEGMENT.torn and cut off: nothing is destroyed, and the journal goes on in a new segment.
func findEnd(dir string, log *slog.Logger) (at chain, last uint64, found []Event, err error) {
	all, err := segments(dir)
	if err != nil || len(all) == 0 {
		return at, 0, nil, err
	}
	s := all[len(all)-1]
	data, err := s.read()
	if err != nil {
		return at, 0, nil, fmt.Errorf("%s: %w", s.path, err)
	}
	h, first, err := readHeader(s.path, data)
	if err != nil && len(all) > 1 && !s.packed && len(data) < 64<<10 && !holdsFrame(data) {
		// The process ended while it made the segment: nothing is in there yet.
		if err := os.Rename(s.path, s.path+".torn"); err != nil {
			return at, 0, nil, err
		}
		at, last, found, err = findEnd(dir, log)
		return at, last, append(found, Event{What: Recovered, Segment: s.number, Bytes: int64(len(data)), Detail: "its header was not whole"}), err
	}
	if err != nil {
		return at, 0, nil, err
	}
	if at, err = h.chain(); err != nil {
		return at, 0, nil, fmt.Errorf("%s: %w", s.path, err)
	}
	l, end := newLinker(), len(first)
	l.add(&at, first)
	for end < len(data) {
		frame, torn := nextFrame(data[end:])
		if torn != nil {
			e, err := cut(s, data, end, torn)
			if err != nil {
				return at, 0, nil, err
			}
			log.Warn("the end of the journal was not whole and was set aside", "segment", s.number, "bytes", e.Bytes, "why", e.Detail)
			return at, s.number, []Event{e}, nil
		}
		l.add(&at, frame)
		end += len(frame)
	}
	return at, s.number, nil, nil
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
