package wasm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// The ids of the sections that are read here; see the WebAssembly core specification, 5.5.2.
const (
	sectionCustom   = 0
	sectionImport   = 2
	sectionFunction = 3
	sectionTable    = 4
	sectionCode     = 10
)

var preamble = []byte("\x00asm\x01\x00\x00\x00")

// section is one section of a module; name is that of a custom section, whose content then follows the name.
type section struct {
	id      byte
	name    string
	content []byte
	raw     []byte // with id and length
}

// sections splits a module without interpreting what is in it.
func sections(module []byte) ([]section, error) {
	if !bytes.HasPrefix(module, preamble) {
		if bytes.HasPrefix(module, []byte("\x00asm\x0d\x00\x01\x00")) {
			return nil, errors.New("is a WebAssembly component, should be a core module")
		}
		return nil, fmt.Errorf("does not begin with the WebAssembly preamble %q: is it a .wasm file?", preamble)
	}
	var out []section
	r := reader{src: module, at: len(preamble)}
	for r.at < len(module) {
		start := r.at
		id := r.byte()
		content := r.bytes(int(r.u32()))
		if r.err != nil {
			return nil, fmt.Errorf("section at offset %d: %w", start, r.err)
		}
		s := section{id: id, content: content, raw: module[start:r.at]}
		if id == sectionCustom {
			inner := reader{src: content}
			s.name = inner.name()
			if inner.err != nil {
				return nil, fmt.Errorf("custom section at offset %d: %w", start, inner.err)
			}
			s.content = content[inner.at:]
		}
		out = append(out, s)
	}
	return out, nil
}

// find returns the one section with that id; its content is empty where there is none.
func find(all []section, id byte) section {
	for _, s := range all {
		if s.id == id {
			return s
		}
	}
	return section{}
}

// An importEntry is one import of a module: kind 0 is a function, 1 a table, 2 a memory, 3 a global, 4 a tag.
type importEntry struct {
	module, name string
	kind         byte
}

func (i importEntry) String() string { return i.module + "." + i.name }

func (i importEntry) kindName() string {
	return [...]string{"function", "table", "memory", "global", "tag"}[i.kind]
}

func imports(content []byte) ([]importEntry, error) {
	if len(content) == 0 {
		return nil, nil
	}
	r := reader{src: content}
	var out []importEntry
	for n := r.u32(); n > 0 && r.err == nil; n-- {
		entry := importEntry{module: r.name(), name: r.name(), kind: r.byte()}
		switch entry.kind {
		case 0:
			r.u32()
		case 1:
			r.byte()
			r.limits()
		case 2:
			r.limits()
		case 3:
			r.byte()
			r.byte()
		case 4:
			r.byte()
			r.u32()
		default:
			r.fail("unknown kind of import %#x", entry.kind)
		}
		out = append(out, entry)
	}
	if r.err != nil {
		return nil, fmt.Errorf("import section: %w", r.err)
	}
	return out, nil
}

// count is the number that begins a vector; 0 for an absent section.
func count(content []byte) (uint32, error) {
	if len(content) == 0 {
		return 0, nil
	}
	r := reader{src: content}
	n := r.u32()
	return n, r.err
}

// capTables lowers every table's limit to at most elements, so that table.grow cannot take the host's memory.
func capTables(content []byte, elements uint32) ([]byte, error) {
	r := reader{src: content}
	n := r.u32()
	out := binary.AppendUvarint(nil, uint64(n))
	for ; n > 0 && r.err == nil; n-- {
		kind := r.byte()
		if r.err == nil && kind != 0x70 && kind != 0x6f {
			return nil, fmt.Errorf("table section: unknown type of element %#x", kind)
		}
		least, most, limited := r.limits()
		if r.err == nil && least > elements {
			return nil, fmt.Errorf("table section: a table of %d elements, at most %d are allowed", least, elements)
		}
		if !limited || most > elements {
			most = elements
		}
		out = append(out, kind, 1)
		out = binary.AppendUvarint(out, uint64(least))
		out = binary.AppendUvarint(out, uint64(most))
	}
	if r.err != nil {
		return nil, fmt.Errorf("table section: %w", r.err)
	}
	return out, nil
}

// emptyLoop is `loop end`.
var emptyLoop = []byte{0x03, 0x40, 0x0b}

// checkEntries puts an empty loop at the start of every function. wazero looks whether a call's time is up at the head of a
// loop and nowhere else; without this an exponential recursion, which never loops, could not be interrupted. What runs between
// two heads is bounded by the size of a function's body, not by time: a body full of memory.fill outlasts the deadline by
// what they take.
func checkEntries(content []byte) ([]byte, error) {
	r := reader{src: content}
	n := r.u32()
	out := make([]byte, 0, len(content)+len(content)/16)
	out = binary.AppendUvarint(out, uint64(n))
	for ; n > 0 && r.err == nil; n-- {
		body := reader{src: r.bytes(int(r.u32()))}
		for groups := body.u32(); groups > 0 && body.err == nil; groups-- {
			body.u32()
			body.byte()
		}
		if r.err == nil {
			r.err = body.err
		}
		out = binary.AppendUvarint(out, uint64(len(body.src)+len(emptyLoop)))
		out = append(out, body.src[:body.at]...)
		out = append(out, emptyLoop...)
		out = append(out, body.src[body.at:]...)
	}
	if r.err != nil {
		return nil, fmt.Errorf("code section: %w", r.err)
	}
	return out, nil
}

func appendSection(out []byte, id byte, content []byte) []byte {
	out = append(out, id)
	out = binary.AppendUvarint(out, uint64(len(content)))
	return append(out, content...)
}

// Pack returns the module with manifest as its custom section chaperone.plugin, in place of one that it may already have.
// The manifest is checked first; the error is config.Problems where it is at fault.
func Pack(module, manifest []byte) ([]byte, error) {
	if _, err := parseManifest("manifest", manifest); err != nil {
		return nil, err
	}
	all, err := sections(module)
	if err != nil {
		return nil, fmt.Errorf("the module %w", err)
	}
	out := append([]byte(nil), preamble...)
	for _, s := range all {
		if s.id != sectionCustom || s.name != manifestSection {
			out = append(out, s.raw...)
		}
	}
	content := binary.AppendUvarint(nil, uint64(len(manifestSection)))
	content = append(content, manifestSection...)
	return appendSection(out, sectionCustom, append(content, manifest...)), nil
}

// reader reads the primitives of the binary format; after the first error everything reads as zero.
type reader struct {
	src []byte
	at  int
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *reader) byte() byte {
	if r.err != nil || r.at >= len(r.src) {
		r.fail("ends unexpectedly: the module is truncated or damaged")
		return 0
	}
	r.at++
	return r.src[r.at-1]
}

func (r *reader) bytes(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.src)-r.at {
		r.fail("says %d bytes, %d are left: the module is truncated or damaged", n, len(r.src)-r.at)
		return nil
	}
	r.at += n
	return r.src[r.at-n : r.at]
}

// u32 reads an unsigned LEB128 of at most 32 bits.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v > 1<<32-1 {
				break
			}
			return uint32(v)
		}
	}
	r.fail("a number does not fit 32 bits: the module is damaged")
	return 0
}

func (r *reader) name() string {
	s := r.bytes(int(r.u32()))
	if !utf8.Valid(s) {
		r.fail("a name is not UTF-8: the module is damaged")
		return ""
	}
	return string(s)
}

func (r *reader) limits() (least, most uint32, limited bool) {
	switch flag := r.byte(); flag {
	case 0:
		return r.u32(), 0, false
	case 1:
		return r.u32(), r.u32(), true
	default:
		r.fail("limits of kind %#x: shared and 64-bit memories are not supported", flag)
		return 0, 0, false
	}
}
