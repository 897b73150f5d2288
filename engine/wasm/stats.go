package wasm

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Stats counts what became of a plugin's calls since it was loaded.
type Stats struct {
	Calls       int64 `json:"calls"`
	Errors      int64 `json:"errors"`      // calls that gave no scores, for whatever reason but the plugin's own choice
	Abstentions int64 `json:"abstentions"` // calls in which the plugin chose to give none
	Traps       int64 `json:"traps"`       // of Errors
	OutOfFuel   int64 `json:"out_of_fuel"` // of Errors
	Busy        int64 `json:"busy"`        // of Errors: no instance became free in time
	Waits       int64 `json:"waits"`       // calls that waited for an instance
	Instances   int   `json:"instances"`   // ready just now
	Pool        int   `json:"pool"`        // the most there may be
	Fuel        int64 `json:"fuel"`        // instructions that all calls of chaperone_score used
	MostFuel    int64 `json:"most_fuel"`   // that one of them used
	Memory      int64 `json:"memory"`      // bytes of the instances that are ready
	Observed    int64 `json:"observed"`    // attempts that a stateful plugin was told of
	Missed      int64 `json:"missed"`      // attempts that it was not: it was too slow, or failed
	Disabled    bool  `json:"disabled"`
	Runs        []Run `json:"runs"` // the last ones, the latest first
}

// Run is one call of chaperone_score.
type Run struct {
	At      time.Time `json:"at"` // of the request that was ranked
	Rows    int       `json:"rows"`
	Fuel    int64     `json:"fuel"`
	Outcome string    `json:"outcome"` // scored, abstained, or what went wrong
}

// keptRuns is how many runs a plugin remembers.
const keptRuns = 32

// runs are the last ones, in a ring.
type runs struct {
	mu   sync.Mutex
	ring [keptRuns]run
	next int
}

// run is a Run before anybody asked for it.
type run struct {
	at   time.Time
	rows int
	fuel int64
	err  error
}

func (r *runs) add(one run) {
	r.mu.Lock()
	r.ring[r.next%keptRuns] = one
	r.next++
	r.mu.Unlock()
}

func (r *runs) latest() []Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Run, min(r.next, keptRuns))
	for i := range out {
		one := r.ring[(r.next-1-i)%keptRuns]
		out[i] = Run{At: one.at, Rows: one.rows, Fuel: one.fuel, Outcome: outcome(one.err)}
	}
	return out
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "scored"
	case err == ErrAbstained:
		return "abstained"
	}
	return err.Error()
}

type counters struct{ calls, errors, abstentions, traps, outOfFuel, busy, waits, fuel, mostFuel, observed, missed atomic.Int64 }

func (c *counters) count(err error) {
	if err == nil {
		return
	}
	if err == ErrAbstained {
		c.abstentions.Add(1)
		return
	}
	c.errors.Add(1)
	switch {
	case errors.Is(err, ErrTrap):
		c.traps.Add(1)
	case errors.Is(err, ErrFuel):
		c.outOfFuel.Add(1)
	case errors.Is(err, ErrBusy):
		c.busy.Add(1)
	}
}

func (c *counters) burn(fuel int64) {
	c.fuel.Add(fuel)
	for most := c.mostFuel.Load(); fuel > most && !c.mostFuel.CompareAndSwap(most, fuel); most = c.mostFuel.Load() {
	}
}

// Stats is the counters just now.
func (p *Plugin) Stats() Stats {
	p.pool.mu.Lock()
	ready, memory := 0, int64(0)
	for _, in := range p.pool.free {
		if in != nil {
			ready++
			memory += int64(in.module.Memory().Size())
		}
	}
	p.pool.mu.Unlock()
	return Stats{
		Calls:       p.stats.calls.Load(),
		Errors:      p.stats.errors.Load(),
		Abstentions: p.stats.abstentions.Load(),
		Traps:       p.stats.traps.Load(),
		OutOfFuel:   p.stats.outOfFuel.Load(),
		Busy:        p.stats.busy.Load(),
		Waits:       p.stats.waits.Load(),
		Instances:   ready,
		Pool:        cap(p.pool.tokens),
		Fuel:        p.stats.fuel.Load(),
		MostFuel:    p.stats.mostFuel.Load(),
		Memory:      memory,
		Observed:    p.stats.observed.Load(),
		Missed:      p.stats.missed.Load(),
		Disabled:    p.disabled.Load(),
		Runs:        p.runs.latest(),
	}
}
