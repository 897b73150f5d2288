package engine_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

// The worlds of this test are drawn at random: providers with terms by credential, organisations, policies and faults. What a
// policy means is written twice, once as Rego and once as a Go predicate over the world, and the simulated providers are asked
// what reached them.

type terms struct{ training, retains string }

type group struct {
	name string
	key  string
	terms
}

type supplier struct {
	sim     *sim.Provider
	dialect string
	id      string
	region  string
	quant   string
	price   float64
	groups  []group
	healthy bool
}

type rule struct {
	rego string
	// denies is what the rule means for a supplier's endpoint under one group's terms.
	denies func(s *supplier, g *group, stream bool) bool
}

var rules = []func(r *rand.Rand) rule{
	func(*rand.Rand) rule {
		return rule{`deny contains "trains" if input.endpoint.data_policy.training != "no"`,
			func(_ *supplier, g *group, _ bool) bool { return g.training != "no" }}
	},
	func(*rand.Rand) rule {
		return rule{"deny contains \"region\" if {\n\tsome r in input.endpoint.processing_regions\n\tr != \"eu\"\n}",
			func(s *supplier, _ *group, _ bool) bool { return s.region != "eu" }}
	},
	func(*rand.Rand) rule {
		return rule{`allow if input.endpoint.quantization in {"fp16", "bf16"}`,
			func(s *supplier, _ *group, _ bool) bool { return s.quant != "fp16" && s.quant != "bf16" }}
	},
	func(r *rand.Rand) rule {
		ceiling := 1 + r.IntN(3)
		return rule{fmt.Sprintf(`deny contains {"code": "max_price", "message": "dear"} if input.endpoint.price.prompt > %d`, ceiling),
			func(s *supplier, _ *group, _ bool) bool { return s.price > float64(ceiling) }}
	},
	func(*rand.Rand) rule {
		return rule{"deny contains \"retains\" if {\n\tinput.request.stream\n\tinput.endpoint.data_policy.retains_prompts != \"no\"\n}",
			func(_ *supplier, g *group, stream bool) bool { return stream && g.retains != "no" }}
	},
	func(r *rand.Rand) rule {
		id := fmt.Sprintf("p%d", r.IntN(suppliers))
		return rule{fmt.Sprintf(`deny contains "unwanted" if input.endpoint.provider == %q`, id),
			func(s *supplier, _ *group, _ bool) bool { return s.id == id }}
	},
	func(*rand.Rand) rule { // an author's mistake: a builtin error must deny, not vanish
		return rule{`deny contains "four bits" if to_number(trim_prefix(input.endpoint.quantization, "fp")) < 8`,
			func(s *supplier, _ *group, _ bool) bool { return !strings.HasPrefix(s.quant, "fp") }}
	},
}

const suppliers = 8

// faultsBeforeCommit are those that a fallback can hide.
var faultsBeforeCommit = []sim.Fault{
	{Kind: sim.Reset}, {Kind: sim.Close}, {Kind: sim.Status, Status: 500}, {Kind: sim.Status, Status: 503},
	{Kind: sim.Status, Status: 429, RetryAfter: 20 * time.Millisecond}, {Kind: sim.Status, Status: 401}, {Kind: sim.Status, Status: 404},
	{Kind: sim.ErrorEvent}, {Kind: sim.ErrorBody}, {Kind: sim.Empty}, {Kind: sim.ContentType}, {Kind: sim.HTML},
	{Kind: sim.Redirect}, {Kind: sim.UnsupportedParameter}, {Kind: sim.Silent},
}

type world struct {
	suppliers []*supplier
	orgs      map[string][]rule // what binds each organisation, everyone's rules included
	dir       string
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func drawWorld(t *testing.T, r *rand.Rand, sims []*sim.Provider) *world {
	w := &world{orgs: map[string][]rule{}, dir: t.TempDir()}
	for i, p := range sims {
		s := &supplier{sim: p, dialect: pick(r, "openai", "anthropic"), id: fmt.Sprintf("p%d", i), region: pick(r, "eu", "eu", "us"), quant: pick(r, "fp16", "bf16", "fp8", "int4"),
			price: float64(1+r.IntN(4)) + 0.5, healthy: r.IntN(2) == 0}
		for _, name := range [][]string{{"paid"}, {"free", "paid"}}[r.IntN(2)] {
			s.groups = append(s.groups, group{name, fmt.Sprintf("SK_%s_%s", s.id, name), terms{pick(r, "no", "no", "yes", "unknown"), pick(r, "no", "yes")}})
		}
		profile := sim.Profile{Name: s.id, Seed: r.Uint64(), LogSize: 200_000}
		for _, g := range s.groups {
			profile.Credentials = append(profile.Credentials, sim.Credential{Name: g.name, Key: g.key})
		}
		if !s.healthy {
			f := faultsBeforeCommit[r.IntN(len(faultsBeforeCommit))]
			f.Share = pick(r, 0.3, 1)
			profile.Faults = []sim.Fault{f}
		}
		if err := p.SetProfile(profile); err != nil {
			t.Fatal(err)
		}
		w.suppliers = append(w.suppliers, s)
	}
	var everyone []rule
	if r.IntN(3) == 0 {
		everyone = append(everyone, rules[r.IntN(len(rules))](r))
	}
	w.write(t, r, everyone)
	return w
}

func (w *world) write(t *testing.T, r *rand.Rand, everyone []rule) {
	var conf, cat strings.Builder
	file := func(name, text string) {
		path := filepath.Join(w.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintln(&conf, "catalog = [\"catalog.toml\"]\n[timeouts]\nfirst_byte = \"400ms\"\nanswer = \"400ms\"\ntotal = \"5s\"\n[dispatch]\nbackoff = \"10ms\"\n[routing]\nattempts = 40\n[[policy.sources]]\nname = \"own\"\npath = \"rego\"")
	bind := func(scope, pkg string, rs []rule) {
		if len(rs) == 0 {
			return
		}
		text := "package " + pkg + "\n\n"
		for _, x := range rs {
			text += x.rego + "\n\n"
		}
		file("rego/"+pkg+".rego", text)
		fmt.Fprintf(&conf, "[[policy.bindings]]\npackage = %q\nfor = %q\n", pkg, scope)
	}
	bind("everyone", "everyone", everyone)
	for _, org := range []string{"open", "mild", "strict"} {
		key := sha256.Sum256([]byte("sk-" + org))
		fmt.Fprintf(&conf, "[organisations.%s]\n[[keys]]\norganisation = %q\nsha256 = \"%x\"\n", org, org, key)
		var own []rule
		for range map[string]int{"mild": 1, "strict": 3}[org] {
			own = append(own, rules[r.IntN(len(rules))](r))
		}
		bind("org:"+org, "org_"+org, own)
		w.orgs[org] = append(slices.Clone(everyone), own...)
	}
	fmt.Fprintln(&cat, "[models.\"m/one\"]\nname = \"One\"\ncontext_length = 32000")
	for _, s := range w.suppliers {
		fmt.Fprintf(&cat, "[providers.%s]\nname = %q\ndialect = %q\nbase_url = %q\n", s.id, strings.ToUpper(s.id), s.dialect, s.sim.URL())
		for _, g := range s.groups {
			fmt.Fprintf(&cat, "[providers.%s.credentials.%s]\nkey_env = %q\n[providers.%s.credentials.%s.data_policy]\ntraining = %q\nretains_prompts = %q\n",
				s.id, g.name, g.key, s.id, g.name, g.training, g.retains)
		}
		fmt.Fprintf(&cat, "[[endpoints]]\nmodel = \"m/one\"\nprovider = %q\nupstream_model = \"one\"\nquantization = %q\nprocessing_regions = [%q]\nprice = { prompt = %g, completion = 4 }\n",
			s.id, s.quant, s.region, s.price)
	}
	file("chaperone.toml", conf.String())
	file("catalog.toml", cat.String())
	if err := os.MkdirAll(filepath.Join(w.dir, "rego"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// permitted says whether some row of s, or its row under the credential, may serve an organisation.
func (w *world) permitted(org string, s *supplier, g *group, stream bool) bool {
	allows, allowed := 0, true
	for _, x := range w.orgs[org] {
		if strings.HasPrefix(x.rego, "allow") {
			allows++
		}
		if x.denies(s, g, stream) {
			allowed = false
		}
	}
	return allowed
}

func TestNothingReachesADeniedRow(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	worlds, requests := 100, 100
	if testing.Short() {
		worlds = 10
	}
	r := rand.New(rand.NewPCG(seed, 1))
	sims := make([]*sim.Provider, suppliers)
	for i := range sims {
		p, err := sim.Start(t.Context(), sim.Profile{Name: fmt.Sprintf("p%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		sims[i] = p
	}
	cases, served, refused, fallbacks := 0, 0, 0, 0
	var mu sync.Mutex
	for range worlds {
		w := drawWorld(t, r, sims)
		seen := make([]int, len(sims))
		for i, p := range sims {
			seen[i] = len(p.Log())
		}
		e, err := engine.Open(t.Context(), engine.Options{
			ConfigPath: filepath.Join(w.dir, "chaperone.toml"),
			Env:        func(name string) (string, bool) { return name, strings.HasPrefix(name, "SK_") },
			Log:        slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		slots := make(chan struct{}, 32)
		for n := range requests {
			org := pick(r, "open", "mild", "strict")
			stream := r.IntN(2) == 0
			prefs := pick(r, `{}`, `{}`, `{"sort":"price"}`, `{"order":["p3","p1"]}`, `{"order":["p0"],"allow_fallbacks":true}`)
			front := pick(r, wire.Chat, wire.Messages)
			body := fmt.Sprintf(`{"model":"m/one",%s,"stream":%t,"max_tokens":8,"provider":%s,"messages":[{"role":"user","content":"hello %d"}]}`,
				fmt.Sprintf(map[wire.Shape]string{wire.Chat: `"user":"%s/%d"`, wire.Messages: `"metadata":{"user_id":"%s/%d"}`}[front], org, n), stream, prefs, n)
			wg.Add(1)
			slots <- struct{}{}
			go func() {
				defer func() { <-slots; wg.Done() }()
				possible := false
				for _, s := range w.suppliers {
					for i := range s.groups {
						possible = possible || s.healthy && w.permitted(org, s, &s.groups[i], stream)
					}
				}
				attempts, err := askIn(e, "sk-"+org, front, body)
				mu.Lock()
				defer mu.Unlock()
				cases++
				if err == nil {
					served++
					if attempts > 1 {
						fallbacks++
					}
				} else {
					refused++
					if possible {
						t.Errorf("seed %d: %s failed although a permitted row was healthy: %v", seed, body, err)
					}
				}
			}()
		}
		wg.Wait()
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
		for i, s := range w.suppliers {
			if err := s.sim.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, rec := range s.sim.Log()[seen[i]:] {
				org, _, _ := strings.Cut(rec.User, "/")
				g := slices.IndexFunc(s.groups, func(g group) bool { return g.name == rec.Credential })
				if g < 0 {
					t.Errorf("seed %d: %s got a credential that is not its own", seed, s.id)
				} else if !w.permitted(org, s, &s.groups[g], rec.Stream) {
					t.Errorf("seed %d: a request of %s reached %s under its %s terms, which policy denies", seed, org, s.id, rec.Credential)
				}
			}
		}
		if t.Failed() {
			t.Logf("the world of the failure is in %s", w.dir)
			break
		}
	}
	t.Logf("%d cases: %d served (%d after a fallback), %d rightly refused", cases, served, fallbacks, refused)
	if !t.Failed() && (served == 0 || refused == 0 || fallbacks == 0) {
		t.Error("the worlds are too tame: nothing was served, refused or fell back")
	}
}

// ask sends a chat completion.
func ask(e *engine.Engine, key, body string) (attempts int, err error) {
	return askIn(e, key, wire.Chat, body)
}

// askIn sends one request and reads the whole answer. attempts is how many it took, where its record is kept.
func askIn(e *engine.Engine, key string, front wire.Shape, body string) (attempts int, err error) {
	resp, err := e.Do(context.Background(), engine.Call{Key: key, Shape: front, Body: []byte(body)})
	if err != nil {
		return 0, err
	}
	if resp.Stream != nil {
		defer resp.Stream.Close()
		text, err := io.ReadAll(resp.Stream)
		if err != nil {
			return 0, err
		}
		mark := map[wire.Shape]string{wire.Chat: "data: [DONE]\n\n", wire.Messages: "data: {\"type\":\"message_stop\"}\n\n"}[front]
		if !strings.HasSuffix(string(text), mark) {
			return 0, &wire.Error{Message: "the stream has no end mark: " + string(text)}
		}
	}
	if rec := e.Record(resp.Plan.ID); rec != nil {
		attempts = len(rec.Attempts)
	}
	return attempts, nil
}
