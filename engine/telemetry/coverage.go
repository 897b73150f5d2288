package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Coverage is how many independent providers an organisation has of a model.
type Coverage struct {
	Organisation, Model string
	Permitted           int // may serve a plain request of a key of the organisation, in the model's own API: chat, embeddings or rerank
	Healthy             int // of those, have a credential and do not rest
}

var (
	permittedProviders = prometheus.NewDesc("chaperone_permitted_providers",
		"Independent providers that may serve a plain request of an organisation (embeddings, rerank or chat, as the model is for), as far as policy goes.", []string{"organisation", "model"}, nil)
	healthyProviders = prometheus.NewDesc("chaperone_healthy_providers",
		"Of the permitted providers, those that have a credential and do not rest.", []string{"organisation", "model"}, nil)
)

// Cover adds the coverage of organisations to the metrics. read is called at every scrape, by several at once too; its names
// are labels and come from operators' files.
func (m *Metrics) Cover(read func() []Coverage) { m.registry.MustRegister(coverageCollector{read}) }

type coverageCollector struct{ read func() []Coverage }

func (coverageCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- permittedProviders
	ch <- healthyProviders
}

func (c coverageCollector) Collect(ch chan<- prometheus.Metric) {
	for _, v := range c.read() {
		ch <- prometheus.MustNewConstMetric(permittedProviders, prometheus.GaugeValue, float64(v.Permitted), v.Organisation, v.Model)
		ch <- prometheus.MustNewConstMetric(healthyProviders, prometheus.GaugeValue, float64(v.Healthy), v.Organisation, v.Model)
	}
}
