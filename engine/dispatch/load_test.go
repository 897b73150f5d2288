package dispatch_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine/sim"
)

// crowd is the most requests that a provider was sure to have at once: each for as long as it takes to its first token.
func crowd(t *testing.T, p *sim.Provider, ttft time.Duration) int {
	t.Helper()
	if err := p.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	most, records := 0, p.Log()
	for _, r := range records {
		n := 0
		for _, other := range records {
			if since := r.At.Sub(other.At); since >= 0 && since < ttft {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func TestAnEndpointAtItsLimitMakesWay(t *testing.T) {
	f := open(t, "[load]\nin_flight_endpoint = 2\nqueue_wait = \"1m\"\n", takes(30*time.Millisecond), takes(30*time.Millisecond))
	full := make(chan struct{}) // closed once all wait for whom the endpoints have no place
	for _, p := range f.sims {
		p.OnRequest(func(sim.Record) { <-full })
	}
	var wg sync.WaitGroup
	var queued, fallback atomic.Int64
	for i := range 24 {
		wg.Go(func() {
			a := f.ask(t, i%2 == 0)
			if a.err != nil || !a.done {
				t.Errorf("failed: %+v", a.err)
			}
			if a.record.Outcome.QueuedMs > 0 {
				queued.Add(1)
			}
			if strings.HasPrefix(outcomes(a.record), "p1:ok") {
				fallback.Add(1)
			}
			if len(a.record.Attempts) != 1 {
				t.Errorf("a full endpoint was tried: %s", outcomes(a.record))
			}
		})
	}
	eventually(t, "four are in flight and twenty wait", func() bool {
		text := f.metrics()
		for _, p := range []string{"p0", "p1"} {
			if !strings.Contains(text, `chaperone_endpoint_in_flight{endpoint="m/one@`+p+`"} 2`) || !strings.Contains(text, `chaperone_endpoint_queued{endpoint="m/one@`+p+`"} 20`) {
				return false
			}
		}
		return true
	})
	close(full)
	wg.Wait()
	for _, p := range f.sims {
		if n := crowd(t, p, 30*time.Millisecond); n > 2 {
			t.Errorf("%d requests were open at once, 2 may be", n)
		}
	}
	if queued.Load() != 20 || fallback.Load() < 2 {
		t.Errorf("%d of 24 waited, %d were served by the other", queued.Load(), fallback.Load())
	}
	for _, want := range []string{`chaperone_endpoint_in_flight{endpoint="m/one@p0"} 0`, `chaperone_endpoint_queued{endpoint="m/one@p0"} 0`, `chaperone_queue_wait_seconds_count{at="endpoint"}`} {
		if !strings.Contains(f.metrics(), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestALimitOfAnEndpointsOwn(t *testing.T) {
	f := (&fixture{endpoint: "in_flight = 1"}).open(t, "[load]\nin_flight_endpoint = 50\n", takes(20*time.Millisecond))
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if a := f.ask(t, true); a.err != nil {
				t.Error(a.err)
			}
		})
	}
	wg.Wait()
	if n := crowd(t, f.sims[0], 20*time.Millisecond); n != 1 {
		t.Errorf("%d were open at once", n)
	}
}

// Whoever gets no place is told so, and nothing was sent.
func TestWhoCannotWaitIsTurnedAway(t *testing.T) {
	for name, c := range map[string]struct{ load, reason string }{
		"no queue": {"queue = 0", "queue_full"},
		"no time":  {"queue_wait = \"20ms\"", "queue_wait"},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, "[load]\nin_flight_endpoint = 1\n"+c.load+"\n", sim.Profile{})
			began, ended := make(chan struct{}), make(chan struct{})
			f.sims[0].OnRequest(func(sim.Record) { close(began); <-ended })
			done := make(chan answer)
			go func() { done <- f.ask(t, true) }()
			<-began
			a := f.ask(t, true)
			if a.err == nil || a.err.Status != 503 || a.err.Type != "provider_overloaded" || a.err.RetryAfter < time.Second ||
				a.err.Message != "P0 has as many requests of this router in flight as it may" || len(a.record.Attempts) != 0 || !a.record.Candidates[0].Resting {
				t.Errorf("got %+v, attempts %s", a.err, outcomes(a.record))
			}
			if want := `chaperone_shed_total{at="endpoint",organisation="acme",reason="` + c.reason + `"} 1`; !strings.Contains(f.metrics(), want) {
				t.Errorf("the metrics lack %s", want)
			}
			close(ended)
			if a := <-done; a.err != nil {
				t.Errorf("the one in flight failed: %v", a.err)
			}
		})
	}
}

// An endpoint that is full is well: it is waited for before one whose breaker is open is tried.
func TestAFullEndpointIsWaitedForBeforeABrokenOneIsTried(t *testing.T) {
	f := open(t, "[load]\nin_flight_endpoint = 1\n[dispatch.breaker]\nfailures = 1\ncool_down = \"1m\"\n",
		always(sim.Fault{Kind: sim.Status, Status: 503}), takes(50*time.Millisecond))
	f.ask(t, true)
	asked := f.sims[0].Counts().Requests
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if a := f.ask(t, true); a.err != nil || outcomes(a.record) != "p1:ok" {
				t.Errorf("got %s, %v", outcomes(a.record), a.err)
			}
		})
	}
	wg.Wait()
	if n := f.sims[0].Counts().Requests - asked; n > 0 {
		t.Errorf("the broken one was asked %d times", n)
	}
}
