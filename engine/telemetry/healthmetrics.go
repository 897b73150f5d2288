package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chaperone/engine/admission"
)

var (
	breakerState = prometheus.NewDesc("chaperone_breaker_state",
		"Of an endpoint, or of a credential as used for a row: 0 closed, 1 half open, 2 open.", []string{"endpoint", "credential"}, nil)
	breakerOpenings = prometheus.NewDesc("chaperone_breaker_openings_total",
		"Times that a breaker has opened.", []string{"endpoint", "credential"}, nil)
	resting = prometheus.NewDesc("chaperone_resting",
		"1 for what is not to be tried now, with the reason.", []string{"endpoint", "credential", "reason"}, nil)
	ownProbes = prometheus.NewDesc("chaperone_active_probes_total",
		"Probes of the router's own, passed or failed.", []string{"endpoint", "credential", "result"}, nil)
	doubts = prometheus.NewDesc("chaperone_catalog_doubts_total",
		"Times that an endpoint did not know the model or a parameter that the catalog says it does, or could not take a request that fits the context that the catalog gives it.", []string{"endpoint", "what"}, nil)
	endpointInFlight = prometheus.NewDesc("chaperone_endpoint_in_flight", "Attempts that run at an endpoint.", []string{"endpoint"}, nil)
	endpointQueued   = prometheus.NewDesc("chaperone_endpoint_queued", "Requests that wait for a place at an endpoint.", []string{"endpoint"}, nil)

	organisationInFlight = prometheus.NewDesc("chaperone_organisation_in_flight", "Requests of an organisation that are in flight.", []string{"organisation"}, nil)
	organisationQueued   = prometheus.NewDesc("chaperone_organisation_queued", "Requests of an organisation that wait to be let in.", []string{"organisation"}, nil)
)

// Watch adds the health of endpoints and credentials to the metrics. Its labels are names of the catalog.
func (m *Metrics) Watch(h *Health) { m.registry.MustRegister(healthCollector{h}) }

// healthCollector reads health when it is asked for.
type healthCollector struct{ h *Health }

func (healthCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- breakerState
	ch <- breakerOpenings
	ch <- resting
	ch <- ownProbes
	ch <- doubts
	ch <- endpointInFlight
	ch <- endpointQueued
}

func (c healthCollector) Collect(ch chan<- prometheus.Metric) {
	values := map[State]float64{Closed: 0, HalfOpen: 1, Open: 2}
	for _, r := range c.h.Reports(time.Now()) {
		ch <- prometheus.MustNewConstMetric(breakerState, prometheus.GaugeValue, values[r.State], r.Endpoint, r.Credential)
		ch <- prometheus.MustNewConstMetric(breakerOpenings, prometheus.CounterValue, float64(r.Openings), r.Endpoint, r.Credential)
		if r.OfEndpoint { // a credential of a provider that needs none has no name either
			ch <- prometheus.MustNewConstMetric(endpointInFlight, prometheus.GaugeValue, float64(r.Load.InFlight), r.Endpoint)
			ch <- prometheus.MustNewConstMetric(endpointQueued, prometheus.GaugeValue, float64(r.Load.Waiting), r.Endpoint)
		}
		if r.Rest.Why != "" {
			ch <- prometheus.MustNewConstMetric(resting, prometheus.GaugeValue, 1, r.Endpoint, r.Credential, r.Rest.Why)
		}
		for result, n := range map[string]int64{"passed": r.Probes.Passed, "failed": r.Probes.Failed} {
			if r.Probes != (Probes{}) {
				ch <- prometheus.MustNewConstMetric(ownProbes, prometheus.CounterValue, float64(n), r.Endpoint, r.Credential, result)
			}
		}
		for what, n := range r.Doubts {
			ch <- prometheus.MustNewConstMetric(doubts, prometheus.CounterValue, float64(n), r.Endpoint, what)
		}
	}
}

// Admission adds what is in flight and waits, by organisation. Only those that have something are told of.
func (m *Metrics) Admission(g *admission.Gate) { m.registry.MustRegister(admissionCollector{g, m}) }

type admissionCollector struct {
	gate    *admission.Gate
	metrics *Metrics
}

func (admissionCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- organisationInFlight
	ch <- organisationQueued
}

func (c admissionCollector) Collect(ch chan<- prometheus.Metric) {
	_, all := c.gate.Load()
	shown := map[string]admission.Load{} // an organisation that was removed may still have requests in flight
	for id, l := range all {
		name := c.metrics.organisations.label(id)
		shown[name] = admission.Load{InFlight: shown[name].InFlight + l.InFlight, Waiting: shown[name].Waiting + l.Waiting}
	}
	for name, l := range shown {
		ch <- prometheus.MustNewConstMetric(organisationInFlight, prometheus.GaugeValue, float64(l.InFlight), name)
		ch <- prometheus.MustNewConstMetric(organisationQueued, prometheus.GaugeValue, float64(l.Waiting), name)
	}
}
