package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"chaperone/engine/config"
	"chaperone/engine/dispatch"
	"chaperone/engine/journal"
	"chaperone/engine/wasm"
)

// loadPlugin loads the plugin of one [[scorers]]; its paths are relative to the file that names them.
func (e *Engine) loadPlugin(ctx context.Context, src *sources, c *Scorer) (loaded, error) {
	from := src.main.Path()
	path := beside(from, c.Plugin)
	load := wasm.Config{Name: c.Name, Path: path, SHA256: c.SHA256, Configuration: c.Config, Trusted: src.settings.Plugins.trusted(), Pool: c.Instances,
		Limits: c.limits()}
	if e.archive != nil { // it has been found good, and what it had learned is gone
		var err error
		if load.Bytes, err = e.archive.read(path); err != nil {
			return loaded{}, err
		}
		load.Trusted, c.State, c.Golden = nil, "", ""
	}
	if c.State != "" {
		load.State, load.Borrowed = beside(from, c.State), true // until it is in force
	}
	if c.Golden != "" {
		text, err := disk{}.read(beside(from, c.Golden))
		if err != nil {
			return loaded{}, fmt.Errorf("golden vectors: %w", err)
		}
		if load.Golden, err = wasm.ParseGolden(text); err != nil {
			return loaded{}, err
		}
	}
	p, err := wasm.Load(ctx, e.wasm, load)
	return loaded{p, path}, err
}

// limits are those of a plugin.
func (c *Scorer) limits() wasm.Limits {
	const page = 64 << 10
	return wasm.Limits{MemoryPages: uint32((c.MemoryBytes + page - 1) / page), CodeBytes: c.CodeBytes, Wait: c.Wait, Fuel: c.Fuel}
}

// PluginLimits are those that a configuration sets for one plugin.
type PluginLimits struct {
	Scorer string
	Path   string // of the module
	Limits wasm.Limits
}

// LimitsOfPlugins reads the limits of each plugin of a configuration, those that are disabled too. Nothing else of it has to be
// right.
func LimitsOfPlugins(path string) ([]PluginLimits, error) {
	doc, problems := parse(disk{}, path)
	if doc == nil {
		return nil, problems
	}
	var scorers []Scorer
	if problems := doc.Decode("scorers", &scorers); len(problems) > 0 {
		return nil, problems
	}
	var all []PluginLimits
	for i := range scorers {
		if c := &scorers[i]; c.Plugin != "" {
			all = append(all, PluginLimits{c.Name, beside(path, c.Plugin), c.limits()})
		}
	}
	return all, nil
}

// openPlugins makes the host of plugins with the settings of the first snapshot that has any.
func (e *Engine) openPlugins(src *sources) (problems config.Problems) {
	if e.wasm != nil || !slices.ContainsFunc(src.settings.Scorers, func(c Scorer) bool { return c.Plugin != "" }) {
		return nil
	}
	dir := e.options.CacheDir
	if own := src.settings.Plugins.CacheDir; own != "" {
		dir = beside(src.main.Path(), own)
	}
	if e.options.DecideOnly {
		dir = "" // it is the router's, which may be another user's
	}
	var err error
	if e.wasm, err = wasm.NewHost(dir, e.options.Log); err != nil {
		return config.Problems{src.main.Problem("plugins.cache_dir", "%v", err)}
	}
	return nil
}

// own has the plugins of a snapshot that is in force write what they learn.
func (s *snapshot) own() {
	for _, p := range s.plugins {
		p.Own()
	}
}

// inherit hands what the plugins of the old snapshot learned over to those of the same name.
func (s *snapshot) inherit(ctx context.Context, old *snapshot, log *slog.Logger) {
	for _, heir := range s.plugins {
		for _, p := range old.plugins {
			if p.Name() != heir.Name() {
				continue
			}
			if err := heir.Inherit(ctx, p.Plugin); err != nil {
				log.Error("plugin starts without what it had learned", "plugin", heir.Name(), "error", err)
			}
		}
	}
}

// teach tells the plugins that learn how a request's attempts ended.
func (e *Engine) teach(rec *journal.Record) {
	s := e.current.Load()
	if len(s.plugins) == 0 {
		return
	}
	ms := func(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }
	for i := range rec.Attempts {
		a := &rec.Attempts[i]
		row := s.catalog.Row(a.Row)
		if row == nil {
			continue // a reload removed it meanwhile
		}
		ok := a.Outcome == "ok"
		attempt := wasm.Attempt{
			Row: row, At: rec.At.Add(ms(a.StartedMs + a.DurationMs)), OK: ok,
			Counts:      ok || a.Scope == string(dispatch.OfEndpoint),
			RateLimited: a.Outcome == "rate_limited",
			TTFT:        ms(a.TTFTMs), Duration: ms(a.DurationMs), Usage: a.Usage, Cost: a.Cost,
		}
		for _, p := range s.plugins {
			p.Observe(attempt)
		}
	}
}
