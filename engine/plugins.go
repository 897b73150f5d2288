package engine

import (
	"chaperone/engine/telemetry"
	"chaperone/engine/wasm"
)

// PluginStats counts what became of the calls of each plugin, by its configured name, since it was loaded; a reload loads
// anew.
func (e *Engine) PluginStats() map[string]wasm.Stats {
	s := e.acquire()
	defer s.release()
	stats := make(map[string]wasm.Stats, len(s.plugins))
	for _, p := range s.plugins {
		stats[p.Name()] = p.Stats()
	}
	return stats
}

// PluginReport is what an operator may want to know of a plugin that runs.
type PluginReport struct {
	Name    string `json:"name"` // as configured
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Signer  string `json:"signer,omitempty"` // name of the trusted key
	Shadow  bool   `json:"shadow,omitempty"`
	wasm.Stats
}

// Plugins reports on every plugin that runs, in the order of the configuration.
func (e *Engine) Plugins() []PluginReport {
	s := e.acquire()
	defer s.release()
	reports := make([]PluginReport, 0, len(s.plugins))
	for _, p := range s.plugins {
		r := PluginReport{Name: p.Name(), Version: p.Manifest().Version, SHA256: p.Digest(), Stats: p.Stats()}
		r.Signer, _ = p.Signature()
		for i := range s.settings.Scorers {
			if c := &s.settings.Scorers[i]; c.Name == r.Name {
				r.Shadow = c.Shadow
			}
		}
		reports = append(reports, r)
	}
	return reports
}

// pluginStates is what the metrics tell of them.
func (e *Engine) pluginStates() []telemetry.PluginState {
	if e.current.Load() == nil {
		return nil
	}
	var states []telemetry.PluginState
	for name, s := range e.PluginStats() {
		states = append(states, telemetry.PluginState{Name: name, Fuel: s.Fuel, Memory: s.Memory, Instances: s.Instances, Waits: s.Waits,
			Busy: s.Busy, OutOfFuel: s.OutOfFuel, Observed: s.Observed, Missed: s.Missed, Disabled: s.Disabled})
	}
	return states
}
