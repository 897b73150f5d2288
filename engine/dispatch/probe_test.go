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
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(2 * time.Millisecond) {
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
	began := time.Now()
	if a := f.ask(t, true); a.err != nil || outcomes(a.record) != "p0:connect p1:ok" {
		t.Fatalf("got %s, %v", outcomes(a.record), a.err)
	}
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
	if took := time.Since(began); took < 4*coolDown && metric("failed", 4) {
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
	f := open(t, calm+fmt.Sprintf("[dispatch.breaker]\nfailures = 1\ncool_down = %q\nprobe = true\n", coolDown), always(sim.Fault{Kind: sim.Status, Status: 503}), sim.Profile{})
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

// What a probe says, what it follows, what it is not sent to, and how it ends. Whether one does not come is held against another
// provider, whose probes go on.
func TestWhatAProbeSays(t *testing.T) {
	var mu sync.Mutex
	type probe struct {
		*http.Request
		body string
	}
	seen := map[string][]probe{} // by the path that leads to a provider
	status := http.StatusServiceUnavailable
	var elsewhere string
	providers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		answer := http.StatusServiceUnavailable
		if name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); r.Method == http.MethodGet {
			seen[name] = append(seen[name], probe{r, string(body)})
			if name == "p" {
				answer = status
			}
		}
		w.Header().Set("Location", elsewhere)
		w.WriteHeader(answer)
	}))
	defer providers.Close()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer other.Close()
	elsewhere = other.URL
	answers := func(code int) {
		mu.Lock()
		defer mu.Unlock()
		status = code
	}
	probes := func(name string) int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen[name])
	}
	more := func(name string) {
		t.Helper()
		before := probes(name)
		eventually(t, "probes of "+name+" go on", func() bool { return probes(name) >= before+3 })
	}
	path := filepath.Join(t.TempDir(), "chaperone.toml")
	write := func(dialect string, active bool, provider, endpoint string) {
		var b strings.Builder
		fmt.Fprintf(&b, "[dispatch]\nbackoff = \"1ms\"\n[dispatch.breaker]\nfailures = 1\ncool_down = \"20ms\"\nprobe = %t\n[organisations.acme]\n[[keys]]\norganisation = \"acme\"\nsha256 = \"%x\"\n[models.\"m/one\"]\nname = \"One\"\ncontext_length = 32000\n",
			active, sha256.Sum256([]byte("sk-acme")))
		for _, id := range []string{"p", "q"} {
			if id == "q" {
				provider, endpoint = "", ""
			}
			fmt.Fprintf(&b, "[providers.%[1]s]\nname = %[1]q\ndialect = %[2]q\nbase_url = \"%[3]s/%[1]s/v1\"\n%[4]s\n[providers.%[1]s.credentials.own]\nkey_env = \"KEY_%[1]s\"\n[[endpoints]]\nmodel = \"m/one\"\nprovider = %[1]q\nupstream_model = \"x\"\nprice = { prompt = 1, completion = 1 }\n%[5]s\n",
				id, dialect, providers.URL, provider, endpoint)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dialect := range []string{"openai", "anthropic"} {
		t.Run(dialect, func(t *testing.T) {
			answers(http.StatusServiceUnavailable)
			write(dialect, true, "", "")
			open := func(key string) *engine.Engine {
				e, err := engine.Open(t.Context(), engine.Options{ConfigPath: path, Env: func(name string) (string, bool) { return key + name, true }, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				return e
			}
			e := open(secret)
			closing := sync.OnceValue(func() error { return e.Close(context.Background()) })
			defer closing()
			change := func(active bool, provider, endpoint string) {
				t.Helper()
				write(dialect, active, provider, endpoint)
				if err := e.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			fail := func(e *engine.Engine) {
				t.Helper()
				if _, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","user":"somebody","messages":[{"role":"user","content":"a secret of a client"}]}`)}); err == nil {
					t.Fatal("it is answered")
				}
			}
			mayTry := func() bool {
				text, err := e.Health()
				if err != nil {
					t.Fatal(err)
				}
				var health struct {
					Endpoints []struct{ Endpoint, Resting string }
				}
				if err := json.Unmarshal(text, &health); err != nil {
					t.Fatal(err)
				}
				for _, of := range health.Endpoints {
					if of.Endpoint == "m/one@p" {
						return of.Resting == ""
					}
				}
				return true
			}
			before := probes("p")
			fail(e)
			eventually(t, "two probes", func() bool { return probes("p") >= before+2 })
			mu.Lock()
			r := seen["p"][before]
			mu.Unlock()
			if key := r.Header.Get("Authorization") + r.Header.Get("X-Api-Key"); r.Method != "GET" || r.URL.String() != "/p/v1/models" || r.body != "" || !strings.HasSuffix(key, secret+"KEY_p") || len(r.Header) > 5 {
				t.Errorf("a probe was %s %s with %v, %q", r.Method, r.URL, r.Header, r.body)
			}
			answers(http.StatusFound) // fails as well, and leads nowhere
			more("p")

			// Of a row that is disabled there are none, though one may be under way.
			change(true, "", "disabled = true")
			before = probes("p") + 1
			more("q")
			if n := probes("p"); n > before {
				t.Errorf("a disabled row was probed %d times", n-before)
			}
			change(true, "", "")
			more("p")

			// Nor of a provider that is to be spared: a request tries it.
			change(true, "probe = false", "")
			before = probes("p") + 1
			eventually(t, "a request may try it", mayTry)
			fail(e)
			more("q")
			if n := probes("p"); n > before {
				t.Errorf("a provider that is to be spared was probed %d times", n-before)
			}
			eventually(t, "a request may try it", mayTry)

			// After a reload without probes what waited for one is let go.
			change(true, "", "")
			fail(e)
			more("p")
			change(false, "", "")
			eventually(t, "a request may try it", mayTry)

			change(true, "", "")
			fail(e)
			more("p")
			answers(http.StatusNotFound) // it has no list, and answers
			eventually(t, "a request may try it", mayTry)

			// With the engine they end: another's go on.
			answers(http.StatusServiceUnavailable)
			fail(e)
			if err := closing(); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			before = len(seen["p"])
			mu.Unlock()
			second := open("sk-another-")
			defer second.Close(context.Background())
			fail(second)
			more("p")
			mu.Lock()
			defer mu.Unlock()
			for _, r := range seen["p"][before:] {
				if strings.Contains(r.Header.Get("Authorization")+r.Header.Get("X-Api-Key"), secret) {
					t.Error("a probe came after the end")
				}
			}
		})
	}
}
