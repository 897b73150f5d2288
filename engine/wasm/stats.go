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
	Deadlines   int64 // of Errors
	Busy        int64 // of Errors: no instance became free in time
	Waits       int64 // calls that waited for an instance
	Instances   int   // ready just now
	Pool        int   // the most there may be
	Disabled    bool
}

type counters struct{ calls, errors, abstentions, traps, deadlines, busy, waits atomic.Int64 }

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
	case errors.Is(err, ErrDeadline):
		c.deadlines.Add(1)
	case errors.Is(err, ErrBusy):
		c.busy.Add(1)
	}
}

// Stats is the counters just now.
func (p *Plugin) Stats() Stats {
	p.pool.mu.Lock()
	ready := 0
	for _, in := range p.pool.free {
		if in != nil {
			ready++
		}
	}
	p.pool.mu.Unlock()
	return Stats{
		Calls:       p.stats.calls.Load(),
		Errors:      p.stats.errors.Load(),
		Abstentions: p.stats.abstentions.Load(),
		Traps:       p.stats.traps.Load(),
		Deadlines:   p.stats.deadlines.Load(),
		Busy:        p.stats.busy.Load(),
		Waits:       p.stats.waits.Load(),
		Instances:   ready,
		Pool:        cap(p.pool.tokens),
		Disabled:    p.disabled.Load(),
	}
}
