package meter

import (
	"fmt"

	"chaperone/engine/wasm/binary"
)

// charge is code to be inserted: before the byte at an offset of the body, either a region's cost or a call of a helper.
type charge struct {
	at   int
	cost int64
	by   charger // noCharge: a region's
}

// body rewrites function bodies; its slices serve one after the other.
type body struct {
	m       *module
	charges []charge
	blocks  []block
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
	b := body{m: m}
	out := make([]byte, 0, len(r.Src)+len(r.Src)/8)
	for i := range m.bodies {
		code := &binary.Reader{Src: r.Bytes(r.U32())}
		if r.Err() != nil {
			return nil
		}
		if err := b.read(code); err != nil {
			return fmt.Errorf("function %d: %w", m.functions.imported+i, err)
		}
		out = b.write(out, code.Src)
	}
	m.codeOut = out
	return nil
}

// frame is the fuel for entering a function, beside its region: without it recursion would take stack, which the engine
// has to move when it grows, for next to nothing.
const frame = 32

// read finds out what to charge where.
func (b *body) read(r *binary.Reader) error {
	m := b.m
	if len(r.Src) > m.limits.FunctionBytes {
		return fmt.Errorf("%w: a function has %d bytes, at most %d are allowed", ErrLimit, len(r.Src), m.limits.FunctionBytes)
	}
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
	branches := 0
	b.charges = append(b.charges[:0], charge{at: r.At, cost: frame, by: noCharge})
	b.blocks = append(b.blocks[:0], block{region: 0, op: opBlock})
	for len(b.blocks) > 0 && r.Err() == nil {
		at := r.At
		op := r.Byte()
		cost, by := m.instruction(r, op)
		region := b.blocks[len(b.blocks)-1].region
		b.charges[region].cost += cost
		if by != noCharge {
			b.charges = append(b.charges, charge{at: at, by: by})
			m.needs[by] = true
		}
		switch op {
		case opBlock, opBr, opBrIf:
			branches++
		case opIf:
			branches += 3
		case opLoop:
			branches += 4 // with those of its charge
		case opBrTable:
			branches += r.At - at // at least a byte each
		}
		switch op {
		case opLoop:
			region = len(b.charges)
			b.charges = append(b.charges, charge{at: r.At, by: noCharge})
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
	// by their square, and a module has room for many such bodies.
	m.work += branches * (branches + int(locals))
	if err := m.limit("units of work for a compiler in its branches", m.work, m.limits.Work); err != nil {
		return err
	}
	r.End()
	return r.Err()
}

// write appends a body with its length.
func (b *body) write(out, src []byte) []byte {
	size := len(src)
	for _, c := range b.charges {
		size += b.m.chargeSize(c)
	}
	out = binary.AppendU32(out, uint32(size))
	at := 0
	for _, c := range b.charges {
		out = append(out, src[at:c.at]...)
		out = b.m.appendCharge(out, c)
		at = c.at
	}
	return append(out, src[at:]...)
}

func (m *module) chargeSize(c charge) int {
	var scratch [32]byte
	return len(m.appendCharge(scratch[:0], c))
}

func (m *module) appendCharge(out []byte, c charge) []byte {
	if c.by != noCharge {
		return binary.AppendU32(append(out, opCall), m.helper(c.by))
	}
	out = m.appendGet(out)
	out = binary.AppendSigned(append(out, opI64Const), c.cost)
	return m.appendTake(out)
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

// helper is the index of a charger's function. All of them have their places while bodies are rewritten, since it is not
// known then which will be needed.
func (m *module) helper(by charger) uint32 { return m.functions.size() + uint32(by) }

// helperBody charges for a length by the shift of its charger.
func (m *module) helperBody(by charger) []byte {
	out := []byte{0} // no locals
	out = m.appendGet(out)
	out = append(out, opLocalGet, 0, opI64ExtendU, opI64Const)
	switch by {
	case perWord:
		out = append(out, 3, opI64ShrU)
	case perEntry:
		out = append(out, 0, opI64Shl)
	case perPage:
		out = append(out, 16, opI64Shl)
	}
	out = m.appendTake(out)
	return append(out, opLocalGet, 0, opEnd)
}

// appendHelpers appends the bodies of the helpers to a module that needs one: all of them, for the sake of their indices.
func (m *module) appendHelpers(out []byte) []byte {
	for by := range chargers {
		helper := m.helperBody(by)
		out = append(binary.AppendU32(out, uint32(len(helper))), helper...)
	}
	return out
}
