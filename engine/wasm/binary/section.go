package binary

import (
	"bytes"
	"errors"
	"fmt"
)

// The ids of the sections of a module, in the order of their numbers, which is not that in which they stand.
const (
	Custom = iota
	Type
	Import
	Function
	Table
	Memory
	Global
	Export
	Start
	Element
	Code
	Data
	DataCount
	Tag
)

// Preamble begins every module.
const Preamble = "\x00asm\x01\x00\x00\x00"

// Section is one section of a module. Name is that of a custom section, whose Content then follows the name.
type Section struct {
	ID      byte
	Name    string
	Content []byte
	Raw     []byte // with id and length
}

// maxSections keeps a module of empty sections, three bytes each, from taking its reader's memory. Toolchains write some dozen.
const maxSections = 1000

// Sections splits a module without interpreting what is in it.
func Sections(module []byte) ([]Section, error) {
	if !bytes.HasPrefix(module, []byte(Preamble)) {
		if bytes.HasPrefix(module, []byte("\x00asm\x0d\x00\x01\x00")) {
			return nil, errors.New("is a WebAssembly component, should be a core module")
		}
		return nil, fmt.Errorf("does not begin with the WebAssembly preamble %q: is it a .wasm file?", Preamble)
	}
	var out []Section
	r := Reader{Src: module, At: len(Preamble)}
	for r.More() {
		start := r.At
		s := Section{ID: r.Byte(), Content: r.Bytes(r.U32())}
		if r.err != nil {
			return nil, fmt.Errorf("section at offset %d: %w", start, r.err)
		}
		s.Raw = module[start:r.At]
		if s.ID == Custom {
			inner := Reader{Src: s.Content}
			s.Name = inner.Name()
			if inner.err != nil {
				return nil, fmt.Errorf("custom section at offset %d: %w", start, inner.err)
			}
			s.Content = s.Content[inner.At:]
		}
		if out = append(out, s); len(out) > maxSections {
			return nil, fmt.Errorf("has more than %d sections", maxSections)
		}
	}
	return out, nil
}

// AppendSection writes a section that is not custom.
func AppendSection(out []byte, id byte, content []byte) []byte {
	return append(AppendU32(append(out, id), uint32(len(content))), content...)
}

// AppendCustom writes a custom section.
func AppendCustom(out []byte, name string, content []byte) []byte {
	return AppendSection(out, Custom, append(AppendName(nil, name), content...))
}

// The kinds of imports and exports.
const (
	KindFunction = iota
	KindTable
	KindMemory
	KindGlobal
	KindTag
)

// ImportEntry is one import of a module.
type ImportEntry struct {
	Module, Name string
	Kind         byte
	Type         uint32 // of a function
}

func (i ImportEntry) String() string { return i.Module + "." + i.Name }

// KindName says what kind of thing it is.
func (i ImportEntry) KindName() string {
	return [...]string{"function", "table", "memory", "global", "tag"}[i.Kind]
}

// maxImports keeps imports without names, four bytes each, from taking their reader's memory.
const maxImports = 50_000

// Imports reads an import section.
func Imports(content []byte) ([]ImportEntry, error) {
	if len(content) == 0 {
		return nil, nil
	}
	r := Reader{Src: content}
	n := r.Count(4)
	if n > maxImports {
		return nil, fmt.Errorf("import section: has %d imports, at most %d are allowed", n, maxImports)
	}
	out := make([]ImportEntry, 0, n)
	for ; n > 0 && r.err == nil; n-- {
		entry := ImportEntry{Module: r.Name(), Name: r.Name(), Kind: r.Byte()}
		switch entry.Kind {
		case KindFunction:
			entry.Type = r.U32()
		case KindTable:
			r.RefType()
			r.Limits()
		case KindMemory:
			r.Limits()
		case KindGlobal:
			r.ValueType()
			r.Mutability()
		case KindTag:
			r.Zero()
			r.U32()
		default:
			r.Fail("unknown kind of import %#x", entry.Kind)
		}
		out = append(out, entry)
	}
	r.End()
	if r.err != nil {
		return nil, fmt.Errorf("import section: %w", r.err)
	}
	return out, nil
}

// The value types.
const (
	I32       = 0x7f
	I64       = 0x7e
	F32       = 0x7d
	F64       = 0x7c
	V128      = 0x7b
	FuncRef   = 0x70
	ExternRef = 0x6f
)

// ValueType reads the type of a value.
func (r *Reader) ValueType() byte {
	t := r.Byte()
	switch t {
	case I32, I64, F32, F64, V128, FuncRef, ExternRef:
		return t
	case 0x63, 0x64, 0x6e, 0x6d, 0x6c, 0x6b, 0x6a, 0x71, 0x72, 0x73:
		r.Fail("value type %#x: the proposals function references and garbage collection are not supported", t)
	case 0x69:
		r.Fail("value type exnref: the proposal exception handling is not supported")
	default:
		r.Fail("unknown value type %#x", t)
	}
	return 0
}

// RefType reads the type of a reference.
func (r *Reader) RefType() byte {
	t := r.ValueType()
	if r.err == nil && t != FuncRef && t != ExternRef {
		r.Fail("type %#x, should be that of a reference", t)
	}
	return t
}

// Mutability reads whether a global can change.
func (r *Reader) Mutability() byte {
	m := r.Byte()
	if m > 1 {
		r.Fail("mutability %#x, should be 0 or 1", m)
	}
	return m
}
