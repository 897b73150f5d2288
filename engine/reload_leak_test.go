package engine_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/sim"
	"chaperone/engine/wasm"
)

var reloads = flag.Int("reloads", 50, "reloads in TestReloadsWithOtherPluginsLeaveNothingBehind")

// TestReloadsWithOtherPluginsLeaveNothingBehind reloads again and again with plugins of other bytes, one of them stateful, some
// broken, while requests are ranked: memory, goroutines and compiled code stay as they were, and what was learned is handed on.
func TestReloadsWithOtherPluginsLeaveNothingBehind(t *testing.T) {
	w := openSmall(t, `deny contains "never" if input.endpoint.free`, "", slog.DiscardHandler, sim.Profile{})
	config, err := os.ReadFile(filepath.Join(w.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "chaperone.toml", `[journal]
keep = 10
[[scorers]]
name = "sum"
plugin = "sum.wasm"
[[scorers]]
name = "learn"
plugin = "learn.wasm"
state = "learned"
`+string(config))
	version, asked := 0, 0
	pack := func(name, manifest string) {
		t.Helper()
		module, err := os.ReadFile("../testdata/wasm/" + name + ".wasm")
		if err != nil {
			t.Fatal(err)
		}
		packed, err := wasm.Pack(module, fmt.Appendf(nil, "abi = 1\nkind = \"scorer\"\nname = %q\nversion = \"%d\"\ncolumns = [\"price.prompt\"]\n"+
			"rows = 64\nscale = \"minmax\"\n%s", name, version, manifest))
		if err != nil {
			t.Fatal(err)
		}
		w.write(t, name+".wasm", string(packed))
	}
	next := func() {
		t.Helper()
		version++
		pack("sum", "")
		pack("learn", "stateful = true\nobserve = [\"endpoint\", \"ok\"]\n")
	}
	next()
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: filepath.Join(w.dir, "chaperone.toml"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	request := []byte(`{"model":"m/one","messages":[{"role":"user","content":"hello"}]}`)
	cycle := func(n int) {
		t.Helper()
		for range n {
			next()
			broken := version%7 == 0
			if broken {
				w.write(t, "learn.wasm", "not a module")
			}
			if err := e.Reload(t.Context()); (err != nil) != broken {
				t.Fatalf("version %d: %v", version, err)
			}
			if _, err := e.Decide(t.Context(), engine.Call{Key: "sk-acme", Body: request}); err != nil {
				t.Fatal(err)
			}
			if version%5 == 0 {
				if _, err := ask(e, "sk-acme", string(request)); err != nil {
					t.Fatal(err)
				}
				asked++
			}
		}
	}
	cycle(20)
	goroutines, before, compiled := runtime.NumGoroutine(), heap(), executable(t)
	cycle(*reloads)
	left := int64(heap()) - int64(before)
	t.Logf("%d reloads left %d bytes", *reloads, left)
	if left > 2<<20 {
		t.Error("which is too much")
	}
	const spare = 256 << 10 // the engine's list of modules holds on to one that has just left it
	deadline := time.Now().Add(20 * time.Second)
	for runtime.NumGoroutine() > goroutines || executable(t) > compiled+spare {
		if runtime.GC(); time.Now().After(deadline) {
			t.Fatalf("%d goroutines and %d bytes of compiled code, there were %d and %d", runtime.NumGoroutine(), executable(t), goroutines, compiled)
		}
	}

	if err := e.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	state, err := os.ReadFile(filepath.Join(w.dir, "learned"))
	if err != nil || len(state) != 16 {
		t.Fatalf("%d bytes: %v", len(state), err)
	}
	if count := math.Float64frombits(binary.LittleEndian.Uint64(state)); count != float64(asked) {
		t.Errorf("the last version has learned of %v attempts, there were %d", count, asked)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// executable is the bytes of memory that hold code of no file, as compiled modules do; 0 where the system does not tell.
func executable(t *testing.T) (n uint64) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(maps)) {
		if fields := strings.Fields(line); len(fields) == 5 && fields[1] == "r-xp" {
			var from, to uint64
			if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err != nil {
				t.Fatal(err)
			}
			n += to - from
		}
	}
	return n
}
