package dispatch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

// anything draws a fault of any kind.
func anything(r *rand.Rand) sim.Fault {
	after := r.IntN(8)
	all := []sim.Fault{
		{Kind: sim.Reset}, {Kind: sim.Close}, {Kind: sim.Silent}, {Kind: sim.Empty}, {Kind: sim.ErrorBody}, {Kind: sim.ContentType}, {Kind: sim.HTML},
		{Kind: sim.Redirect}, {Kind: sim.ContextLength}, {Kind: sim.ContentPolicy}, {Kind: sim.UnsupportedParameter}, {Kind: sim.NoDone},
		{Kind: sim.Status, Status: []int{400, 401, 402, 403, 404, 408, 418, 429, 500, 502, 503, 504, 522, 529}[r.IntN(14)], RetryAfter: time.Duration(r.IntN(3)) * 30 * time.Millisecond},
		{Kind: sim.Slow, Delay: time.Duration(1+r.IntN(200)) * time.Millisecond}, {Kind: sim.Stall, AfterTokens: after}, {Kind: sim.Cut, AfterTokens: after},
		{Kind: sim.Truncate, AfterTokens: after}, {Kind: sim.Malformed, AfterTokens: after}, {Kind: sim.ErrorEvent, AfterTokens: after},
		{Kind: sim.ErrorEvent, AfterTokens: after, Status: 429}, {Kind: sim.EarlyDone, AfterTokens: after}, {Kind: sim.ErrorFinish, AfterTokens: after},
		{Kind: sim.Pings, AfterTokens: after}, {Kind: sim.Endless, AfterTokens: after}, {Kind: sim.Malformed, AfterTokens: after, Events: 6},
		{Kind: sim.ErrorBody, Status: []int{429, 500, 503}[r.IntN(3)], Form: []string{"", "bare", "text", "detail", "array"}[r.IntN(5)]},
	}
	f := all[r.IntN(len(all))]
	f.Share = []float64{0.2, 0.5, 1}[r.IntN(3)]
	return f
}

// sure are faults that lead to the kinds of attempts that not every draw of worlds has: each is the primary's in a world of its own.
var sure = []sim.Fault{{Kind: sim.Silent, Share: 1}, {Kind: sim.Status, Status: 500, Share: 1}, {Kind: sim.Cut, AfterTokens: 5, Share: 1}}

// Whatever goes wrong and whatever is configured: attempts, time and money stay within the budget of the request, an answer
// that a client takes for whole is whole, no row is attempted without a permit of this request, what providers saw is what the
// record says, and nothing is left running.
func TestNoFaultExceedsTheBudget(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	worlds, requests := 40, 60
	if testing.Short() {
		worlds = 8
	}
	kinds := map[string]int{}
	for n := range worlds {
		const slack = 20 * time.Second // for a busy machine; what is silent, stalls or never ends would go on for longer
		total := time.Duration(200+r.IntN(600)) * time.Millisecond
		attempts := 1 + r.IntN(6)
		dollars := []float64{0, 0.00005, 0.0001, 0.0005}[r.IntN(4)]
		onSlow, early := []string{"switch", "hedge", "wait"}[r.IntN(3)], 20+r.IntN(300)
		hedge, ttft := r.IntN(2) == 0, 10+r.IntN(100)
		limits := "first_byte = \"120ms\"\nanswer = \"150ms\"\nidle = \"100ms\""
		if n < len(sure) {
			total, attempts, dollars, onSlow, hedge = time.Minute, 4, 0, "hedge", false
			// However slow the machine is, only what is silent is late.
			limits = "first_byte = \"30s\"\nanswer = \"500ms\"\nidle = \"30s\""
			if sure[n].Kind != sim.Silent {
				limits, ttft = "first_byte = \"30s\"\nanswer = \"30s\"\nidle = \"30s\"", 30_000
			}
		}
		settings := fmt.Sprintf("[timeouts]\n%s\nttft = \"%dms\"\ntotal = \"%v\"\nearly_headers = \"%dms\"\n"+
			"[routing]\nattempts = %d\n[dispatch]\non_slow = %q\nhedge = %t\nhedge_budget = 100\nbackoff = \"10ms\"\nretry_after_wait = \"%dms\"\nmax_cost = %.6f\n[dispatch.breaker]\ncool_down = \"50ms\"\n",
			limits, ttft, total, early, attempts, onSlow, hedge, r.IntN(60), dollars)
		if n < len(sure) {
			settings += "failures = 100000\nattempts = 100000\n" // or what is down at once for all would not be asked a second time
		}
		var profiles []sim.Profile
		for range 2 + r.IntN(4) {
			// A token costs 2 millionths of a dollar; the prompt is free, since its tokens can only be estimated beforehand.
			p := sim.Profile{Seed: 1, Continues: "prefill", OutputTokens: sim.Distribution{P50: 16}}
			if r.IntN(4) > 0 {
				p.Faults = append(p.Faults, anything(r))
			}
			profiles = append(profiles, p)
		}
		denied := r.IntN(len(profiles)+1) - 1 // -1: none
		if n < len(sure) {
			for i := range profiles {
				profiles[i].Faults = nil
			}
			profiles[0].Faults, denied = sure[n:n+1], -1
		}
		f := &fixture{endpoint: "continues = \"prefill\"", price: "{ prompt = 0, completion = 2 }"}
		if denied >= 0 {
			f.policy = fmt.Sprintf("deny contains \"not_this_one\" if input.endpoint.provider == \"p%d\"", denied)
		}
		f.open(t, settings, profiles...)
		order, _ := json.Marshal(f.order)
		var wg sync.WaitGroup
		var mu sync.Mutex
		for i := range requests {
			stream := r.IntN(3) > 0
			wg.Go(func() {
				// The text has 16 tokens whoever gives it, so one that has been continued is the same.
				body := fmt.Sprintf(`{"model":"m/one","stream":%t,"max_tokens":24,"provider":{"order":%s},"messages":[{"role":"user","content":"question %d"}]}`, stream, order, i)
				began := time.Now()
				resp, err := f.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(body)})
				a := answer{}
				var e *wire.Error
				switch {
				case errors.As(err, &e):
					a.id = e.DecisionID
				case resp.Stream != nil:
					a.id = resp.Plan.ID
					a.body, _ = io.ReadAll(resp.Stream)
					a.read(t)
				default:
					a.id, a.done = resp.Plan.ID, true
					var whole struct {
						Choices []struct{ Message struct{ Content string } }
					}
					if err := json.Unmarshal(resp.Body, &whole); err != nil {
						t.Error(err)
					}
					a.text = whole.Choices[0].Message.Content
				}
				took := time.Since(began)
				rec := f.engine.Record(a.id)
				right, _ := sim.Answer(sim.Profile{Seed: 1, OutputTokens: sim.Distribution{P50: 16}}, []byte(body))
				mu.Lock()
				defer mu.Unlock()
				for _, x := range rec.Attempts {
					kinds[x.Purpose]++
				}
				if rec.Outcome.Rescued != "" {
					kinds["rescued by "+rec.Outcome.Rescued]++
				}
				problem := func(format string, args ...any) {
					t.Errorf("seed %d: %s: %s\n%s", seed, fmt.Sprintf(format, args...), outcomes(rec), settings)
				}
				permitted := map[string]bool{}
				for _, c := range rec.Candidates {
					permitted[c.Row] = c.Excluded == nil
				}
				for _, x := range rec.Attempts {
					if !permitted[x.Row] {
						problem("%s was asked without a permit", x.Row)
					}
				}
				if len(rec.Attempts) > attempts {
					problem("%d attempts, %d are allowed", len(rec.Attempts), attempts)
				}
				if took > total+slack {
					problem("took %v, %v are allowed", took, total)
				}
				if limit := catalog.Picodollars(dollars * float64(catalog.Dollar)); limit > 0 && rec.Outcome.Cost > limit {
					problem("cost %v, %v are allowed", rec.Outcome.Cost, limit)
				}
				if a.done != (rec.Outcome.Status == 200) {
					problem("the client has an end: %t; the record says %d", a.done, rec.Outcome.Status)
				}
				// What an answer has used of its limit before it is continued can only be estimated: it may end early, and says so.
				limited := rec.Outcome.Rescued == journal.ForContinue && rec.Outcome.FinishReason == "length"
				if a.done && a.text != right.Choices[0].Text && !limited {
					problem("taken for whole: %q, but it is %q", a.text, right.Choices[0].Text)
				}
				if !strings.HasPrefix(right.Choices[0].Text, a.text) {
					problem("the client has %q, which is no part of %q", a.text, right.Choices[0].Text)
				}
			})
		}
		wg.Wait()
		var asked int64
		if denied >= 0 && f.sims[denied].Counts().Requests > 0 {
			t.Errorf("seed %d: p%d was asked %d times and is denied", seed, denied, f.sims[denied].Counts().Requests)
		}
		for _, p := range f.sims {
			if err := p.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			asked += p.Counts().Requests
		}
		if most := int64(requests * attempts); asked > most {
			t.Errorf("seed %d: providers were asked %d times; %d is the most", seed, asked, most)
		}
		f.close()
		if t.Failed() {
			break
		}
	}
	t.Logf("attempts and rescues by kind: %v", kinds)
	for _, kind := range []string{journal.ForAnswer, journal.ForRetry, journal.ForFallback, journal.ForHedge, journal.ForContinue} {
		if kinds[kind] == 0 {
			t.Errorf("the worlds are too tame: no attempt was made as %s", kind)
		}
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	f := open(t, "[timeouts]\nttft = \"10ms\"\n[dispatch]\non_slow = \"hedge\"\nhedge_budget = 100\n", takes(30*time.Millisecond), takes(50*time.Millisecond))
	f.ask(t, true)
	for _, p := range f.sims {
		p.Settle(t.Context())
	}
	before := runtime.NumGoroutine()
	for i := range 40 {
		f.ask(t, i%2 == 0)
	}
	for _, p := range f.sims {
		p.Settle(t.Context())
	}
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before+16 { // kept connections have two each
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, there were %d", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}
