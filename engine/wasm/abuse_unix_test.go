//go:build unix

package wasm_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"chaperone/engine/wasm"
	"chaperone/engine/wasm/meter"
)

// TestFilesThatAreNoneAreRefused puts a pipe, which would keep its reader waiting, where a plugin has its files.
func TestFilesThatAreNoneAreRefused(t *testing.T) {
	h, _ := newHost(t)
	folder := t.TempDir()
	pipe := filepath.Join(folder, "pipe")
	module := filepath.Join(folder, "plugin.wasm")
	for _, path := range []string{pipe, module + wasm.SignatureSuffix} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(module, fixture(t, "sum"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config wasm.Config
		is     error
	}{
		"module":    {wasm.Config{Path: pipe}, wasm.ErrRead},
		"folder":    {wasm.Config{Path: folder}, wasm.ErrRead},
		"signature": {wasm.Config{Path: module, Trusted: wasm.TrustedKeys{"release": nil}}, wasm.ErrSignature},
		"state":     {wasm.Config{Bytes: learner(t), State: pipe}, wasm.ErrState},
	} {
		p, err := wasm.Load(context.Background(), h, c.config)
		if err == nil {
			_ = p.Close(context.Background())
		}
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), "is no regular file") {
			t.Errorf("%s: %v, should be %v", name, err, c.is)
		}
	}
}

// TestTheLimitOfCodeBoundsTheTimeOfCompiling loads as much of each kind of dense code as a limit lets in: none may take the processor
// for many times as long as plain code does at the same limit, nor grow faster than the limit does.
func TestTheLimitOfCodeBoundsTheTimeOfCompiling(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for some 10 seconds; this runs without -short")
	}
	h, _ := newHost(t)
	load := func(again unit, limit int) time.Duration {
		limits := meter.Default
		limits.CodeBytes = limit
		var module []byte
		for bodies := 1; ; bodies++ {
			more := hostile{extra: slices.Repeat([][]byte{again.body(8000)}, bodies)}.module(t)
			if _, err := meter.Rewrite(more, limits); errors.Is(err, meter.ErrCode) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			module = more
		}
		least := time.Hour
		for range 2 {
			runtime.GC()
			began := processorTime(t)
			p, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: module, Pool: 1, Limits: wasm.Limits{CodeBytes: limit}})
			if err != nil {
				t.Fatal(err)
			}
			least = min(least, processorTime(t)-began)
			if err := p.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
		return least
	}
	const small, large = 128 << 10, 512 << 10
	plain := load(dense["comparisons"], large)
	for _, name := range slices.Sorted(maps.Keys(dense)) {
		some, all := load(dense[name], small), load(dense[name], large)
		t.Logf("%s: %v, %v for four times as much", name, some, all)
		if all > 8*plain {
			t.Errorf("%s: which is too much beside plain code's %v: it should count for more", name, plain)
		}
		if all > 10*some {
			t.Errorf("%s: which does not grow with the limit", name)
		}
	}
}

// processorTime is what this process has had of the processors, which says what work takes on a busy machine too.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
