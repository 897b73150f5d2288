package engine_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/journal"
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
		profile := sim.Profile{Name: s.id, Seed: r.Uint64(), LogSize: 200_000, KeepRequests: true}
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

// tighten draws the policies anew, which may deny what they permitted and permit what they denied.
func (w *world) tighten(t *testing.T, r *rand.Rand) {
	w.write(t, r, []rule{rules[r.IntN(len(rules))](r)})
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
	fmt.Fprintln(&conf, "catalog = [\"catalog.toml\"]\n[timeouts]\nfirst_byte = \"400ms\"\nanswer = \"400ms\"\ntotal = \"5s\"\n[dispatch]\nbackoff = \"10ms\"\n[routing]\nattempts = 40\n"+
		"[presets.cheap]\nmodel = \"m/one\"\nprovider = { sort = \"price\" }\n[presets.first]\nmodels = [\"m/one\"]\nprovider = { order = [\"p3\", \"p1\"] }\n"+
		"[[policy.sources]]\nname = \"own\"\npath = \"rego\"")
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
	for name, output := range map[string]string{"one": "text", "embed": "embeddings", "rank": "rerank"} {
		fmt.Fprintf(&cat, "[models.\"m/%s\"]\nname = %q\ncontext_length = 32000\noutput_modalities = [%q]\n", name, name, output)
	}
	for _, s := range w.suppliers {
		fmt.Fprintf(&cat, "[providers.%s]\nname = %q\ndialect = %q\nbase_url = %q\n", s.id, strings.ToUpper(s.id), s.dialect, s.sim.URL())
		for _, g := range s.groups {
			fmt.Fprintf(&cat, "[providers.%s.credentials.%s]\nkey_env = %q\n[providers.%s.credentials.%s.data_policy]\ntraining = %q\nretains_prompts = %q\n",
				s.id, g.name, g.key, s.id, g.name, g.training, g.retains)
		}
		for _, model := range []string{"one", "embed", "rank"} {
			fmt.Fprintf(&cat, "[[endpoints]]\nmodel = \"m/%s\"\nprovider = %q\nupstream_model = %q\nquantization = %q\nprocessing_regions = [%q]\nprice = { prompt = %g, completion = 4 }\n",
				model, s.id, model, s.quant, s.region, s.price)
		}
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

// fronts are every way to ask; a body has the fields that all have behind "{".
var fronts = []struct {
	shape   wire.Shape
	body    string // with the text
	talks   bool   // it can be streamed, and every dialect can say it
	listing bool   // only OpenAI's dialect can say it
}{
	{wire.Chat, `"max_tokens":8,"messages":[{"role":"user","content":%q}]}`, true, false},
	{wire.Messages, `"max_tokens":8,"messages":[{"role":"user","content":%q}]}`, true, false},
	{wire.Responses, `"max_output_tokens":8,"input":%q}`, true, false},
	{wire.Completions, `"max_tokens":8,"prompt":%q}`, true, false},
	{wire.CountTokens, `"messages":[{"role":"user","content":%q}]}`, false, false},
	{wire.Embeddings, `"input":%q}`, false, true},
	{wire.Rerank, `"query":"x","documents":[%q,"y"]}`, false, true},
}

// mark is in the text of every request: whose it is.
var mark = regexp.MustCompile(`of:(\w+):`)

func TestNothingReachesADeniedRow(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	worlds, requests := 50, 100
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
	counted := governed{reached: map[wire.Shape]int{}}
	for range worlds {
		w := drawWorld(t, r, sims)
		e, err := engine.Open(t.Context(), engine.Options{
			ConfigPath: filepath.Join(w.dir, "chaperone.toml"),
			Env:        func(name string) (string, bool) { return name, strings.HasPrefix(name, "SK_") },
			Log:        slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		counted.ask(t, e, w, r, seed, requests)
		// What is kept of answers and conversations was kept under other policies.
		w.tighten(t, r)
		if err := e.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		counted.ask(t, e, w, r, seed, requests)
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the world of the failure is in %s", w.dir)
			break
		}
	}
	t.Logf("%+v", &counted)
	if counted.late > counted.served/10 {
		t.Errorf("%d requests had no answer in time from a provider that was well", counted.late)
	}
	if t.Failed() {
		return
	}
	for what, n := range map[string]int{"served": counted.served, "refused": counted.refused, "fell back": counted.fallbacks, "was remembered": counted.hits, "was sticky": counted.sticky} {
		if n == 0 {
			t.Errorf("the worlds are too tame: nothing %s", what)
		}
	}
	for _, f := range fronts {
		if counted.reached[f.shape] == 0 {
			t.Errorf("no request to %s reached a provider", f.shape)
		}
	}
}

// governed counts what came of requests.
type governed struct {
	served, refused, fallbacks, hits, sticky int
	late                                     int // lost to a machine so busy that a provider which is well did not answer in time
	reached                                  map[wire.Shape]int
}

// ask sends requests of every kind to a world and checks what has reached its providers.
func (c *governed) ask(t *testing.T, e *engine.Engine, w *world, r *rand.Rand, seed uint64, requests int) {
	t.Helper()
	seen := make([]int, len(w.suppliers))
	for i, s := range w.suppliers {
		seen[i] = len(s.sim.Log())
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var busy bool
	var lost []string
	slots := make(chan struct{}, 32)
	for range requests {
		front := fronts[r.IntN(len(fronts))]
		org := pick(r, "open", "mild", "strict")
		stream := front.talks && r.IntN(2) == 0
		remembered := r.IntN(4) == 0 // then it is one of a few, which have been asked before
		model := map[wire.Shape]string{wire.Embeddings: `"model":"m/embed"`, wire.Rerank: `"model":"m/rank"`}[front.shape]
		if model == "" {
			model = pick(r, `"model":"m/one"`, `"model":"m/one"`, `"preset":"cheap"`, `"model":"m/one@preset/first"`, `"preset":"first"`)
		}
		prefs := pick(r, ``, ``, `,"provider":{"sort":"price"}`, `,"provider":{"order":["p3","p1"]}`, `,"provider":{"order":["p0"],"allow_fallbacks":true}`)
		session := pick(r, ``, `,"session_id":"a"`, `,"session_id":"b"`)
		if remembered && !front.listing {
			model, prefs, session = `"model":"m/one"`, ``, ``
		}
		body := fmt.Sprintf(`{%s,"stream":%t%s%s,`, model, stream, prefs, session) + fmt.Sprintf(front.body, fmt.Sprintf("hello of:%s: %t", org, remembered))
		call := engine.Call{Key: "sk-" + org, Shape: front.shape, Body: []byte(body), Cache: engine.CacheWish{Asked: true, Enabled: remembered}}
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			possible := false
			for _, s := range w.suppliers {
				for i := range s.groups {
					possible = possible || s.healthy && w.permitted(org, s, &s.groups[i], stream) && (!front.listing || s.dialect == "openai")
				}
			}
			rec, err := send(e, call)
			mu.Lock()
			defer mu.Unlock()
			busy = busy || w.late(e, rec, err)
			switch {
			case err != nil && possible:
				lost = append(lost, fmt.Sprintf("%s to %s failed although a permitted row was healthy: %v", body, front.shape, err))
			case err != nil:
				c.refused++
			default:
				c.served++
			}
			if rec == nil || err != nil {
				return
			}
			if o := rec.Outcome; o.CachedFrom != "" {
				c.hits++
				// Nothing was sent; what is told again must come from a row that may serve now.
				if !w.permittedRow(t, org, o.Row, stream) {
					t.Errorf("seed %d: %s was told again what %s had said, which policy denies", seed, org, o.Row)
				}
			}
			if len(rec.Attempts) > 0 {
				c.reached[front.shape]++
			}
			if len(rec.Attempts) > 1 {
				c.fallbacks++
			}
			if len(rec.Sticky) > 0 {
				c.sticky++
			}
		}()
	}
	wg.Wait()
	if busy { // what is well may rest for others' requests too
		c.late += len(lost)
	} else {
		for _, what := range lost {
			t.Errorf("seed %d: %s", seed, what)
		}
	}
	for i, s := range w.suppliers {
		if err := s.sim.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, rec := range s.sim.Log()[seen[i]:] {
			if rec.Fate == sim.Unread && len(rec.Body) == 0 {
				continue // the router has hung up on a provider so slow that it had not read the request
			}
			found := mark.FindSubmatch(rec.Body)
			if found == nil || w.orgs[string(found[1])] == nil && string(found[1]) != "open" {
				t.Fatalf("seed %d: nobody knows whose request reached %s: %s", seed, s.id, rec.Body)
			}
			org := string(found[1])
			g := slices.IndexFunc(s.groups, func(g group) bool { return g.name == rec.Credential })
			if g < 0 {
				t.Errorf("seed %d: %s got a credential that is not its own", seed, s.id)
			} else if !w.permitted(org, s, &s.groups[g], rec.Stream) {
				t.Errorf("seed %d: a request of %s reached %s under its %s terms, which policy denies: %s", seed, org, s.id, rec.Credential, rec.Body)
			}
		}
	}
}

// permittedRow is permitted for a row by its id.
func (w *world) permittedRow(t *testing.T, org, row string, stream bool) bool {
	for _, s := range w.suppliers {
		for i := range s.groups {
			if strings.HasSuffix(row, "@"+s.id+"#"+s.groups[i].name) {
				return w.permitted(org, s, &s.groups[i], stream)
			}
		}
	}
	t.Errorf("there is no row %q", row)
	return false
}

// ends are what a whole stream of each API ends with.
var ends = map[wire.Shape]string{
	wire.Chat: "data: [DONE]\n\n", wire.Completions: "data: [DONE]\n\n", wire.Messages: "data: {\"type\":\"message_stop\"}\n\n",
}

// ask sends a chat completion.
func ask(e *engine.Engine, key, body string) (attempts int, err error) {
	rec, err := send(e, engine.Call{Key: key, Shape: wire.Chat, Body: []byte(body)})
	if rec != nil {
		attempts = len(rec.Attempts)
	}
	return attempts, err
}

// late says whether a provider that is well was asked for a request and did not answer within the limit.
func (w *world) late(e *engine.Engine, rec *journal.Record, failed error) bool {
	if told := (*wire.Error)(nil); errors.As(failed, &told) {
		rec = e.Record(told.DecisionID)
	}
	return rec != nil && slices.ContainsFunc(rec.Attempts, func(a journal.Attempt) bool {
		return a.Outcome == "timeout" && slices.ContainsFunc(w.suppliers, func(s *supplier) bool { return s.healthy && s.id == a.ProviderID })
	})
}

// send sends one request and reads the whole answer. The record is nil where it is not kept.
func send(e *engine.Engine, call engine.Call) (*journal.Record, error) {
	resp, err := e.Do(context.Background(), call)
	if err != nil {
		return nil, err
	}
	if resp.Stream != nil {
		defer resp.Stream.Close()
		text, err := io.ReadAll(resp.Stream)
		if err != nil {
			return nil, err
		}
		whole := strings.HasSuffix(string(text), ends[call.Shape])
		if call.Shape == wire.Responses {
			last := string(text[max(0, strings.LastIndex(string(text), "event: ")):])
			whole = strings.HasPrefix(last, "event: response.completed\n") || strings.HasPrefix(last, "event: response.incomplete\n")
		}
		if !whole {
			return nil, &wire.Error{Message: "the stream has no end mark: " + string(text), DecisionID: resp.Plan.ID}
		}
	}
	return e.Record(resp.Plan.ID), nil
}
