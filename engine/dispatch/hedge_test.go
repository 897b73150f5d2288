package dispatch_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/sim"
)

// takes is a provider that takes so long to its first token.
func takes(d time.Duration) sim.Profile {
	return sim.Profile{TTFT: sim.Distribution{P50: float64(d.Milliseconds())}}
}

// cancelled says how often a provider's client went away, once all is quiet.
func cancelled(t *testing.T, p *sim.Provider) int64 {
	t.Helper()
	if err := p.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p.Counts().Cancelled
}

func TestAnEndpointThatTakesLongerThanUsualIsHedged(t *testing.T) {
	f := open(t, "[statistics]\ntick = \"1ms\"\n[dispatch]\nhedge = true\nhedge_budget = 100\n", takes(20*time.Millisecond), sim.Profile{})
	for range 30 {
		f.ask(t, true)
	}
	if err := f.sims[0].SetProfile(func() sim.Profile {
		p := f.sims[0].Profile()
		p.TTFT.P50 = 20_000
		return p
	}()); err != nil {
		t.Fatal(err)
	}
	before := cancelled(t, f.sims[0])
	a := f.ask(t, true)
	if a.err != nil || !a.done || outcomes(a.record) != "p0:outpaced p1:ok" || a.record.Attempts[1].Purpose != journal.ForHedge || a.record.Outcome.Provider != "P1" {
		t.Fatalf("%s, %+v", outcomes(a.record), a.record.Outcome)
	}
	if a.record.Attempts[0].BodySent != "all" {
		t.Errorf("the loser is recorded as %+v", a.record.Attempts[0])
	}
	loser, winner := a.record.Attempts[0], a.record.Attempts[1]
	if loser.Cost != catalog.Picodollars(a.record.Request.PromptTokens*1_000_000) || a.record.Outcome.Cost != loser.Cost+winner.Cost || a.usage(t).Cost.String() != winner.Cost.String() {
		t.Errorf("the loser cost %v, the winner %v, both %v, and the client is told %s", loser.Cost, winner.Cost, a.record.Outcome.Cost, a.usage(t).Cost)
	}
	if cancelled(t, f.sims[0]) != before+1 {
		t.Error("the loser was not cancelled")
	}
}

func TestASlowFirstTokenIsHedgedAndTheFirstMayStillWin(t *testing.T) {
	const settings = "[timeouts]\nttft = \"50ms\"\n[dispatch]\non_slow = \"hedge\"\nhedge_budget = 100\n"
	f := open(t, settings, sim.Profile{}, takes(20*time.Second))
	hedged := make(chan struct{})
	f.sims[0].OnRequest(func(sim.Record) { <-hedged })
	f.sims[1].OnRequest(func(sim.Record) { close(hedged) })
	a := f.ask(t, true)
	if !a.done || outcomes(a.record) != "p0:ok p1:outpaced" || a.text != whole(t, f.sims[0]) {
		t.Errorf("%s", outcomes(a.record))
	}
	if cancelled(t, f.sims[1]) != 1 {
		t.Error("the hedge was not cancelled")
	}
	// The hedge fails: the first is waited for, and another is tried beside it.
	// The limit is also what a busy machine has for the refusal: a hedge that is late itself ends the first.
	f = open(t, strings.Replace(settings, "50ms", "1s", 1), takes(time.Second), always(sim.Fault{Kind: sim.Status, Status: 503}), sim.Profile{})
	// An answer in one piece is not hedged, and its share is left for another.
	if a = f.ask(t, false); outcomes(a.record) != "p0:ok" {
		t.Errorf("%s", outcomes(a.record))
	}
	late := f.sims[0].Profile()
	late.TTFT.P50 = 20_000 // however busy the machine, the hedge is faster
	if err := f.sims[0].SetProfile(late); err != nil {
		t.Fatal(err)
	}
	if a = f.ask(t, true); !a.done || outcomes(a.record) != "p0:outpaced p1:overloaded p2:ok" {
		t.Errorf("%s", outcomes(a.record))
	}
}

// What a loser has held is free at once, not when the winner has ended.
func TestALoserGivesItsPlaceBack(t *testing.T) {
	f := open(t, "[timeouts]\nttft = \"50ms\"\n[load]\nin_flight_endpoint = 1\n[dispatch]\non_slow = \"hedge\"\nhedge_budget = 100\n",
		takes(20*time.Second), sim.Profile{TPS: sim.Distribution{P50: 1}, OutputTokens: sim.Distribution{P50: 24}})
	resp, err := f.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(`{"model":"m/one","stream":true,"provider":{"order":["p0","p1"]},"messages":[{"role":"user","content":"x"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Stream.Close()
	eventually(t, "the loser's place is free", func() bool {
		return strings.Contains(f.metrics(), `chaperone_endpoint_in_flight{endpoint="m/one@p0"} 0`)
	})
	if rec := f.engine.Record(resp.Plan.ID); rec != nil {
		t.Errorf("the winner has ended: %+v", rec.Outcome)
	}
	if !strings.Contains(f.metrics(), `chaperone_endpoint_in_flight{endpoint="m/one@p1"} 1`) {
		t.Error("the winner has no place")
	}
}

func TestHedgesStayWithinTheirBudget(t *testing.T) {
	const requests = 60
	f := open(t, "[timeouts]\nttft = \"5ms\"\n[dispatch]\non_slow = \"hedge\"\nhedge_budget = 10\n[dispatch.breaker]\nfailures = 1000\nattempts = 1000\n", takes(15*time.Millisecond), sim.Profile{})
	hedges := 0
	for range requests {
		for _, a := range f.ask(t, true).record.Attempts {
			if a.Purpose == journal.ForHedge {
				hedges++
			}
		}
	}
	if hedges == 0 || hedges > requests/10 {
		t.Errorf("%d hedges of %d requests; a tenth is allowed", hedges, requests)
	}
}

// Obligations are kept whatever the settings say.
func TestObligationsBoundHedgesAndRescues(t *testing.T) {
	const hedging = "[timeouts]\nttft = \"20ms\"\n[dispatch]\non_slow = \"hedge\"\nhedge_budget = 100\n"
	late, slow, dies := takes(200*time.Millisecond), takes(20*time.Second), always(sim.Fault{Kind: sim.Cut, AfterTokens: 5})
	for _, c := range []struct {
		require, settings string
		first             sim.Profile
		want              string
	}{
		{"", hedging, slow, "p0:outpaced p1:ok"},
		{`{"hedge": false}`, hedging, slow, "p0:slow p1:ok"}, // given up before the next begins
		{`{"max_processors": 1}`, hedging, late, "p0:ok"},
		{`{"max_processors": 2}`, hedging, slow, "p0:outpaced p1:ok"},
		{"", calm, dies, "p0:cut p1:ok"},
		{`{"rescue": false}`, calm, dies, "p0:cut"},
		{`{"max_processors": 1}`, calm, dies, "p0:cut"},
		{`{"hedge": false}`, calm, dies, "p0:cut p1:ok"},
	} {
		t.Run(fmt.Sprint(c.require, c.want), func(t *testing.T) {
			t.Parallel()
			f := &fixture{}
			if c.require != "" {
				f.policy = "require contains " + c.require
			}
			f.open(t, c.settings, c.first, sim.Profile{})
			a := f.ask(t, true)
			if outcomes(a.record) != c.want || a.done != !strings.HasSuffix(c.want, "cut") {
				t.Errorf("%s, done %t; want %s", outcomes(a.record), a.done, c.want)
			}
			if seen := f.sims[1].Counts().Requests > 0; seen != strings.Contains(c.want, "p1") {
				t.Errorf("the second provider was asked: %t", seen)
			}
		})
	}
}

// A first token that comes in the very moment in which its provider is given up: the one or the other, never both.
func TestAnAttemptIsGivenUpOrCommitsNeverBoth(t *testing.T) {
	const limit = 20 * time.Millisecond
	f := open(t, fmt.Sprintf("[timeouts]\nttft = \"%v\"\n[dispatch.breaker]\nfailures = 100000\nattempts = 100000\n", limit), takes(limit), sim.Profile{})
	seen := map[string]int{}
	for range 60 {
		a := f.ask(t, true)
		seen[outcomes(a.record)]++
		if a.err != nil || !a.done || a.record.Outcome.Rescued != "" {
			t.Fatalf("%s: %+v, rescued by %q", outcomes(a.record), a.err, a.record.Outcome.Rescued)
		}
	}
	t.Logf("%v", seen)
}

// A stream that goes silent before its first content is left for another, whatever OnSlow says, while there is another.
func TestAStreamThatNeverBeginsIsLeftForAnother(t *testing.T) {
	stalled := always(sim.Fault{Kind: sim.Stall})
	for _, c := range []struct{ settings, policy, want string }{
		{"on_slow = \"switch\"", "", "p0:slow p1:slow p2:ok"},
		{"on_slow = \"hedge\"\nhedge_budget = 0", "", "p0:slow p1:slow p2:ok"},
		{"on_slow = \"hedge\"\nhedge_budget = 100", "", "p0:slow p1:slow p2:ok"}, // the share allows one beside the first
		{"on_slow = \"hedge\"\nhedge_budget = 100", `require contains {"hedge": false}`, "p0:slow p1:slow p2:ok"},
		{"on_slow = \"switch\"", `require contains {"hedge": false}`, "p0:slow p1:slow p2:ok"},
		{"on_slow = \"wait\"", "", "p0:slow p1:slow p2:ok"},
	} {
		t.Run(c.settings+c.policy, func(t *testing.T) {
			t.Parallel()
			f := &fixture{policy: c.policy}
			f.open(t, "[timeouts]\nttft = \"50ms\"\nanswer = \"200ms\"\n[dispatch]\n"+c.settings+"\n", stalled, stalled, sim.Profile{})
			began := time.Now()
			if a := f.ask(t, true); a.err != nil || !a.done || outcomes(a.record) != c.want || time.Since(began) > 20*time.Second {
				t.Errorf("%s after %v: %+v; want %s", outcomes(a.record), time.Since(began), a.err, c.want)
			}
		})
	}
}

// What was given up for being slow is alive: it is asked once more where all others have failed, and then waited for.
func TestWhatWasSlowIsAskedAgainWhereNothingElseIsLeft(t *testing.T) {
	refuses := always(sim.Fault{Kind: sim.Status, Status: 503})
	for _, c := range []struct {
		want     string
		profiles []sim.Profile
	}{
		{"p0:slow p1:overloaded p0:ok", []sim.Profile{takes(3 * time.Second), refuses}},
		// The first of the slow ones never begins: the second is gone on to once more.
		{"p0:slow p1:slow p2:overloaded p0:slow p1:ok", []sim.Profile{always(sim.Fault{Kind: sim.Stall}), takes(3 * time.Second), refuses}},
	} {
		t.Run(c.want, func(t *testing.T) {
			t.Parallel()
			f := open(t, "[timeouts]\nttft = \"1s\"\n", c.profiles...) // which is also what a busy machine has to be refused
			if a := f.ask(t, true); a.err != nil || !a.done || outcomes(a.record) != c.want {
				t.Errorf("%s: %+v; want %s", outcomes(a.record), a.err, c.want)
			}
		})
	}
}
