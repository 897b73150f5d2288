package telemetry

import "github.com/prometheus/client_golang/prometheus"

// JournalCounts is how the journal is doing.
type JournalCounts struct {
	Written, Dropped uint64 // records
	Failing          bool   // it cannot be written just now
}

var (
	journalRecords = prometheus.NewDesc("chaperone_journal_records_total", "Records of the journal by what became of them.", []string{"result"}, nil)
	journalFailing = prometheus.NewDesc("chaperone_journal_failing", "1 while the journal cannot be written.", nil, nil)
)

// Journal adds the journal to the metrics; read is called whenever somebody looks.
func (m *Metrics) Journal(read func() JournalCounts) { m.registry.MustRegister(journalCollector(read)) }

type journalCollector func() JournalCounts

func (journalCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- journalRecords
	ch <- journalFailing
}

func (read journalCollector) Collect(ch chan<- prometheus.Metric) {
	c := read()
	ch <- prometheus.MustNewConstMetric(journalRecords, prometheus.CounterValue, float64(c.Written), "written")
	ch <- prometheus.MustNewConstMetric(journalRecords, prometheus.CounterValue, float64(c.Dropped), "dropped")
	failing := 0.0
	if c.Failing {
		failing = 1
	}
	ch <- prometheus.MustNewConstMetric(journalFailing, prometheus.GaugeValue, failing)
}
