package telemetry

import "github.com/prometheus/client_golang/prometheus"

// PluginState is how one WASM plugin is doing. Counts begin again at every reload.
type PluginState struct {
	Name      string // of the scorer, from an operator's file
	Fuel      int64  // instructions that all calls used
	Memory    int64  // bytes of the instances that are ready
	Instances int    // that are ready
	Waits     int64  // calls that waited for one
	Busy      int64  // calls that waited in vain
	OutOfFuel int64  // calls that ran out
	Observed  int64  // attempts that it was told of
	Missed    int64  // attempts that it was not told of
	Disabled  bool   // it failed too often
}

var pluginMetrics = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*PluginState) float64
}{
	{pluginDesc("fuel_total", "Instructions that a plugin's calls used since it was loaded."), prometheus.CounterValue, func(p *PluginState) float64 { return float64(p.Fuel) }},
	{pluginDesc("waits_total", "Calls that waited for an instance of a plugin."), prometheus.CounterValue, func(p *PluginState) float64 { return float64(p.Waits) }},
	{pluginDesc("busy_total", "Of the calls that waited, those for which none became free in time."), prometheus.CounterValue, func(p *PluginState) float64 { return float64(p.Busy) }},
	{pluginDesc("out_of_fuel_total", "Calls that ran out of fuel."), prometheus.CounterValue, func(p *PluginState) float64 { return float64(p.OutOfFuel) }},
	{pluginDesc("observed_total", "Attempts that a plugin which learns was told of."), prometheus.CounterValue, func(p *PluginState) float64 { return float64(p.Observed) }},
	{pluginDesc("missed_total", "Attempts that it was not told of: it was too slow, or failed."), prometheus.CounterValue, func(p *PluginState) float64 { return float64(p.Missed) }},
	{pluginDesc("memory_bytes", "Memory of the instances of a plugin that are ready."), prometheus.GaugeValue, func(p *PluginState) float64 { return float64(p.Memory) }},
	{pluginDesc("instances", "Instances of a plugin that are ready."), prometheus.GaugeValue, func(p *PluginState) float64 { return float64(p.Instances) }},
	{pluginDesc("disabled", "1 where a plugin has failed too often and is not called any more."), prometheus.GaugeValue, func(p *PluginState) float64 { return truth(p.Disabled) }},
}

func pluginDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("chaperone_plugin_"+name, help, []string{"plugin"}, nil)
}

// Plugins adds the state of plugins to the metrics. read is called at every scrape, by several at once too.
func (m *Metrics) Plugins(read func() []PluginState) { m.registry.MustRegister(pluginCollector{read}) }

type pluginCollector struct{ read func() []PluginState }

func (pluginCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, p := range pluginMetrics {
		ch <- p.desc
	}
}

func (c pluginCollector) Collect(ch chan<- prometheus.Metric) {
	for _, state := range c.read() {
		for _, p := range pluginMetrics {
			ch <- prometheus.MustNewConstMetric(p.desc, p.kind, p.value(&state), state.Name)
		}
	}
}
