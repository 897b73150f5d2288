package telemetry

import "github.com/prometheus/client_golang/prometheus"

var (
	ledgerRecords = prometheus.NewDesc("chaperone_ledger_records_total", "Records of the journal that were entered into the ledger.", nil, nil)
	ledgerFailing = prometheus.NewDesc("chaperone_ledger_failing", "1 while the ledger cannot be kept up to date.", nil, nil)
)

// Ledger adds the ledger to the metrics; read is called whenever somebody looks.
func (m *Metrics) Ledger(read func() (entered uint64, failing bool)) {
	m.registry.MustRegister(ledgerCollector(read))
}

type ledgerCollector func() (uint64, bool)

func (ledgerCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- ledgerRecords
	ch <- ledgerFailing
}

func (read ledgerCollector) Collect(ch chan<- prometheus.Metric) {
	entered, failing := read()
	ch <- prometheus.MustNewConstMetric(ledgerRecords, prometheus.CounterValue, float64(entered))
	value := 0.0
	if failing {
		value = 1
	}
	ch <- prometheus.MustNewConstMetric(ledgerFailing, prometheus.GaugeValue, value)
}
