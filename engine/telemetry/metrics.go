package telemetry

import (
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/wire"
)

// Metrics are the process's Prometheus metrics, in a registry of their own. No label comes from a caller: organisations,
// models and providers are those that Know was told of, the rest are named by operators' files or by code, and at most
// mostNames of each kind; every other value counts as "other". Safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	organisations, models, providers known
	packages, plugins, outcomes      names

	inFlight    prometheus.Gauge
	requests    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	attempts    *prometheus.CounterVec
	fallbacks   *prometheus.CounterVec
	rescues     *prometheus.CounterVec
	ttft        *prometheus.HistogramVec
	tokens      *prometheus.CounterVec
	impossible  *prometheus.CounterVec
	cost        *prometheus.CounterVec
	denied      *prometheus.CounterVec
	reloads     *prometheus.CounterVec
	reloaded    prometheus.Gauge
	calls       *prometheus.CounterVec
	abstentions *prometheus.CounterVec
	traps       *prometheus.CounterVec
	waits       *prometheus.HistogramVec
	shed        *prometheus.CounterVec
}

// NewMetrics registers everything that there is, with the Go runtime's and the process's own metrics.
func NewMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.inFlight = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "chaperone_requests_in_flight", Help: "Requests that have begun and not ended."})
	m.requests = m.counter("chaperone_requests_total", "Requests by how they ended; status is the class of the client's HTTP status.",
		"organisation", "model", "status")
	m.duration = m.histogram("chaperone_request_duration_seconds", "From a request's arrival to the end of its answer.",
		[]float64{.1, .25, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600}, "model")
	m.attempts = m.counter("chaperone_attempts_total", "Attempts at providers by outcome.", "provider", "outcome")
	m.fallbacks = m.counter("chaperone_fallbacks_total", "Times that a request went on to another row; provider is the one that was left.",
		"provider")
	m.rescues = m.counter("chaperone_rescues_total", "Answers that broke off and were brought to their end.", "method")
	m.ttft = m.histogram("chaperone_ttft_seconds", "From an attempt's start to its first content.",
		[]float64{.05, .1, .2, .3, .5, .75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60}, "provider")
	m.tokens = m.counter("chaperone_tokens_total", "Tokens as providers counted them; cached and cache_write are part of prompt, reasoning of completion.",
		"organisation", "model", "kind")
	m.impossible = m.counter("chaperone_impossible_usage_total", "Attempts whose provider said that it counted what it cannot have; an estimate took its place.", "provider")
	m.cost = m.counter("chaperone_cost_usd_total", "Cost in USD, rounded: for graphs, not for bills.", "organisation", "model", "provider")
	m.denied = m.counter("chaperone_denied_rows_total", "Rows that a policy package denied to a request.", "package")
	m.reloads = m.counter("chaperone_reloads_total", "Reloads of the configuration.", "result")
	m.reloaded = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "chaperone_reload_last_success_timestamp_seconds", Help: "When the configuration in force was loaded."})
	m.calls = m.counter("chaperone_plugin_calls_total", "Calls of WASM plugins.", "plugin")
	m.abstentions = m.counter("chaperone_plugin_abstentions_total", "Calls in which a plugin gave no opinion, traps among them.", "plugin")
	m.traps = m.counter("chaperone_plugin_traps_total", "Calls that ended in a trap.", "plugin")
	m.waits = m.histogram("chaperone_queue_wait_seconds", "Waits for a place at the router or at an endpoint, however they ended.",
		[]float64{.001, .005, .01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}, "at")
	m.shed = m.counter("chaperone_shed_total", "Waits that ended without a place: queue_full, or queue_wait for those that took too long.",
		"organisation", "at", "reason")
	m.registry.MustRegister(m.inFlight, m.reloaded, buildInfo(),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, result := range []string{"success", "failure"} {
		m.reloads.WithLabelValues(result)
	}
	return m
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(v)
	return v
}

func buildInfo() prometheus.Collector {
	version, revision := "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "chaperone_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "go": runtime.Version()},
	})
	g.Set(1)
	return g
}

// Handler serves the metrics in Prometheus's text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Know tells which organisations, models and providers there are from now on.
func (m *Metrics) Know(cat *catalog.Catalog, accounts *account.Accounts) {
	know(&m.organisations, accounts.Organisations)
	know(&m.models, cat.Models)
	know(&m.providers, cat.Providers)
}

// Begin counts a request as in flight until End.
func (m *Metrics) Begin() { m.inFlight.Inc() }

// End is Begin's counterpart.
func (m *Metrics) End() { m.inFlight.Dec() }

// Request counts a request that ended with the HTTP status that its client saw. model is a model's id, "" where none was found.
func (m *Metrics) Request(organisation, model string, status int, took time.Duration) {
	organisation, model = m.organisations.label(organisation), m.models.label(model)
	m.requests.WithLabelValues(organisation, model, class(status)).Inc()
	m.duration.WithLabelValues(model).Observe(took.Seconds())
}

// Attempt counts an attempt: "ok", "cancelled", or the kind of its fault.
func (m *Metrics) Attempt(provider, outcome string) {
	m.attempts.WithLabelValues(m.providers.label(provider), m.outcomes.label(outcome)).Inc()
}

// Fallback counts a request's going on to another row after an attempt at that provider.
func (m *Metrics) Fallback(provider string) {
	m.fallbacks.WithLabelValues(m.providers.label(provider)).Inc()
}

// Rescue counts an answer that broke off and was brought to its end, by continue or splice.
func (m *Metrics) Rescue(method string) { m.rescues.WithLabelValues(method).Inc() }

// TTFT records how long an attempt took to its first content.
func (m *Metrics) TTFT(provider string, took time.Duration) {
	m.ttft.WithLabelValues(m.providers.label(provider)).Observe(took.Seconds())
}

// Impossible counts an attempt whose provider says that it counted what it cannot have.
func (m *Metrics) Impossible(provider string) {
	m.impossible.WithLabelValues(m.providers.label(provider)).Inc()
}

// Tokens counts what a provider says that it counted.
func (m *Metrics) Tokens(organisation, model string, u wire.Usage) {
	organisation, model = m.organisations.label(organisation), m.models.label(model)
	for _, t := range [...]struct {
		kind string
		n    int64
	}{
		{"prompt", u.PromptTokens}, {"completion", u.CompletionTokens}, {"cached", u.CachedTokens},
		{"cache_write", u.CacheWriteTokens}, {"reasoning", u.ReasoningTokens},
	} {
		if t.n > 0 {
			m.tokens.WithLabelValues(organisation, model, t.kind).Add(float64(t.n))
		}
	}
}

// Cost adds what an attempt cost.
func (m *Metrics) Cost(organisation, model, provider string, cost catalog.Picodollars) {
	if cost > 0 {
		m.cost.WithLabelValues(m.organisations.label(organisation), m.models.label(model), m.providers.label(provider)).
			Add(float64(cost) / 1e12)
	}
}

// Waited records a wait in a queue: at the router or an endpoint.
func (m *Metrics) Waited(at string, took time.Duration) {
	m.waits.WithLabelValues(at).Observe(took.Seconds())
}

// Shed counts a request that got no place there.
func (m *Metrics) Shed(organisation, at, reason string) {
	m.shed.WithLabelValues(m.organisations.label(organisation), at, reason).Inc()
}

// Denied counts rows that a policy package has denied to a request.
func (m *Metrics) Denied(pkg string, rows int) {
	if rows > 0 {
		m.denied.WithLabelValues(m.packages.label(pkg)).Add(float64(rows))
	}
}

// Reload counts a reload, and the first load too. at is when a good one took force.
func (m *Metrics) Reload(ok bool, at time.Time) {
	if !ok {
		m.reloads.WithLabelValues("failure").Inc()
		return
	}
	m.reloads.WithLabelValues("success").Inc()
	m.reloaded.Set(float64(at.UnixMilli()) / 1000)
}

// Plugin counts a call of a plugin: whether it gave no opinion, and whether that was because it trapped.
func (m *Metrics) Plugin(name string, abstained, trapped bool) {
	name = m.plugins.label(name)
	m.calls.WithLabelValues(name).Inc()
	if abstained || trapped {
		m.abstentions.WithLabelValues(name).Inc()
	}
	if trapped {
		m.traps.WithLabelValues(name).Inc()
	}
}
