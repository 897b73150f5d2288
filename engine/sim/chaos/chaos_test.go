package chaos_test

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"chaperone/engine/sim/chaos"
)

// world is a configuration with so many providers, none of which must ever be asked.
type world struct {
	path  string
	asked atomic.Int64
}

const keyID = "key_5f8eee912cd7" // of sk-acme

func newWorld(t *testing.T, providers int, settings string) *world {
	t.Helper()
	w := &world{path: filepath.Join(t.TempDir(), "chaperone.toml")}
	real := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.asked.Add(1) }))
	t.Cleanup(func() {
		real.Close()
		if n := w.asked.Load(); n > 0 {
			t.Errorf("the real providers and replicas were asked %d times", n)
		}
	})
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n[replicas]\npeers = [%q]\ntoken_env = \"CHAOS_TEST_TOKEN\"\n[organisations.acme]\n[[keys]]\nid = %q\norganisation = \"acme\"\nsha256 = \"%x\"\n[models.\"m/one\"]\nname = \"One\"\ncontext_length = 32000\n",
		settings, real.URL, keyID, sha256.Sum256([]byte("sk-acme")))
	for i := range providers {
		fmt.Fprintf(&b, "[providers.p%d]\nname = \"P%d\"\ndialect = \"openai\"\nbase_url = \"%s/p%d/v1\"\n[providers.p%d.credentials.own]\nkey_env = \"CHAOS_TEST_%d\"\n"+
			"[[endpoints]]\nmodel = \"m/one\"\nprovider = \"p%d\"\nupstream_model = \"x\"\nprice = { prompt = 1, completion = %d }\nsupported_parameters = [\"tools\", \"tool_choice\"]\ncontinues = \"prefix\"\n",
			i, i, real.URL, i, i, i, i, 1+i)
	}
	if err := os.WriteFile(w.path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) run(t *testing.T, o chaos.Options) *chaos.Report {
	t.Helper()
	o.ConfigPath, o.Key, o.Model, o.Log = w.path, keyID, "m/one", slog.New(slog.DiscardHandler)
	if o.Speed == 0 {
		o.Speed = 50 // a provider that is well has a second, also on a busy machine
	}
	r, err := chaos.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func said(r *chaos.Result) string { return fmt.Sprintf("%s, %s: %s", r.Fault, r.Request, r.Saw) }

// With two providers, nothing is lost but tool calls that break off and what no provider would take.
func TestWhileOneProviderMisbehavesTheOtherAnswers(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, 2, fmt.Sprintf("[journal]\ndir = %q\n", dir))
	faults := []string{"refused", "500", "429", "content-policy", "error-body", "cut", "truncated", "early-done", "stall", "pings"}
	if !testing.Short() {
		faults = nil
	}
	r := w.run(t, chaos.Options{Faults: faults})
	inTheMiddle := map[string]bool{"gibberish": true, "cut": true, "truncated": true, "early-done": true, "error-finish": true, "error-event": true, "stall": true, "pings": true}
	n := len(chaos.Faults)
	if faults != nil {
		n = len(faults)
	}
	if len(r.Results) != 3*n || r.Needless != 0 || r.Answered+r.Refused+r.Lost != 3*n {
		t.Errorf("%d results; %+v", len(r.Results), r)
	}
	for i := range r.Results {
		x := &r.Results[i]
		want := chaos.SawAnswer
		switch {
		case x.Fault == "content-policy" || x.Fault == "bad-request":
			want = chaos.SawRefusal
		case inTheMiddle[x.Fault] && x.Request == "tool call, streamed":
			want = chaos.SawBrokenOff
		}
		if x.Saw != want || (x.Why == "") != (want != chaos.SawBrokenOff) {
			t.Errorf("%s, want %s: %+v", said(x), want, x)
		}
		if rescued := x.Rescued == "continue"; rescued != (inTheMiddle[x.Fault] && x.Request == "text, streamed") {
			t.Errorf("%s: rescued by %q", said(x), x.Rescued)
		}
		if x.Fault == "stall" && x.Request == "text, streamed" && (x.Seconds < 30 || x.Seconds > 300) {
			t.Errorf("%s after %.1f s; the configuration says 30 s", said(x), x.Seconds)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("the journal has %v", files)
	}
}

func TestWhatIsLostNeedlesslyIsSaidToBe(t *testing.T) {
	for _, c := range []struct {
		name      string
		providers int
		settings  string
		options   chaos.Options
		needless  int
		why       string
	}{
		{"no rescue", 2, "[dispatch]\nrescue = []\n", chaos.Options{Faults: []string{"cut"}}, 2, "dispatch.rescue is empty"},
		{"one attempt", 2, "[routing]\nattempts = 1\n", chaos.Options{Faults: []string{"503"}}, 3, "1 other providers may serve it"},
		{"one provider", 1, "", chaos.Options{Faults: []string{"503"}}, 0, "no other provider may serve it"},
		{"one provider, limited", 1, "", chaos.Options{Faults: []string{"429"}}, 0, "no other provider may serve it"},
		{"everyone", 2, "", chaos.Options{Faults: []string{"503", "cut"}, Everyone: true}, 0, "every provider misbehaves"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newWorld(t, c.providers, c.settings).run(t, c.options)
			if r.Needless != c.needless || r.Lost == 0 {
				t.Errorf("%d lost, %d needlessly; want %d", r.Lost, r.Needless, c.needless)
			}
			told := false
			for _, x := range r.Results {
				told = told || strings.HasPrefix(x.Why, c.why)
			}
			if !told {
				t.Errorf("nobody says %q: %+v", c.why, r.Results)
			}
		})
	}
}

func TestAModelThatCannotBeAsked(t *testing.T) {
	w := newWorld(t, 1, "")
	_, err := chaos.Run(t.Context(), chaos.Options{ConfigPath: w.path, Key: keyID, Model: "m/two", Speed: 1, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "m/two") {
		t.Errorf("got %v", err)
	}
}
