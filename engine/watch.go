package engine

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"chaperone/engine/config"
	"chaperone/engine/policy"
	"chaperone/engine/wasm"
)

// settle is how long files must have been quiet before they are read: an editor writes in several steps. patience is how
// long that is waited for at most: a file that is written all the time must not keep the others from being read.
const (
	settle   = 150 * time.Millisecond
	patience = 2 * time.Second
)

// Watch reloads whenever a file of the configuration changes and whenever hup receives, until ctx ends. Every outcome is
// logged; a reload that fails leaves everything as it was.
func (e *Engine) Watch(ctx context.Context, hup <-chan os.Signal) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	files, _ := e.follow(w, nil)
	fetched := make(chan struct{}, 1)
	go e.bundles.Poll(ctx, func() {
		select {
		case fetched <- struct{}{}:
		default:
		}
	})
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	var since time.Time               // of the first change that has not been read; zero: none
	if writtenSince(files, e.began) { // before anything was watched
		since = time.Now()
		quiet.Reset(settle)
	}
	reload := func() {
		since = time.Time{}
		quiet.Stop()
		var more bool
		if files, more = e.follow(w, e.reloaded(ctx)); more {
			// What changed in a folder between reading it and watching it was not seen.
			since = time.Now()
			quiet.Reset(settle)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-w.Events:
			if !concerns(ev, files) {
				continue
			}
			now := time.Now()
			if since.IsZero() {
				since = now
			}
			quiet.Reset(max(0, min(settle, patience-now.Sub(since))))
		case err := <-w.Errors:
			e.options.Log.Warn("watching the configuration", slog.Any("error", err))
		case <-hup:
			reload()
		case <-fetched:
			reload()
		case <-quiet.C:
			reload()
		}
	}
}

// written are the extensions of what a folder of the configuration may hold that it does not name itself.
var written = []string{".toml", ".rego", ".wasm", wasm.SignatureSuffix, ".gz"}

// concerns says whether an event may have changed the configuration. A log that is written beside it does not, nor what is written
// into a folder that is only watched for a link in it.
func concerns(ev fsnotify.Event, files []string) bool {
	if ev.Op == fsnotify.Chmod { // reading a file touches nothing else on some systems
		return false
	}
	name := filepath.Clean(ev.Name)
	if slices.Contains(files, name) || slices.Contains(written, filepath.Ext(name)) && slices.Contains(files, filepath.Dir(name)) {
		return true
	}
	info, err := os.Stat(ev.Name)
	return err == nil && info.IsDir() && ev.Has(fsnotify.Create) // it may hold rules
}

// writtenSince says whether one of the files, or something in one of the folders, was written after t.
func writtenSince(files []string, t time.Time) bool {
	for _, f := range files {
		info, err := os.Lstat(f) // of a link, when it was made to point where it does
		if err != nil {
			continue
		}
		if info.ModTime().After(t) {
			return true
		}
		within, _ := os.ReadDir(f) // none where it is no folder
		for _, entry := range within {
			if info, err := entry.Info(); err == nil && slices.Contains(written, filepath.Ext(entry.Name())) && info.ModTime().After(t) {
				return true
			}
		}
	}
	return false
}

// reloaded reloads and returns the files of a configuration that was refused, nil where it was not.
func (e *Engine) reloaded(ctx context.Context) []string {
	if err := e.Reload(ctx); err != nil {
		e.options.Log.Error("the new configuration is refused; the old one stays in force", slog.String("why", err.Error()))
		src, _ := read(e.options.ConfigPath) // its problems have just been told
		if src == nil {
			return nil
		}
		return append(src.files, policy.Directories(append([]*config.Document{src.main}, src.teams...))...)
	}
	e.options.Log.Info("configuration reloaded", slog.Uint64("generation", e.Generation()))
	return nil
}

// follow watches for changes of all files, those in force and those of a refused configuration, and returns what decides what is
// found at them (config.Trail). The folder of each stands in for it: a file or link that is replaced by renaming another over it
// is not seen otherwise. Where one is not there, the folder that it would be in is watched for it. What is no longer needed, such
// as where a link used to lead, is let go. more: a folder is watched that was not before.
func (e *Engine) follow(w *fsnotify.Watcher, refused []string) (files []string, more bool) {
	folders := map[string]bool{}
	for _, f := range append(slices.Clone(e.Files()), refused...) {
		for _, name := range config.Trail(f) {
			files = append(files, name)
			if info, err := os.Lstat(name); err != nil || !info.IsDir() {
				name = filepath.Dir(name)
			}
			folders[name] = true
		}
	}
	for _, folder := range w.WatchList() {
		if !folders[folder] {
			_ = w.Remove(folder) // where it is gone, so is its watch
		}
		delete(folders, folder)
	}
	for folder := range folders {
		if err := w.Add(folder); err != nil {
			e.options.Log.Warn("cannot watch for changes; SIGHUP reloads", slog.String("folder", folder), slog.Any("error", err))
			continue
		}
		more = true
	}
	return files, more
}
