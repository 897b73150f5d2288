package meter

import "chaperone/engine/wasm/binary"

// The instructions that matter here by themselves; the numbers of all others fall into ranges.
const (
	opUnreachable     = 0x00
	opBlock           = 0x02
	opLoop            = 0x03
	opIf              = 0x04
	opElse            = 0x05
	opEnd             = 0x0b
	opBr              = 0x0c
	opBrIf            = 0x0d
	opBrTable         = 0x0e
	opCall            = 0x10
	opCallIndirect    = 0x11
	opSelectTyped     = 0x1c
	opLocalGet        = 0x20
	opLocalTee        = 0x22
	opGlobalGet       = 0x23
	opGlobalSet       = 0x24
	opTableGet        = 0x25
	opTableSet        = 0x26
	opFirstLoad       = 0x28
	opLastStore       = 0x3e
	opMemorySize      = 0x3f
	opMemoryGrow      = 0x40
	opI32Const        = 0x41
	opI64Const        = 0x42
	opF32Const        = 0x43
	opF64Const        = 0x44
	opFirstNumeric    = 0x45
	opI64LtS          = 0x53
	opI64Sub          = 0x7d
	opI64Shl          = 0x86
	opI64ShrU         = 0x88
	opI64ExtendU      = 0xad
	opLastNumeric     = 0xc4
	opFirstConversion = 0xa8 // between integers and floating point
	opLastConversion  = 0xbf
	opRefNull         = 0xd0
	opRefIsNull       = 0xd1
	opRefFunc         = 0xd2
	opMisc            = 0xfc
	opVector          = 0xfd

	emptyBlock  = 0x40
	vectorConst = 0x0c
)

// The instructions behind opMisc.
const (
	miscLastTruncSat = 7
	miscMemoryInit   = 8
	miscDataDrop     = 9
	miscMemoryCopy   = 10
	miscMemoryFill   = 11
	miscTableInit    = 12
	miscElemDrop     = 13
	miscTableCopy    = 14
	miscTableGrow    = 15
	miscTableSize    = 16
	miscTableFill    = 17
)

// A charger is a helper function that takes off fuel: for the length on top of the stack, which it leaves there, or for a
// region.
type charger byte

const (
	perWord   charger = iota // of memory: 1 for 8 bytes
	perEntry                 // of a table: 1
	perPage                  // of memory: 1 for a byte, since it is cleared, and sometimes all the memory moves
	perRegion                // what the region costs; where it is run often that is charged in line
	chargers
	noCharge = chargers
)

// outOfLine is the fuel for an instruction that the engine runs in its host's language, which takes it some 100 ns.
const outOfLine = 128

// instruction reads one instruction of a body up to its immediates, which are read too: its cost, and what else to charge
// it by.
func (m *module) instruction(r *binary.Reader, op byte) (cost int64, by charger) {
	switch {
	case op >= opFirstNumeric && op <= opLastNumeric:
	case op >= opLocalGet && op <= opLocalTee:
		r.U32()
	case op == opGlobalGet, op == opGlobalSet:
		m.index(r, "global", r.U32(), m.globals.size())
	case op >= opFirstLoad && op <= opLastStore:
		memarg(r)
	case op == opBlock, op == opLoop, op == opIf:
		m.blockType(r)
	case op == opBr, op == opBrIf:
		r.U32()
	case op == opBrTable:
		for range r.Count(1) {
			r.U32()
		}
		r.U32()
	case op == opCall:
		m.index(r, "function", r.U32(), m.functions.size())
	case op == opCallIndirect:
		m.index(r, "type", r.U32(), m.types)
		r.U32()
	case op == opSelectTyped:
		for range r.Count(1) {
			r.ValueType()
		}
	case op == opTableGet, op == opTableSet:
		r.U32()
	case op == opMemorySize:
		r.Zero()
	case op == opMemoryGrow:
		r.Zero()
		return outOfLine, perPage
	case op == opI32Const:
		r.Signed(32)
	case op == opI64Const:
		r.Signed(64)
	case op == opF32Const:
		r.Bytes(4)
	case op == opF64Const:
		r.Bytes(8)
	case op == opRefNull:
		r.RefType()
	case op == opRefFunc:
		if i := r.U32(); !m.declared[i] {
			r.Fail("function %d is not declared: ref.func may name what is exported or stands in an element segment", i)
		}
		return outOfLine, noCharge
	case op == opMisc:
		return misc(r)
	case op == opVector:
		vector(r)
	default:
		plain(r, op)
	}
	return 1, noCharge
}

// plain accepts the instructions without immediates that are left, and refuses all others by name.
func plain(r *binary.Reader, op byte) {
	switch op {
	case opUnreachable, 0x01, opElse, opEnd, 0x0f, 0x1a, 0x1b, opRefIsNull: // nop, return, drop, select
	case 0x12, 0x13:
		r.Fail("instruction %#x: the proposal tail calls is not supported", op)
	case 0x06, 0x07, 0x08, 0x09, 0x0a, 0x18, 0x19, 0x1f:
		r.Fail("instruction %#x: the proposal exception handling is not supported", op)
	case 0x14, 0x15, 0xd4, 0xd5, 0xd6:
		r.Fail("instruction %#x: the proposal function references is not supported", op)
	case 0xd3, 0xfb:
		r.Fail("instruction %#x: the proposal garbage collection is not supported", op)
	case 0xfe:
		r.Fail("instruction %#x: the proposal threads is not supported", op)
	default:
		r.Fail("unknown instruction %#x", op)
	}
}

func (m *module) blockType(r *binary.Reader) {
	if r.At < len(r.Src) {
		switch r.Src[r.At] {
		case emptyBlock, binary.I32, binary.I64, binary.F32, binary.F64, binary.V128, binary.FuncRef, binary.ExternRef:
			r.At++
			return
		}
	}
	if i := r.Signed(33); i < 0 {
		r.Fail("unknown type of a block")
	} else {
		m.index(r, "type", uint32(i), m.types)
	}
}

func memarg(r *binary.Reader) {
	if align := r.U32(); align >= 32 {
		r.Fail("alignment 2^%d: the proposal multiple memories is not supported", align)
	}
	r.U32()
}

func misc(r *binary.Reader) (cost int64, by charger) {
	switch op := r.U32(); {
	case op <= miscLastTruncSat:
	case op == miscMemoryInit:
		r.U32()
		r.Zero()
		return 1, perWord
	case op == miscMemoryCopy:
		r.Zero()
		r.Zero()
		return 1, perWord
	case op == miscMemoryFill:
		r.Zero()
		return 1, perWord
	case op == miscDataDrop, op == miscElemDrop, op == miscTableSize:
		r.U32()
	case op == miscTableInit, op == miscTableCopy:
		r.U32()
		r.U32()
		return 1, perEntry
	case op == miscTableGrow:
		r.U32()
		return outOfLine, perEntry
	case op == miscTableFill:
		r.U32()
		return 1, perEntry
	default:
		r.Fail("unknown instruction %#x %d", opMisc, op)
	}
	return 1, noCharge
}

// vector reads a vector instruction. Its number must have the shortest encoding: wazero takes the first byte for the number,
// and what follows one above 0x7f, which can only be 0x01, for a nop. Another encoding would be another instruction to it.
func vector(r *binary.Reader) {
	op := r.Byte()
	if op >= 0x80 {
		if second := r.Byte(); second != 0x01 {
			r.Fail("unknown vector instruction: the proposal relaxed SIMD is not supported")
		}
	}
	switch {
	case op <= 0x0b, op == 0x5c, op == 0x5d: // loads and a store
		memarg(r)
	case op == vectorConst, op == 0x0d: // shuffle
		r.Bytes(16)
	case op >= 0x15 && op <= 0x22: // lanes
		r.Byte()
	case op >= 0x54 && op <= 0x5b: // loads and stores of a lane
		memarg(r)
		r.Byte()
	}
}

// weights is how many bytes of plain code an engine takes as long, and as much memory, to compile as each instruction, its
// immediates not counted. Measured with wazero: the heaviest take a twelfth of a millisecond, and some 30 KB.
var weights = func() (w [256]uint8) {
	set := func(weight uint8, from, to byte) {
		for op := int(from); op <= int(to); op++ {
			w[op] = weight
		}
	}
	set(1, 0, 255)
	set(16, opCallIndirect, opCallIndirect)
	set(4, opTableGet, opTableSet)
	set(4, opFirstLoad, opLastStore)
	set(8, opMemoryGrow, opMemoryGrow)
	set(6, opFirstConversion, opLastConversion)
	set(24, opMisc, opMisc)
	set(4, opVector, opVector)
	return w
}()
