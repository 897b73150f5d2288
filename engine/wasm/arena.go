package wasm

import (
	"encoding/binary"
	"math"
)

// layout is where everything lies in the arena, in bytes from its start. All of it is 8-byte aligned.
type layout struct {
	capacity, columns    int
	width                int // columns that there is room for: of rows, or of attempts where these are more
	columnsAt, requestAt int
	scoresAt, size       int
}

// headerBytes is the arena's header: magic, rows, capacity, columns, four offsets, now, seed.
const headerBytes = 48

// newLayout lays out a manifest's arena; it is at least room bytes long, so that the configuration fits in.
func newLayout(m *Manifest, room int) layout {
	l := layout{capacity: m.Rows, columns: len(m.Columns), width: max(len(m.Columns), len(m.Observe)), columnsAt: headerBytes}
	l.requestAt = l.columnsAt + 8*l.capacity*l.width
	l.scoresAt = l.requestAt + 8*len(m.Request)
	l.size = l.scoresAt + 8*l.capacity
	return l.withRoom(room)
}

// withRoom makes it at least room bytes long.
func (l layout) withRoom(room int) layout {
	l.size = max(l.size, (room+7)&^7)
	return l
}

// arena is a view of one instance's arena. It is good until the guest runs: its memory may move when it grows.
type arena struct {
	layout
	mem []byte
}

// header is written before every call, so that a guest that scribbles over it harms nobody but its own call.
func (a arena) header(rows int, nowMillis float64, seed uint64) {
	copy(a.mem, "CHP1")
	for i, v := range [...]int{rows, a.capacity, a.columns, a.columnsAt, a.requestAt, a.scoresAt, a.size} {
		binary.LittleEndian.PutUint32(a.mem[4+4*i:], uint32(v))
	}
	putFloat(a.mem[32:], nowMillis)
	binary.LittleEndian.PutUint64(a.mem[40:], seed)
}

// column is the first rows values of a column.
func (a arena) column(i, rows int) []byte {
	at := a.columnsAt + 8*a.capacity*i
	return a.mem[at : at+8*rows]
}

func (a arena) requestField(i int) []byte { return a.mem[a.requestAt+8*i:] }

// clear fills the rows from…to of columns and scores with NaN. A guest must find nothing of an earlier call there: it may
// have been for another organisation, and scores would depend on the instance's past.
func (a arena) clear(from, to int) {
	for c := range a.width {
		fillNaN(a.column(c, to)[8*min(from, to):])
	}
	fillNaN(a.mem[a.scoresAt+8*min(from, to) : a.scoresAt+8*to])
}

// clearScores pre-fills the scores of rows that are to be scored.
func (a arena) clearScores(rows int) { fillNaN(a.mem[a.scoresAt : a.scoresAt+8*rows]) }

// scores copies the guest's scores out.
func (a arena) scores(into []float64) {
	src := a.mem[a.scoresAt:]
	for i := range into {
		into[i] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
	}
}

// nan is the one NaN that guests see: the payload of a NaN must not carry anything in.
var nan = math.Float64bits(math.NaN())

func fillNaN(b []byte) {
	for i := 0; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], nan)
	}
}

func putFloat(b []byte, v float64) {
	bits := math.Float64bits(v)
	if v != v {
		bits = nan
	}
	binary.LittleEndian.PutUint64(b, bits)
}
