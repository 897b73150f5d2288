package dispatch_test

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine/sim"
)

// The soak: twelve endpoints, of which eleven fail in ways that change every few seconds, and three kinds of requests of two
// organisations, one of which may not use five of the endpoints.
//
//	go test ./engine/dispatch -run TestSoak -v                                # about fifteen seconds
//	CHAPERONE_SOAK=full go test ./engine/dispatch -run TestSoak -v -timeout 20m   # ten minutes, 200,000 requests
const (
	soakProviders = 12
	soakHealthy   = soakProviders - 1 // the one that is always well
	soakDenied    = 5                 // the first so many are not for the organisation strict
	soakRate      = 340               // requests a second
)

const soakSettings = `[server]
listen = "127.0.0.1:0"
private_listen = ""
drain_delay = "0s"
[timeouts]
first_byte = "4s"
ttft = "1s"
answer = "4s"
idle = "2s"
total = "60s"
[routing]
upstream_user = "plain"
attempts = 40
exploration = 0.05
max_answer_bytes = 100000
[dispatch]
on_slow = "hedge"
hedge_budget = 10
backoff = "20ms"
[dispatch.breaker]
cool_down = "1s"
[journal]
keep = 1000
[organisations.open]
[organisations.strict]
[models."m/one"]
name = "One"
context_length = 32000
[[policy.sources]]
name = "own"
path = "."
[[policy.bindings]]
package = "own"
for = "org:strict"
`

// soakAnswer is how every provider answers when it is well: with the same words.
var soakAnswer = sim.Profile{Seed: 1, OutputTokens: sim.Distribution{P50: 24, P95: 60}}

// mood draws how a provider behaves for the next seconds.
func mood(r *rand.Rand) sim.Profile {
	p := soakAnswer
	p.TTFT, p.TPS = sim.Distribution{P50: 3, P95: 12}, sim.Distribution{P50: 4000}
	switch d := r.IntN(10); {
	case d < 2:
	case d < 6: // now and then
		for range 1 + r.IntN(3) {
			f := anything(r)
			f.Share = 0.02 + 0.2*r.Float64()
			p.Faults = append(p.Faults, f)
		}
	case d < 8: // always, or nearly
		f := anything(r)
		f.Share = 0.9
		p.Faults = append(p.Faults, f)
	case d < 9:
		p.Down = true
	default:
		p.TTFT.P50 = float64(50 + r.IntN(1000))
		p.TTFT.P95 = 0
	}
	return p
}

// squall is how the two cheapest providers of each organisation behave every other time, so that each kind of attempt is needed
// in however short a soak.
func squall() sim.Profile {
	p := soakAnswer
	p.TTFT, p.TPS = sim.Distribution{P50: 3, P95: 12}, sim.Distribution{P50: 4000}
	p.Faults = []sim.Fault{{Kind: sim.Silent, Share: 0.2}, {Kind: sim.Truncate, AfterTokens: 4, Share: 0.3}, {Kind: sim.Status, Status: 500, Share: 0.2}}
	return p
}

type soakCounts struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *soakCounts) add(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[kind]++
}

// needed are the kinds of requests and attempts without which a soak says little.
var needed = []string{"attempts: fallback", "attempts: splice", "attempts: retry", "attempts: hedge", "asked: text", "asked: tool", "asked: structured"}

// lacks are those that have not been yet.
func (c *soakCounts) lacks() (none []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kind := range needed {
		if c.n[kind] == 0 {
			none = append(none, kind)
		}
	}
	return none
}

func TestSoak(t *testing.T) {
	// The short form takes as many requests as the machine can do beside everything else.
	s := soak{requests: 1 << 30, lasts: 8 * time.Second, atOnce: 32, growth: 32 << 20}
	switch os.Getenv("CHAPERONE_SOAK") {
	case "full":
		s = soak{requests: 200_000, lasts: time.Hour, atOnce: 150, growth: 8 << 20}
	case "":
		if testing.Short() {
			s.lasts = 3 * time.Second
		}
	default:
		t.Fatalf("CHAPERONE_SOAK is %q; it should be \"full\" or not set", os.Getenv("CHAPERONE_SOAK"))
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))

	var toml strings.Builder
	toml.WriteString(soakSettings)
	for _, organisation := range []string{"open", "strict"} {
		fmt.Fprintf(&toml, "[[keys]]\norganisation = %q\nsha256 = \"%x\"\n", organisation, sha256.Sum256([]byte("sk-"+organisation)))
	}
	var sims []*sim.Provider
	for i := range soakProviders {
		p := soakAnswer
		p.Name, p.LogSize = fmt.Sprintf("p%d", i), 100
		if i < soakDenied {
			p.Denied = []sim.Denial{{User: "strict"}}
		}
		if i%2 == 0 {
			p.Continues = "prefill"
			fmt.Fprintf(&toml, "[[endpoints]]\ncontinues = \"prefill\"\n")
		} else {
			fmt.Fprintf(&toml, "[[endpoints]]\n")
		}
		provider, err := sim.Start(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { provider.Close() })
		sims = append(sims, provider)
		fmt.Fprintf(&toml, "model = \"m/one\"\nprovider = \"p%d\"\nupstream_model = \"u\"\nprice = { prompt = 1, completion = %d }\nsupported_parameters = [\"tools\", \"tool_choice\", \"response_format\", \"structured_outputs\"]\n"+
			"[providers.p%d]\nname = \"P%d\"\ndialect = \"openai\"\nbase_url = %q\n[providers.p%d.credentials.own]\nkeys = [{ key_env = \"K%d\" }]\n", i, 2+i, i, i, provider.URL(), i, i)
	}
	router := serve(t, toml.String(), fmt.Sprintf("package own\n\ndeny contains {\"code\": \"not_for_strict\", \"message\": \"not for this organisation\"} if {\n\tinput.endpoint.provider in {%s}\n}\n",
		deniedNames()))

	s.router, s.counts = router, &soakCounts{n: map[string]int{}}
	s.weather = func(of func(int) sim.Profile) {
		for i, p := range sims[:soakHealthy] {
			now, next := p.Profile(), of(i)
			next.Name, next.LogSize, next.Denied, next.Continues = now.Name, now.LogSize, now.Denied, now.Continues
			if err := p.SetProfile(next); err != nil {
				t.Errorf("p%d: %v", i, err)
			}
		}
	}
	counts := s.counts
	began := time.Now()
	first := s.drive(t, r, 0, s.requests/4, s.lasts/4)
	s.whole = true
	last := s.drive(t, r, first.sent, s.requests-s.requests/4, s.lasts*3/4)
	took := time.Since(began)

	for _, p := range sims {
		if err := p.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := p.Denied(); n > 0 {
			t.Errorf("%s got %d requests that it must not see", p.Name(), n)
		}
		for fate, n := range p.Counts().ByFate {
			counts.n["providers: "+string(fate)] += int(n)
		}
	}
	if last.goroutines > first.goroutines+5 {
		t.Errorf("%d goroutines of the router after a quarter, %d at the end", first.goroutines, last.goroutines)
	}
	if last.heap > first.heap+first.heap/4+s.growth {
		t.Errorf("%d KiB of heap after a quarter, %d KiB at the end", first.heap>>10, last.heap>>10)
	}
	t.Logf("%d requests in %v; goroutines of the router: %d, then %d; heap: %d KiB, then %d KiB", last.sent, took.Round(time.Second), first.goroutines, last.goroutines, first.heap>>10, last.heap>>10)
	var kinds []string
	for kind := range counts.n {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		t.Logf("%7d %s", counts.n[kind], kind)
	}
	if counts.n["whole"] < last.sent/2 {
		t.Errorf("only %d of %d answers were whole", counts.n["whole"], last.sent)
	}
	if none := counts.lacks(); none != nil {
		t.Errorf("the weather was too fine: there is none of %v", none)
	}
}

// soak is one run.
type soak struct {
	requests int           // that are sent, at the most
	lasts    time.Duration // how long they are sent, at the most
	atOnce   int
	growth   uint64 // of the heap, beside a quarter, that may be what caches take
	whole    bool   // it goes on, a minute at the most, until there has been all that is needed: a slow machine sends little

	router  *router
	counts  *soakCounts
	weather func(func(provider int) sim.Profile)
}

// soaked is how things were when all was quiet.
type soaked struct {
	sent       int
	goroutines int
	heap       uint64
}

// drive sends n requests at the rate of the soak, or as many as the time lets it, in changing weather, and waits for the last in
// good weather.
func (s *soak) drive(t *testing.T, random *rand.Rand, from, n int, lasts time.Duration) soaked {
	var all sync.WaitGroup
	slots := make(chan struct{}, s.atOnce)
	began := time.Now()
	var changed time.Time
	sent, changes := 0, 0
	more := func() bool {
		took := time.Since(began)
		return took < lasts || s.whole && took < lasts+time.Minute && s.counts.lacks() != nil
	}
	for ; sent < n && more(); sent++ {
		if time.Since(changed) > 2*time.Second {
			changed = time.Now()
			s.weather(func(provider int) sim.Profile {
				if changes%2 == 0 && provider%soakDenied < 2 {
					return squall()
				}
				return mood(random)
			})
			changes++
		}
		if wait := time.Until(began.Add(time.Duration(sent) * time.Second / soakRate)); wait > 0 {
			time.Sleep(wait) // the rate is the point
		}
		slots <- struct{}{}
		i := from + sent
		all.Go(func() {
			defer func() { <-slots }()
			s.router.soak(t, s.counts, i)
		})
	}
	s.weather(func(int) sim.Profile { return soakAnswer })
	all.Wait()
	s.router.client.CloseIdleConnections()
	runtime.GC()
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return soaked{from + sent, goroutinesIn("chaperone/engine/dispatch.("), memory.HeapAlloc}
}

// goroutinesIn counts those that are in a package.
func goroutinesIn(frame string) int {
	var b strings.Builder
	pprof.Lookup("goroutine").WriteTo(&b, 2)
	n := 0
	for _, stack := range strings.Split(b.String(), "\n\n") {
		if strings.Contains(stack, frame) {
			n++
		}
	}
	return n
}

const soakTool = `"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","properties":` +
	`{"what":{"type":"string"},"where":{"type":"string"},"when":{"type":"string"},"count":{"type":"integer"}},"required":["what","where","when","count"]}}}],"tool_choice":"required",`

const soakSchema = `"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object","properties":` +
	`{"title":{"type":"string"},"body":{"type":"string"},"year":{"type":"integer"}},"required":["title","body","year"]}}},`

// soak sends request number i and counts what came of it.
func (r *router) soak(t *testing.T, counts *soakCounts, i int) {
	kind, more := "text", ""
	switch i % 4 {
	case 1:
		kind, more = "tool", soakTool
	case 3:
		kind, more = "structured", soakSchema
	}
	organisation, stream := []string{"open", "strict"}[i/4%2], i%3 > 0
	body := fmt.Appendf(nil, `{"model":"m/one","stream":%t,"user":"%s/%d",%s"messages":[{"role":"user","content":"question %d"}]}`, stream, organisation, i, more, i)
	completion, err := sim.Answer(soakAnswer, body)
	if err != nil {
		t.Error(err)
		return
	}
	right, arguments := completion.Choices[0], ""
	if right.Call != nil {
		arguments = right.Call.Arguments
	}
	got := r.send(t, "sk-"+organisation, body, stream)
	rec := r.engine.Record(got.header.Get("X-Generation-Id"))
	if rec == nil {
		t.Errorf("request %d has no record: %d %+v", i, got.status, got.failure)
		return
	}
	counts.add("asked: " + kind)
	for _, a := range rec.Attempts {
		counts.add("attempts: " + a.Purpose)
	}
	whole := got.text == right.Text && got.arguments == arguments && got.finish == right.FinishReason
	switch {
	case got.done && !whole:
		t.Errorf("request %d: a client takes for whole %q %q (%s); right is %q %q (%s)\n%s", i, got.text, got.arguments, got.finish, right.Text, arguments, right.FinishReason, outcomes(rec))
		counts.add("SHOWN AS WHOLE AND NOT")
	case got.done:
		counts.add("whole")
		if rec.Outcome.Rescued != "" {
			counts.add("whole: rescued by " + rec.Outcome.Rescued)
		}
	case !strings.HasPrefix(right.Text, got.text) || !strings.HasPrefix(arguments, got.arguments):
		t.Errorf("request %d: %q %q is no part of %q %q", i, got.text, got.arguments, right.Text, arguments)
	case !lostByTheRules(got, outcomes(rec), rec.Outcome.NotRescued):
		t.Errorf("request %d was lost: status %d, %+v, %s, %q", i, got.status, got.failure, outcomes(rec), rec.Outcome.NotRescued)
		counts.add("LOST")
	case rec.Outcome.NotRescued != "":
		counts.add("broken off, not rescued: " + rec.Outcome.NotRescued)
	default:
		counts.add(fmt.Sprintf("answered with the provider's refusal: %d", got.status))
	}
}

// lostByTheRules says whether a failed request is one that no rule lets another endpoint save.
func lostByTheRules(got received, attempts, notRescued string) bool {
	switch {
	case notRescued == "the answer has more than text: a tool call, reasoning, a refusal or media", notRescued == "the answer has its finish reason":
		return got.status == http.StatusOK
	case notRescued == "the provider ended the answer for what it says":
		return true
	}
	return strings.Contains(attempts, ":content_policy") || strings.Contains(attempts, ":invalid_request")
}

func deniedNames() string {
	var names []string
	for i := range soakDenied {
		names = append(names, fmt.Sprintf("%q", fmt.Sprintf("p%d", i)))
	}
	return strings.Join(names, ", ")
}
