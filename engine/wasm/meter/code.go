package meter

import (
	"fmt"

	"chaperone/engine/wasm/binary"
)

// charge is code to be inserted before the byte at an offset of the body.
type charge struct {
	at   int
	cost int64 // of a region
	by   charger
}

// bodies is what has been read of all function bodies, one after the other; blocks serves each in turn.
type bodies struct {
	m         *module
	functions []function
	charges   []charge
	calls     []uint32 // of functions
	blocks    []block
}

// function is one body, with where its charges and calls end; they begin where those of the one before do.
type function struct {
	src            []byte
	charges, calls int
	indirect       bool // it calls by table too
}

// block is an open block: the charge of the region that it belongs to, and what it is.
type block struct {
	region int
	op     byte
}

func (m *module) readCode(r *binary.Reader) error {
	m.bodies = r.Count(2)
	if m.bodies != m.functions.defined {
		return nil // Rewrite says so
	}
	b := bodies{m: m, functions: make([]function, 0, m.bodies)}
	for i := range m.bodies {
		code := &binary.Reader{Src: r.Bytes(r.U32())}
		if r.Err() != nil {
			return nil
		}
		if err := b.read(code); err != nil {
			return fmt.Errorf("%w, in function %d", err, m.functions.imported+i)
		}
	}
	if r.More() {
		return nil // which r.End says
	}
	if m.code > m.limits.CodeBytes {
		return fmt.Errorf("%w: %d bytes, in which what compiles to much counts for more; at most %d are allowed", ErrCode, m.code, m.limits.CodeBytes)
	}
	often := b.often()
	m.needs[perRegion] = b.rare(often) >= worthHelper
	if !m.needs[perRegion] {
		for i := range often {
			often[i] = true
		}
	}
	out := make([]byte, 0, len(r.Src)+len(r.Src)/8)
	from := 0
	for i, f := range b.functions {
		out = m.appendBody(out, f.src, b.charges[from:f.charges], often[i])
		from = f.charges
	}
	m.codeOut = out
	return nil
}

// worthHelper is how many regions have to be charged by calls for that to be shorter, with the helper, than in line.
const worthHelper = 4

// rare counts the regions of bodies that are not run often.
func (b *bodies) rare(often []bool) (n int) {
	from := 0
	for i, f := range b.functions {
		if !often[i] {
			for _, c := range b.charges[from:f.charges] {
				if c.by == perRegion {
					n++
				}
			}
		}
		from = f.charges
	}
	return n
}

// often says of each body whether it may be run from an export that is called often.
func (b *bodies) often() []bool {
	reached := make([]bool, len(b.functions))
	var next []int
	reach := func(function uint32) {
		if i := int(function) - int(b.m.functions.imported); i >= 0 && !reached[i] {
			reached[i] = true
			next = append(next, i)
		}
	}
	for _, f := range b.m.oftenCalled {
		reach(f)
	}
	byTable := false
	for len(next) > 0 {
		i := next[len(next)-1]
		next = next[:len(next)-1]
		from := 0
		if i > 0 {
			from = b.functions[i-1].calls
		}
		for _, callee := range b.calls[from:b.functions[i].calls] {
			reach(callee)
		}
		if b.functions[i].indirect && !byTable {
			byTable = true
			for f := range b.m.inTables {
				reach(f)
			}
		}
	}
	return reached
}

// frame is the fuel for entering a function, beside its region: without it recursion would take stack, which the engine
// has to move when it grows, for next to nothing.
const frame = 32

// read finds out what to charge where.
func (b *bodies) read(r *binary.Reader) error {
	m := b.m
	locals := uint64(0)
	for range r.Count(2) {
		locals += uint64(r.U32())
		r.ValueType()
	}
	if locals > uint64(m.limits.Locals) {
		return fmt.Errorf("%w: a function has %d locals, at most %d are allowed", ErrLimit, locals, m.limits.Locals)
	}
	m.locals += int(locals)
	if err := m.limit("locals", m.locals, m.limits.AllLocals); err != nil {
		return err
	}
	branches, values, widest, weight := 0, 0, 0, 0
	indirect := false
	b.blocks = append(b.blocks[:0], block{region: len(b.charges), op: opBlock})
	b.charges = append(b.charges, charge{at: r.At, cost: frame, by: perRegion})
	for len(b.blocks) > 0 && r.Err() == nil {
		at := r.At
		op := r.Byte()
		cost, by := m.instruction(r, op)
		weight += int(weights[op]) + r.At - at - 1
		region := b.blocks[len(b.blocks)-1].region
		b.charges[region].cost += cost
		if by != noCharge {
			b.charges = append(b.charges, charge{at: at, by: by})
			m.needs[by] = true
		}
		if r.Err() != nil {
			break
		}
		immediate := binary.Reader{Src: r.Src, At: at + 1}
		switch op {
		case opCall, opRefFunc:
			callee := immediate.U32()
			b.calls = append(b.calls, callee)
			if op == opCall {
				values += m.arity[m.typeOf[callee]]
			}
		case opCallIndirect:
			values += m.arity[immediate.U32()]
			indirect = true
		case opBlock, opBr, opBrIf:
			branches++
		case opIf:
			branches += 3
		case opLoop:
			branches += 4 // with those of its charge
		case opBrTable:
			branches += r.At - at // at least a byte each
		case opMisc:
			if sub := immediate.U32(); sub == miscMemoryFill || sub == miscTableFill {
				branches += 4 // they become loops
			}
		}
		if op == opBlock || op == opLoop || op == opIf {
			if t := immediate.Signed(33); t >= 0 {
				values += m.arity[t]
				widest = max(widest, m.arity[t])
			}
		}
		switch op {
		case opLoop:
			region = len(b.charges)
			b.charges = append(b.charges, charge{at: r.At, by: perRegion})
			fallthrough
		case opBlock, opIf:
			if len(b.blocks) >= m.limits.Nesting {
				return fmt.Errorf("%w: blocks are nested deeper than %d", ErrLimit, m.limits.Nesting)
			}
			b.blocks = append(b.blocks, block{region, op})
		case opElse:
			if last := &b.blocks[len(b.blocks)-1]; last.op != opIf {
				r.Fail("else without if")
			} else {
				last.op = opElse
			}
		case opEnd:
			b.blocks = b.blocks[:len(b.blocks)-1]
		}
	}
	// Compilers walk the dominators of every block, and every local in each: a body of nothing but branches takes wazero time
	// by their square, and a module has room for many such bodies. A branch carries what the block that it leads to takes.
	m.work += branches * (branches + int(locals) + widest)
	if err := m.limit("units of work for a compiler in its branches", m.work, m.limits.Work); err != nil {
		return err
	}
	if err := m.limit("values in the calls and blocks of a function", values, m.limits.Values); err != nil {
		return err
	}
	if err := m.limit("places where fuel is taken", len(b.charges), m.limits.Charges); err != nil {
		return err
	}
	if weight > m.limits.FunctionBytes {
		return fmt.Errorf("%w: a function has %d bytes, in which what compiles to much counts for more; at most %d are allowed", ErrLimit, weight, m.limits.FunctionBytes)
	}
	m.code += weight
	r.End()
	b.functions = append(b.functions, function{r.Src, len(b.charges), len(b.calls), indirect})
	return r.Err()
}

// appendBody appends a body with its length. Where it is run often its regions are charged in line, which takes 17 bytes and a
// third of a nanosecond; otherwise by a call, which takes 5 bytes and some 2 nanoseconds.
func (m *module) appendBody(out, src []byte, charges []charge, often bool) []byte {
	size := len(src)
	for _, c := range charges {
		var scratch [32]byte
		size += len(m.appendCharge(scratch[:0], c, often))
	}
	out = binary.AppendU32(out, uint32(size))
	at := 0
	for _, c := range charges {
		out = append(out, src[at:c.at]...)
		out = m.appendCharge(out, c, often)
		at = c.at
	}
	return append(out, src[at:]...)
}

func (m *module) appendCharge(out []byte, c charge, often bool) []byte {
	if c.by == perRegion {
		if often {
			out = m.appendGet(out)
			out = binary.AppendSigned(append(out, opI64Const), c.cost)
			return m.appendTake(out)
		}
		out = binary.AppendSigned(append(out, opI64Const), c.cost)
	}
	return binary.AppendU32(append(out, opCall), m.helper(c.by))
}

func (m *module) appendGet(out []byte) []byte {
	return binary.AppendU32(append(out, opGlobalGet), m.globals.size())
}

// appendTake takes what is on top of the stack off what is below it, makes that the counter, and stops where it is
// negative.
func (m *module) appendTake(out []byte) []byte {
	out = append(out, opI64Sub, opGlobalSet)
	out = binary.AppendU32(out, m.globals.size())
	out = m.appendGet(out)
	return append(out, opI64Const, 0, opI64LtS, opIf, emptyBlock, opUnreachable, opEnd)
}

// helper is the index of a charger's function: those that are needed lie behind the module's own.
func (m *module) helper(by charger) uint32 {
	i := m.functions.size()
	for earlier := range by {
		if m.needs[earlier] {
			i++
		}
	}
	return i
}

// appendHelpers appends the bodies of the helpers that are needed.
func (m *module) appendHelpers(out []byte) []byte {
	for by := range chargers {
		if m.needs[by] {
			helper := m.helperBody(by)
			out = append(binary.AppendU32(out, uint32(len(helper))), helper...)
		}
	}
	return out
}

// helperBody charges a region's cost, or for a length by the shift of its charger.
func (m *module) helperBody(by charger) []byte {
	out := []byte{0} // no locals
	out = m.appendGet(out)
	out = append(out, opLocalGet, 0)
	switch by {
	case perWord:
		out = append(out, opI64ExtendU, opI64Const, 3, opI64ShrU)
	case perEntry:
		out = append(out, opI64ExtendU)
	case perPage:
		out = append(out, opI64ExtendU, opI64Const, 16, opI64Shl)
	}
	out = m.appendTake(out)
	if by != perRegion {
		out = append(out, opLocalGet, 0)
	}
	return append(out, opEnd)
}
