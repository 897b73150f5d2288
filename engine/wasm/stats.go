package wasm

import (
	"errors"
	"sync/atomic"
)

// Stats counts what became of a plugin's calls since it was loaded.
type Stats struct {
	Calls       int64
	Errors      int64 // calls that gave no scores, for whatever reason but the plugin's own choice
	Abstentions int64 // calls in which the plugin chose to give none
	Traps       int64 // of Errors
	OutOfFuel   int64 // of Errors
	Busy        int64 // of Errors: no instance became free in time
	Waits       int64 // calls that waited for an instance
	Instances   int   // ready just now
	Pool        int   // the most there may be
	Fuel        int64 // instructions that all calls of chaperone_score used
	MostFuel    int64 // that one of them used
	Memory      int64 // bytes of the instances that are ready
	Observed    int64 // attempts that a stateful plugin was told of
	Missed      int64 // attempts that it was not: it was too slow, or failed
	Disabled    bool
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
	}
}
