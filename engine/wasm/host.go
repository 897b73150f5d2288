package wasm

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/tetratelabs/wazero"
)

// Host is what plugins share: compiled code, so that a reload of unchanged bytes compiles nothing, and where they log.
type Host struct {
	cache wazero.CompilationCache
	log   *slog.Logger
}

// NewHost makes a host. Compiled code is kept in cacheDir, which must be the process's own (mode 0700, made where it is
// missing): whoever can write there runs code in this process. With "" it is kept in memory.
func NewHost(cacheDir string, log *slog.Logger) (*Host, error) {
	if log == nil {
		log = slog.Default()
	}
	if cacheDir == "" {
		return &Host{cache: wazero.NewCompilationCache(), log: log}, nil
	}
	if err := os.MkdirAll(cacheDir, 0o700); err != nil {
		return nil, fmt.Errorf("plugin cache: %w", err)
	}
	info, err := os.Lstat(cacheDir)
	if err != nil {
		return nil, fmt.Errorf("plugin cache: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("plugin cache %s: is a %v, should be a directory", cacheDir, info.Mode().Type())
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("plugin cache %s: has mode %04o, should be 0700: it holds machine code that this process runs",
			cacheDir, mode)
	}
	if err := ownDirectory(info); err != nil {
		return nil, fmt.Errorf("plugin cache %s: %w", cacheDir, err)
	}
	cache, err := wazero.NewCompilationCacheWithDir(cacheDir)
	if err != nil {
		return nil, fmt.Errorf("plugin cache: %w", err)
	}
	return &Host{cache: cache, log: log}, nil
}

// Close frees the compiled code. Plugins of this host must have been closed.
func (h *Host) Close(ctx context.Context) error { return h.cache.Close(ctx) }
