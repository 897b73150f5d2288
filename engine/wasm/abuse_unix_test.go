//go:build unix

package wasm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"chaperone/engine/wasm"
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
