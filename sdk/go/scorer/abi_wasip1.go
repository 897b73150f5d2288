package scorer

import (
	"errors"
	"math"
	"slices"
	"unsafe"
)

// What the host calls; sdk/README.md describes it.
var (
	served *Plugin
	words  []uint64 // the arena; words, so that it is 8-byte aligned
	batch  Batch    // of the call that runs, kept so that no call allocates one
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
	json := slices.Clone(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))[:length])
	if served.configure == nil {
		if string(json) == "{}" {
			return statusOK
		}
		Log(Error, "there is a configuration, but this scorer takes none")
		return statusError
	}
	if err := served.configure(json); err != nil {
		Log(Error, err.Error())
		return statusError
	}
	return statusOK
}

// exportScore reads the arena's header, which the host writes before every call, and scores.
//
//go:wasmexport chaperone_score
func exportScore(rows int32) int32 {
	half := func(i int) uint32 { return uint32(words[i/2] >> (32 * (i % 2))) }
	b := &batch
	b.capacity = int(half(2))
	b.columns = floats(half(4), b.capacity*int(half(3)))
	b.request = floats(half(5), len(served.request))
	b.Scores = floats(half(6), int(rows))
	b.NowMS = math.Float64frombits(words[4])
	b.Seed = words[5]
	switch err := served.score(b); {
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
