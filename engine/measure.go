package engine

import (
	"errors"
	"slices"
	"time"

	"chaperone/engine/journal"
	"chaperone/engine/route"
	"chaperone/engine/wasm"
	"chaperone/engine/wire"
)

// countPlan counts what a plan's policies denied and how its plugins did.
func (e *Engine) countPlan(s *snapshot, p *route.Plan) {
	rows := map[string]int{}
	for i := range p.Candidates {
		x := p.Candidates[i].Excluded
		if x == nil {
			continue
		}
		last := ""
		for _, d := range x.Denials {
			if d.Package != last { // a package's reasons for one row stand together
				rows[d.Package]++
			}
			last = d.Package
		}
	}
	for pkg, n := range rows {
		e.metrics.Denied(pkg, n)
	}
	for _, plugin := range s.plugins {
		if !slices.Contains(p.Scorers, plugin.Name()) && !slices.Contains(p.Shadows, plugin.Name()) {
			continue // nothing was ranked, or in an order that the request asked for
		}
		err := p.Abstained[plugin.Name()]
		e.metrics.Plugin(plugin.Name(), err != nil, errors.Is(err, wasm.ErrTrap))
	}
}

// refuse counts a request that was never planned or has no permit.
func (e *Engine) refuse(organisation, model string, err *wire.Error, began time.Time) error {
	e.metrics.Request(organisation, model, err.Status, time.Since(began))
	return err
}

// finish counts a request that was dispatched, and keeps its record as far as policy lets it be kept.
func (e *Engine) finish(rec *journal.Record, seen *journal.Seen) {
	o := &rec.Outcome
	e.metrics.Request(rec.Organisation, o.Model, o.Status, time.Duration(o.DurationMs*float64(time.Millisecond)))
	if o.Rescued != "" {
		e.metrics.Rescue(o.Rescued)
	}
	for i, a := range rec.Attempts {
		e.metrics.Attempt(a.ProviderID, a.Outcome)
		if i > 0 && a.Purpose == journal.ForFallback {
			e.metrics.Fallback(rec.Attempts[i-1].ProviderID)
		}
		if a.TTFTMs > 0 {
			e.metrics.TTFT(a.ProviderID, time.Duration(a.TTFTMs*float64(time.Millisecond)))
		}
		if a.Impossible != nil {
			e.metrics.Impossible(a.ProviderID)
		}
		if a.Usage.Known {
			e.metrics.Tokens(rec.Organisation, a.Model, a.Usage)
		}
		if a.Cost > 0 {
			e.metrics.Cost(rec.Organisation, a.Model, a.ProviderID, a.Cost)
		}
	}
	e.metrics.End()
	e.teach(rec)
	e.keep(rec, seen)
}
