// Package binary reads and writes the primitives of the WebAssembly binary format, strictly: what it accepts has one
// meaning, so that who checks a module and who compiles it cannot see two different ones. See the WebAssembly core
// specification 2.0, chapter 5.
package binary

import (
	"fmt"
	"unicode/utf8"
)

// Reader reads primitives one after the other; after the first error everything reads as zero.
type Reader struct {
	Src []byte
	At  int // offset of the next byte
	err error
}

// Err is the first error.
func (r *Reader) Err() error { return r.err }

// Fail sets the error, unless there is one.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// More says whether anything is left to read.
func (r *Reader) More() bool { return r.err == nil && r.At < len(r.Src) }

// End fails where anything is left.
func (r *Reader) End() {
	if r.More() {
		r.Fail("%d bytes are left over: the module is damaged", len(r.Src)-r.At)
	}
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.err != nil || r.At >= len(r.Src) {
		r.Fail("ends unexpectedly: the module is truncated or damaged")
		return 0
	}
	r.At++
	return r.Src[r.At-1]
}

// Zero reads a byte that must be zero.
func (r *Reader) Zero() {
	if b := r.Byte(); b != 0 {
		r.Fail("byte %#x, should be zero: a memory but the first", b)
	}
}

// Bytes reads n bytes, without copying them.
func (r *Reader) Bytes(n uint32) []byte {
	if r.err != nil || uint64(n) > uint64(len(r.Src)-r.At) {
		r.Fail("says %d bytes, %d are left: the module is truncated or damaged", n, len(r.Src)-r.At)
		return nil
	}
	r.At += int(n)
	return r.Src[r.At-int(n) : r.At]
}

// U32 reads an unsigned LEB128 of at most 32 bits.
func (r *Reader) U32() uint32 {
	if r.err == nil && r.At < len(r.Src) && r.Src[r.At] < 0x80 {
		r.At++
		return uint32(r.Src[r.At-1])
	}
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.Byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v > 1<<32-1 {
				break
			}
			return uint32(v)
		}
	}
	r.Fail("a number does not fit 32 bits: the module is damaged")
	return 0
}

// Signed reads a signed LEB128 of at most bits (32, 33 or 64).
func (r *Reader) Signed(bits int) int64 {
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		b := r.Byte()
		v |= int64(b&0x7f) << shift
		if b >= 0x80 {
			continue
		}
		if left := bits - shift; left >= 7 {
			if unused := 64 - shift - 7; unused > 0 {
				v = v << unused >> unused
			}
		} else if top := int8(b<<1) >> left; top != 0 && top != -1 { // what is beyond the last bit repeats the sign
			break
		} else {
			v = v << (64 - bits) >> (64 - bits)
		}
		return v
	}
	r.Fail("a number does not fit %d bits: the module is damaged", bits)
	return 0
}

// Count reads the length of a vector whose elements have at least size bytes each, so that a false one cannot make its
// reader allocate.
func (r *Reader) Count(size int) uint32 {
	n := r.U32()
	if left := uint64(len(r.Src) - r.At); uint64(n)*uint64(size) > left {
		r.Fail("says %d elements, %d bytes are left: the module is truncated or damaged", n, left)
		return 0
	}
	return n
}

// Name reads a UTF-8 string.
func (r *Reader) Name() string {
	s := r.Bytes(r.U32())
	if !utf8.Valid(s) {
		r.Fail("a name is not UTF-8: the module is damaged")
		return ""
	}
	return string(s)
}

// Limits of a memory (pages of 64 KiB) or table (elements). Max is to be ignored where Open is set.
type Limits struct {
	Min, Max uint32
	Open     bool
}

// Limits reads the limits of an unshared 32-bit memory or table.
func (r *Reader) Limits() Limits {
	switch flag := r.Byte(); flag {
	case 0:
		return Limits{Min: r.U32(), Open: true}
	case 1:
		return Limits{Min: r.U32(), Max: r.U32()}
	case 2, 3:
		r.Fail("a shared memory: the proposal threads is not supported")
	case 4, 5, 6, 7:
		r.Fail("a 64-bit memory or table: the proposal memory64 is not supported")
	default:
		r.Fail("limits of the unknown kind %#x", flag)
	}
	return Limits{}
}

// AppendLimits writes limits.
func AppendLimits(out []byte, l Limits) []byte {
	if l.Open {
		return AppendU32(append(out, 0), l.Min)
	}
	return AppendU32(AppendU32(append(out, 1), l.Min), l.Max)
}

// AppendU32 writes an unsigned LEB128.
func AppendU32(out []byte, v uint32) []byte {
	for v >= 0x80 {
		out = append(out, byte(v)|0x80)
		v >>= 7
	}
	return append(out, byte(v))
}

// AppendSigned writes a signed LEB128.
func AppendSigned(out []byte, v int64) []byte {
	for v < -0x40 || v > 0x3f {
		out = append(out, byte(v)|0x80)
		v >>= 7
	}
	return append(out, byte(v)&0x7f)
}

// AppendName writes a string.
func AppendName(out []byte, name string) []byte {
	return append(AppendU32(out, uint32(len(name))), name...)
}
