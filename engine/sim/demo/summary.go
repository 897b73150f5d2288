package demo

import (
	"chaperone/engine/catalog"
)

// Summary is what became of the demo's own traffic.
type Summary struct {
	Requests         int64                      `json:"requests"`
	Succeeded        int64                      `json:"succeeded"` // the whole right answer arrived
	Failed           int64                      `json:"failed"`
	Attempts         int64                      `json:"attempts"`
	Fallbacks        int64                      `json:"fallbacks"`
	Rescued          int64                      `json:"rescued"`           // streams that broke off and were brought to their end elsewhere
	DeniedDispatches int64                      `json:"denied_dispatches"` // as the providers counted them
	PluginsCalled    int64                      `json:"plugins_called"`
	ByProvider       map[string]ProviderSummary `json:"by_provider"`
}

// ProviderSummary is one provider's part.
type ProviderSummary struct {
	Served  int64               `json:"served"`
	Failed  int64               `json:"failed"`      // attempts
	TTFTP50 float64             `json:"ttft_p50_ms"` // of streams; 0 where there were none
	Cost    catalog.Picodollars `json:"cost_picodollars"`
}

// Summary is taken at any time; requests count when they have ended.
func (d *Demo) Summary() Summary {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Summary{
		Requests: d.sent, Succeeded: d.sent - d.failed, Failed: d.failed,
		Attempts: d.own.Attempts, Fallbacks: d.own.Fallbacks, Rescued: d.own.Rescued, DeniedDispatches: d.World.Denied(),
		ByProvider: map[string]ProviderSummary{},
	}
	for _, stats := range d.engine.PluginStats() {
		s.PluginsCalled += stats.Calls
	}
	for _, p := range d.World.Providers {
		c := d.own.provider(p.Name())
		s.ByProvider[p.Name()] = ProviderSummary{Served: c.Served, Failed: c.Failed, TTFTP50: c.TTFT(), Cost: c.Cost}
	}
	return s
}
