package demo_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"chaperone/engine/sim"
	"chaperone/engine/sim/demo"
)

var (
	quiet  = slog.New(slog.DiscardHandler)
	atOnce = demo.Pace{AtOnce: 16}
)

// openDemo opens one on a free port; it is closed at the end of the test, if not before.
func openDemo(t *testing.T, o demo.Options) *demo.Demo {
	t.Helper()
	o.Listen, o.Log = "127.0.0.1:0", quiet
	d, err := demo.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestEverySeedSucceedsWithFallbacksAndWithoutDeniedDispatches(t *testing.T) {
	seeds, requests := []uint64{1, 2, 3}, 200
	if testing.Short() {
		seeds, requests = seeds[:1], 80
	}
	for _, seed := range seeds {
		d := openDemo(t, demo.Options{Seed: seed})
		began := time.Now()
		d.Drive(t.Context(), requests, atOnce)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("seed %d took %s; should be a few seconds", seed, took)
		}

		s := d.Summary()
		if s.Failed != 0 || s.DeniedDispatches != 0 || s.Fallbacks == 0 || s.Rescued == 0 || s.Requests != int64(requests) || s.Succeeded != s.Requests {
			t.Errorf("seed %d: %+v; %v", seed, s, d.Failures())
		}
		// More where the same endpoint was asked again.
		if s.Attempts < s.Requests+s.Fallbacks || s.PluginsCalled != s.Requests {
			t.Errorf("seed %d: %d attempts and %d calls of plugins for %d requests and %d fallbacks", seed, s.Attempts, s.PluginsCalled, s.Requests, s.Fallbacks)
		}
		if len(s.ByProvider) != 10 {
			t.Errorf("seed %d: the summary has %d providers, should have 10", seed, len(s.ByProvider))
		}
		for _, p := range d.World.Providers {
			if err := p.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			seen, told := p.Counts(), s.ByProvider[p.Name()]
			// An answer that the router has hung up on, which a busy machine makes too slow, is one that the provider meant to serve.
			if served := seen.ByFate[sim.Served]; told.Served > served || told.Served < served-seen.Cancelled || told.Served+told.Failed != seen.Requests {
				t.Errorf("seed %d: %s counted %+v, the router %+v", seed, p.Name(), seen, told)
			}
			for fate := range seen.ByFate {
				if fate == sim.Unauthorised || fate == sim.UnknownModel || fate == sim.BadRequest {
					t.Errorf("seed %d: %s refused a request as %s", seed, p.Name(), fate)
				}
			}
			if told.Served > 0 && p.Name() != "free-and-paid" && told.Cost == 0 {
				t.Errorf("seed %d: %s served %d requests for nothing", seed, p.Name(), told.Served)
			}
		}
	}
}

// The count of denied dispatches proves something only if it can rise.
func TestWithoutItsPolicyStrictReachesProvidersThatNotice(t *testing.T) {
	d := openDemo(t, demo.Options{Seed: 1, WithoutPolicy: true})
	d.Drive(t.Context(), 60, atOnce)
	if s := d.Summary(); s.DeniedDispatches == 0 || s.Failed != 0 {
		t.Errorf("%+v; should have denied dispatches and no failures", s)
	}
	if denials, err := d.Denials(t.Context()); err != nil || len(denials) != 0 {
		t.Errorf("the router denies %v (%v), though nothing is bound", denials, err)
	}
}

func TestAnAnswerThatBreaksOffCountsAsFailed(t *testing.T) {
	d := openDemo(t, demo.Options{Seed: 1})
	for _, p := range d.World.Providers {
		profile := p.Profile()
		profile.Limit = sim.Limit{}
		profile.Faults = []sim.Fault{{Kind: sim.Cut, Share: 1, AfterTokens: 5}}
		if err := p.SetProfile(profile); err != nil {
			t.Fatal(err)
		}
	}
	d.Drive(t.Context(), 12, atOnce)
	if s := d.Summary(); s.Requests != 12 || s.Failed != 12 || s.Succeeded != 0 || len(d.Failures()) != 10 {
		t.Errorf("%+v with %d failures explained; should be 12 failures of 12 requests, 10 of them explained", s, len(d.Failures()))
	}
}

func TestTheStrictOrganisationsDenialsNameTheirRules(t *testing.T) {
	d := openDemo(t, demo.Options{Seed: 1})
	denials, err := d.Denials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	offers := map[string]bool{}
	for _, o := range demo.Offers {
		offers[o.ID] = true
	}
	for offer, file := range map[string]string{"trains-on-data#paid": "training.rego", "free-and-paid#free": "training.rego", "overseas#paid": "residency.rego"} {
		r := denials[offer]
		if !offers[offer] || r == nil || !strings.HasSuffix(r.File, file) || r.Line == 0 {
			t.Errorf("%s is denied by %+v; should be by a line of %s", offer, r, file)
		}
	}
	if len(denials) != 3 || len(offers) != 11 {
		t.Errorf("%d of %d offers are denied; should be 3 of 11", len(denials), len(offers))
	}
}

func TestRequestsOfOthersShow(t *testing.T) {
	d := openDemo(t, demo.Options{Seed: 1})
	body := `{"model":"demo/chat-small","user":"strict","messages":[{"role":"user","content":"Hello"}],"stream":true}`
	request, err := http.NewRequest("POST", d.URL()+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+demo.StrictKey)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	done := d.Finished()
	if len(done) != 1 || done[0].ID != response.Header.Get("X-Generation-Id") || done[0].Organisation != "strict" {
		t.Errorf("finished are %+v; should be the one request %s", done, response.Header.Get("X-Generation-Id"))
	}
	if again := d.Finished(); len(again) != 0 {
		t.Errorf("finished is %+v once more", again)
	}
	if s := d.Summary(); s.Requests != 0 {
		t.Errorf("%+v counts a request that is not the demo's", s)
	}
}

func TestAnInterruptLetsRequestsEnd(t *testing.T) {
	d := openDemo(t, demo.Options{Seed: 1})
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	for _, p := range d.World.Providers {
		p.OnRequest(func(sim.Record) { interrupt() })
	}
	d.Drive(ctx, 1000, demo.Pace{AtOnce: 4})
	if s := d.Summary(); s.Requests == 0 || s.Requests > 100 || s.Failed != 0 {
		t.Errorf("%+v; should be few requests and no failures: %v", s, d.Failures())
	}
}

func TestWhereItListensAndThatNothingIsLeftOnDisk(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	taken, err := net.Listen("tcp", demo.DefaultListen) // if another process has it, all the better
	if err == nil {
		defer taken.Close()
	}
	d, err := demo.Open(t.Context(), demo.Options{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(t.Context())
	if !d.Moved || strings.HasSuffix(d.URL(), ":8080") {
		t.Errorf("listens on %s, which is taken", d.URL())
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("%s has %v while it runs, which a kill would leave there", dir, files)
	}
	var health struct{ Status string }
	response, err := http.Get(d.PrivateURL() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&health); err != nil || health.Status != "ok" {
		t.Errorf("health is %+v (%v)", health, err)
	}

	other, err := demo.Open(t.Context(), demo.Options{Listen: demo.DefaultListen, Log: quiet})
	if err == nil {
		other.Close(t.Context())
		t.Fatal("a taken address that was asked for by name was passed over")
	}
	if !strings.Contains(err.Error(), demo.DefaultListen) || !strings.Contains(err.Error(), "name another") {
		t.Errorf("the error is %q", err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("%s has %v after a failure", dir, files)
	}

	everywhere, err := demo.Open(t.Context(), demo.Options{Listen: ":0", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer everywhere.Close(t.Context())
	if !strings.HasPrefix(everywhere.URL(), "http://127.0.0.1:") {
		t.Errorf("the URL is %s, which no client here can be given", everywhere.URL())
	}
}
