package journal

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The names of segments in the folder: NUMBER.segment while frames are added, NUMBER.segment.z once it is packed.
const (
	plainSuffix  = ".segment"
	packedSuffix = ".segment.z"
)

// header is the first frame of a segment.
type header struct {
	Version  int       `json:"version"`
	Segment  uint64    `json:"segment"`  // from 1
	Count    uint64    `json:"count"`    // frames before it, in earlier segments
	Previous string    `json:"previous"` // head of their chain, hex
	Replica  string    `json:"replica"`
	Key      string    `json:"key"` // public, of the checkpoints
	At       time.Time `json:"at"`
	// Latest is the latest moment that the clock has shown while earlier segments were written: nothing in them is later, though the
	// clock may have gone back since. In the first it is At.
	Latest time.Time `json:"latest,omitzero"`
}

const version = 2

func (h *header) chain() (c chain, err error) {
	n, err := hex.Decode(c.head[:], []byte(h.Previous))
	if err != nil || n != len(c.head) || len(h.Previous) != 2*n {
		return c, errors.New("the header names no head of 64 hex digits")
	}
	c.count = h.Count
	return c, nil
}

// segment is a file of the journal.
type segment struct {
	number uint64
	path   string
	packed bool
}

func segmentName(number uint64, suffix string) string { return fmt.Sprintf("%012d%s", number, suffix) }

// segments lists a folder's in order. Of one that is there twice, because packing was cut short, the plain file counts.
func segments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []segment
	for _, e := range entries {
		base, packed := strings.CutSuffix(e.Name(), packedSuffix)
		if !packed {
			var plain bool
			if base, plain = strings.CutSuffix(e.Name(), plainSuffix); !plain {
				continue
			}
		}
		number, err := strconv.ParseUint(base, 10, 64)
		if err != nil || number == 0 || e.Name() != segmentName(number, strings.TrimPrefix(e.Name(), base)) {
			continue
		}
		all = append(all, segment{number, filepath.Join(dir, e.Name()), packed})
	}
	slices.SortFunc(all, func(a, b segment) int {
		switch {
		case a.number != b.number:
			return compare(a.number, b.number)
		case a.packed:
			return 1
		}
		return -1
	})
	return slices.CompactFunc(all, func(a, b segment) bool { return a.number == b.number }), nil
}

func compare(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}

// read is the segment's frames, one after the other. Damage in a packed one is an error; a plain one is as it is.
func (s *segment) read() ([]byte, error) {
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) && !s.packed { // it has been packed since it was listed
		s.pack()
		data, err = os.ReadFile(s.path)
	}
	if err != nil || !s.packed {
		return data, err
	}
	return unpack(data)
}

// header reads the header, and little more of the file.
func (s *segment) header() (*header, error) {
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) && !s.packed { // it has been packed since it was listed
		s.pack()
		f, err = os.Open(s.path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, frameHead)
	at := 0
	if s.packed {
		at = len(packedMagic)
		data = make([]byte, at+frameHead)
	}
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("%s: the header cannot be read: %w", s.path, err)
	}
	length := binary.LittleEndian.Uint32(data[at:])
	if length > mostFrame {
		return nil, fmt.Errorf("%s: the header cannot be read: its length is %d", s.path, length)
	}
	data = slices.Grow(data, int(length))[:len(data)+int(length)]
	if _, err := io.ReadFull(f, data[at+frameHead:]); err != nil {
		return nil, fmt.Errorf("%s: the header cannot be read: %w", s.path, err)
	}
	if s.packed {
		if data, err = blockOf(data, uint64(at)); err != nil {
			return nil, fmt.Errorf("%s: %w", s.path, err)
		}
	}
	h, _, err := readHeader(s.path, data)
	return h, err
}

// pack follows the file to where it is once it is packed.
func (s *segment) pack() {
	s.packed, s.path = true, strings.TrimSuffix(s.path, plainSuffix)+packedSuffix
}

// readHeader is the header of data, which stands in file.
func readHeader(file string, data []byte) (*header, []byte, error) {
	frame, err := nextFrame(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: the header cannot be read: %w", file, err)
	}
	if frame[frameHead] != kindHeader {
		return nil, nil, fmt.Errorf("%s: begins with a frame of kind %q; expected a header", file, frame[frameHead])
	}
	var h header
	if err := json.Unmarshal(frame[frameHead+1:], &h); err != nil {
		return nil, nil, fmt.Errorf("%s: the header cannot be read: %w", file, err)
	}
	if h.Version != version {
		return nil, nil, fmt.Errorf("%s: is of version %d; this program reads version %d", file, h.Version, version)
	}
	if h.Latest.IsZero() {
		h.Latest = h.At
	}
	return &h, frame, nil
}
