// Package meter rewrites a WebAssembly module at load so that it counts what it runs and stops by itself when it has run
// enough: deterministically, without a goroutine, a timer or a call to the host.
//
// The fuel is an i64 global that the rewriter appends. Every function at its entry and every loop at the start of an
// iteration takes off the number of instructions of its own region, which is its body without the loops in it (and a function
// something for its stack); a negative counter executes unreachable. So a module is charged for at least as much as it runs, and at most for one pass over a
// region that it leaves early. Instructions on ranges (memory.fill, table.copy, memory.grow …) are charged by length too.
//
// The counter lies behind every global of the module, and a module that names a global (or function) that it does not have
// is refused: it can neither read nor set it. The host does, through an export whose name the module may not use.
package meter

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"chaperone/engine/wasm/binary"
)

// Names of exports that the rewriter adds. A module must not export anything that begins with Reserved.
const (
	Reserved = "chaperone."
	// Counter is the fuel left, a mutable i64 global. It begins at zero: set it before every call. Negative after a trap
	// means that the fuel ran out.
	Counter = Reserved + "fuel"
	// Start is the function of the module's start section, where it has one, to be called first: as a start section it
	// would run before anybody could read why it failed.
	Start = Reserved + "start"
)

// Why a module is refused.
var (
	ErrInvalid = errors.New("is not valid WebAssembly") // or needs a proposal that is not supported, which is then named
	ErrLimit   = errors.New("is larger than is allowed")
	ErrCode    = fmt.Errorf("%w in code", ErrLimit)
	ErrMemory  = fmt.Errorf("%w in memory", ErrLimit)
)

// Limits bound what a module may have. They keep compiling bounded in time and memory.
type Limits struct {
	Bytes         int    // of the module
	CodeBytes     int    // of the instructions of all functions, each for what it compiles to: see weights
	Functions     int    // defined ones, and likewise entries of every other section
	Elements      int    // of all element segments together, and likewise parameters and results of all types
	FunctionBytes int    // likewise, of one function
	Nesting       int    // of blocks
	Locals        int    // of one function, parameters not counted
	AllLocals     int    // of all functions together
	Values        int    // that the calls and blocks of one function take and give
	Charges       int    // places where fuel is taken
	Work          int    // of compiling: what grows with the square of a function's branches, see body.read
	MemoryPages   uint32 // of 64 KiB: what a memory may grow to
	Tables        int
	TableElements uint32 // what a table may grow to
}

// Default is limits that real modules of every common toolchain keep by far.
var Default = Limits{
	Bytes: 32 << 20, CodeBytes: 8 << 20, Functions: 50_000, Elements: 250_000, FunctionBytes: 256 << 10, Nesting: 2000, Locals: 2000, AllLocals: 1_000_000,
	Values: 500_000, Charges: 2_000_000, Work: 200_000_000, MemoryPages: 65536, Tables: 16, TableElements: 65536,
}

// Rewrite returns the module with a counter. The same module gives the same bytes; names and other custom sections are kept,
// but for a name section that cannot be read or is out of all measure. Memories and tables that it defines get the limits as
// their maximum; imported ones are the host's affair.
//
// often names the exports that are called often: what these cannot reach is charged in fewer bytes and more time.
func Rewrite(src []byte, l Limits, often ...string) ([]byte, error) {
	if len(src) > l.Bytes {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrLimit, len(src), l.Bytes)
	}
	sections, err := binary.Sections(src)
	if err != nil {
		return nil, fmt.Errorf("%w: it %w", ErrInvalid, err)
	}
	m := &module{limits: l, often: often, start: none, declared: map[uint32]bool{}, inTables: map[uint32]bool{}}
	for _, s := range sections {
		if err := m.read(s); err != nil {
			if errors.Is(err, ErrLimit) {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, sectionName(s), err)
		}
	}
	if m.functions.defined != m.bodies {
		return nil, fmt.Errorf("%w: it declares %d functions and has the bodies of %d", ErrInvalid, m.functions.defined, m.bodies)
	}
	return m.write(sections, len(src)), nil
}

// none is the start function of a module that has none.
const none = math.MaxUint32

// space is an index space: imported ones come first.
type space struct{ imported, defined uint32 }

func (s space) size() uint32 { return s.imported + s.defined }

// module is what has been read of one, and the sections that differ in the output.
type module struct {
	limits    Limits
	often     []string
	last      int // rank of the last section
	types     uint32
	arity     []int           // by type: parameters and results
	functions space           // with their types below
	typeOf    []uint32        // by function
	declared  map[uint32]bool // functions that stand outside of bodies, which alone ref.func may name in them
	inTables  map[uint32]bool // of these, those that can be called by table
	tables    space
	globals   space
	bodies    uint32
	code      int // bytes of their instructions, weighed
	elements  int
	values    int // parameters and results of types
	locals    int
	work      int
	start     uint32
	needs     [chargers]bool // helper functions that are called

	oftenCalled []uint32 // the functions behind often

	tableOut, memoryOut, codeOut []byte
}

// rank is where a section stands; -1 for an unknown one.
func rank(id byte) int {
	order := [...]byte{binary.Type, binary.Import, binary.Function, binary.Table, binary.Memory, binary.Global, binary.Export,
		binary.Start, binary.Element, binary.DataCount, binary.Code, binary.Data}
	for i, o := range order {
		if o == id {
			return i + 1
		}
	}
	return -1
}

func sectionName(s binary.Section) string {
	names := [...]string{"custom section " + s.Name, "type section", "import section", "function section", "table section",
		"memory section", "global section", "export section", "start section", "element section", "code section",
		"data section", "data count section"}
	if int(s.ID) < len(names) {
		return names[s.ID]
	}
	return fmt.Sprintf("section %d", s.ID)
}

func (m *module) limit(what string, n, most int) error {
	if n <= most {
		return nil
	}
	return fmt.Errorf("%w: it has %d %s, at most %d are allowed", ErrLimit, n, what, most)
}

// read checks one section, and rewrites those that need no more than is known by then.
func (m *module) read(s binary.Section) error {
	if s.ID == binary.Custom {
		return nil
	}
	at := rank(s.ID)
	switch {
	case s.ID == binary.Tag:
		return errors.New("tags: the proposal exception handling is not supported")
	case at < 0:
		return errors.New("there is no such section")
	case at <= m.last:
		return errors.New("stands twice, or behind one that should follow it")
	}
	m.last = at
	r := &binary.Reader{Src: s.Content}
	if err := m.section(s.ID, r); err != nil {
		return err
	}
	r.End()
	return r.Err()
}

func (m *module) section(id byte, r *binary.Reader) error {
	switch id {
	case binary.Type:
		return m.readTypes(r)
	case binary.Import:
		return m.readImports(r)
	case binary.Function:
		return m.readFunctions(r)
	case binary.Table:
		return m.readTables(r)
	case binary.Memory:
		return m.readMemories(r)
	case binary.Global:
		return m.readGlobals(r)
	case binary.Export:
		return m.readExports(r)
	case binary.Start:
		return m.readStart(r)
	case binary.Element:
		return m.readElements(r)
	case binary.Code:
		return m.readCode(r)
	case binary.Data:
		return m.readData(r)
	default: // data count
		r.U32()
		return nil
	}
}

// maxSignature is how many parameters and results a type may have, as in the engines of browsers.
const maxSignature = 1000

func (m *module) readTypes(r *binary.Reader) error {
	n := r.Count(3)
	if err := m.limit("types", int(n), m.limits.Functions); err != nil {
		return err
	}
	m.types = n
	for range n {
		if form := r.Byte(); r.Err() == nil && form != 0x60 {
			return fmt.Errorf("type of the form %#x, should be a function's: the proposal garbage collection is not supported", form)
		}
		arity := 0
		for range 2 {
			values := r.Count(1)
			if values > maxSignature {
				return fmt.Errorf("%w: a type has %d parameters or results, at most %d are allowed", ErrLimit, values, maxSignature)
			}
			for range values {
				r.ValueType()
			}
			arity += int(values)
		}
		m.values += arity
		if err := m.limit("parameters and results in its types", m.values, m.limits.Elements); err != nil {
			return err
		}
		m.arity = append(m.arity, arity)
	}
	return nil
}

func (m *module) readImports(r *binary.Reader) error {
	all, err := binary.Imports(r.Src)
	if err != nil {
		return err
	}
	r.At = len(r.Src)
	if err := m.limit("imports", len(all), m.limits.Functions); err != nil {
		return err
	}
	for _, i := range all {
		switch i.Kind {
		case binary.KindFunction:
			m.functions.imported++
			m.typeOf = append(m.typeOf, m.index(r, "type", i.Type, m.types))
		case binary.KindTable:
			m.tables.imported++
		case binary.KindGlobal:
			m.globals.imported++
		case binary.KindTag:
			return errors.New("a tag: the proposal exception handling is not supported")
		}
	}
	return nil
}

// declare reads the index of a function outside of bodies.
func (m *module) declare(r *binary.Reader) uint32 {
	f := m.index(r, "function", r.U32(), m.functions.size())
	m.declared[f] = true
	return f
}

// index holds an index to its space: what lies behind is the rewriter's.
func (m *module) index(r *binary.Reader, what string, i, size uint32) uint32 {
	if i >= size {
		r.Fail("%s %d, there are %d", what, i, size)
		return 0
	}
	return i
}

func (m *module) readFunctions(r *binary.Reader) error {
	n := r.Count(1)
	if err := m.limit("functions", int(n), m.limits.Functions); err != nil {
		return err
	}
	m.functions.defined = n
	for range n {
		m.typeOf = append(m.typeOf, m.index(r, "type", r.U32(), m.types))
	}
	return nil
}

func (m *module) readTables(r *binary.Reader) error {
	n := r.Count(3)
	if err := m.limit("tables", int(n), m.limits.Tables); err != nil {
		return err
	}
	m.tables.defined = n
	m.tableOut = binary.AppendU32(nil, n)
	for range n {
		kind, l := r.RefType(), r.Limits()
		if most := m.limits.TableElements; l.Min > most {
			return fmt.Errorf("%w: a table of %d elements, at most %d are allowed", ErrLimit, l.Min, most)
		}
		m.tableOut = binary.AppendLimits(append(m.tableOut, kind), capped(l, m.limits.TableElements))
	}
	return nil
}

func (m *module) readMemories(r *binary.Reader) error {
	n := r.Count(2)
	if n > 1 {
		return fmt.Errorf("%d memories: the proposal multiple memories is not supported", n)
	}
	m.memoryOut = binary.AppendU32(nil, n)
	for range n {
		l := r.Limits()
		if most := m.limits.MemoryPages; l.Min > most {
			return fmt.Errorf("%w: a memory of %d pages of 64 KiB, at most %d are allowed", ErrMemory, l.Min, most)
		}
		if !l.Open && l.Max > 65536 {
			return fmt.Errorf("a memory of up to %d pages, there can be 65536", l.Max)
		}
		m.memoryOut = binary.AppendLimits(m.memoryOut, capped(l, m.limits.MemoryPages))
	}
	return nil
}

// capped lowers a maximum to most.
func capped(l binary.Limits, most uint32) binary.Limits {
	if l.Open || l.Max > most {
		if !l.Open && l.Min > l.Max {
			return l // which is invalid, and should stay so
		}
		l.Open, l.Max = false, most
	}
	return l
}

func (m *module) readGlobals(r *binary.Reader) error {
	n := r.Count(4)
	if err := m.limit("globals", int(n), m.limits.Functions); err != nil {
		return err
	}
	m.globals.defined = n
	for range n {
		r.ValueType()
		r.Mutability()
		m.constant(r)
	}
	return nil
}

// constant reads a constant expression: one instruction and end.
func (m *module) constant(r *binary.Reader) {
	switch op := r.Byte(); op {
	case opI32Const:
		r.Signed(32)
	case opI64Const:
		r.Signed(64)
	case opF32Const:
		r.Bytes(4)
	case opF64Const:
		r.Bytes(8)
	case opGlobalGet:
		m.index(r, "global", r.U32(), m.globals.size())
	case opRefNull:
		r.RefType()
	case opRefFunc:
		m.inTables[m.declare(r)] = true
	case opVector:
		if sub := r.Byte(); sub != vectorConst {
			r.Fail("vector instruction %#x in a constant expression", sub)
		}
		r.Bytes(16)
	default:
		r.Fail("instruction %#x in a constant expression", op)
	}
	if end := r.Byte(); end != opEnd {
		r.Fail("a constant expression of several instructions: the proposal extended constant expressions is not supported")
	}
}

func (m *module) readExports(r *binary.Reader) error {
	n := r.Count(3)
	if err := m.limit("exports", int(n), m.limits.Functions); err != nil {
		return err
	}
	for range n {
		name := r.Name()
		if strings.HasPrefix(name, Reserved) {
			return fmt.Errorf("it exports %.40q; names that begin with %q are the host's", name, Reserved)
		}
		switch kind := r.Byte(); kind {
		case binary.KindFunction:
			if f := m.declare(r); slices.Contains(m.often, name) {
				m.oftenCalled = append(m.oftenCalled, f)
			}
		case binary.KindGlobal:
			m.index(r, "global", r.U32(), m.globals.size())
		case binary.KindTable, binary.KindMemory:
			r.U32()
		default:
			r.Fail("unknown kind of export %#x", kind)
		}
	}
	return nil
}

func (m *module) readStart(r *binary.Reader) error {
	m.start = m.index(r, "function", r.U32(), m.functions.size())
	if r.Err() == nil && m.arity[m.typeOf[m.start]] != 0 {
		return errors.New("the start function should be () -> ()")
	}
	return nil
}

func (m *module) readElements(r *binary.Reader) error {
	n := r.Count(3)
	if err := m.limit("element segments", int(n), m.limits.Functions); err != nil {
		return err
	}
	for range n {
		flag := r.U32()
		if flag > 7 {
			r.Fail("element segment of the unknown kind %#x", flag)
		}
		active, explicit, expressions := flag&1 == 0, flag&2 != 0, flag&4 != 0
		if active {
			if explicit {
				m.index(r, "table", r.U32(), m.tables.size())
			}
			m.constant(r)
		}
		if !active || explicit {
			if expressions {
				r.RefType()
			} else if kind := r.Byte(); kind != 0 {
				r.Fail("element kind %#x, should be 0", kind)
			}
		}
		entries := r.Count(1)
		m.elements += int(entries)
		if err := m.limit("elements in its segments", m.elements, m.limits.Elements); err != nil {
			return err
		}
		for range entries {
			if expressions {
				m.constant(r)
			} else {
				m.inTables[m.declare(r)] = true
			}
			if r.Err() != nil {
				break
			}
		}
	}
	return nil
}

func (m *module) readData(r *binary.Reader) error {
	n := r.Count(2)
	if err := m.limit("data segments", int(n), m.limits.Functions); err != nil {
		return err
	}
	for range n {
		switch flag := r.U32(); flag {
		case 0:
			m.constant(r)
		case 1:
		case 2:
			if memory := r.U32(); memory != 0 {
				r.Fail("data for memory %d: the proposal multiple memories is not supported", memory)
			}
			m.constant(r)
		default:
			r.Fail("data segment of the unknown kind %#x", flag)
		}
		r.Bytes(r.U32())
	}
	return nil
}

// What a name section has at most to be kept. Engines keep all names, and put those of functions into the error of every trap.
const (
	maxNames = 4 << 20 // bytes of all
	maxName  = 4 << 10 // of one
)

// readable says whether a name section can be read, and has names that people can. The specification wants a damaged one ignored;
// engines do not, and believe the lengths in it.
func readable(content []byte) bool {
	if len(content) > maxNames {
		return false
	}
	r := &binary.Reader{Src: content}
	name := func(r *binary.Reader) {
		if len(r.Name()) > maxName {
			r.Fail("a name is longer than %d bytes", maxName)
		}
	}
	names := func(r *binary.Reader) {
		for range r.Count(2) {
			r.U32()
			name(r)
		}
	}
	for r.More() {
		id := r.Byte()
		sub := &binary.Reader{Src: r.Bytes(r.U32())}
		switch id {
		case 0:
			name(sub)
		case 1:
			names(sub)
		case 2:
			for range sub.Count(2) {
				sub.U32()
				names(sub)
			}
		default:
			continue
		}
		sub.End()
		if sub.Err() != nil {
			return false
		}
	}
	return r.Err() == nil
}
