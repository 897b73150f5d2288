package telemetry

import "time"

// State is what a breaker lets through.
type State string

// The states. Half open is an open one whose cool-down has passed: it lets one attempt through at a time.
const (
	Closed   State = "closed"
	HalfOpen State = "half_open"
	Open     State = "open"
)

// Breaker is when breakers open, and for how long.
type Breaker struct {
	Consecutive int           // so many failures without a success between them open it
	Rate        float64       // or this share of failures, 0…1, in the window …
	Least       int           // … of at least so many attempts
	Window      time.Duration // for Rate
	CoolDown    time.Duration // from the latest failure to the next probe
	Active      bool          // the first probe is one of the router's own: no request is let through before it has passed
}

// breakerSlots is how many parts the window of a breaker has.
const breakerSlots = 10

// breaker is that of one endpoint or credential; its owner locks.
type breaker struct {
	open     bool
	until    time.Time // no probe before; a later failure extends it, and nothing shortens it
	probing  bool
	unproven bool // half open, it lets nothing through but a probe of the router's own
	heard    bool // another router has opened it, and this one has met no failure since
	streak   int  // failures since the last success
	head     int64
	slots    [breakerSlots]struct{ ok, failed int }
}

func (b *breaker) state(now time.Time) State {
	switch {
	case !b.open:
		return Closed
	case now.Before(b.until):
		return Open
	}
	return HalfOpen
}

// failed counts a failure; opened says whether it is the one that opened the breaker.
func (b *breaker) failed(c *Breaker, now time.Time) (opened bool) {
	b.streak++
	b.heard = false
	at := b.slot(c, now)
	at.failed++
	was := b.open
	if !b.open {
		ok, failed := b.counts()
		b.open = b.streak >= c.Consecutive || ok+failed >= c.Least && float64(failed) >= c.Rate*float64(ok+failed)
	}
	if b.open {
		b.unproven = c.Active
		if until := now.Add(c.CoolDown); until.After(b.until) {
			b.until = until
		}
	}
	return b.open && !was
}

// committed closes the breaker when an answer has begun, so that the others need not wait for its end. The streak stays: an
// endpoint that begins answers and never ends one opens again at the next failure.
func (b *breaker) committed() { b.close() }

func (b *breaker) succeeded(c *Breaker, now time.Time) {
	b.slot(c, now).ok++
	b.streak = 0
	b.close()
}

// close forgets the failures of the window: those of the outage would open the breaker again at once.
func (b *breaker) close() {
	if b.open {
		b.open = false
		clear(b.slots[:])
	}
}

func (b *breaker) counts() (ok, failed int) {
	for i := range b.slots {
		ok += b.slots[i].ok
		failed += b.slots[i].failed
	}
	return ok, failed
}

// slot is the part of the window that now falls in, after those that have left the window are emptied.
func (b *breaker) slot(c *Breaker, now time.Time) *struct{ ok, failed int } {
	number := now.UnixNano() / max(int64(c.Window)/breakerSlots, 1)
	if number-b.head >= breakerSlots {
		clear(b.slots[:])
	} else {
		for n := b.head + 1; n <= number; n++ {
			b.slots[n%breakerSlots] = struct{ ok, failed int }{}
		}
	}
	b.head = max(b.head, number)
	return &b.slots[max(number, b.head-breakerSlots+1)%breakerSlots]
}
