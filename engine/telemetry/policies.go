package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// PolicyState is how the policies in force are doing.
type PolicyState struct {
	Checked    uint64 // verdicts from memory that were evaluated again, since the last reload
	Mismatches uint64 // of those, the ones that came out otherwise: an alarm
	Plain      bool   // nothing is remembered any more, because of one
	Bundles    []BundleState
}

// BundleState is how one bundle server is doing.
type BundleState struct {
	Source  string        // its name in the configuration
	Age     time.Duration // since the server last confirmed the bundle in force
	Failing bool          // the last request to it went wrong
}

var (
	guardChecked = prometheus.NewDesc("chaperone_policy_guard_checked",
		"Remembered verdicts that were evaluated again since the last reload.", nil, nil)
	guardMismatches = prometheus.NewDesc("chaperone_policy_guard_mismatches",
		"Of the checked verdicts, those that came out otherwise. Above 0 is an alarm.", nil, nil)
	memoryOff = prometheus.NewDesc("chaperone_policy_memory_off",
		"1 where verdicts are no longer remembered because one came out otherwise.", nil, nil)
	bundleAge = prometheus.NewDesc("chaperone_policy_bundle_age_seconds",
		"Since a bundle server last confirmed the bundle in force.", []string{"source"}, nil)
	bundleFailing = prometheus.NewDesc("chaperone_policy_bundle_failing",
		"1 where the last request to a bundle server went wrong: its last good bundle stays in force.", []string{"source"}, nil)
)

// Policies adds the state of policies to the metrics. read is called at every scrape, by several at once too; names of
// sources are labels and come from operators' files.
func (m *Metrics) Policies(read func() PolicyState) { m.registry.MustRegister(policyCollector{read}) }

type policyCollector struct{ read func() PolicyState }

func (policyCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{guardChecked, guardMismatches, memoryOff, bundleAge, bundleFailing} {
		ch <- d
	}
}

func (c policyCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := c.read()
	gauge(guardChecked, float64(s.Checked))
	gauge(guardMismatches, float64(s.Mismatches))
	gauge(memoryOff, truth(s.Plain))
	for _, b := range s.Bundles {
		gauge(bundleAge, b.Age.Seconds(), b.Source)
		gauge(bundleFailing, truth(b.Failing), b.Source)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
