package dispatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/dispatch"
	"chaperone/engine/journal"
	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

var storm = flag.Duration("storm", 2*time.Second, "how long TestAStorm lasts")

// dies draws a fault that comes in the middle of a stream, or is survived there.
func dies(r *rand.Rand, tokens int) sim.Fault {
	all := []sim.Fault{{Kind: sim.Cut}, {Kind: sim.Cut}, {Kind: sim.Truncate}, {Kind: sim.Stall}, {Kind: sim.ErrorEvent}, {Kind: sim.EarlyDone}, {Kind: sim.ErrorFinish},
		{Kind: sim.Pings}, {Kind: sim.Malformed}, {Kind: sim.Malformed, Events: 6}, {Kind: sim.Malformed, Events: 6}, {Kind: sim.Endless}, {Kind: sim.NoDone}}
	f := all[r.IntN(len(all))]
	if f.Kind != sim.NoDone {
		f.AfterTokens = r.IntN(tokens)
	}
	f.Share = []float64{0.3, 0.6, 1}[r.IntN(3)]
	return f
}

// Many streams at once, in every front, over providers that die in the middle and have others go on: byte for byte, no client takes
// for whole what is not, what a client has is the beginning of the right answer, and a buffer that it was handed stays as it is
// until it asks for the next, whatever it is interrupted by.
//
//	go test ./engine/dispatch -run TestAStorm -storm 5m -cpu 2,8 -timeout 20m   # and the same with -race
func TestAStorm(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	counts := map[string]int{}
	for began, worlds := time.Now(), 0; time.Since(began) < *storm || worlds < 4; worlds++ {
		tokens := 8 + r.IntN(60)
		right := sim.Profile{Seed: 1, Continues: "prefill", OutputTokens: sim.Distribution{P50: float64(tokens)}, TPS: sim.Distribution{P50: float64(100 + r.IntN(3000))}}
		var backs []back
		for i := range 3 + r.IntN(3) {
			p := right
			switch {
			case worlds < 3 && i < 2: // the first worlds need each kind of rescue, and more than one of them
				p.Faults = []sim.Fault{{Kind: sim.Cut, AfterTokens: tokens * (i + 1) / 4, Share: 1}}
			case worlds < 3 && i == 2:
			case i < 2 || r.IntN(2) == 0:
				p.Faults = append(p.Faults, dies(r, tokens))
			}
			backs = append(backs, back{[]string{"openai", "openai", "anthropic"}[r.IntN(3)], p})
		}
		methods := []string{`"continue"`, `"splice"`, `"continue", "splice"`}[worlds%3]
		limits := fmt.Sprintf("first_byte = \"500ms\"\nttft = \"%dms\"\nidle = \"%dms\"\nanswer = \"300ms\"\ntotal = \"10s\"", 20+r.IntN(200), 20+r.IntN(100))
		if worlds < 3 {
			limits = "ttft = \"1m\"" // nor may anybody be given up for the machine's being slow
		}
		settings := fmt.Sprintf("[timeouts]\n%s\nkeep_alive = %q\n"+
			"[routing]\nmax_answer_bytes = 4096\n[dispatch]\non_slow = %q\nhedge_budget = 100\nbackoff = \"1ms\"\nrescue = [%s]\n[dispatch.breaker]\nfailures = 1000\nrate = 1.0\nattempts = 1000\n",
			limits, []string{"1ms", "15s"}[r.IntN(2)], []string{"switch", "hedge"}[r.IntN(2)], methods)
		w := openWorld(t, settings, backs...)
		order, _ := json.Marshal(w.order)
		var all sync.WaitGroup
		var mu sync.Mutex
		for i := range 64 {
			draw := rand.New(rand.NewPCG(seed, uint64(worlds<<16|i)))
			front := []wire.Shape{wire.Chat, wire.Chat, wire.Messages, wire.Responses}[draw.IntN(4)]
			all.Go(func() {
				says := fmt.Sprintf("\"messages\":[{\"role\":\"user\",\"content\":\"question %d\"}]", i)
				asks := map[wire.Shape]string{wire.Chat: says, wire.Messages: `"max_tokens":4000,` + says, wire.Responses: fmt.Sprintf("\"input\":\"question %d\"", i)}[front]
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				resp, err := w.engine.Do(ctx, engine.Call{Key: "sk-acme", Shape: front, Metadata: front == wire.Chat && draw.IntN(2) == 0,
					Body: fmt.Appendf(nil, `{"model":"m/one","stream":true,"provider":{"order":%s},%s}`, order, asks)})
				if err != nil {
					if e := (*wire.Error)(nil); !errors.As(err, &e) {
						t.Error(err)
					}
					return
				}
				text := drink(t, resp.Stream, draw, cancel)
				h := &heard{}
				h.stream(t, front, text)
				whole, _ := sim.Answer(right, fmt.Appendf(nil, `{"model":"m/one",%s}`, says))
				want := whole.Choices[0].Text
				rec := w.engine.Record(resp.Plan.ID)
				mu.Lock()
				defer mu.Unlock()
				if h.done && (h.text != want || h.finish != "stop") || !strings.HasPrefix(want, h.text) {
					t.Errorf("seed %d: in %s, done %t (%s): got %q, right is %q; %s\n%s%s", seed, front, h.done, h.finish, h.text, want, outcomes(rec), text, settings)
				}
				if h.done {
					counts["whole"]++
				}
				if h.done && rec != nil && rec.Outcome.Rescued != "" {
					counts[rec.Outcome.Rescued]++
					if len(rec.Attempts) > 2 {
						counts["more than once"]++
					}
				}
			})
		}
		all.Wait()
		w.engine.Close(context.Background())
		for _, p := range w.sims {
			p.Close()
		}
		if t.Failed() {
			return
		}
		counts["worlds"]++
	}
	t.Logf("%v", counts)
	for _, kind := range []string{"whole", journal.ForContinue, journal.ForSplice, "more than once"} {
		if counts[kind] == 0 {
			t.Errorf("the storm was no storm: none %s", kind)
		}
	}
}

// drink takes a stream in one of the ways that clients do: all at once, in sips, slowly, or not to the end.
func drink(t *testing.T, s *dispatch.Stream, draw *rand.Rand, leave func()) []byte {
	defer s.Close()
	var all []byte
	switch way := draw.IntN(8); way {
	case 0:
		all, _ = io.ReadAll(s)
	case 1:
		sip := make([]byte, 1+draw.IntN(50))
		for {
			n, err := s.Read(sip)
			all = append(all, sip[:n]...)
			if err != nil {
				break
			}
		}
	default:
		last := draw.IntN(40)
		for n := 0; ; n++ {
			b, err := s.Next()
			if err != nil {
				break
			}
			was := bytes.Clone(b)
			if way < 6 {
				runtime.Gosched()
			} else if draw.IntN(8) == 0 {
				time.Sleep(time.Duration(draw.IntN(1000)) * time.Microsecond) // a slow client is what is tested
			}
			if !bytes.Equal(was, b) {
				t.Errorf("a buffer of the client's changed from %q to %q", was, b)
			}
			if all = append(all, was...); way == 7 && n == last {
				leave()
				break
			}
		}
	}
	return all
}
