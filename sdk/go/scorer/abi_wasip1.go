package scorer

import (
	"errors"
	"math"
	"slices"
	"unsafe"
)

// What the host calls; sdk/README.md describes it.
var (
	served   *Plugin
	words    []uint64 // the arena; words, so that it is 8-byte aligned
	batch    Batch    // of the call that runs, kept so that no call allocates one
	attempts Attempts // likewise
	saved    []byte   // kept until the host has read it
)

// serve makes p the plugin that the host's calls are for.
func serve(p *Plugin) { served = p }

// The statuses that the host understands.
const (
	statusOK      = 0
	statusAbstain = 1
	statusError   = 2
)

// exportInit allocates the arena, which the collector does not move.
//
//go:wasmexport chaperone_init
func exportInit(bytes int32) unsafe.Pointer {
	if served == nil || served.score == nil {
		Log(Error, "there is no scoring function: call scorer.New and Score in an init function")
		return nil
	}
	words = make([]uint64, (bytes+7)/8)
	return unsafe.Pointer(unsafe.SliceData(words))
}

// exportConfigure hands over the configuration, which the host has written at the arena's start.
//
//go:wasmexport chaperone_configure
func exportConfigure(length int32) int32 {
	json := received(length)
	if served.configure == nil {
		if string(json) == "{}" {
			return statusOK
		}
		Log(Error, "there is a configuration, but this scorer takes none")
		return statusError
	}
	return status(served.configure(json))
}

// received is what the host has written at the arena's start.
func received(length int32) []byte {
	return slices.Clone(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))[:length])
}

// half is a number of the arena's header, which the host writes before every call.
func half(i int) uint32 { return uint32(words[i/2] >> (32 * (i % 2))) }

// exportScore scores the rows in the arena.
//
//go:wasmexport chaperone_score
func exportScore(rows int32) int32 {
	b := &batch
	b.capacity = int(half(2))
	b.columns = floats(half(4), b.capacity*int(half(3)))
	b.request = floats(half(5), len(served.request))
	b.Scores = floats(half(6), int(rows))
	b.NowMS = math.Float64frombits(words[4])
	b.Seed = words[5]
	return status(served.score(b))
}

// exportObserve tells of the attempts in the arena.
//
//go:wasmexport chaperone_observe
func exportObserve(rows int32) int32 {
	if served.learn == nil {
		return statusOK
	}
	a := &attempts
	a.Rows = int(rows)
	a.capacity = int(half(2))
	a.columns = floats(half(4), a.capacity*int(half(3)))
	a.NowMS = math.Float64frombits(words[4])
	return status(served.learn(a))
}

// exportSave gives the address and length of what was learned.
//
//go:wasmexport chaperone_save
func exportSave() int64 {
	if served.save == nil {
		return 0
	}
	saved = served.save()
	return int64(uint64(uintptr(unsafe.Pointer(unsafe.SliceData(saved))))<<32 | uint64(len(saved)))
}

//go:wasmexport chaperone_restore
func exportRestore(length int32) int32 {
	if served.restore == nil {
		if length == 0 {
			return statusOK
		}
		return status(errors.New("there is saved state, but this scorer keeps none"))
	}
	return status(served.restore(received(length)))
}

// status says in the host's terms what a function returned.
func status(err error) int32 {
	switch {
	case err == nil:
		return statusOK
	case errors.Is(err, ErrAbstain):
		return statusAbstain
	default:
		Log(Error, err.Error())
		return statusError
	}
}

// floats is n values of the arena at an offset from its start in bytes.
func floats(offset uint32, n int) []float64 {
	at := words[offset/8:]
	return unsafe.Slice((*float64)(unsafe.Pointer(unsafe.SliceData(at))), len(at))[:n:n]
}

//go:wasmimport chaperone log
func hostLog(level int32, text unsafe.Pointer, length int32)

// Log writes a line to the router's log, which keeps a few lines a second of at most 1,024 bytes.
func Log(level Level, text string) {
	hostLog(int32(level), unsafe.Pointer(unsafe.StringData(text)), int32(len(text)))
}
