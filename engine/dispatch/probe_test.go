package dispatch_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/sim"
)

// eventually waits for what can be observed.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// While an endpoint is down the router asks for it, and no client's request is spent on it; when it is back the next request has it.
func TestProbesOfTheRoutersOwnSpareRequests(t *testing.T) {
	const coolDown = 60 * time.Millisecond
	f := open(t, fmt.Sprintf("[dispatch.breaker]\nfailures = 1\ncool_down = %q\nprobe = true\n", coolDown), sim.Profile{}, sim.Profile{})
	good := f.sims[0].Profile()
	bad := good
	bad.Down = true
	if err := f.sims[0].SetProfile(bad); err != nil {
		t.Fatal(err)
	}
	if a := f.ask(t, true); a.err != nil || outcomes(a.record) != "p0:connect p1:ok" {
		t.Fatalf("got %s, %v", outcomes(a.record), a.err)
	}
	opened := time.Now()
	metric := func(result string, n int) bool {
		return strings.Contains(f.metrics(), fmt.Sprintf(`chaperone_active_probes_total{credential="",endpoint="m/one@p0",result=%q} %d`, result, n)+"\n")
	}
	for n := 1; n <= 4; n++ {
		eventually(t, "a probe has failed", func() bool {
			if a := f.ask(t, n%2 == 0); a.err != nil || outcomes(a.record) != "p1:ok" {
				t.Fatalf("a client's request was tried: %s, %v", outcomes(a.record), a.err)
			}
			return !metric("failed", n-1) || n == 1 && metric("failed", 1)
		})
	}
	if took := time.Since(opened); took < 4*coolDown && metric("failed", 4) {
		t.Errorf("four probes within %s, with %s between them", took, coolDown)
	}
	if err := f.sims[0].SetProfile(good); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a probe has passed", func() bool { return metric("passed", 1) })
	if c := f.sims[0].Counts(); c.Listed != 1 || c.Requests != 0 {
		t.Errorf("it got %d probes and %d requests", c.Listed, c.Requests)
	}
	if a := f.ask(t, true); a.err != nil || outcomes(a.record) != "p0:ok" {
		t.Errorf("after it: %s, %v", outcomes(a.record), a.err)
	}
	health, err := f.engine.Health()
	if err != nil || !strings.Contains(string(health), `"breaker":"closed"`) || !strings.Contains(string(health), `"probes":{"passed":1,`) {
		t.Errorf("%v: %s", err, health)
	}
}

// A provider that passes probes and fails requests gets one request for each cool-down, as without probes.
func TestAPassedProbeLetsOneRequestThrough(t *testing.T) {
	const coolDown = 50 * time.Millisecond
	f := open(t, quick+fmt.Sprintf("[dispatch.breaker]\nfailures = 1\ncool_down = %q\nprobe = true\n", coolDown), always(sim.Fault{Kind: sim.Status, Status: 503}), sim.Profile{})
	began := time.Now()
	for f.sims[0].Counts().Requests < 4 {
		if a := f.ask(t, true); a.err != nil || !strings.HasSuffix(outcomes(a.record), "p1:ok") {
			t.Fatalf("got %s, %v", outcomes(a.record), a.err)
		}
	}
	if took := time.Since(began); took < 3*coolDown {
		t.Errorf("four requests within %s", took)
	}
	if c := f.sims[0].Counts(); c.Listed < 3 {
		t.Errorf("%d probes for %d requests", c.Listed, c.Requests)
	}
}

// What a probe says, what it follows, what it is not sent to, and how it ends.
func TestWhatAProbeSays(t *testing.T) {
	var mu sync.Mutex
	var seen []*http.Request
	var bodies []string
	status := http.StatusServiceUnavailable
	var elsewhere string
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		seen, bodies = append(seen, r), append(bodies, string(body))
		w.Header().Set("Location", elsewhere)
		w.WriteHeader(status)
	}))
	defer p.Close()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer other.Close()
	elsewhere = other.URL
	probes := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen)
	}
	path := filepath.Join(t.TempDir(), "chaperone.toml")
	write := func(dialect string, probe, disabled bool, coolDown time.Duration) {
		text := fmt.Sprintf("[dispatch]\nbackoff = \"1ms\"\n[dispatch.breaker]\nfailures = 1\ncool_down = %q\nprobe = %t\n[organisations.acme]\n[[keys]]\norganisation = \"acme\"\nsha256 = \"%x\"\n[models.\"m/one\"]\nname = \"One\"\ncontext_length = 32000\n[providers.p]\nname = \"P\"\ndialect = %q\nbase_url = %q\n[providers.p.credentials.own]\nkey_env = \"KEY\"\n[[endpoints]]\nmodel = \"m/one\"\nprovider = \"p\"\nupstream_model = \"x\"\ndisabled = %t\nprice = { prompt = 1, completion = 1 }\n",
			coolDown, probe, sha256.Sum256([]byte("sk-acme")), dialect, p.URL+"/v1", disabled)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dialect := range []string{"openai", "anthropic"} {
		t.Run(dialect, func(t *testing.T) {
			write(dialect, true, false, 20*time.Millisecond)
			e, err := engine.Open(t.Context(), engine.Options{ConfigPath: path, Env: func(string) (string, bool) { return secret, true }, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			closed := false
			defer func() {
				if !closed {
					e.Close(context.Background())
				}
			}()
			reload := func() {
				if err := e.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			resting := func() string {
				text, err := e.Health()
				if err != nil {
					t.Fatal(err)
				}
				var health struct {
					Endpoints []struct{ Breaker, Resting string }
				}
				if err := json.Unmarshal(text, &health); err != nil || len(health.Endpoints) == 0 {
					return ""
				}
				return health.Endpoints[0].Resting
			}
			before := probes()
			if _, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","user":"somebody","messages":[{"role":"user","content":"a secret of a client"}]}`)}); err == nil {
				t.Fatal("it is answered")
			}
			eventually(t, "two probes", func() bool { return probes() >= before+2 })
			mu.Lock()
			r, body := seen[before], bodies[before]
			status = http.StatusFound // fails as well, and leads nowhere
			mu.Unlock()
			if key := r.Header.Get("Authorization") + r.Header.Get("X-Api-Key"); r.Method != "GET" || r.URL.String() != "/v1/models" || body != "" || !strings.HasSuffix(key, secret) || len(r.Header) > 5 {
				t.Errorf("a probe was %s %s with %v, %q", r.Method, r.URL, r.Header, body)
			}
			before = probes()
			eventually(t, "probes go on", func() bool { return probes() >= before+2 })

			// Of a row that is disabled, and after a reload without probes, there are none, and what waited for one is let go.
			write(dialect, true, true, 20*time.Millisecond)
			reload()
			before = probes() + 1              // one may be under way
			time.Sleep(100 * time.Millisecond) // nothing is to happen
			if n := probes(); n > before {
				t.Errorf("a disabled row was probed %d times", n-before)
			}
			write(dialect, false, false, 20*time.Millisecond)
			reload()
			eventually(t, "a request may try it", func() bool { return resting() == "" })

			write(dialect, true, false, 20*time.Millisecond)
			reload()
			before = probes()
			e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","messages":[{"role":"user","content":"hi"}]}`)})
			eventually(t, "probes begin again", func() bool { return probes() > before })
			mu.Lock()
			status = http.StatusNotFound // it has no list, and answers
			mu.Unlock()
			eventually(t, "a request may try it", func() bool { return resting() == "" })

			mu.Lock()
			status = http.StatusServiceUnavailable
			mu.Unlock()
			e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","messages":[{"role":"user","content":"hi"}]}`)})
			closed = true
			if err := e.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			before = probes()
			time.Sleep(100 * time.Millisecond) // nothing is to happen
			if n := probes(); n > before {
				t.Errorf("%d probes after the end", n-before)
			}
		})
	}
}
