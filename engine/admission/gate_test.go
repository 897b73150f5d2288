package admission_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine/admission"
)

const patience = 10 * time.Second

func gate(inFlight, waiting int) *admission.Gate {
	g := &admission.Gate{}
	g.Configure(admission.Limits{InFlight: inFlight, Waiting: waiting})
	return g
}

// entry is a request that asks to be let in.
type entry struct {
	who    string
	cancel context.CancelFunc
	done   chan struct{} // closed when it is in or was turned away
	gate   int
	pass   admission.Pass
	err    error
}

// enter returns when the request is in, refused or in a queue.
func enter(t *testing.T, who admission.Tenant, gates ...*admission.Gate) *entry {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	e := &entry{who: who.ID, cancel: cancel, done: make(chan struct{})}
	asked := admission.Join(who, gates...)
	go func() {
		defer close(e.done)
		e.gate, e.pass, e.err = asked.Wait(ctx, patience)
	}()
	return e
}

func (e *entry) wait(t *testing.T) error {
	t.Helper()
	select {
	case <-e.done:
		return e.err
	case <-time.After(patience):
		t.Fatalf("a request of %s still waits", e.who)
		return nil
	}
}

// leave gives back what it has, or is about to get.
func (e *entry) leave(t *testing.T) {
	t.Helper()
	if err := e.wait(t); err != nil {
		t.Fatal(err)
	}
	e.pass.Leave()
	e.pass = admission.Pass{}
}

func (e *entry) waits() bool {
	select {
	case <-e.done:
		return false
	default:
		return true
	}
}

func load(t *testing.T, g *admission.Gate, want string) {
	t.Helper()
	if all, tenants := g.Load(); all.String() != want {
		t.Errorf("%s (%v), want %s", all, tenants, want)
	}
}

func TestAFloodHoldsUpNobodyElse(t *testing.T) {
	g := gate(2, 4)
	flood, calm := admission.Tenant{ID: "flood"}, admission.Tenant{ID: "calm"}
	var in []*entry
	for range 2 {
		in = append(in, enter(t, flood, g))
	}
	var queued []*entry
	for range 4 {
		queued = append(queued, enter(t, flood, g))
	}
	if e := enter(t, flood, g); !errors.Is(e.wait(t), admission.ErrFull) {
		t.Errorf("over the queue: %v", e.err)
	}
	// The queue is full, of one tenant's: its last makes room.
	late := enter(t, calm, g)
	if err := queued[3].wait(t); !errors.Is(err, admission.ErrFull) || !late.waits() {
		t.Errorf("who was pushed out got %v", err)
	}
	// The next place is for who has nothing in flight, though the others came first.
	in[0].leave(t)
	if err := late.wait(t); err != nil || !queued[0].waits() {
		t.Errorf("the calm one got %v", err)
	}
	in[1].leave(t)
	if err := queued[0].wait(t); err != nil {
		t.Errorf("the flood got nothing: %v", err)
	}
	// A client that goes away leaves the queue.
	queued[1].cancel()
	if err := queued[1].wait(t); !errors.Is(err, context.Canceled) {
		t.Errorf("who went away got %v", err)
	}
	load(t, g, "2 in flight, 1 waiting")
	late.leave(t)
	queued[0].leave(t)
	queued[2].leave(t)
	load(t, g, "0 in flight, 0 waiting")
	if _, tenants := g.Load(); len(tenants) > 0 {
		t.Errorf("%v are remembered", tenants)
	}
}

func TestATenantsOwnLimit(t *testing.T) {
	g := gate(0, 10)
	a := admission.Tenant{ID: "a", InFlight: 1}
	first, second := enter(t, a, g), enter(t, a, g)
	if !second.waits() || !g.Full(a) || g.Full(admission.Tenant{ID: "b"}) {
		t.Error("the limit of a is not kept, or is everybody's")
	}
	if e := enter(t, admission.Tenant{ID: "b"}, g); e.wait(t) != nil {
		t.Errorf("b gets %v", e.err)
	}
	third := enter(t, admission.Tenant{ID: "a", InFlight: 3}, g) // the limit was raised
	if second.wait(t) != nil || third.wait(t) != nil {
		t.Errorf("after the limit was raised: %v, %v", second.err, third.err)
	}
	first.leave(t)
}

func TestAWaitThatTakesTooLongEnds(t *testing.T) {
	g := gate(1, 10)
	enter(t, admission.Tenant{ID: "a"}, g)
	if _, _, err := admission.Join(admission.Tenant{ID: "a"}, g).Wait(t.Context(), 5*time.Millisecond); !errors.Is(err, admission.ErrTooLong) {
		t.Errorf("got %v", err)
	}
	load(t, g, "1 in flight, 0 waiting")
}

func TestTheFirstOfSeveralGatesLetsIn(t *testing.T) {
	one, two := gate(1, 1), gate(1, 1)
	a := admission.Tenant{ID: "a"}
	first, second := enter(t, a, one), enter(t, a, two)
	both := enter(t, a, one, two)
	second.leave(t)
	if both.wait(t) != nil || both.gate != 1 {
		t.Errorf("through gate %d, %v", both.gate, both.err)
	}
	load(t, one, "1 in flight, 0 waiting")
	load(t, two, "1 in flight, 0 waiting")
	first.leave(t)
	both.leave(t)
	load(t, one, "0 in flight, 0 waiting")
	load(t, two, "0 in flight, 0 waiting")
}

// Tenants that always want more than there is get the same, whatever they want more of and however long they hold it.
func TestSharesAreEqual(t *testing.T) {
	g := gate(6, 1000)
	const tenants, places = 3, 2
	var served, most [tenants]atomic.Int64
	var holding [tenants]atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var saturated sync.WaitGroup
	for i := range tenants {
		for range 5 * (i + 1) * (i + 1) { // 5, 20, 45 at a time
			saturated.Add(1)
			wg.Go(func() {
				once := sync.OnceFunc(saturated.Done)
				defer once()
				for {
					_, pass, err := admission.Join(admission.Tenant{ID: fmt.Sprint(i)}, g).Wait(ctx, patience)
					if err != nil {
						return
					}
					once()
					n := holding[i].Add(1)
					most[i].Store(max(most[i].Load(), n))
					time.Sleep(time.Duration(i+1) * 200 * time.Microsecond)
					holding[i].Add(-1)
					served[i].Add(1)
					pass.Leave()
				}
			})
		}
	}
	saturated.Wait()
	sum, samples := [tenants]int{}, 0
	for range 300 {
		time.Sleep(time.Millisecond)
		_, all := g.Load()
		for i := range tenants {
			sum[i] += all[fmt.Sprint(i)].InFlight
		}
		samples++
	}
	stop()
	wg.Wait()
	for i := range tenants {
		if mean := float64(sum[i]) / float64(samples); mean < places-0.25 || mean > places+0.25 {
			t.Errorf("tenant %d had %.2f in flight on average (served %d, at most %d at once), its share is %d", i, mean, served[i].Load(), most[i].Load(), places)
		}
	}
	load(t, g, "0 in flight, 0 waiting")
}

// Whatever comes, goes, gives up and is reconfigured: limits hold, no place is free that somebody waits for, everybody is
// answered, and in the end nothing is left.
func TestNoWakeupIsLost(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range 60 {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		limits := admission.Limits{InFlight: 1 + r.IntN(4), Waiting: r.IntN(8)}
		gates := []*admission.Gate{gate(limits.InFlight, limits.Waiting), gate(limits.InFlight, limits.Waiting)}
		own := map[string]int{"a": 0, "b": 1, "c": 2}
		var all []*entry
		in := func() (held []*entry) {
			for _, e := range all {
				if !e.waits() && e.err == nil && e.pass != (admission.Pass{}) {
					held = append(held, e)
				}
			}
			return held
		}
		for range 80 {
			switch what := r.IntN(10); {
			case what < 5:
				id := string(rune('a' + r.IntN(3)))
				wanted := [][]*admission.Gate{gates, gates[:1], gates[1:]}[r.IntN(3)]
				all = append(all, enter(t, admission.Tenant{ID: id, InFlight: own[id]}, wanted...))
			case what < 8:
				if held := in(); len(held) > 0 {
					held[r.IntN(len(held))].leave(t)
				}
			case what < 9 && len(all) > 0:
				e := all[r.IntN(len(all))]
				if e.waits() {
					e.cancel()
					e.wait(t)
				}
			default:
				limits.InFlight = 1 + r.IntN(4)
				for _, g := range gates {
					g.Configure(limits)
				}
			}
			for _, g := range gates {
				// One that the other gate has let in leaves this queue a moment later.
				for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Microsecond) {
					wrong := broken(g, own)
					if wrong == "" {
						break
					}
					if time.Now().After(deadline) {
						t.Fatalf("seed %d, round %d: %s", seed, round, wrong)
					}
				}
			}
		}
		// Everybody who still waits is let in as places come free.
		for deadline := time.Now().Add(patience); ; {
			waiting := 0
			for _, e := range all {
				if e.waits() {
					waiting++
				}
			}
			held := in()
			for _, e := range held {
				e.leave(t)
			}
			if len(held) == 0 && waiting == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("seed %d, round %d: %d still wait", seed, round, waiting)
			}
		}
		for _, g := range gates {
			load(t, g, "0 in flight, 0 waiting")
		}
	}
}

// broken is what does not hold of a gate; own are the tenants' own limits.
func broken(g *admission.Gate, own map[string]int) string {
	limits := g.Limits()
	now, tenants := g.Load()
	for id, l := range tenants {
		switch n := own[id]; {
		case n > 0 && l.InFlight > n:
			return fmt.Sprintf("%s has %s", id, l)
		case now.InFlight < limits.InFlight && (n == 0 || l.InFlight < n) && l.Waiting > 0:
			return fmt.Sprintf("%s waits at a gate with room: %s", id, now)
		}
	}
	if now.Waiting > limits.Waiting {
		return fmt.Sprintf("%s, %d may wait", now, limits.Waiting)
	}
	return ""
}

// Many at once, under the race detector: what goes in comes out.
func TestManyAtOnce(t *testing.T) {
	one, two := gate(3, 50), gate(2, 50)
	var inOne, inTwo, let, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(2000))*time.Microsecond)
				at, pass, err := admission.Join(admission.Tenant{ID: fmt.Sprint(i % 5), InFlight: i % 4}, one, two).
					Wait(ctx, time.Duration(r.IntN(2000))*time.Microsecond)
				if err == nil {
					count, most := &inOne, int64(3)
					if at == 1 {
						count, most = &inTwo, 2
					}
					if n := count.Add(1); n > most {
						t.Errorf("%d at once", n)
					}
					let.Add(1)
					count.Add(-1)
					pass.Leave()
				} else {
					refused.Add(1)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	load(t, one, "0 in flight, 0 waiting")
	load(t, two, "0 in flight, 0 waiting")
	t.Logf("%d let in, %d not", let.Load(), refused.Load())
}
