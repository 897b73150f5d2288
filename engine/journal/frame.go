package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
)

// A segment is a sequence of frames, and nothing else:
//
//	length  uint32, little-endian: of kind and body
//	crc     uint32, little-endian: CRC-32C of length, kind and body
//	kind    one byte
//	body    JSON; of a decision: JSON without its candidates, and those, see candidates.go
//
// The head of the chain after a frame is SHA-256(head before it, the whole frame); before the first it is 32 zero bytes.

// What a frame holds.
const (
	kindHeader     = 'h' // header, the first of a segment
	kindDecision   = 'd' // Record
	kindRows       = 'r' // rowNames
	kindStatistics = 's' // statistics
	kindCheckpoint = 'c' // Checkpoint
	kindArtefacts  = 'a' // Artefacts
	kindEvent      = 'e' // Event
)

const (
	frameHead = 8
	mostFrame = 64 << 20
)

// errTorn is returned where no whole frame stands.
var errTorn = errors.New("no whole frame")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame appends a frame, whose body fill appends.
func appendFrame(dst []byte, kind byte, fill func([]byte) []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, kind)
	dst = fill(dst)
	closeFrame(dst[start:])
	return dst
}

// closeFrame fills in length and checksum.
func closeFrame(frame []byte) {
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-frameHead))
	binary.LittleEndian.PutUint32(frame[4:], checksum(frame))
}

func checksum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:4], castagnoli), castagnoli, frame[frameHead:])
}

// nextFrame is the first frame of data; the error wraps errTorn where there is none.
func nextFrame(data []byte) (frame []byte, err error) {
	if len(data) < frameHead {
		return nil, fmt.Errorf("%w: %d bytes are left, a frame's head has %d", errTorn, len(data), frameHead)
	}
	n := binary.LittleEndian.Uint32(data)
	if n < 1 || n > mostFrame {
		return nil, fmt.Errorf("%w: its length is %d, and 1 to %d can be", errTorn, n, mostFrame)
	}
	if uint64(len(data)) < frameHead+uint64(n) {
		return nil, fmt.Errorf("%w: its length is %d, and %d bytes are left", errTorn, n, len(data)-frameHead)
	}
	frame = data[:frameHead+n]
	if want, got := binary.LittleEndian.Uint32(frame[4:]), checksum(frame); want != got {
		return nil, fmt.Errorf("%w: the checksum is %08x, and the content has %08x", errTorn, want, got)
	}
	return frame, nil
}

// chain is a place in the journal: how many frames came before it, and the head of their chain.
type chain struct {
	count uint64
	head  [sha256.Size]byte
}

// linker computes heads, with one hash that is used again.
type linker struct{ h hash.Hash }

func newLinker() linker { return linker{sha256.New()} }

// add moves c behind frame.
func (l linker) add(c *chain, frame []byte) {
	l.h.Reset()
	l.h.Write(c.head[:])
	l.h.Write(frame)
	l.h.Sum(c.head[:0])
	c.count++
}
