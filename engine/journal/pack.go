package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/flate"
)

// A packed segment is packedMagic, then blocks of whole frames, then an index:
//
//	block   length uint32, CRC-32C of length and content uint32, content: frames under DEFLATE
//	index   length and CRC as a block's, then for every frame that is looked up its frameID (12 bytes), the offset of its block (uint64) and its
//	        offset in the block when unpacked (uint32), sorted by id
//	end     offset of the index (uint64), CRC-32C of that (uint32)
//
// All numbers are little-endian. Nothing but blocks counts for the chain.
const packedMagic = "chaperone journal, packed 1\n"

const (
	blockBytes = 256 << 10 // of frames, before compression; the last of them may reach beyond
	effort     = 3         // of DEFLATE: beyond it, CPU grows much faster than segments shrink
	indexEntry = idBytes + 12
	packedEnd  = 12
)

var errPacked = errors.New("the packed segment is damaged")

// pack packs the frames of a segment.
func pack(frames []byte) ([]byte, error) {
	var out, content bytes.Buffer
	out.Grow(len(frames) / 4) // records of one place pack to less than that
	out.WriteString(packedMagic)
	var index [][indexEntry]byte
	squeeze, err := flate.NewWriter(nil, effort)
	if err != nil {
		return nil, err
	}
	for len(frames) > 0 {
		n := 0
		for n < blockBytes && n < len(frames) {
			frame, err := nextFrame(frames[n:])
			if err != nil {
				return nil, err
			}
			if id, ok := frameID(frame); ok {
				var e [indexEntry]byte
				copy(e[:], id[:])
				binary.LittleEndian.PutUint64(e[idBytes:], uint64(out.Len()))
				binary.LittleEndian.PutUint32(e[idBytes+8:], uint32(n))
				index = append(index, e)
			}
			n += len(frame)
		}
		content.Reset()
		squeeze.Reset(&content)
		if _, err := squeeze.Write(frames[:n]); err != nil {
			return nil, err
		}
		if err := squeeze.Close(); err != nil {
			return nil, err
		}
		writeBlock(&out, content.Bytes())
		frames = frames[n:]
	}
	slices.SortFunc(index, func(a, b [indexEntry]byte) int { return bytes.Compare(a[:], b[:]) })
	var end [packedEnd]byte
	binary.LittleEndian.PutUint64(end[:], uint64(out.Len()))
	binary.LittleEndian.PutUint32(end[8:], crc32.Checksum(end[:8], castagnoli))
	flat := make([]byte, 0, len(index)*indexEntry)
	for i := range index {
		flat = append(flat, index[i][:]...)
	}
	writeBlock(&out, flat)
	out.Write(end[:])
	return out.Bytes(), nil
}

func writeBlock(out *bytes.Buffer, content []byte) {
	var head [frameHead]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(content)))
	binary.LittleEndian.PutUint32(head[4:], crc32.Update(crc32.Checksum(head[:4], castagnoli), castagnoli, content))
	out.Write(head[:])
	out.Write(content)
}

// block is the content of the one at the offset, and how long it is with its head.
func block(data []byte, at uint64) (content []byte, n int, err error) {
	if at > uint64(len(data)) || len(data)-int(at) < frameHead {
		return nil, 0, fmt.Errorf("%w at byte %d: there is no block", errPacked, at)
	}
	head := data[at : at+frameHead]
	length := uint64(binary.LittleEndian.Uint32(head))
	if uint64(len(data))-at-frameHead < length {
		return nil, 0, fmt.Errorf("%w at byte %d: the block ends behind the file", errPacked, at)
	}
	content = data[at+frameHead : at+frameHead+length]
	if crc32.Update(crc32.Checksum(head[:4], castagnoli), castagnoli, content) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, 0, fmt.Errorf("%w at byte %d: the block's checksum does not hold", errPacked, at)
	}
	return content, frameHead + int(length), nil
}

// indexAt is where the index stands.
func indexAt(data []byte) (uint64, error) {
	if len(data) < len(packedMagic)+packedEnd || !strings.HasPrefix(string(data[:len(packedMagic)]), packedMagic) {
		return 0, fmt.Errorf("%w: it does not begin as packed segments do", errPacked)
	}
	end := data[len(data)-packedEnd:]
	if crc32.Checksum(end[:8], castagnoli) != binary.LittleEndian.Uint32(end[8:]) {
		return 0, fmt.Errorf("%w: its end does not hold", errPacked)
	}
	return binary.LittleEndian.Uint64(end), nil
}

// unpack is the frames of a packed segment, every byte of which is checked.
func unpack(data []byte) ([]byte, error) {
	frames := make([]byte, 0, 8*len(data)) // about what records pack to
	err := eachBlock(data, func(of []byte) error {
		frames = append(frames, of...)
		return nil
	})
	return frames, err
}

// packs says whether a packed segment is whole and holds these frames.
func packs(data, frames []byte) error {
	err := eachBlock(data, func(of []byte) error {
		var same bool
		if frames, same = bytes.CutPrefix(frames, of); !same {
			return errors.New("a block holds other frames")
		}
		return nil
	})
	if err == nil && len(frames) > 0 {
		err = errors.New("frames are missing")
	}
	return err
}

// eachBlock visits the frames of each block of a packed segment, every byte of which is checked. They are overwritten by the next.
func eachBlock(data []byte, visit func(frames []byte) error) error {
	index, err := indexAt(data)
	if err != nil {
		return err
	}
	var frames bytes.Buffer
	squeezed := flate.NewReader(nil)
	at := uint64(len(packedMagic))
	for n := 1; at < index; n++ {
		content, length, err := block(data, at)
		if err != nil {
			return err
		}
		frames.Reset()
		if err := inflate(&frames, squeezed, content); err != nil {
			return fmt.Errorf("%w in block %d", err, n)
		}
		if err := visit(frames.Bytes()); err != nil {
			return err
		}
		at += uint64(length)
	}
	_, n, err := block(data, index)
	if err != nil {
		return err
	}
	if at != index || index+uint64(n)+packedEnd != uint64(len(data)) {
		return fmt.Errorf("%w: its blocks do not fill it", errPacked)
	}
	return nil
}

// inflate adds what a block holds to frames, by a reader of flate's.
func inflate(frames *bytes.Buffer, squeezed io.Reader, content []byte) error {
	if err := squeezed.(flate.Resetter).Reset(bytes.NewReader(content), nil); err != nil {
		return err
	}
	// A block of more than one huge frame is not written; nothing else is worth unpacking.
	n, err := io.Copy(frames, io.LimitReader(squeezed, mostFrame+blockBytes+frameHead))
	if err != nil || n > mostFrame+blockBytes {
		return fmt.Errorf("%w: a block cannot be unpacked", errPacked)
	}
	return nil
}

// blockOf is the frames of one block.
func blockOf(data []byte, at uint64) ([]byte, error) {
	content, _, err := block(data, at)
	if err != nil {
		return nil, err
	}
	var frames bytes.Buffer
	err = inflate(&frames, flate.NewReader(nil), content)
	return frames.Bytes(), err
}

// lookUp is the frame of that id in a packed segment; nil where it is not there.
func lookUp(data []byte, id decision) ([]byte, error) {
	at, err := indexAt(data)
	if err != nil {
		return nil, err
	}
	flat, _, err := block(data, at)
	if err != nil {
		return nil, err
	}
	lo, hi := 0, len(flat)/indexEntry
	for lo < hi {
		mid := (lo + hi) / 2
		if bytes.Compare(flat[mid*indexEntry:][:idBytes], id[:]) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo >= len(flat)/indexEntry || !bytes.Equal(flat[lo*indexEntry:][:idBytes], id[:]) {
		return nil, nil
	}
	entry := flat[lo*indexEntry:][idBytes:]
	frames, err := blockOf(data, binary.LittleEndian.Uint64(entry))
	if err != nil {
		return nil, err
	}
	inner := binary.LittleEndian.Uint32(entry[8:])
	if uint64(inner) > uint64(len(frames)) {
		return nil, fmt.Errorf("%w: its index points nowhere", errPacked)
	}
	return nextFrame(frames[inner:])
}
