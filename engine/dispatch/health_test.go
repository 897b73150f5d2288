package dispatch_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine/sim"
)

// always is a profile that fails every request like this.
func always(f sim.Fault) sim.Profile {
	f.Share = 1
	return sim.Profile{Faults: []sim.Fault{f}}
}

func (f *fixture) metrics() string {
	w := httptest.NewRecorder()
	f.engine.Metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// restsUntil is when an endpoint may be tried again by one request.
func (f *fixture) restsUntil(t *testing.T, endpoint string) time.Time {
	t.Helper()
	text, err := f.engine.Health()
	if err != nil {
		t.Fatal(err)
	}
	var health struct {
		Endpoints []struct {
			Endpoint string
			Until    time.Time
		}
	}
	if err := json.Unmarshal(text, &health); err != nil {
		t.Fatal(err)
	}
	for _, e := range health.Endpoints {
		if e.Endpoint == endpoint {
			return e.Until
		}
	}
	t.Fatalf("%s is not in %s", endpoint, text)
	return time.Time{}
}

// The primary goes down and comes back. Times are a twentieth of the default ones: with a cool-down of 6 s instead of 300 ms,
// "less than one probe in 250 ms" is less than one in 5 s, and "back within 500 ms" is within 10 s.
func TestAFlappingPrimary(t *testing.T) { flap(t, 20, 2, 2*time.Second) }

func TestAFlappingPrimaryAtTheDefaultPace(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute; run without -short")
	}
	t.Parallel()
	flap(t, 1, 1, 16*time.Second)
}

// flap has the primary fail so many times for so long, in a world that is so many times faster than the default one.
func flap(t *testing.T, scale, rounds int, lasts time.Duration) {
	const failures, workers = 5, 4
	settings := ""
	if scale > 1 {
		settings = fmt.Sprintf("[dispatch.breaker]\ncool_down = \"%dms\"\n", 6000/scale)
	}
	f := open(t, settings, sim.Profile{}, sim.Profile{})
	pause := 20 * time.Millisecond / time.Duration(scale)
	good := f.sims[0].Profile()
	bad := good
	bad.Faults = []sim.Fault{{Kind: sim.Status, Status: 500, Share: 1}}
	if f.ask(t, true); f.sims[0].Counts().Requests != 1 {
		t.Fatal("the primary is not the primary")
	}
	for round := range rounds {
		before := f.sims[0].Counts().Requests
		if err := f.sims[0].SetProfile(bad); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var served, failed atomic.Int64
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for time.Since(began) < lasts {
					if a := f.ask(t, w%2 == 0); a.err != nil || !a.done {
						t.Logf("%s: %+v %s", outcomes(a.record), a.err, a.broken)
						failed.Add(1)
					}
					served.Add(1)
					time.Sleep(pause)
				}
			})
		}
		wg.Wait()
		outage := time.Since(began)
		probes := f.sims[0].Counts().Requests - before - failures - workers
		if most := int64(outage / (5 * time.Second / time.Duration(scale))); failed.Load() > 0 || probes > most {
			t.Errorf("round %d: %d of %d requests failed in the outage; the primary was probed %d times in %v, at most %d are right",
				round, failed.Load(), served.Load(), probes, outage, most)
		}
		// On a busy machine the cool-down may be over in between: the next request is then the probe that begins another.
		for asked := time.Now(); ; {
			c := f.ask(t, false).record.Candidates[0]
			view, err := f.engine.Endpoints(t.Context(), "sk-acme", "m/one")
			if err != nil {
				t.Fatal(err)
			}
			said := bytes.Contains(view, []byte(`"resting":"breaker_open"`))
			counted := strings.Contains(f.metrics(), `chaperone_breaker_state{credential="",endpoint="m/one@p0"} 2`)
			if c.Resting && (c.Rest == "breaker_open" || c.Rest == "probing") && c.Place == 2 && said && counted {
				break
			}
			if time.Since(asked) > 20*time.Second {
				t.Errorf("the primary rests by the record: %+v, by the view: %t, by the metrics: %t", c, said, counted)
				break
			}
		}

		if err := f.sims[0].SetProfile(good); err != nil {
			t.Fatal(err)
		}
		recovered := time.Now()
		until := f.restsUntil(t, "m/one@p0")
		if most := recovered.Add(10 * time.Second / time.Duration(scale)); until.After(most) {
			t.Errorf("round %d: the primary rests until %v after the recovery, %v is right", round, until.Sub(recovered), most.Sub(recovered))
		}
		for {
			began := time.Now()
			a := f.ask(t, true)
			if a.err != nil || !a.done {
				t.Fatalf("failed after the recovery: %+v", a.err)
			}
			if a.record.Outcome.Row == "m/one@p0#own" {
				break
			}
			if began.After(until) { // however long a busy machine takes: the first request that may try it does
				t.Errorf("round %d: a request %v after the rest was served by %s", round, began.Sub(until), a.record.Outcome.Row)
				break
			}
			time.Sleep(pause)
		}
		t.Logf("round %d: outage of %v, %d requests served by the fallback, %d probes, back after %v", round, outage, served.Load(), max(probes, 0), time.Since(recovered))
		if !strings.Contains(f.metrics(), `chaperone_breaker_state{credential="",endpoint="m/one@p0"} 0`) {
			t.Error("the breaker did not close")
		}
	}
}

func TestWhereEverythingRestsItIsTriedAllTheSame(t *testing.T) {
	f := open(t, calm+"[dispatch.breaker]\nfailures = 1\ncool_down = \"1m\"\n", sim.Profile{})
	good := f.sims[0].Profile()
	bad := good
	bad.Faults = []sim.Fault{{Kind: sim.Status, Status: 503, Share: 1}}
	if err := f.sims[0].SetProfile(bad); err != nil {
		t.Fatal(err)
	}
	f.ask(t, true)
	if err := f.sims[0].SetProfile(good); err != nil {
		t.Fatal(err)
	}
	if a := f.ask(t, true); a.err != nil || !a.done {
		t.Errorf("the only endpoint was not tried while its breaker was open: %+v", a.err)
	}
	if a := f.ask(t, true); a.record.Candidates[0].Resting {
		t.Error("it rests though it has answered")
	}
}

// What a request or its client is to blame for must not open a breaker: anybody could shut an endpoint out for everybody.
func TestFaultsOfRequestsDoNotOpenBreakers(t *testing.T) {
	for _, fault := range []sim.Fault{{Kind: sim.ContentPolicy}, {Kind: sim.UnsupportedParameter}, {Kind: sim.ContextLength}} {
		f := open(t, calm+"[dispatch.breaker]\nfailures = 1\n", always(fault), sim.Profile{})
		for range 3 {
			if a := f.ask(t, true); a.record.Candidates[0].Resting {
				t.Errorf("%s: the endpoint rests for %s", fault.Kind, a.record.Candidates[0].Rest)
			}
		}
		if told := strings.Contains(f.metrics(), `chaperone_catalog_doubts_total{endpoint="m/one@p0",what="unsupported"} 3`); told != (fault.Kind == sim.UnsupportedParameter) {
			t.Errorf("%s: the metrics doubt the catalog's entry: %t", fault.Kind, told)
		}
	}
}

func TestARefusedCredentialMakesWayForTheNext(t *testing.T) {
	two := sim.Profile{Credentials: []sim.Credential{{Name: "a", Key: "sk-a"}, {Name: "b", Key: "sk-b"}}}
	f := (&fixture{keys: map[string]string{"P0_A": "sk-revoked"}}).open(t, calm+"[dispatch.breaker]\nfailures = 2\n", two)
	refused := 0
	for range 30 {
		a := f.ask(t, false)
		if a.err != nil {
			t.Fatal(a.err)
		}
		if strings.HasPrefix(outcomes(a.record), "p0:credential") {
			refused++
			if a.record.Attempts[0].Credential != "P0_A" || a.record.Attempts[1].Credential != "P0_B" {
				t.Errorf("attempts with %+v", a.record.Attempts)
			}
		}
	}
	if refused != 2 {
		t.Errorf("the refused credential was used %d times; its breaker opens after 2", refused)
	}
}
