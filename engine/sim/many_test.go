package sim_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"time"

	"chaperone/engine/sim"
)

// Many slow streams cost a provider little: no goroutine beyond those of their connections, no busy loop, no texts.
func TestManySlowStreamsAreCheap(t *testing.T) {
	const streams = 800
	p := start(t, sim.Profile{TPS: fixed(0.01), OutputTokens: fixed(10_000)})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	before := runtime.NumGoroutine()
	var bodies []io.Closer
	for range streams {
		resp, err := transport.RoundTrip(request(t, p, "", body("x", `"stream":true`)))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, resp.Body)
	}
	if c := p.Counts(); c.Open != streams {
		t.Errorf("%d are open, should be %d", c.Open, streams)
	}
	// Two of the client's transport, one of the server's connection, one that watches it for the client's going.
	if each := float64(runtime.NumGoroutine()-before) / streams; each > 4.1 {
		t.Errorf("%.1f goroutines a stream, both ends counted; should be 4", each)
	}
	for _, b := range bodies {
		b.Close()
	}
	if log := settled(t, p); len(log) != streams || p.Counts().Cancelled != streams {
		t.Errorf("%d of %d were seen to be cancelled, should be %d", p.Counts().Cancelled, len(log), streams)
	}
}

// Everything at once, for the race detector: requests of all fates, profiles that change, outages, readers of the log.
func TestHammer(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	faults := []sim.Fault{
		{Kind: sim.Reset, Share: 0.1}, {Kind: sim.Cut, Share: 0.1, AfterTokens: 2}, {Kind: sim.Malformed, Share: 0.1},
		{Kind: sim.Status, Share: 0.1, Status: 503}, {Kind: sim.Slow, Share: 0.1, Delay: time.Millisecond},
	}
	profile := sim.Profile{Name: "hammered", Seed: seed, FateBy: "body", TTFT: fixed(1), TPS: fixed(5000), LogSize: 50,
		Limit: sim.Limit{RequestsPerSecond: 5000, Burst: 100}, Faults: faults}
	p := start(t, profile)
	p.OnEnd(func(sim.Record) {})

	stop := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		r := rand.New(rand.NewPCG(seed, 1))
		for {
			select {
			case <-stop:
				return
			default:
			}
			next := profile
			next.Down = r.IntN(4) == 0
			next.TTFT = fixed(float64(r.IntN(3)))
			if err := p.SetProfile(next); err != nil {
				t.Error(err)
				return
			}
			p.Log()
			p.Counts()
			p.OnRequest(func(sim.Record) {})
		}
	})
	var requests sync.WaitGroup
	for worker := range 8 {
		requests.Go(func() {
			for i := range 40 {
				streaming := fmt.Sprintf(`"stream":%v`, i%2 == 0)
				resp, err := client.Do(request(t, p, "", body(fmt.Sprint(worker, i), `"max_tokens":5`, streaming)))
				if err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
		})
	}
	requests.Wait()
	close(stop)
	changes.Wait()
	profile.Down = false
	if err := p.SetProfile(profile); err != nil {
		t.Fatal(err)
	}
	settled(t, p)
	counts := p.Counts()
	var ended int64
	for _, n := range counts.ByFate {
		ended += n
	}
	if counts.Open != 0 || ended != counts.Requests || len(p.Log()) > 50 {
		t.Errorf("%d of %d requests ended, %d are open, the log has %d", ended, counts.Requests, counts.Open, len(p.Log()))
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(body("x"))
	f.Add(body("x", `"n":2`, `"max_tokens":3`, `"tools":[{"type":"function","function":{"name":"f","parameters":{"required":["a"]}}}]`, `"tool_choice":"required"`))
	f.Add(`{"model":"m","messages":[{}],"tool_choice":{"function":{"name":"f"}},"tools":[{}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		profile := sim.Profile{OutputTokens: fixed(5), ReasoningTokens: 1}
		a, err := sim.Answer(profile, []byte(body))
		if err != nil {
			return
		}
		b, err := sim.Answer(profile, []byte(body))
		if err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("the same body has two answers: %+v, %+v", a, b)
		}
		tokens := int64(0)
		for _, c := range a.Choices {
			tokens += int64(c.Tokens)
			if c.Call == nil && c.Tokens > 6 {
				t.Fatalf("%d tokens; should be at most 6", c.Tokens)
			}
		}
		if tokens != a.CompletionTokens {
			t.Fatalf("choices have %d tokens, usage %d", tokens, a.CompletionTokens)
		}
	})
}
