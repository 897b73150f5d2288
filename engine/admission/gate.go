// Package admission bounds how many requests are in flight at once, and lets those over it wait fairly.
package admission

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// The reasons for which a request is not let in.
var (
	ErrFull    = errors.New("the queue is full")
	ErrTooLong = errors.New("waited for too long")
)

// Limits are those of a gate.
type Limits struct {
	InFlight int // at once; 0: any number
	Waiting  int // the most that may wait; 0: nobody waits
}

// Tenant is who asks. Tenants share a gate equally.
type Tenant struct {
	ID       string
	InFlight int // the most of its own at once; 0: no more than the gate has
}

// Gate lets requests in up to its limit. Whoever is over it waits in a queue of their tenant's own; a place that comes free
// goes to the tenant with the least in flight, of several to the one that has waited longest for a turn. Where the queue is
// full and a tenant has more waiting than the one that comes, the last of the one with the most makes room: nobody who is
// patient is kept out by somebody who floods. The zero value lets everything in. Safe for concurrent use.
//
// What holds whenever its lock is free: a place is free only if nobody waits who may have it.
type Gate struct {
	mu       sync.Mutex
	limits   Limits
	inFlight int
	waiting  int
	turns    uint64
	tenants  map[string]*tenant // that have something in flight or waiting
}

type tenant struct {
	id          string
	limit       int
	inFlight    int
	waiting     int
	turn        uint64 // when it was last let in
	first, last *place
}

// place is where a waiter stands at one gate.
type place struct {
	gate       *Gate
	tenant     *tenant // nil once it has left
	waiter     *waiter
	index      int // of the gate, to the waiter
	prev, next *place
}

// waiter waits at several gates; the first that claims it lets it in.
type waiter struct {
	mu     sync.Mutex
	over   bool
	places int      // gates at which it still stands
	answer chan int // the index of the gate, or full
}

const full = -1

// Pass is a place among those in flight. The zero value is none.
type Pass struct {
	gate   *Gate
	tenant string
}

// Leave gives the place back. It must be called once.
func (p Pass) Leave() {
	if p.gate == nil {
		return
	}
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.tenants[p.tenant]
	t.inFlight--
	g.inFlight--
	g.fill()
	g.forget(t)
}

// Configure sets the limits. Those in flight over a lower one stay; those who wait stay too.
func (g *Gate) Configure(l Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits = l
	g.fill()
}

// Full says whether a request would have to wait.
func (g *Gate) Full(who Tenant) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.tenants[who.ID]
	return !g.room() || t != nil && who.InFlight > 0 && t.inFlight >= who.InFlight
}

// Try lets a request in without waiting; false where it would have to.
func (g *Gate) Try(who Tenant) (Pass, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.tenant(who)
	if !g.may(t) {
		g.forget(t)
		return Pass{}, false
	}
	g.admit(t)
	return Pass{g, t.id}, true
}

// Entry is a request that asks to be let in at one of several gates.
type Entry struct {
	who    Tenant
	gates  []*Gate
	places []place
	waiter waiter
}

// Join asks: the request is in, turned away, or in the queue of every gate that has room for one more to wait. Wait must be
// called.
func Join(who Tenant, gates ...*Gate) *Entry {
	e := &Entry{who: who, gates: gates, places: make([]place, len(gates)), waiter: waiter{places: len(gates), answer: make(chan int, 1)}}
	for i, g := range gates {
		e.places[i] = place{gate: g, waiter: &e.waiter, index: i}
		g.join(&e.places[i], who)
	}
	return e
}

// Wait waits until one of the gates lets the request in, and returns which. The error is ErrFull where none has room for one
// more to wait, ErrTooLong after so long, or ctx's.
func (e *Entry) Wait(ctx context.Context, atMost time.Duration) (int, Pass, error) {
	defer func() {
		for i := range e.places {
			e.gates[i].leave(&e.places[i])
		}
	}()
	select {
	case i := <-e.waiter.answer:
		return e.answered(ctx, i)
	default:
	}
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	err := ErrTooLong
	select {
	case i := <-e.waiter.answer:
		return e.answered(ctx, i)
	case <-timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if e.waiter.claim() {
		return 0, Pass{}, err
	}
	return e.answered(ctx, <-e.waiter.answer) // in this very moment
}

func (e *Entry) answered(ctx context.Context, i int) (int, Pass, error) {
	if i == full {
		return 0, Pass{}, ErrFull
	}
	pass := Pass{e.gates[i], e.who.ID}
	if err := ctx.Err(); err != nil {
		pass.Leave()
		return 0, Pass{}, err
	}
	return i, pass, nil
}

// claim ends the wait; false where it has ended.
func (w *waiter) claim() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return false
	}
	w.over = true
	return true
}

// lose takes one gate away; it ends the wait where that was the last.
func (w *waiter) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.places--; w.places == 0 && !w.over {
		w.over = true
		w.answer <- full
	}
}

// join lets the waiter of p in, or has it wait.
func (g *Gate) join(p *place, who Tenant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.tenant(who)
	defer g.forget(t)
	switch {
	case g.may(t):
		if p.waiter.claim() {
			g.admit(t)
			p.waiter.answer <- p.index
		}
	case g.waiting < g.limits.Waiting || g.pushOut(t):
		g.append(t, p)
	default:
		p.waiter.lose()
	}
}

// pushOut makes room in the queue for one of t, where another tenant has more waiting than t would have.
func (g *Gate) pushOut(t *tenant) bool {
	var most *tenant
	for _, other := range g.tenants {
		if other.waiting > t.waiting+1 && (most == nil || other.waiting > most.waiting) {
			most = other
		}
	}
	if most == nil {
		return false
	}
	victim := most.last
	g.remove(victim)
	victim.waiter.lose()
	return true
}

// leave takes p out of the queue, if it is still there.
func (g *Gate) leave(p *place) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := p.tenant; t != nil {
		g.remove(p)
		g.forget(t)
	}
}

// fill gives free places to those who wait.
func (g *Gate) fill() {
	for g.waiting > 0 && g.room() {
		var next *tenant
		for _, t := range g.tenants {
			if t.waiting > 0 && t.room() && (next == nil || t.inFlight < next.inFlight || t.inFlight == next.inFlight && t.turn < next.turn) {
				next = t
			}
		}
		if next == nil {
			return
		}
		p := next.first
		g.remove(p)
		if p.waiter.claim() {
			g.admit(next)
			p.waiter.answer <- p.index
		} else {
			g.forget(next)
		}
	}
}

func (g *Gate) room() bool { return g.limits.InFlight == 0 || g.inFlight < g.limits.InFlight }

func (t *tenant) room() bool { return t.limit == 0 || t.inFlight < t.limit }

func (g *Gate) may(t *tenant) bool { return g.room() && t.room() }

func (g *Gate) admit(t *tenant) {
	g.turns++
	t.turn = g.turns
	t.inFlight++
	g.inFlight++
}

// tenant is that of who, by the limit that it has now.
func (g *Gate) tenant(who Tenant) *tenant {
	t := g.tenants[who.ID]
	if t == nil {
		if g.tenants == nil {
			g.tenants = map[string]*tenant{}
		}
		// As if it had just had its turn: otherwise one that comes and goes would always be the next.
		t = &tenant{id: who.ID, limit: who.InFlight, turn: g.turns}
		g.tenants[who.ID] = t
	}
	if t.limit != who.InFlight {
		t.limit = who.InFlight
		g.fill()
		g.tenants[who.ID] = t // it may have been forgotten when its last waiter turned out to be gone
	}
	return t
}

func (g *Gate) forget(t *tenant) {
	if t.inFlight == 0 && t.waiting == 0 {
		delete(g.tenants, t.id)
	}
}

func (g *Gate) append(t *tenant, p *place) {
	p.tenant, p.prev = t, t.last
	if t.last == nil {
		t.first = p
	} else {
		t.last.next = p
	}
	t.last = p
	t.waiting++
	g.waiting++
}

func (g *Gate) remove(p *place) {
	t := p.tenant
	if p.prev == nil {
		t.first = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		t.last = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.tenant, p.prev, p.next = nil, nil, nil
	t.waiting--
	g.waiting--
}

// Load is what a gate, or a tenant's part of it, has.
type Load struct{ InFlight, Waiting int }

// Load is the gate's in all, and each tenant's.
func (g *Gate) Load() (all Load, tenants map[string]Load) {
	g.mu.Lock()
	defer g.mu.Unlock()
	tenants = make(map[string]Load, len(g.tenants))
	for id, t := range g.tenants {
		tenants[id] = Load{t.inFlight, t.waiting}
	}
	return Load{g.inFlight, g.waiting}, tenants
}

// Limits are those that were set last.
func (g *Gate) Limits() Limits {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limits
}

// String is for messages of tests and logs.
func (l Load) String() string { return fmt.Sprintf("%d in flight, %d waiting", l.InFlight, l.Waiting) }
