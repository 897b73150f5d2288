package engine

import (
	"net/http"
	"time"

	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/route"
)

type tmpMetrics struct{}

func (tmpMetrics) Reload(bool, time.Time) {}
func (tmpMetrics) Handler() http.Handler  { return http.NotFoundHandler() }

// countPlan counts what a plan excluded.
func (e *Engine) countPlan(p *route.Plan) {}

// finish keeps the record of a request, as far as policy lets it be kept, and counts it.
func (e *Engine) finish(rec *journal.Record) {
	if rec.Log != policy.LogNone {
		e.recent.Append(rec)
	}
}
