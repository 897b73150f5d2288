package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"time"
)

// Position is a place in a journal: behind so many bytes of a segment as it is unpacked. The zero value is the beginning.
type Position struct {
	Segment uint64
	Offset  int64
}

// Follower reads a journal on from a place, while a router may be adding to it. It is for one goroutine.
type Follower struct {
	dir string
	// A packed segment stays unpacked here between one batch and the next.
	packed string
	frames []byte
	// names are the rows that records of one segment have as numbers, by catalog digest.
	named uint64
	names map[string][]rowName
}

// followBytes is about how much of a segment is looked at at a time.
const followBytes = 8 << 20

// Follow reads the journal in dir, which need not be there yet.
func Follow(dir string) *Follower { return &Follower{dir: dir} }

// Replica names the journal, as its checkpoints do; fs.ErrNotExist where there is none yet.
func (f *Follower) Replica() (string, error) {
	all, err := segments(f.dir)
	if err != nil {
		return "", err
	}
	var damaged error
	for i := range all {
		h, err := all[i].header()
		if err == nil {
			return h.Replica, nil
		}
		if damaged == nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) { // else it is being made
			damaged = err
		}
	}
	if damaged != nil {
		return "", damaged
	}
	return "", fmt.Errorf("%s holds no segment: %w", f.dir, fs.ErrNotExist)
}

// Reach says how far back the journal goes: to the beginning of its segment first, before which nothing was recorded later than since.
func (f *Follower) Reach() (first uint64, since time.Time, err error) {
	all, err := segments(f.dir)
	if err != nil || len(all) == 0 {
		return 0, time.Time{}, err
	}
	h, err := all[0].header()
	if err != nil {
		return all[0].number, time.Time{}, err
	}
	return all[0].number, h.Latest, nil
}

// Next is up to most records behind a place, in the order in which they were written, and the place behind them. Claims are open
// where their key is there at this moment. No records and the same place: there are no more yet.
//
// An error is about one segment, which is given up at that place; the returned place is where to go on. Where a place does not fit
// what is there (a full disk has had the end of the segment written anew), the segment is read again from its beginning: the
// caller has to know again what it has had.
func (f *Follower) Next(p Position, most int) ([]*Record, Position, error) {
	return f.Until(p, Position{Segment: math.MaxUint64}, most)
}

// Until is Next, but reads nothing behind end.
func (f *Follower) Until(p, end Position, most int) ([]*Record, Position, error) {
	all, err := segments(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, p, nil
	}
	if err != nil {
		return nil, p, err
	}
	var records []*Record
	claims := newClaimKeys(f.dir)
	for i := range all {
		s, last := &all[i], i+1 == len(all)
		if s.number < p.Segment {
			continue
		}
		if s.number > end.Segment {
			break
		}
		if s.number > p.Segment {
			p = Position{Segment: s.number}
		}
		for len(records) < most {
			n, next, err := f.batch(s, p, end, claims, last, most-len(records))
			records = append(records, n...)
			if err != nil {
				return records, next, fmt.Errorf("%s: %w", s.path, err)
			}
			if next == p {
				break
			}
			p = next
		}
		if len(records) == most {
			break
		}
	}
	return records, p, nil
}

func (f *Follower) batch(s *segment, p, end Position, claims *claimKeys, last bool, most int) (records []*Record, next Position, err error) {
	given := Position{Segment: p.Segment + 1}
	data, err := f.from(s, p.Offset)
	if errors.Is(err, errShort) {
		return nil, Position{Segment: p.Segment}, nil
	}
	if err != nil {
		return nil, given, err
	}
	if s.number == end.Segment {
		data = data[:min(max(end.Offset-p.Offset, 0), int64(len(data)))]
	}
	if p.Offset == 0 && len(data) > 0 {
		if _, _, err := readHeader(s.path, data); err != nil {
			if last {
				return nil, p, nil // it is being made
			}
			return nil, given, err
		}
	}
	next = p
	for len(data) > 0 && len(records) < most {
		frame, torn := nextFrame(data)
		if torn != nil {
			if next == p { // nothing whole came behind the place
				return f.stuck(s, p, last, torn)
			}
			return records, next, nil
		}
		data = data[len(frame):]
		next.Offset += int64(len(frame))
		if frame[frameHead] == kindDecision {
			rec, err := readRecord(claims, frame[frameHead+1:], func(catalog string) []rowName { return f.rows(s, catalog) })
			if err != nil {
				return records, next, fmt.Errorf("byte %d: %w", next.Offset-int64(len(frame)), err)
			}
			records = append(records, rec)
		}
	}
	return records, next, nil
}

// rows are those of a catalog, of which a frame of the segment speaks; nil where none does.
func (f *Follower) rows(s *segment, catalog string) []rowName {
	if f.named != s.number {
		f.named, f.names = s.number, map[string][]rowName{}
	}
	if rows, ok := f.names[catalog]; ok {
		return rows
	}
	var names rowNames
	if find, err := s.finder(); err == nil {
		if frame, err := find(rowsID(catalog)); err == nil && frame != nil {
			json.Unmarshal(frame[frameHead+1:], &names) // where it is damaged, its records cannot be read
		}
	}
	f.names[catalog] = names.Rows
	return names.Rows
}

// stuck says how to go on where no whole frame stands at p.
func (f *Follower) stuck(s *segment, p Position, last bool, torn error) ([]*Record, Position, error) {
	if p.Offset > 0 && !f.fits(s, p.Offset) {
		return nil, Position{Segment: p.Segment}, nil
	}
	if last {
		return nil, p, nil // it is being written
	}
	return nil, Position{Segment: p.Segment + 1}, fmt.Errorf("byte %d: %w", p.Offset, torn)
}

// fits says whether a frame ends at offset.
func (f *Follower) fits(s *segment, offset int64) bool {
	at := int64(0)
	for at < offset {
		data, err := f.from(s, at)
		if err != nil || len(data) == 0 {
			return false
		}
		moved := false
		for at < offset {
			frame, err := nextFrame(data)
			if err != nil {
				break
			}
			at, data, moved = at+int64(len(frame)), data[len(frame):], true
		}
		if !moved {
			return false
		}
	}
	return at == offset
}

// errShort is returned where a segment ends before the place.
var errShort = errors.New("the segment has become shorter")

// from is what stands behind offset, as far as it is looked at at a time: at least the next frame.
func (f *Follower) from(s *segment, offset int64) ([]byte, error) {
	if !s.packed {
		data, err := readFrom(s.path, offset)
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
		s.pack() // since it was listed
	}
	if f.packed != s.path {
		packed, err := os.ReadFile(s.path)
		if err != nil {
			return nil, err
		}
		frames, err := unpack(packed)
		if err != nil {
			return nil, err
		}
		f.packed, f.frames = s.path, frames
	}
	if offset > int64(len(f.frames)) {
		return nil, errShort
	}
	return f.frames[offset:], nil
}

func readFrom(path string, offset int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	left := info.Size() - offset
	if left < 0 {
		return nil, errShort
	}
	data := make([]byte, min(left, followBytes))
	n, err := io.ReadFull(io.NewSectionReader(file, offset, left), data)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	data = data[:n]
	if n < frameHead {
		return data, nil
	}
	if whole := frameHead + int64(min(binary.LittleEndian.Uint32(data), mostFrame)); whole > int64(n) && whole <= left {
		data = make([]byte, whole)
		n, err = io.ReadFull(io.NewSectionReader(file, offset, left), data)
		data = data[:n]
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, err
		}
	}
	return data, nil
}
