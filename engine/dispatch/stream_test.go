package dispatch_test

import (
	"bytes"
	"fmt"
	"testing"

	"chaperone/engine"
	"chaperone/engine/sim"
)

// While nothing comes, a client gets what means nothing in its API, and what it gets beside that is the answer. Behind the end
// nothing follows, however soon something would be due.
func TestASilentStreamIsKeptAlive(t *testing.T) {
	t.Parallel()
	f := open(t, "[timeouts]\nkeep_alive = \"20ms\"\n", sim.Profile{TPS: sim.Distribution{P50: 3}, OutputTokens: sim.Distribution{P50: 6}})
	a := f.ask(t, true)
	comments := bytes.Count(a.body, []byte(": keep-alive\n\n"))
	if a.err != nil || !a.done || a.text != whole(t, f.sims[0]) || comments < 3 {
		t.Errorf("%d comments in %s", comments, a.body)
	}
	if before, _, _ := bytes.Cut(a.body, []byte("data: ")); len(before) > 0 {
		t.Errorf("the stream begins with %q", before)
	}
}

func TestNothingFollowsTheEndOfAStream(t *testing.T) {
	for _, c := range []struct {
		end     string
		profile sim.Profile
	}{
		{"data: [DONE]\n\n", sim.Profile{}},
		{`"error":{`, always(sim.Fault{Kind: sim.Cut, AfterTokens: 3})},
	} {
		f := open(t, calm+"[dispatch.breaker]\nfailures = 1000\nrate = 1.0\nattempts = 1000\n", c.profile)
		for i := range 30 {
			resp, err := f.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: fmt.Appendf(nil, `{"model":"m/one","stream":true,"messages":[{"role":"user","content":"question %d"}]}`, i)})
			if err != nil {
				t.Fatal(err)
			}
			for ended := false; ; {
				events, err := resp.Stream.Next()
				if err != nil {
					break
				}
				if ended {
					t.Fatalf("behind the end comes %q", events)
				}
				if ended = bytes.Contains(events, []byte(c.end)); ended {
					resp.Stream.Probe()
				}
			}
		}
	}
}

// Once a stream's head is due it goes out without content, with comments behind it. Failing over stays possible, and what fails for
// good then is told in an event.
func TestAHeadThatIsDueGoesOutBeforeContent(t *testing.T) {
	const settings = "[timeouts]\nearly_headers = \"50ms\"\nkeep_alive = \"50ms\"\n"
	t.Parallel()
	silent := always(sim.Fault{Kind: sim.Silent})
	f := open(t, settings+"ttft = \"2s\"\n", silent, sim.Profile{})
	a := f.ask(t, true)
	if a.err != nil || !a.done || a.text != whole(t, f.sims[1]) || outcomes(a.record) != "p0:slow p1:ok" {
		t.Errorf("%s: %+v %s", outcomes(a.record), a.err, a.body)
	}
	if !bytes.HasPrefix(a.body, []byte(": keep-alive\n\n")) {
		t.Errorf("the stream begins with %.60q", a.body)
	}
	a = open(t, settings+"first_byte = \"2s\"\n", silent).ask(t, true)
	if a.err != nil || a.done || a.text != "" || a.broken != "P0 did not answer in time" || a.record.Outcome.Status != 504 {
		t.Errorf("%s: %+v, %d in the record, %s", outcomes(a.record), a.err, a.record.Outcome.Status, a.body)
	}
}
