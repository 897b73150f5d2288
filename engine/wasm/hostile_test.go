package wasm_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"chaperone/engine/wasm"
	"chaperone/engine/wasm/binary"
)

// hostile is a scorer put together byte by byte: what a toolchain would not emit.
type hostile struct {
	score  []byte   // body of chaperone_score, (i32) -> (i32); returns 0 where empty
	extra  [][]byte // further functions, (i32) -> (i32), from index firstExtra on
	start  []byte   // body of a start function
	table  uint32   // elements of the table, which may grow to 65,536
	locals []byte   // declarations of chaperone_score's locals
	custom []byte   // sections that are appended as they are

	types    [][]byte          // further types, from firstType on
	elements [][]byte          // further element segments
	optional map[string][]byte // bodies of chaperone_configure, chaperone_observe, chaperone_restore and, () -> (i64), chaperone_save
	manifest string            // plainManifest where empty
}

// Indices of functions. The imports are random_get, fd_write and log.
const (
	randomGet = iota
	fdWrite
	logLine
	initFunction
	scoreFunction
	startFunction
	firstExtra
)

// firstType is the index of the first further type. Those before: one number to one, none to none, of the imports, of start, and
// of chaperone_save.
const firstType = 7

// code joins instructions; numbers become i32.const.
func code(parts ...any) []byte {
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			out = binary.AppendSigned(append(out, 0x41), int64(int32(p)))
		case byte:
			out = append(out, p)
		case string:
			out = append(out, p...)
		case []byte:
			out = append(out, p...)
		}
	}
	return out
}

func call(function int) []byte { return binary.AppendU32([]byte{0x10}, uint32(function)) }

// forever is a loop around instructions.
func forever(parts ...any) []byte { return code("\x03\x40", code(parts...), "\x0c\x00\x0b") }

const (
	drop    = "\x1a"
	end     = "\x0b"
	growMem = "\x40\x00"
	fill    = "\xfc\x0b\x00"
	copyMem = "\xfc\x0a\x00\x00"
	initMem = "\xfc\x08\x00\x00"
	nullRef = "\xd0\x70"
)

func (h hostile) module(t testing.TB) []byte {
	t.Helper()
	vector := func(items ...[]byte) []byte {
		return append(binary.AppendU32(nil, uint32(len(items))), bytes.Join(items, nil)...)
	}
	body := func(locals, instructions []byte) []byte {
		if locals == nil {
			locals = []byte{0}
		}
		b := code(locals, instructions, end)
		return append(binary.AppendU32(nil, uint32(len(b))), b...)
	}
	imported := func(module, name string, kind byte) []byte {
		return append(binary.AppendName(binary.AppendName(nil, module), name), 0, kind)
	}
	exported := func(name string, kind, index byte) []byte { return append(binary.AppendName(nil, name), kind, index) }
	functions := [][]byte{{0}, {0}, {1}}
	bodies := [][]byte{body(nil, code(1024)), body(h.locals, code(h.score, 0)), body(nil, h.start)}
	for _, extra := range h.extra {
		functions = append(functions, []byte{0})
		bodies = append(bodies, body(nil, extra))
	}
	exports := [][]byte{exported("memory", 2, 0), exported("chaperone_init", 0, initFunction), exported("chaperone_score", 0, scoreFunction)}
	for _, name := range slices.Sorted(maps.Keys(h.optional)) {
		kind := byte(0)
		if name == "chaperone_save" {
			kind = 6
		}
		exports = append(exports, exported(name, 0, byte(initFunction+len(functions))))
		functions = append(functions, []byte{kind})
		bodies = append(bodies, body(nil, h.optional[name]))
	}
	out := []byte(binary.Preamble)
	add := func(id byte, content []byte) { out = binary.AppendSection(out, id, content) }
	add(binary.Type, vector(append([][]byte{[]byte("\x60\x01\x7f\x01\x7f"), []byte("\x60\x00\x00"), []byte("\x60\x02\x7f\x7f\x01\x7f"),
		[]byte("\x60\x04\x7f\x7f\x7f\x7f\x01\x7f"), []byte("\x60\x03\x7f\x7f\x7f\x00"), []byte("\x60\x01\x7f\x00"),
		[]byte("\x60\x00\x01\x7e")}, h.types...)...))
	add(binary.Import, vector(imported("wasi_snapshot_preview1", "random_get", 2), imported("wasi_snapshot_preview1", "fd_write", 3),
		imported("chaperone", "log", 4)))
	add(binary.Function, vector(functions...))
	add(binary.Table, code("\x01\x70\x00", binary.AppendU32(nil, max(h.table, 1))))
	add(binary.Memory, []byte("\x01\x00\x10"))
	add(binary.Export, vector(exports...))
	if h.start != nil {
		add(binary.Start, []byte{startFunction})
	}
	add(binary.Element, vector(append([][]byte{[]byte("\x00\x41\x00\x0b\x01\x04"), []byte("\x01\x00\x04\x04\x04\x04\x04")},
		h.elements...)...)) // score itself; a passive one
	add(binary.DataCount, []byte{1})
	add(binary.Code, vector(bodies...))
	add(binary.Data, vector([]byte("\x01\x08passive!")))
	out = append(out, h.custom...)
	if h.manifest == "" {
		h.manifest = plainManifest
	}
	return withSection(out, "chaperone.plugin", h.manifest)
}

// vectorsAt writes 64 vectors for fd_write, each of the same bytes.
func vectorsAt(place, at, size int) []byte {
	return many(64, func(i int) []byte { return code(place+8*i, at, "\x36\x02\x00", place+8*i, size, "\x36\x02\x04") })
}

// printing writes lines of one letter for ever, 8,192 in each of its 64 vectors.
func printing() []byte {
	lines := code(0, 0x0a61, "\x3b\x01\x00", many(13, func(i int) []byte { return code(2<<i, 0, 2<<i, copyMem) }))
	return code(lines, vectorsAt(1<<15, 0, 16<<10), forever(1, 1<<15, 64, 1024, call(fdWrite), drop))
}

// named is a name section with the name of one function.
func named(function byte, name string) []byte {
	text := binary.AppendName([]byte{1, function}, name)
	return binary.AppendCustom(nil, "name", append(binary.AppendU32([]byte{1}, uint32(len(text))), text...))
}

// many repeats what a function gives for 0…n-1.
func many(n int, each func(i int) []byte) []byte {
	var out []byte
	for i := range n {
		out = append(out, each(i)...)
	}
	return out
}

func nested(n int, open string, inner []byte) []byte {
	return code(strings.Repeat(open, n), inner, strings.Repeat(end, n))
}

// unit is instructions that can follow themselves any number of times in a function (i32) -> (i32).
type unit struct{ head, again, tail []byte }

func (u unit) body(size int) []byte {
	return code(u.head, bytes.Repeat(u.again, max(1, (size-len(u.head)-len(u.tail))/len(u.again))), u.tail)
}

// dense is code of the instructions that compilers make much of, each kind by itself, and of a plain one.
var dense = func() map[string]unit {
	const get, set = "\x20\x00", "\x21\x00"
	ranges := func(instruction string) unit { return unit{nil, code(get, get, get, instruction), code(get)} }
	vector := func(again string) unit {
		return unit{code("\xfd\x0c", make([]byte, 16)), code(again), code("\xfd\x1b\x00")}
	}
	return map[string]unit{
		"comparisons":          {code(get), code("\x45"), nil},
		"divisions":            {code(get), code(get, "\x6f"), nil},
		"loads":                {code(get), code("\x28\x02\x00"), nil},
		"memory.grow":          {code(get), code(growMem), nil},
		"memory.copy":          ranges(copyMem),
		"memory.init":          ranges(initMem),
		"table.copy":           ranges("\xfc\x0e\x00\x00"),
		"table.init":           ranges("\xfc\x0c\x01\x00"),
		"table.get":            {nil, code(get, "\x25\x00", drop), code(get)},
		"references":           {nil, code("\xd2\x04", drop), code(get)},
		"indirect calls":       {nil, code(get, get, "\x11\x00\x00", set), code(get)},
		"unsigned conversions": {code(get, "\xac"), code("\xba\xb1"), code("\xa7")},
		"saturating ones":      {code(get, "\xac\xba"), code("\xfc\x07\xba"), code("\xfc\x02")},
		"vector counts":        vector("\xfd\x62"),
		"vector conversions":   vector("\xfd\xf9\x01"),
	}
}()

type attack struct {
	module []byte
	is     error
}

// hostileModules is every attack with the error that it ends in, either when it is loaded or when it is called; nil where
// the module only looks dangerous. With -short those are left out that keep a compiler busy.
func hostileModules(t testing.TB) map[string]attack {
	out := map[string]attack{}
	slow := false // to load
	add := func(name string, is error, h hostile) {
		if !slow || !testing.Short() {
			out[name] = attack{h.module(t), is}
		}
	}
	fuel := func(name string, score []byte, extra ...[]byte) {
		add(name, wasm.ErrFuel, hostile{score: score, extra: extra})
	}

	// Loops of every shape.
	fuel("loop", forever())
	fuel("loop, conditional", code("\x03\x40", 1, "\x0d\x00", end))
	fuel("loop, by br_table", code("\x03\x40", 0, "\x0e\x01\x00\x00", end))
	fuel("loop, from a block in it", forever("\x02\x40\x0c\x01", end))
	fuel("loop, from an if in it", code("\x03\x40", 1, "\x04\x40\x0c\x01", end, end))
	fuel("loop, from an else in it", code("\x03\x40", 0, "\x04\x40\x05\x0c\x01", end, end))
	fuel("loops, the inner ends", forever("\x03\x40", end))
	fuel("loops, by the outer", code("\x03\x40\x03\x40\x0c\x01", end, end))
	fuel("loops, a thousand deep", nested(1000, "\x03\x40", code("\x0c", binary.AppendU32(nil, 999))))
	fuel("loop, with a parameter", code(0, "\x03\x00", 1, "\x6a\x0c\x00", end, drop))
	fuel("loop, with a result", code("\x03\x7f\x0c\x00", end, drop))
	fuel("loop, in unreachable code of its own", forever("\x02\x40\x0c\x00\x03\x40\x0c\x00", end, end))
	fuel("loop, of calls", forever(0, call(firstExtra), drop), code(0))
	fuel("loop, of divisions", forever("\x42\x7f\x20\x00\xac\x42\x03\x84\x7f", drop))
	fuel("loop, of square roots", forever("\x20\x00\xb7\x9f\x9f\x9f\x9f", drop))
	fuel("loop, of references", forever("\xd2\x04", drop))
	fuel("loop, of a body of 200 KB", forever(bytes.Repeat(code(1, drop), 66_000)))

	// Recursion.
	add("recursion", wasm.ErrFuel, hostile{score: code(0, call(firstExtra), drop), extra: [][]byte{code("\x20\x00", call(firstExtra), 1, "\x6a")}})
	add("recursion, mutual", wasm.ErrFuel, hostile{score: code(0, call(firstExtra), drop),
		extra: [][]byte{code("\x20\x00", call(firstExtra+1), 1, "\x6a"), code("\x20\x00", call(firstExtra), 1, "\x6a")}})
	add("recursion, indirect", wasm.ErrFuel, hostile{score: code(0, 0, "\x11\x00\x00", drop)})
	fuel("recursion, exponential", code(60, call(firstExtra), drop),
		code("\x20\x00\x45\x04\x40", 1, "\x0f", end, "\x20\x00", 1, "\x6b", call(firstExtra), "\x20\x00", 1, "\x6b", call(firstExtra), "\x6a"))
	fuel("recursion, exponential and chained", code(0, call(firstExtra), drop), chain(60)...)

	// Memory and tables.
	fuel("memory.grow by 0", forever(0, growMem, drop))
	fuel("memory.grow by 1", forever(1, growMem, drop))
	fuel("memory.grow by all", forever(-1, growMem, drop))
	fuel("memory.fill", forever(0, 255, 1<<20, fill))
	fuel("memory.fill, nothing", forever(0, 255, 0, fill))
	fuel("memory.fill, outside", forever(0, 255, -1, fill))
	fuel("memory.copy", forever(0, 8, 1<<20-8, copyMem))
	fuel("memory.init", forever(0, 0, 8, initMem))
	add("memory.init, outside", wasm.ErrTrap, hostile{score: code(0, 0, 9, initMem)})
	fuel("table.grow", forever(nullRef, 1000, "\xfc\x0f\x00", drop))
	fuel("table.grow by 0", forever(nullRef, 0, "\xfc\x0f\x00", drop))
	add("table.fill", wasm.ErrFuel, hostile{score: forever(0, nullRef, 60_000, "\xfc\x11\x00"), table: 60_000})
	add("table.copy", wasm.ErrFuel, hostile{score: forever(0, 1, 59_000, "\xfc\x0e\x00\x00"), table: 60_000})
	fuel("table.init", forever(0, 0, 1, "\xfc\x0c\x01\x00"))
	fuel("table.get and set", forever(0, 0, "\x25\x00\x26\x00"))

	// The host.
	fuel("random_get", forever(0, 64<<10, call(randomGet), drop))
	fuel("random_get, too much", forever(0, -1, call(randomGet), drop))
	fuel("fd_write, 64 MiB", code(vectorsAt(0, 0, 1<<20), forever(1, 0, 64, 1024, call(fdWrite), drop)))
	fuel("fd_write, too many vectors", forever(1, 0, -1, 1024, call(fdWrite), drop))
	fuel("log", forever(3, 0, 1024, call(logLine)))
	fuel("log, too much", forever(3, 0, -1, call(logLine)))
	fuel("fd_write, 8,192 lines", printing())

	// The start section.
	add("start, a loop", wasm.ErrFuel, hostile{start: forever()})
	add("start, recursion", wasm.ErrInit, hostile{start: code(0, call(firstExtra), drop), extra: [][]byte{code("\x20\x00", call(firstExtra), 1, "\x6a")}})
	add("start, memory.grow", wasm.ErrFuel, hostile{start: forever(1, growMem, drop)})

	// What is to keep the compiler busy.
	slow = true
	add("nesting, 1,900 blocks", nil, hostile{score: nested(1900, "\x02\x40", nil)})
	add("nesting, 1,900 ifs", nil, hostile{score: nestedIfs(1900)})
	add("nesting, 100,000 blocks", wasm.ErrModule, hostile{score: nested(100_000, "\x02\x40", nil)})
	add("br_table, 13,000 targets", nil, hostile{score: code("\x02\x40", 0, "\x0e", binary.AppendU32(nil, 13_000), make([]byte, 13_001), end)})
	add("br_table, 200,000 targets", wasm.ErrModule, hostile{score: code("\x02\x40", 0, "\x0e", binary.AppendU32(nil, 200_000), make([]byte, 200_001), end)})
	add("br_table, to 1,900 blocks", nil, hostile{score: nested(1900, "\x02\x40", code(0, "\x0e", binary.AppendU32(nil, 1899),
		many(1900, func(i int) []byte { return binary.AppendU32(nil, uint32(i)) })))})
	add("functions, 100,000", wasm.ErrModule, hostile{extra: slices.Repeat([][]byte{code(0)}, 100_000)})
	add("functions, 40,000", nil, hostile{extra: slices.Repeat([][]byte{code(0)}, 40_000)})
	add("locals, 2 billion", wasm.ErrModule, hostile{locals: code("\x01", binary.AppendU32(nil, math.MaxInt32), "\x7f")})
	add("locals, 1,900 in 1,900 blocks", nil, hostile{locals: code("\x01", binary.AppendU32(nil, 1900), "\x7f"),
		score: many(1900, func(i int) []byte {
			return code("\x02\x40\x20\x00\x0d\x00", i, "\x21", binary.AppendU32(nil, uint32(i)), end)
		})})
	add("locals, 1,900 live in a loop", wasm.ErrFuel, hostile{locals: code("\x01", binary.AppendU32(nil, 1900), "\x7f"),
		score: forever(many(1900, func(i int) []byte {
			return code("\x20", binary.AppendU32(nil, uint32(i)), "\x21", binary.AppendU32(nil, uint32(i+1)))
		}))})
	add("a body of 300 KB", wasm.ErrModule, hostile{score: bytes.Repeat(code(1, drop), 100_000)})
	add("a body of 250 KB", nil, hostile{score: bytes.Repeat(code(1, drop), 83_000)})
	add("a body of 250 KB of calls", wasm.ErrFuel, hostile{score: bytes.Repeat(code(0, call(firstExtra), drop), 50_000), extra: [][]byte{code(bytes.Repeat(code(1, drop), 1000), 0)}})
	add("a body of 4,500 ifs", nil, hostile{score: bytes.Repeat(code("\x20\x00\x04\x40", end), 4500)})
	add("a body of 20,000 ifs", wasm.ErrModule, hostile{score: bytes.Repeat(code("\x20\x00\x04\x40", end), 20_000)})
	add("a body of 3,400 loops", nil, hostile{score: bytes.Repeat(code("\x03\x40", end), 3400)})
	add("a body of 60,000 loops", wasm.ErrModule, hostile{score: bytes.Repeat(code("\x03\x40", end), 60_000)})
	add("500 bodies of 900 loops", wasm.ErrModule, hostile{extra: slices.Repeat([][]byte{code(bytes.Repeat(code("\x03\x40", end), 900), 0)}, 500)})
	add("20 bodies of 250 KB", nil, hostile{extra: slices.Repeat([][]byte{code(bytes.Repeat(code(1, drop), 83_000), 0)}, 20)})
	add("125 bodies of 250 KB", wasm.ErrModule, hostile{extra: slices.Repeat([][]byte{code(bytes.Repeat(code(1, drop), 83_000), 0)}, 125)})
	add("memory.grow, 15 million in dead code", wasm.ErrModule, hostile{extra: slices.Repeat([][]byte{code("\x00", bytes.Repeat([]byte(growMem), 125_000))}, 120)})

	add("a body of 27,000 fills", wasm.ErrModule, hostile{extra: [][]byte{code(bytes.Repeat(code(0, 0, 0, fill), 27_000), 0)}})
	add("a body of 3,400 fills", nil, hostile{extra: [][]byte{code(bytes.Repeat(code(0, 0, 0, fill), 3_400), 0)}})
	add("bodies of 3,400 fills, two", wasm.ErrModule, hostile{extra: slices.Repeat([][]byte{code(bytes.Repeat(code(0, 0, 0, fill), 3_400), 0)}, 2)})
	for name, unit := range dense {
		add("dense code, a body of "+name, wasm.ErrModule, hostile{extra: [][]byte{unit.body(270_000)}})
		add("dense code, 200 KB of "+name, nil, hostile{extra: slices.Repeat([][]byte{unit.body(10_000)}, 20)})
		add("dense code, 10 MB of "+name, wasm.ErrModule, hostile{extra: slices.Repeat([][]byte{unit.body(10_000)}, 1000)})
	}

	// What is to take the memory of who reads it.
	thousand := strings.Repeat("\x7f", 1000)
	wide := [][]byte{code("\x60\x00", binary.AppendU32(nil, 1000), thousand)}
	add("sections, 10 million", wasm.ErrModule, hostile{custom: bytes.Repeat([]byte("\x00\x01\x00"), 10_000_000)})
	imports := func(n int) []byte {
		return binary.AppendSection(nil, binary.Import, append(binary.AppendU32(nil, uint32(n)), make([]byte, 4*n)...))
	}
	add("imports, 8 million", wasm.ErrModule, hostile{custom: imports(8_000_000)})
	add("imports, 160 times 40,000", wasm.ErrImport, hostile{custom: bytes.Repeat(imports(40_000), 160)})
	add("elements, 10 million", wasm.ErrModule, hostile{elements: [][]byte{code("\x01\x00", binary.AppendU32(nil, 10_000_000), bytes.Repeat([]byte{scoreFunction}, 10_000_000))}})
	add("types, 10,000 of 1,000 values", wasm.ErrModule, hostile{types: slices.Repeat(wide, 10_000)})
	add("calls, 50,000 of 1,000 values", wasm.ErrModule, hostile{types: wide, score: code(bytes.Repeat(code(0, "\x11", byte(firstType), "\x00"), 50_000), "\x00")})
	add("calls, 490 of 1,000 values", nil, hostile{types: wide, score: code("\x20\x00\x45\x04\x40", bytes.Repeat(code(0, "\x11", byte(firstType), "\x00"), 490), "\x00", end)})
	add("blocks, 10,000 of 1,000 values", wasm.ErrModule, hostile{types: wide, score: code(bytes.Repeat(code("\x02", byte(firstType), "\x00", end), 10_000), "\x00")})
	add("branches, 14,000 of 1,000 values", wasm.ErrModule, hostile{types: wide, score: code("\x02", byte(firstType), bytes.Repeat(code(1), 1000), bytes.Repeat(code(1, "\x0d\x00"), 14_000), end, bytes.Repeat([]byte(drop), 1000))})
	add("a name of 30 MB", wasm.ErrFuel, hostile{score: code(0, call(firstExtra), drop), extra: [][]byte{code("\x20\x00", call(firstExtra), 1, "\x6a")},
		custom: named(firstExtra, strings.Repeat("n", 30<<20))})
	add("a name with a terminal's commands", wasm.ErrTrap, hostile{score: code("\x00"), custom: named(scoreFunction, "\x1b[2J\u009b2J\u202e")})
	add("names, 10 million", nil, hostile{custom: binary.AppendCustom(nil, "name", code("\x01", binary.AppendU32(nil, 20_000_004),
		binary.AppendU32(nil, 10_000_000), make([]byte, 20_000_000)))})
	add("a manifest of 10 MB", wasm.ErrManifest, hostile{manifest: plainManifest + strings.Repeat("#", 10<<20)})
	add("a manifest, 10,000 tables deep", wasm.ErrManifest, hostile{manifest: plainManifest + "x = " + strings.Repeat("[", 10_000)})
	add("a name section of 2 billion names", nil, hostile{custom: binary.AppendCustom(nil, "name", code("\x01\x06", binary.AppendU32(nil, math.MaxInt32), "\x00"))})
	return out
}

// nestedIfs is ifs with elses, each in the last one's else.
func nestedIfs(n int) []byte {
	return code(bytes.Repeat(code("\x20\x00\x04\x40\x05"), n), strings.Repeat(end, n))
}

// chain is functions of which each calls the next one twice.
func chain(n int) [][]byte {
	var out [][]byte
	for i := range n {
		next := call(firstExtra + i + 1)
		out = append(out, code("\x20\x00", next, "\x20\x00", next, "\x6a"))
	}
	return append(out, code(1))
}

// TestHostileModulesEndInANamedError runs every attack beside a plugin that does its work, while Go's garbage collector runs,
// which has to wait for a guest's call to end. Afterwards nothing may be left of them.
func TestHostileModulesEndInANamedError(t *testing.T) {
	h, err := wasm.NewHost("", slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	neighbour := load(t, h, wasm.Config{Bytes: fixture(t, "sum"), Pool: 2})
	b, scores := batch(20), nans(20)
	latency := func(n int) (all []time.Duration) {
		for range n {
			began := time.Now()
			if err := neighbour.Score(context.Background(), b, scores); err != nil {
				t.Fatal(err)
			}
			all = append(all, time.Since(began))
		}
		slices.Sort(all)
		return all
	}
	latency(1000)
	before := latency(2000)[1000]
	heapBefore, goroutines := heap(), runtime.NumGoroutine()

	// A request a millisecond is ranked by the neighbour while the attacks run.
	stop, during := make(chan struct{}), make(chan []time.Duration)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		own, scores := batch(20), nans(20)
		var took []time.Duration
		for {
			select {
			case <-stop:
				during <- took
				return
			case <-tick.C:
			}
			began := time.Now()
			if err := neighbour.Score(context.Background(), own, scores); err != nil {
				t.Error(err)
			}
			took = append(took, time.Since(began))
		}
	}()

	all := hostileModules(t)
	var slowestLoad, slowestCall time.Duration
	var slowLoad, slowCall, hungry string
	var hungriest uint64 // of what was allocated, kept or not: more than was ever in use
	refused := map[error]int{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c := all[name]
		used := allocated()
		began := time.Now()
		p, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: c.module, Pool: 1})
		if took := time.Since(began); took > slowestLoad {
			slowestLoad, slowLoad = took, name
		}
		if err == nil {
			collected := make(chan struct{})
			go func() {
				defer close(collected)
				runtime.GC()
			}()
			began = time.Now()
			_, err = p.ScoreTable(context.Background(), table(0, 1, 2), 2)
			if took := time.Since(began); took > slowestCall {
				slowestCall, slowCall = took, name
			}
			<-collected
			if err := p.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
		if !errors.Is(err, c.is) {
			t.Errorf("%s: %v, should be %v", name, err, c.is)
		}
		if err != nil && (len(err.Error()) > 1000 || strings.ContainsFunc(strings.ReplaceAll(err.Error(), "\n", ""), unicode.IsControl)) {
			t.Errorf("%s: its error has %d bytes and begins with %.200q", name, len(err.Error()), err)
		}
		if used = allocated() - used; used > hungriest {
			hungriest, hungry = used, name
		}
		refused[c.is]++
		latency(1) // which fails where the neighbour does
	}
	t.Logf("%d modules: %d out of fuel, %d trapped, %d refused, %d did not start, %d only look dangerous", len(all), refused[wasm.ErrFuel],
		refused[wasm.ErrTrap], refused[wasm.ErrModule]+refused[wasm.ErrManifest], refused[wasm.ErrInit], refused[nil])
	pause := longestPause(t)
	t.Logf("slowest to load: %s, %v; to call: %s, %v; longest pause of the garbage collector: at most %v", slowLoad, slowestLoad,
		slowCall, slowestCall, pause)
	t.Logf("most allocated: %s, %d MiB", hungry, hungriest>>20)
	if hungriest > 1<<30 {
		t.Error("which is too much")
	}
	if slowestLoad > 30*time.Second || slowestCall > 5*time.Second || pause > 5*time.Second {
		t.Error("which is too long even for a busy machine")
	}

	close(stop)
	beside := <-during
	slices.Sort(beside)
	n := len(beside)
	t.Logf("beside them the neighbour took %v at the median, %v at the 99th percentile, %v at most, of %d calls", beside[n/2], beside[n*99/100], beside[n-1], n)
	if beside[n/2] > 10*before+time.Millisecond || beside[n-1] > 5*time.Second {
		t.Error("which is too long")
	}
	latency(1000)
	after := latency(2000)[1000]
	t.Logf("the neighbour takes %v, took %v before", after, before)
	if after > 10*before+time.Millisecond {
		t.Error("which is too much more")
	}
	if grown := int64(heap()) - int64(heapBefore); grown > 16<<20 {
		t.Errorf("%d bytes are left of them", grown)
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, there were %d", runtime.NumGoroutine(), goroutines)
		}
	}
}

// allocated is what has been allocated so far, kept or not.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// longestPause is the upper bound of the longest pause of this process so far.
func longestPause(t *testing.T) time.Duration {
	t.Helper()
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		t.Fatalf("this Go has no %s", sample[0].Name)
	}
	h := sample[0].Value.Float64Histogram()
	longest := 0.0
	for i, n := range h.Counts {
		if n > 0 {
			longest = h.Buckets[min(i+1, len(h.Buckets)-1)]
		}
	}
	return time.Duration(longest * 1e9)
}
