package wasm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tetratelabs/wazero"
)

// Host is what plugins share: compiled code, so that a reload of unchanged bytes compiles nothing, and where they log.
type Host struct {
	cache wazero.CompilationCache
	dir   string // of the cache; "" where it is in memory
	log   *slog.Logger
}

// NewHost makes a host. Compiled code is kept in cacheDir, which must be the process's own (mode 0700, made where it is
// missing) with all that is in it, and stand in folders that nobody else can write to: whoever can put a file there runs code in
// this process. With "" it is kept in memory.
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
	if err := private(cacheDir); err != nil {
		return nil, fmt.Errorf("plugin cache %w", err)
	}
	if err := forget(cacheDir, time.Now().Add(-keptCompiled)); err != nil {
		return nil, fmt.Errorf("plugin cache: %w", err)
	}
	cache, err := wazero.NewCompilationCacheWithDir(cacheDir)
	if err != nil {
		return nil, fmt.Errorf("plugin cache: %w", err)
	}
	return &Host{cache: cache, dir: cacheDir, log: log}, nil
}

// keptCompiled is how long compiled code is kept in a folder: every version of a plugin leaves some megabytes there. What is still
// in use afterwards is compiled once more.
const keptCompiled = 30 * 24 * time.Hour

// forget deletes compiled code below a folder that was written before a time. It stands in folders that wazero names after its
// version; what else is there is somebody else's.
func forget(dir string, before time.Time) error {
	compiled, err := fs.Glob(os.DirFS(dir), "wazero-*/*")
	if err != nil {
		return err
	}
	for _, name := range compiled {
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		if err == nil && info.Mode().IsRegular() && info.ModTime().Before(before) {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // else another process has been quicker
			return err
		}
	}
	return nil
}

// private says in which way a directory, what is in it or what is above it is open to others.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: is a %v, should be a directory", dir, info.Mode().Type())
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s: has mode %04o, should be 0700: it holds machine code that this process runs", dir, mode)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another process has just replaced it
		}
		if err != nil {
			return err
		}
		if t := info.Mode().Type(); t != 0 && t != fs.ModeDir {
			return fmt.Errorf("%s: is a %v, should be a file that the cache has made; delete the cache", path, t)
		}
		if mode := info.Mode().Perm(); mode&0o022 != 0 {
			return fmt.Errorf("%s: has mode %04o, others can write to it; delete the cache", path, mode)
		}
		if err := owned(info); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// Who can write to a folder above can put another in its place, unless the folder's sticky bit leaves that to owners.
	above, err := filepath.EvalSymlinks(dir)
	if err == nil {
		above, err = filepath.Abs(above)
	}
	for err == nil && above != filepath.Dir(above) {
		above = filepath.Dir(above)
		if info, err = os.Stat(above); err == nil && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("%s: everybody can write to %s above it, and so put another in its place", dir, above)
		}
	}
	return err
}

// Close frees the compiled code. Plugins of this host must have been closed.
func (h *Host) Close(ctx context.Context) error {
	if h == nil {
		return nil // it was never made
	}
	return h.cache.Close(ctx)
}
