package dispatch_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

func TestAClientsDeadlineEndsTheRequestAndBlamesNobody(t *testing.T) {
	f := open(t, "[dispatch.breaker]\nfailures = 1\n", takes(30*time.Second), sim.Profile{})
	for _, stream := range []bool{true, false} {
		body := fmt.Appendf(nil, `{"model":"m/one","stream":%t,"provider":{"order":["p0"]},"messages":[{"role":"user","content":"x"}]}`, stream)
		began := time.Now()
		_, err := f.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: body, Timeout: time.Second})
		var e *wire.Error
		if !errors.As(err, &e) || e.Status != 504 || time.Since(began) > 20*time.Second {
			t.Fatalf("stream %t: %v after %v", stream, err, time.Since(began))
		}
		rec := f.engine.Record(e.DecisionID)
		if outcomes(rec) != "p0:deadline" {
			t.Errorf("stream %t: %s", stream, outcomes(rec))
		}
	}
	if strings.Contains(f.metrics(), "chaperone_resting{") {
		t.Error("a client's impatience makes an endpoint rest")
	}
}

func TestOverridesByOrganisationAndModel(t *testing.T) {
	for _, c := range []struct {
		name, override, want string
		stream               bool
	}{
		{"none", "", "p0:ok", true},
		{"another model", "model = \"m/two\"\nttft = \"50ms\"", "p0:ok", true},
		{"ttft of the model", "model = \"m/one\"\nttft = \"50ms\"", "p0:slow p1:ok", true},
		{"waiting", "model = \"m/one\"\nttft = \"50ms\"\non_slow = \"wait\"", "p0:ok", true},
		{"first byte", "organisation = \"acme\"\nfirst_byte = \"1s\"", "p0:timeout p1:ok", true},
		{"first byte of a whole answer is no limit", "organisation = \"acme\"\nfirst_byte = \"1s\"", "p0:ok", false},
		{"answer", "organisation = \"acme\"\nanswer = \"1s\"", "p0:timeout p1:ok", false},
		{"total", "organisation = \"acme\"\ntotal = \"1s\"", "p0:deadline", false},
		{"attempts", "attempts = 1\nanswer = \"1s\"", "p0:timeout", false},
		{"too dear", "max_cost = 0.00000001", "", false},
		{"the later wins", "answer = \"1s\"\n[[dispatch.overrides]]\norganisation = \"acme\"\nanswer = \"1m\"", "p0:ok", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			settings := "[models.\"m/two\"]\nname = \"Two\"\ncontext_length = 1000\n"
			if c.override != "" {
				settings += "[[dispatch.overrides]]\n" + c.override + "\n"
			}
			slow := takes(2500 * time.Millisecond)
			if c.stream && strings.Contains(c.override, "first_byte") { // no byte at all, not even of the head
				slow = always(sim.Fault{Kind: sim.Slow, Delay: 2500 * time.Millisecond})
			}
			if a := open(t, settings, slow, sim.Profile{}).ask(t, c.stream); outcomes(a.record) != c.want {
				t.Errorf("got %s, want %s", outcomes(a.record), c.want)
			} else if c.want == "" && (a.err.Status != 402 || a.err.Type != "payment_required") {
				t.Errorf("got %+v, want 402", a.err)
			}
		})
	}
}

func TestASlowEndpointIsNotGivenUpWhereNothingIsLeft(t *testing.T) {
	f := open(t, "[timeouts]\nttft = \"50ms\"\n", takes(time.Second))
	if a := f.ask(t, true); a.err != nil || outcomes(a.record) != "p0:ok" {
		t.Errorf("%s: %v", outcomes(a.record), a.err)
	}
}
