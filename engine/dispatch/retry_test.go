package dispatch_test

import (
	"encoding/json"
	"errors"
	"io"
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
	"chaperone/engine/wire"
)

// once makes a provider fail its next request like that, and serve all that come after it.
func (f *fixture) once(t *testing.T, provider int, fault sim.Fault) {
	t.Helper()
	good := f.sims[provider].Profile()
	bad := good
	fault.Share = 1
	bad.Faults = []sim.Fault{fault}
	if err := f.sims[provider].SetProfile(bad); err != nil {
		t.Fatal(err)
	}
	f.sims[provider].OnRequest(func(sim.Record) { // its fate is decided, that of the next is not
		f.sims[provider].OnRequest(nil)
		if err := f.sims[provider].SetProfile(good); err != nil {
			t.Error(err)
		}
	})
}

func TestAServerErrorIsTriedOnceMoreAtTheSameEndpoint(t *testing.T) {
	for _, stream := range []bool{true, false} {
		f := open(t, calm, sim.Profile{}, sim.Profile{})
		f.once(t, 0, sim.Fault{Kind: sim.Status, Status: 502})
		a := f.ask(t, stream)
		if outcomes(a.record) != "p0:server_error p0:ok" || a.record.Attempts[1].Purpose != "retry" || a.record.Outcome.Fallbacks != 0 {
			t.Errorf("stream %t: %s, %+v", stream, outcomes(a.record), a.record.Attempts)
		}
		if gap := f.sims[0].Log()[1].At.Sub(f.sims[0].Log()[0].Ended); gap > 20*time.Second {
			t.Errorf("the retry came after %v", gap)
		}
	}
}

func TestAnAnnouncedWaitIsWaitedOutWhereNothingElseIsLeft(t *testing.T) {
	const wait = 150 * time.Millisecond
	for _, fault := range []sim.Fault{{Kind: sim.Status, Status: 429, RetryAfter: wait}, {Kind: sim.Status, Status: 503, RetryAfter: wait}} {
		f := open(t, calm, sim.Profile{})
		f.once(t, 0, fault)
		a := f.ask(t, true)
		if a.err != nil || !a.done || !strings.HasSuffix(outcomes(a.record), " p0:ok") || len(a.record.Attempts) != 2 {
			t.Fatalf("%d: %s, %+v", fault.Status, outcomes(a.record), a.err)
		}
		log := f.sims[0].Log()
		if gap := log[1].At.Sub(log[0].At); gap < wait { // it was announced after that
			t.Errorf("%d: tried again after %v, %v were announced", fault.Status, gap, wait)
		}
	}
}

// Whatever asks, and however often: no request comes before the time that the provider has announced.
func TestNobodyAsksInsideAnAnnouncedWait(t *testing.T) {
	const wait = 300 * time.Millisecond
	f := open(t, calm, sim.Profile{}, sim.Profile{})
	f.once(t, 0, sim.Fault{Kind: sim.Status, Status: 429, RetryAfter: wait})
	f.once(t, 1, sim.Fault{Kind: sim.Status, Status: 503, RetryAfter: wait})
	if a := f.ask(t, false); a.err != nil { // both have announced a wait, which fits into the time of the request
		t.Fatal(a.err)
	}
	f.once(t, 0, sim.Fault{Kind: sim.Status, Status: 429, RetryAfter: wait})
	f.once(t, 1, sim.Fault{Kind: sim.Status, Status: 503, RetryAfter: wait})
	f.ask(t, false)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if a := f.ask(t, true); a.err != nil {
				t.Errorf("%s: %v", outcomes(a.record), a.err)
			}
		})
	}
	wg.Wait()
	announced := 0
	for _, p := range f.sims {
		var until time.Time
		for _, r := range p.Log() {
			if r.At.Before(until) {
				t.Errorf("%s was asked %v too early", p.Name(), until.Sub(r.At))
			}
			if r.Status == 429 || r.Status == 503 {
				until = r.At.Add(wait) // it was announced after that
				announced++
			}
		}
	}
	if announced < 3 {
		t.Errorf("only %d waits were announced", announced)
	}
}

func TestAWaitThatDoesNotFitIsToldToTheClient(t *testing.T) {
	f := open(t, "[timeouts]\ntotal = \"40s\"\n", always(sim.Fault{Kind: sim.Status, Status: 429, RetryAfter: time.Minute}))
	f.ask(t, true)
	a := f.ask(t, true)
	if a.err == nil || a.err.Status != 429 || a.err.RetryAfter < 50*time.Second || len(a.record.Attempts) != 0 {
		t.Errorf("inside the announced minute: %+v after %q", a.err, outcomes(a.record))
	}
}

func TestRetryAfterWaitPrefersWaiting(t *testing.T) {
	const wait = 150 * time.Millisecond
	for _, c := range []struct{ settings, want string }{
		{"", "p0:rate_limited p1:ok"},
		{"retry_after_wait = \"1s\"\n", "p0:rate_limited p0:ok"},
		{"retry_after_wait = \"100ms\"\n", "p0:rate_limited p1:ok"},
	} {
		f := open(t, calm+c.settings, sim.Profile{}, sim.Profile{})
		f.once(t, 0, sim.Fault{Kind: sim.Status, Status: 429, RetryAfter: wait})
		if a := f.ask(t, true); outcomes(a.record) != c.want {
			t.Errorf("%q: %s, want %s", c.settings, outcomes(a.record), c.want)
		}
	}
}

func TestRetriesAreCappedAsAShareOfTraffic(t *testing.T) {
	const requests = 200
	f := open(t, calm+"retry_budget = 10\n[dispatch.breaker]\nfailures = 100000\nattempts = 100000\n", always(sim.Fault{Kind: sim.Status, Status: 500}))
	began := time.Now()
	for range requests {
		f.ask(t, false)
	}
	// A tenth of the requests, and the reserve of ten a second with the ten that it begins with.
	most := int64(requests + requests/10 + 10 + int(time.Since(began).Seconds()*10) + 1)
	if got := f.sims[0].Counts().Requests; got > most || got <= requests {
		t.Errorf("%d requests became %d attempts; at most %d are right, and some retries", requests, got, most)
	}
}

// What rests by the word of another router alone is tried as if it did not rest, where the retries are used up and nothing else is
// left: the other's network may be to blame.
func TestWhatIsOnlyHeardOfTakesNoRetry(t *testing.T) {
	told := make(chan []byte, 100)
	listens := func(f func([]byte)) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			f(body)
			w.WriteHeader(http.StatusNoContent)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	const failures = "failures = 1000\nattempts = 1000\n"
	deaf := listens(func([]byte) {})
	f := open(t, calm+"retry_budget = 0\n[dispatch.breaker]\n"+failures+"cool_down = \"10m\"\n[replicas]\ntoken_env = \"P0_GOOD\"\npeers = [\""+deaf+"\"]\n",
		always(sim.Fault{Kind: sim.Status, Status: 500}), sim.Profile{})
	config, err := os.ReadFile(filepath.Join(f.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, "other.toml", strings.NewReplacer(failures, "failures = 1\n", deaf, listens(func(body []byte) { told <- body })).Replace(string(config)))
	good := f.sims[1].Profile()
	bad := good
	bad.Faults = []sim.Fault{{Kind: sim.Status, Status: 500, Share: 1}}
	if err := f.sims[1].SetProfile(bad); err != nil {
		t.Fatal(err)
	}
	other := f.router(t, "other.toml")
	if _, err := other.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","provider":{"only":["p1"]},"messages":[{"role":"user","content":"hi"}]}`)}); err == nil {
		t.Fatal("the other router has an answer")
	}
	if err := f.sims[1].SetProfile(good); err != nil {
		t.Fatal(err)
	}
	var news []map[string]any
	if err := json.Unmarshal(<-told, &news); err != nil {
		t.Fatal(err)
	}
	for range 30 { // each tries p0 twice, until no retry is left
		if a := f.ask(t, false); a.err != nil {
			t.Fatal(a.err)
		}
	}
	for i := range news {
		delete(news[i], "failed_ms_ago") // or it was over by the answers that this router has had
	}
	text, err := json.Marshal(news)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.engine.Hear(text); err != nil {
		t.Fatal(err)
	}
	a := f.ask(t, false)
	if a.err != nil || !a.record.Candidates[1].Resting || !strings.HasSuffix(outcomes(a.record), "p1:ok") {
		t.Errorf("%s, %v; resting: %t", outcomes(a.record), a.err, a.record.Candidates[1].Resting)
	}
}

func TestKnownHeadroomSendsRequestsElsewhereBeforeTheLimit(t *testing.T) {
	limited := sim.Profile{Limit: sim.Limit{RequestsPerSecond: 0.01, Burst: 3},
		Credentials: []sim.Credential{{Name: "a", Key: "sk-a"}, {Name: "b", Key: "sk-b"}}}
	f := open(t, calm, limited, sim.Profile{})
	for i := range 8 {
		a := f.ask(t, i%2 == 0)
		want := "p0:ok"
		if i >= 6 { // two keys of three requests each
			want = "p1:ok"
		}
		if outcomes(a.record) != want {
			t.Errorf("request %d: %s, want %s", i+1, outcomes(a.record), want)
		}
		if rest := a.record.Candidates[0].Rest; i >= 6 && rest != "no_headroom" {
			t.Errorf("request %d: the record says %q", i+1, rest)
		}
	}
	if n := f.sims[0].Counts().ByFate[sim.RateLimited]; n != 0 {
		t.Errorf("the limit was hit %d times", n)
	}
}

// A provider that turned a request away is asked again only after those that have not, however short its wait.
func TestAProviderThatLimitsIsNotAskedAgainBeforeTheOthers(t *testing.T) {
	f := open(t, calm, always(sim.Fault{Kind: sim.ErrorEvent, Status: 429}), always(sim.Fault{Kind: sim.Slow, Delay: 20 * time.Millisecond}))
	for range 20 {
		if a := f.ask(t, true); a.err != nil || outcomes(a.record) != "p0:rate_limited p1:ok" && outcomes(a.record) != "p1:ok" {
			t.Fatalf("%s: %v", outcomes(a.record), a.err)
		}
	}
}

func TestAWaitThatIsAnnouncedInWordsIsKept(t *testing.T) {
	for message, want := range map[string]time.Duration{
		"Rate limit reached for m. Please try again in 6m0s. Visit https://example.test": 6 * time.Minute,
		"Please try again in 2000ms.":                              2 * time.Second,
		"You exceeded your quota.\nPlease retry in 34.074824224s.": 34074824224,
		"Please retry after 26 seconds.":                           26 * time.Second,
		"Please retry after 1 second":                              time.Second,
		"Please try again in 9999h":                                time.Hour,
		"Please try again in 999999999999999999999h":               0,
		"Please try again later.":                                  0,
		"Do not retry in 5 cases":                                  0,
	} {
		t.Run(message, func(t *testing.T) {
			t.Parallel()
			e := said(t, "sk-upstream", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(429)
				json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"message": message}})
			})
			// Time for an answer, also on a busy machine, and none to wait out what is announced.
			timeout := 2 * time.Second
			if want > 0 {
				timeout = want * 9 / 10
			}
			_, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Timeout: timeout,
				Body: []byte(`{"model":"m/one","messages":[{"role":"user","content":"hi"}]}`)})
			var refused *wire.Error
			if !errors.As(err, &refused) || refused.Status != 429 || refused.RetryAfter != want {
				t.Errorf("the client is told %+v, want a wait of %v", refused, want)
			}
		})
	}
}
