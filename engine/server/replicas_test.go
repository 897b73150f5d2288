package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine/sim"
)

// Two routers in front of one provider: what the one has been told by it, or has suffered, the other keeps to.
func TestReplicasShareWhatRests(t *testing.T) {
	p, err := sim.Start(t.Context(), sim.Profile{Name: "one", Faults: []sim.Fault{{Kind: sim.Status, Status: 500, Share: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	start := func(peer string) *world {
		return before(t, p.URL(), fmt.Sprintf("[dispatch]\nretry_budget = 0\n[dispatch.breaker]\nfailures = 1\ncool_down = \"10m\"\n[replicas]\npeers = [%q]\ntoken_env = \"TOKEN\"\n", peer), nil)
	}
	private := func(w *world) string { return "http://" + w.PrivateAddr().String() }
	var second atomic.Pointer[httputil.ReverseProxy] // the address of the second is known before it is there
	way := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := second.Load(); to != nil {
			to.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(way.Close)
	a := start(way.URL)
	ask := func(w *world) (int, string) {
		resp, text := do(t, client(t), newRequest(t, "POST", w.url("/v1/chat/completions"), chat))
		return resp.StatusCode, text
	}
	says := func(w *world, what string) func() bool {
		return func() bool {
			text, err := w.engine.Health()
			if err != nil {
				t.Fatal(err)
			}
			return strings.Contains(string(text), what)
		}
	}
	if status, text := ask(a); status != http.StatusBadGateway {
		t.Fatalf("got %d %s", status, text)
	}
	b := start(private(a)) // which was not there when it happened
	to, err := url.Parse(private(b))
	if err != nil {
		t.Fatal(err)
	}
	second.Store(httputil.NewSingleHostReverseProxy(to))
	until(t, "the other router knows of the open breaker", says(b, `"resting":"breaker_open"`))

	good := p.Profile()
	good.Faults = nil
	if err := p.SetProfile(good); err != nil {
		t.Fatal(err)
	}
	if status, text := ask(b); status != http.StatusOK { // nothing else is permitted
		t.Fatalf("got %d %s", status, text)
	}
	until(t, "the first router knows that it is well", says(a, `"breaker":"closed"`))

	limited := good
	limited.Faults = []sim.Fault{{Kind: sim.Status, Status: 429, RetryAfter: 20 * time.Minute, Share: 1}}
	if err := p.SetProfile(limited); err != nil {
		t.Fatal(err)
	}
	if status, text := ask(a); status != http.StatusTooManyRequests {
		t.Fatalf("got %d %s", status, text)
	}
	until(t, "the other router knows of the wait", says(b, `"resting":"rate_limited"`))
	asked := p.Counts().Requests
	if status, text := ask(b); status != http.StatusTooManyRequests || p.Counts().Requests != asked {
		t.Errorf("got %d after %d requests: %s", status, p.Counts().Requests-asked, text)
	}

	tell := func(w *world, token, body string) int {
		r := newRequest(t, "POST", private(w)+"/replicas", body)
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	alone := open(t, sim.Profile{}, nil)
	for _, c := range []struct {
		w           *world
		token, body string
		want        int
	}{
		{a, "sk-upstream", "[]", 204}, {a, "sk-other", "[]", 401}, {a, "sk-upstream", "{}", 400}, {alone, "sk-upstream", "[]", 404},
	} {
		if got := tell(c.w, c.token, c.body); got != c.want {
			t.Errorf("%s with %s gets %d, want %d", c.body, c.token, got, c.want)
		}
	}
	// Who has no token is answered before a body is read, but for its beginning.
	stranger, err := net.Dial("tcp", strings.TrimPrefix(private(a), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	stranger.SetDeadline(time.Now().Add(patience))
	send(t, stranger, "POST /replicas HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-other\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("[", 10_000))
	if resp, _ := read(t, bufio.NewReader(stranger)); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger who has not sent a body gets %d", resp.StatusCode)
	}
}
