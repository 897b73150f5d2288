package engine

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long files must have been quiet before they are read: an editor writes in several steps.
const settle = 150 * time.Millisecond

// Watch reloads whenever a file of the configuration changes and whenever hup receives, until ctx ends. Every outcome is
// logged; a reload that fails leaves everything as it was.
func (e *Engine) Watch(ctx context.Context, hup <-chan os.Signal) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	e.follow(w)
	fetched := make(chan struct{}, 1)
	go e.bundles.Poll(ctx, func() {
		select {
		case fetched <- struct{}{}:
		default:
		}
	})
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-w.Events:
			if ev.Op != fsnotify.Chmod { // reading a file touches nothing else on some systems
				quiet.Reset(settle)
			}
		case err := <-w.Errors:
			e.options.Log.Warn("watching the configuration", slog.Any("error", err))
		case <-hup:
			e.reloaded(ctx, w)
		case <-fetched:
			e.reloaded(ctx, w)
		case <-quiet.C:
			e.reloaded(ctx, w)
		}
	}
}

func (e *Engine) reloaded(ctx context.Context, w *fsnotify.Watcher) {
	if err := e.Reload(ctx); err != nil {
		e.options.Log.Error("the new configuration is refused; the old one stays in force", slog.String("why", err.Error()))
		return
	}
	e.options.Log.Info("configuration reloaded", slog.Uint64("generation", e.Generation()))
	e.follow(w)
}

// follow watches the folders of all files: a file that is replaced by renaming another over it is not seen otherwise.
func (e *Engine) follow(w *fsnotify.Watcher) {
	for _, f := range e.Files() {
		if info, err := os.Stat(f); err != nil || !info.IsDir() {
			f = filepath.Dir(f)
		}
		if err := w.Add(f); err != nil {
			e.options.Log.Warn("cannot watch for changes; SIGHUP reloads", slog.String("folder", f), slog.Any("error", err))
		}
	}
}
