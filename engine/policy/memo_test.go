package policy

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

func pick[T any](r *rand.Rand, among ...T) T { return among[r.IntN(len(among))] }

func some(r *rand.Rand, among ...string) []string {
	var out []string
	for _, s := range among {
		if r.IntN(2) == 0 {
			out = append(out, s)
		}
	}
	return out
}

func randomTri(r *rand.Rand) catalog.Tri { return pick(r, catalog.Yes, catalog.No, catalog.Unknown) }

// randomRows is a catalog whose rows fall into few classes for each policy, in its own combination for each.
func randomRows(r *rand.Rand, n int) []*catalog.Row {
	rows := make([]*catalog.Row, n)
	for i := range rows {
		provider := &catalog.Provider{ID: pick(r, "alpha", "beta", "gamma", "delta")}
		rows[i] = &catalog.Row{
			Index: i, ID: fmt.Sprintf("acme/large@%s-%d#paid", provider.ID, i), Provider: provider, Tag: provider.ID,
			Model: &catalog.Model{ID: pick(r, "acme/large", "acme/small", "other/large")},
			Group: &catalog.CredentialGroup{Name: pick(r, "paid", "free"), NoAuth: r.IntN(4) == 0},
			DataPolicy: catalog.DataPolicy{
				Training: randomTri(r), RetainsPrompts: randomTri(r), RetentionDays: pick(r, 0, 30, 36500), ZDR: randomTri(r),
				ZDROption: pick(r, "", "header"), Publishes: randomTri(r),
				AsOf: today.AddDate(0, 0, -pick(r, 10, 100, 400)), ReviewBy: today.AddDate(0, 0, pick(r, -1, 0, 1)),
			},
			ProcessingRegions: some(r, "ch", "eu", "us"), Jurisdiction: pick(r, "DE", "US", ""), Headquarters: pick(r, "DE", "US", ""),
			Quantization: pick(r, "fp8", "int4", ""), Certifications: some(r, "iso27001", "soc2"),
			Distillation:    catalog.Distillation{Permitted: catalog.Tri(pick(r, "yes", "no", "unknown")), ReviewBy: pick(r, time.Time{}, today.AddDate(0, 0, r.IntN(4)-2))},
			ContextLength:   128_000,
			InputModalities: []string{"text"}, OutputModalities: []string{"text"}, Parameters: map[string]bool{"tools": r.IntN(2) == 0},
			Prices: catalog.Prices{Prompt: pick[catalog.Picodollars](r, 0, 500_000, 3_000_000), Completion: pick[catalog.Picodollars](r, 1_500_000, 15_000_000)},
			Free:   r.IntN(3) == 0, Attributes: map[string]float64{"quality": pick(r, 0.1, 0.9)}, Labels: map[string]string{"tier": pick(r, "gold", "tin")},
		}
		if r.IntN(4) == 0 {
			rows[i].Labels, rows[i].Attributes = nil, nil
		}
	}
	return rows
}

func randomRequest(r *rand.Rand) *wire.Request {
	q := request()
	r64 := r.Uint64()
	for i := range 8 {
		q.Digest[i] = byte(r64 >> (8 * i))
	}
	q.Stream, q.N, q.Store = r.IntN(2) == 0, pick[int64](r, 1, 2), r.IntN(4) == 0
	q.MaxOutputTokens, q.PromptTokens = pick[int64](r, 0, 100, 5000), pick[int64](r, 10, 5000)
	q.ToolKinds = some(r, "function", "web_search")
	q.ToolCount = len(q.ToolKinds)
	q.InputModalities = append(some(r, "image"), "text")
	q.Claims = wire.Claims{
		User: pick(r, "", "ann", "17"), Metadata: map[string]string{"case": pick(r, "a", "b")}, Tags: some(r, "x", "y"),
		DataClass: pick(r, "", "internal", "restricted", "nonsense"),
	}
	return q
}

func randomPrincipal(r *rand.Rand) *account.Principal {
	p := principal()
	p.DataClass = pick(r, "public", "internal", "confidential")
	p.Labels = map[string]string{"stage": pick(r, "production", "test")}
	if r.IntN(3) == 0 {
		p.Team = nil
	}
	if r.IntN(4) == 0 {
		p.Organisation = &account.Organisation{ID: "other"}
	}
	return p
}

func randomView(r *rand.Rand, rows int) *telemetry.View {
	if r.IntN(4) == 0 {
		return nil
	}
	return randomViewOf(r, rows)
}

func randomViewOf(r *rand.Rand, rows int) *telemetry.View {
	v := &telemetry.View{Rows: make([]telemetry.RowStats, rows)}
	for i := range v.Rows {
		ttft, tps := pick(r, 200.0, 1900, 5000), pick(r, 5.0, 50, 200)
		v.Rows[i] = telemetry.RowStats{
			Samples: pick[int64](r, 0, 7, 300), TTFT: telemetry.Percentiles{P50: ttft, P75: ttft, P90: ttft, P99: 2 * ttft},
			TPS: telemetry.Percentiles{P50: tps, P75: tps, P90: tps, P99: tps}, Uptime: pick(r, 0.5, 0.99, 1),
			ExpectedTTFT: 700, ExpectedTPS: 40, Success: 0.95,
		}
	}
	return v
}

// pool is bindings that between them read most of the input.
var pool = []string{
	"package = \"library.training\"",
	"package = \"library.distillation\"",
	"package = \"library.retention\"\nparams = { max_days = 30 }",
	"package = \"library.zero_retention\"",
	"package = \"library.residency\"\nparams = { regions = [\"eu\", \"ch\"] }",
	"package = \"library.jurisdiction\"\nparams = { jurisdictions = [\"DE\", \"unknown\"] }",
	"package = \"library.certifications\"\nparams = { required = [\"soc2\"] }",
	"package = \"library.evidence\"\nparams = { max_days = 100 }",
	"package = \"library.providers\"\nparams = { deny = [\"beta\"] }",
	"package = \"library.models\"\nparams = { allow = [\"acme/*\"] }",
	"package = \"library.price\"\nparams = { prompt = 1 }",
	"package = \"library.free_credentials\"",
	"package = \"library.performance\"\nparams = { max_ttft_ms = 2000, min_uptime = 0.9 }",
	"package = \"library.self_hosted\"\nparams = { from = \"confidential\" }",
	"package = \"library.provider_tools\"",
	"package = \"library.provider_state\"",
	"package = \"library.processors\"\nparams = { max = 3 }",
	"package = \"library.output_limit\"\nparams = { max = 1000 }",
	"package = \"library.office_hours\"\nparams = { from_hour = 0, to_hour = 11, weekdays = [\"monday\", \"tuesday\"] }",
	"package = \"org.mixed\"",
	"package = \"org.failing\"",
	"package = \"org.hostile\"",
	"package = \"org.weights\"",
	"package = \"org.trial\"\nenforcement = \"warn\"\nuntil = 2026-11-23",
}

const mixed = `package org.mixed

import input.endpoint
import input.request

deny contains $"{request.max_output_tokens} of {endpoint.max_output_tokens}" if {
	request.max_output_tokens > endpoint.max_output_tokens
	"image" in request.input_modalities
	object.get(endpoint.labels, "tier", "none") != "gold"
}

deny contains {"code": "case", "message": m} if {
	m := object.get(input.claims.metadata, "case", "none")
	m == "b"
	object.get(endpoint.attributes, "quality", 0) < 0.5
}

deny contains tag if some tag in input.claims.tags

allow if not "us" in endpoint.processing_regions

allow if object.get(input.principal.labels, "stage", "test") == "test"

require contains {"log": "metadata", "max_output_tokens": 2000 + request.n} if request.stream
`

const failing = `package org.failing

deny contains "under age" if {
	input.claims.user != ""
	to_number(input.claims.user) < input.request.n
	endpoint_is_cheap
}

endpoint_is_cheap if input.endpoint.price.prompt < 1
`

const hostile = `package org.hostile

allow if true

deny contains "never" if false

require contains {"max_output_tokens": 1000000}
`

const weights = `package org.weights

prefer["price"] := 3 if input.request.stream

prefer["latency"] := input.request.n
`

const trialRules = `package org.trial

deny contains "sample" if input.endpoint.stats.samples < 5

reject contains "two" if input.request.n == 2
`

func withSources(bindings ...string) files {
	f := files{
		"rego/mixed.rego": mixed, "rego/failing.rego": failing, "rego/hostile.rego": hostile,
		"rego/weights.rego": weights, "rego/trial.rego": trialRules,
	}
	f["chaperone.toml"] = "[policy]\nevaluation_timeout = \"10s\"\n[[policy.sources]]\nname = \"own\"\npath = \"rego\"\n" + strings.Join(bindings, "")
	return f
}

func bindingOf(text, scope string) string {
	return "[[policy.bindings]]\nfor = \"" + scope + "\"\n" + text + "\n"
}

var honoursAll = []string{
	ObligationMaxOutputTokens, ObligationStore, ObligationZDR, ObligationMaxProcessors,
	ObligationHedge, ObligationRescue, ObligationCache, ObligationLog,
}

// plainly is s without memory.
func (s *Set) plainly() *Set {
	p := s.on(s.rows)
	p.plain = true
	p.stats = s.stats // which remembers what was shown last
	return p
}

// on is s for other rows, having remembered nothing yet.
func (s *Set) on(rows []*catalog.Row) *Set {
	o := s.bare(rows)
	policies := map[*policy]*policy{}
	anew := func(bs []*binding) []*binding {
		out := make([]*binding, len(bs)) // not nil: what a scope without bindings of its own must not be
		for i, b := range bs {
			if policies[b.policy] == nil {
				policies[b.policy] = b.policy.anew()
			}
			c := *b
			c.policy = policies[b.policy]
			out[i] = &c
		}
		return out
	}
	o.everyone = anew(s.everyone)
	for k, bs := range s.byOrg {
		o.byOrg[k] = anew(bs)
	}
	for k, bs := range s.byTeam {
		o.byTeam[k] = anew(bs)
	}
	for k, bs := range s.byKey {
		o.byKey[k] = anew(bs)
	}
	return o
}

// bare is s for other rows, without its bindings.
func (s *Set) bare(rows []*catalog.Row) *Set {
	o := &Set{
		generation: s.generation, digest: s.digest, guard: newGuard(int(s.guard.oneIn), s.guard.log), requirePolicy: s.requirePolicy, honoured: s.honoured, stats: new(steady),
		byOrg: map[string][]*binding{}, byTeam: map[team][]*binding{}, byKey: map[string][]*binding{},
		rows: rows, endpoints: make([]EndpointInput, len(rows)),
	}
	o.dockets.Store(&map[scopeKey]*docket{})
	for i, row := range rows {
		var in Input
		in.fillEndpoint(row)
		o.endpoints[i] = in.Endpoint
	}
	return o
}

// anew is p having remembered nothing.
func (p *policy) anew() *policy {
	n := *p
	for _, q := range []**question{&n.row, &n.request, &n.prefer} {
		if *q != nil {
			c := **q
			c.memo = newMemo(c.reads)
			*q = &c
		}
	}
	return &n
}

func comparable(j *Judgement) any {
	type verdict struct {
		permit            Permit
		conditions        Obligations
		denials, warnings string
	}
	var vs []verdict
	for _, v := range j.Verdicts {
		p := v.Permit
		p.conditions = nil
		vs = append(vs, verdict{p, v.Permit.Obligations(), fmt.Sprintf("%+v", v.Denials), fmt.Sprintf("%+v", v.Warnings)})
	}
	return []any{fmt.Sprintf("%+v", j.Rejections), fmt.Sprintf("%+v", j.Warnings), fmt.Sprintf("%+v", j.Ignored), fmt.Sprint(j.Weights), vs}
}

// variants are bindings of the pool's packages under other parameters.
var variants = []string{
	"package = \"library.retention\"\nparams = { max_days = 0 }",
	"package = \"library.residency\"\nparams = { regions = [\"us\", \"unknown\"] }",
	"package = \"library.jurisdiction\"\nparams = { jurisdictions = [\"US\"] }",
	"package = \"library.certifications\"\nparams = { required = [\"soc2\", \"iso27001\"] }",
	"package = \"library.evidence\"\nparams = { max_days = 400 }",
	"package = \"library.providers\"\nparams = { allow = [\"alpha\", \"gamma\"] }",
	"package = \"library.models\"\nparams = { deny = [\"*/large\"] }",
	"package = \"library.price\"\nparams = { completion = 10 }",
	"package = \"library.performance\"\nparams = { min_tps = 20 }",
	"package = \"library.self_hosted\"\nparams = { from = \"internal\" }",
	"package = \"library.processors\"\nparams = { max = 1 }",
	"package = \"library.output_limit\"\nparams = { max = 10 }",
	"package = \"library.quantization\"\nparams = { allow = [\"fp8\"] }",
	"package = \"library.headquarters\"\nparams = { countries = [\"DE\"] }",
}

// compiledPool is every binding of the pool and its variants, compiled once.
func compiledPool(t *testing.T) *Set {
	t.Helper()
	var all []string
	for _, b := range append(slices.Clone(pool), variants...) {
		all = append(all, bindingOf(b, "everyone"))
	}
	return withSources(all...).mustLoad(t, honoursAll...)
}

// drawn is a set of some of s's bindings, each in some layer, for other rows.
func (s *Set) drawn(r *rand.Rand, n int, rows []*catalog.Row) *Set {
	o := s.bare(rows)
	for range n {
		b := *pick(r, s.everyone...)
		b.policy = b.policy.anew()
		switch r.IntN(4) {
		case 0:
			o.everyone = append(o.everyone, &b)
		case 1:
			k := pick(r, "acme", "other")
			o.byOrg[k] = append(o.byOrg[k], &b)
		case 2:
			k := team{pick(r, "acme", "other"), "fraud"}
			o.byTeam[k] = append(o.byTeam[k], &b)
		default:
			o.byKey[principal().Key.ID] = append(o.byKey[principal().Key.ID], &b)
		}
	}
	return o
}

func sameVerdict(a, b *Verdict) bool {
	p, q := a.Permit, b.Permit
	p.conditions, q.conditions = nil, nil
	return p == q && a.Permit.Obligations() == b.Permit.Obligations() && slices.Equal(a.Denials, b.Denials) && slices.Equal(a.Warnings, b.Warnings)
}

func sameJudgement(a, b *Judgement) bool {
	return slices.Equal(a.Rejections, b.Rejections) && slices.Equal(a.Warnings, b.Warnings) && slices.Equal(a.Ignored, b.Ignored) && maps.Equal(a.Weights, b.Weights) &&
		slices.EqualFunc(a.Verdicts, b.Verdicts, func(v, w Verdict) bool { return sameVerdict(&v, &w) })
}

// Random policies, parameters, catalogs and requests: what is remembered is what plain OPA says, with reasons and obligations.
func TestWhatIsRememberedIsWhatWouldBeEvaluated(t *testing.T) {
	seed := seeded(t).Uint64()
	all := compiledPool(t)
	cases := 100_000
	if testing.Short() || raceEnabled {
		cases = 4000
	}
	const queries = 40 // of one set
	var sets, done atomic.Int64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for !t.Failed() {
				n := sets.Add(1)
				if int(n-1)*queries >= cases {
					return
				}
				r := rand.New(rand.NewPCG(seed, uint64(n)))
				rows := randomRows(r, 1+r.IntN(6))
				set := all.drawn(r, 1+r.IntN(4), rows)
				plain := set.plainly()
				views := []*telemetry.View{randomView(r, len(rows)), randomView(r, len(rows))}
				j := &Judgement{}
				for range queries {
					done.Add(1)
					q := &Query{
						Principal: randomPrincipal(r), Request: randomRequest(r), Rows: rows, Stats: pick(r, views...),
						Now: today.Add(time.Duration(r.IntN(72)) * time.Hour),
					}
					if r.IntN(3) == 0 {
						q.Rows = rows[len(rows)/2:]
					}
					set.JudgeInto(context.Background(), q, j)
					again := set.Judge(context.Background(), q)
					want := plain.Judge(context.Background(), q)
					if !sameJudgement(j, want) || !sameJudgement(again, want) {
						t.Errorf("set %d\nremembered %+v\nagain      %+v\nevaluated  %+v", n, comparable(j), comparable(again), comparable(want))
						return
					}
				}
			}
		})
	}
	group.Wait()
	if n := done.Load(); !t.Failed() && n < int64(cases) {
		t.Fatalf("%d cases ran", n)
	}
}

func TestARowThatIsNotTheCatalogsIsJudgedAfresh(t *testing.T) {
	set := files{"chaperone.toml": bindingOf("package = \"library.training\"", "everyone")}.mustLoad(t)
	q := query()
	set = set.on(q.Rows)
	set.Judge(context.Background(), q)
	swapped := *q.Rows[0]
	swapped.DataPolicy.Training = catalog.Yes // under the index of a row that is permitted
	q.Rows = []*catalog.Row{&swapped}
	if got := permitted(set.Judge(context.Background(), q)); got != "" {
		t.Fatal(got)
	}
}

func TestAnOverrunIsNotRemembered(t *testing.T) {
	f := module(`deny contains "x" if { input.request.n == 1; count(numbers.range(1, 30000)) < 0 }`)
	f["chaperone.toml"] = strings.Replace(f["chaperone.toml"], "[policy]\n", "[policy]\nevaluation_timeout = \"1ns\"\n", 1)
	set := f.mustLoad(t)
	q := query()
	set = set.on(q.Rows)
	if got := permitted(set.Judge(context.Background(), q)); got != "" {
		t.Fatal(got)
	}
	for _, b := range set.everyone {
		b.policy.timeout = time.Minute
	}
	if got := permitted(set.Judge(context.Background(), q)); got != "alpha trainer silent american" {
		t.Fatal(got)
	}
}

func TestAnErrorIsRememberedAsTheDenialThatItIs(t *testing.T) {
	set := module(`deny contains "x" if to_number(input.request.model) > 1`).mustLoad(t)
	q := query()
	set = set.on(q.Rows)
	first := set.Judge(context.Background(), q)
	if again := set.Judge(context.Background(), q); permitted(again) != "" || !reflect.DeepEqual(again, first) {
		t.Fatalf("%+v", again)
	}
}

// What spends its allowance does so each time: the row is not evaluated again, and the others are one by one.
func TestASpentAllowanceIsRemembered(t *testing.T) {
	set := module(`deny contains "x" if { input.endpoint.provider != "none"; count(numbers.range(1, 1000000)) < 0 }`).mustLoad(t)
	q := query()
	set = set.on(q.Rows)
	for known := range len(q.Rows) + 1 {
		j := set.Judge(context.Background(), q)
		if got := permitted(j); got != "" {
			t.Fatal(got)
		}
		a := set.everyone[0].policy.row.memo.current.Load()
		remembered := 0
		for i := range q.Rows {
			if a.cells[0].get(int(a.of[i])) != nil {
				remembered++
			}
		}
		if want := min(known+1, len(q.Rows)); remembered != want {
			t.Fatalf("after %d judgements %d rows are remembered", known+1, remembered)
		}
	}
}

func TestMoreRequestsThanAreRemembered(t *testing.T) {
	f := module(`deny contains "x" if endswith(input.request.model, "7")`)
	f["chaperone.toml"] = strings.Replace(f["chaperone.toml"], "[policy]\n", "[policy]\nevaluation_timeout = \"1m\"\n", 1)
	set := f.mustLoad(t)
	q := query()
	set = set.on(rows())
	q.Rows = set.rows[:1]
	for n := range maxAnswers + 500 {
		q.Request.Model = fmt.Sprint(n)
		if got, want := permitted(set.Judge(context.Background(), q)) == "", n%10 == 7; got != want {
			t.Fatalf("model %d: denied %t", n, got)
		}
	}
	space := set.everyone[0].policy.row.memo.current.Load()
	if count := space.answers.current.Load().count; count > maxAnswers {
		t.Fatalf("%d answers are kept", count)
	}
}

func TestManyAtOnce(t *testing.T) {
	r := seeded(t)
	var bindings []string
	for _, b := range pool[:22] {
		bindings = append(bindings, bindingOf(b, "everyone"))
	}
	rows := randomRows(r, 30)
	set := withSources(bindings...).mustLoad(t, honoursAll...).on(rows)
	plain := set.plainly()
	queries := make([]*Query, 24)
	want := make([]any, len(queries))
	views := []*telemetry.View{randomView(r, len(rows)), randomView(r, len(rows)), nil}
	for i := range queries {
		queries[i] = &Query{Principal: randomPrincipal(r), Request: randomRequest(r), Rows: rows, Stats: pick(r, views...), Now: today.AddDate(0, 0, r.IntN(2))}
		queries[i].Request.ToolKinds = nil
		queries[i].Request.Store = false
		want[i] = comparable(plain.Judge(context.Background(), queries[i]))
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 2))
			j := &Judgement{}
			for range 60 {
				i := r.IntN(len(queries))
				set.JudgeInto(context.Background(), queries[i], j)
				if got := comparable(j); !reflect.DeepEqual(got, want[i]) {
					t.Errorf("query %d: got %+v\nwant %+v", i, got, want[i])
					return
				}
			}
		})
	}
	wg.Wait()
}
