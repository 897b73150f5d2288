package engine

import "chaperone/engine/wasm"

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
