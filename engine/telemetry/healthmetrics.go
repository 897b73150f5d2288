package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	breakerState = prometheus.NewDesc("chaperone_breaker_state",
		"Of an endpoint, or of a credential as used for a row: 0 closed, 1 half open, 2 open.", []string{"endpoint", "credential"}, nil)
	breakerOpenings = prometheus.NewDesc("chaperone_breaker_openings_total",
		"Times that a breaker has opened.", []string{"endpoint", "credential"}, nil)
	resting = prometheus.NewDesc("chaperone_resting",
		"1 for what is not to be tried now, with the reason.", []string{"endpoint", "credential", "reason"}, nil)
)

// Watch adds the health of endpoints and credentials to the metrics. Its labels are names of the catalog.
func (m *Metrics) Watch(h *Health) { m.registry.MustRegister(healthCollector{h}) }

// healthCollector reads health when it is asked for.
type healthCollector struct{ h *Health }

func (healthCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- breakerState
	ch <- breakerOpenings
	ch <- resting
}

func (c healthCollector) Collect(ch chan<- prometheus.Metric) {
	values := map[State]float64{Closed: 0, HalfOpen: 1, Open: 2}
	for _, r := range c.h.Reports(time.Now()) {
		ch <- prometheus.MustNewConstMetric(breakerState, prometheus.GaugeValue, values[r.State], r.Endpoint, r.Credential)
		ch <- prometheus.MustNewConstMetric(breakerOpenings, prometheus.CounterValue, float64(r.Openings), r.Endpoint, r.Credential)
		if r.Rest.Why != "" {
			ch <- prometheus.MustNewConstMetric(resting, prometheus.GaugeValue, 1, r.Endpoint, r.Credential, r.Rest.Why)
		}
	}
}
