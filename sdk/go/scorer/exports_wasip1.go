package scorer

import "unsafe"

// The functions that the host calls; see sdk/README.md.

//go:wasmexport chaperone_init
func exportInit(bytes int32) unsafe.Pointer {
	if current == nil || current.score == nil {
		Log(Error, "there is no scoring function: call scorer.New and Score in an init function")
		return nil
	}
	return current.init(bytes)
}

//go:wasmexport chaperone_configure
func exportConfigure(length int32) int32 { return current.runConfigure(length) }

//go:wasmexport chaperone_score
func exportScore(rows int32) int32 { return current.runScore(rows) }

//go:wasmimport chaperone log
func hostLog(level int32, text unsafe.Pointer, length int32)

// Log writes a line to the router's log, which keeps a few lines a second of at most 1,024 bytes.
func Log(level Level, text string) {
	hostLog(int32(level), unsafe.Pointer(unsafe.StringData(text)), int32(len(text)))
}
