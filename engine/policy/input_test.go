package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// Whatever is unknown, every field is there with the type that the schema states.
func TestTheInputIsTotal(t *testing.T) {
	r := seeded(t)
	queries := []*Query{{
		Principal: &account.Principal{Organisation: &account.Organisation{}, Key: &account.Key{}},
		Request:   &wire.Request{}, Rows: []*catalog.Row{{}},
	}}
	for range 200 {
		queries = append(queries, &Query{Principal: randomPrincipal(r), Request: randomRequest(r), Rows: randomRows(r, 1), Stats: randomView(r, 1), Now: today})
	}
	for _, q := range queries {
		var in Input
		in.fillRequest(q)
		in.fillEndpoint(q.Rows[0])
		in.fillTerms(q.Rows[0], q.Now)
		in.fillStats(new(steady), q.Stats, q.Rows[0])
		doc := everything.value(&in)
		for _, leaf := range everything {
			var path ast.Ref
			for _, part := range strings.Split(leaf.field.name, ".")[1:] {
				path = append(path, ast.StringTerm(part))
			}
			v, err := doc.Find(path)
			if err != nil {
				t.Fatalf("%s is absent", leaf.field.name)
			}
			if got, want := shapesOfValue(ast.NewTerm(v)), leaf.field.kind.shape(); got != want {
				t.Fatalf("%s is %s, the schema says %s", leaf.field.name, got, want)
			}
			if s, ok := v.(ast.String); ok && leaf.field.enum != nil && !slices.Contains(leaf.field.enum, string(s)) {
				t.Fatalf("%s is %s, none of %v", leaf.field.name, s, leaf.field.enum)
			}
		}
	}
}

func TestEveryAPIIsInTheSchema(t *testing.T) {
	if enum := inputField.find("input.request.api").enum; !slices.Equal(enum, wire.Shapes()) {
		t.Errorf("input.request.api is one of %v, should be of %v", enum, wire.Shapes())
	}
}

// alwaysKnown are the fields of which nothing can be unknown: the request says them, the clock does, or the catalog must.
var alwaysKnown = []string{
	"input.time", "input.claims", "input.principal.organisation", "input.principal.team", "input.principal.key", "input.principal.labels",
	"input.request.api", "input.request.model", "input.request.models", "input.request.stream", "input.request.n", "input.request.tool_kinds", "input.request.tool_count",
	"input.request.egress_hosts", "input.request.input_modalities", "input.request.output_modalities", "input.request.response_format",
	"input.request.store", "input.request.background", "input.request.previous_response", "input.request.file_references", "input.request.reasoning",
	"input.request.preferences", "input.request.parameters", "input.request.prompt_tokens", "input.request.provider_tools", "input.request.provider_state",
	"input.endpoint.id", "input.endpoint.provider", "input.endpoint.model", "input.endpoint.tag", "input.endpoint.credentials", "input.endpoint.free",
	"input.endpoint.price", "input.endpoint.context_length", "input.endpoint.input_modalities", "input.endpoint.output_modalities",
}

// What nobody has stated makes every cautious rule deny, of every field that may not be stated.
func TestWhatIsUnknownIsTheWorst(t *testing.T) {
	rules := []string{
		`input.endpoint.data_policy.training != "no"`,
		`input.endpoint.data_policy.retains_prompts != "no"`,
		`input.endpoint.data_policy.publishes != "no"`,
		`input.endpoint.data_policy.zdr != "yes"`,
		`not input.endpoint.data_policy.zdr_option`,
		`input.endpoint.data_policy.retention_days > 365`,
		`input.endpoint.data_policy.evidence_days > 365`,
		`input.endpoint.data_policy.as_of < "2020-01-01"`,
		`input.endpoint.distillation != "yes"`,
		`{ some region in input.endpoint.processing_regions; not region in ["eu", "us"] }`,
		`input.endpoint.jurisdiction != "DE"`,
		`input.endpoint.headquarters != "DE"`,
		`input.endpoint.quantization != "fp8"`,
		`not "soc2" in input.endpoint.certifications`,
		`not input.endpoint.self_hosted`,
		`input.endpoint.stats.ttft_ms.p90 > 60000`,
		`input.endpoint.stats.tps.p50 < 1`,
		`input.endpoint.stats.uptime < 0.5`,
		`input.endpoint.stats.samples < 1`,
		`input.request.max_output_tokens > 100000`,
		`input.request.data_class != "public"`,
		`input.request.data_class_rank > 0`,
		`input.principal.data_class != "public"`,
		`object.get(input.endpoint.labels, "tier", "none") != "gold"`,
		`object.get(input.endpoint.attributes, "quality", 0) < 0.5`,
		`not "tools" in input.endpoint.parameters`,
		`input.endpoint.max_output_tokens > 8192`,
		`input.endpoint.stats.ttft_ms.p50 > 60000`,
		`input.endpoint.stats.ttft_ms.p75 > 60000`,
		`input.endpoint.stats.ttft_ms.p99 > 60000`,
		`input.endpoint.stats.tps.p75 < 1`,
		`input.endpoint.stats.tps.p90 < 1`,
		`input.endpoint.stats.tps.p99 < 1`,
	}
	for _, leaf := range everything {
		if !slices.ContainsFunc(rules, func(rule string) bool { return strings.Contains(rule, leaf.field.name) }) && !(readSet{leaf}).touches(alwaysKnown...) {
			t.Errorf("no rule tries %s", leaf.field.name)
		}
	}
	for _, rule := range rules {
		set := module("deny contains \"x\" if " + rule).mustLoad(t)
		q := query()
		q.Principal.DataClass = "a class that nobody knows"
		q.Rows = q.Rows[2:3]
		q.Rows[0].Parameters, q.Rows[0].MaxOutputTokens = nil, 0
		if got := permitted(set.Judge(context.Background(), q)); got != "" {
			t.Errorf("%s: permitted %s", rule, got)
		}
	}
}

// What fillTerms fills is all that a new day changes: answers that depend on it are not remembered beyond the day.
func TestTheDayChangesNothingButDailyFields(t *testing.T) {
	row := query().Rows[0]
	row.DataPolicy.ReviewBy, row.DataPolicy.ZDROption, row.DataPolicy.RetentionDays = today, "header", 1
	row.Distillation = catalog.Distillation{Permitted: catalog.Yes, ReviewBy: today}
	var now, later Input
	now.fillEndpoint(row)
	later.fillEndpoint(row)
	now.fillTerms(row, today)
	later.fillTerms(row, today.AddDate(0, 0, 1))
	for _, r := range everything {
		set := readSet{r}
		if changes := !bytes.Equal(set.appendKey(nil, &now), set.appendKey(nil, &later)); changes != set.touches(dailyFields...) {
			t.Errorf("%s changes with the day: %t", r, changes)
		}
	}
}

func TestAClaimOnlyRaisesTheDataClass(t *testing.T) {
	for _, c := range []struct{ floor, claim, want string }{
		{"public", "", "public"}, {"public", "internal", "internal"}, {"confidential", "public", "confidential"},
		{"internal", "restricted", "restricted"}, {"internal", "secret", "restricted"}, {"", "", "restricted"},
	} {
		q := query()
		q.Principal.DataClass, q.Request.Claims.DataClass = c.floor, c.claim
		var in Input
		in.fillRequest(q)
		if in.Request.DataClass != c.want {
			t.Errorf("%+v: %s", c, in.Request.DataClass)
		}
	}
}

func TestWithoutSamplesTheEstimatesStand(t *testing.T) {
	nan := math.NaN()
	q := query()
	q.Stats = &telemetry.View{Rows: []telemetry.RowStats{{
		TTFT: telemetry.Percentiles{P50: nan, P75: nan, P90: nan, P99: nan}, TPS: telemetry.Percentiles{P50: nan, P75: nan, P90: nan, P99: nan},
		Uptime: nan, ExpectedTTFT: 1000, ExpectedTPS: 100, Success: 0.9,
	}}}
	var in Input
	in.fillStats(new(steady), q.Stats, q.Rows[0])
	if s := in.Endpoint.Stats; s.Samples != 0 || s.TTFT.P90 != 1000 || s.TPS.P50 != 100 || s.Uptime != 0.9 {
		t.Errorf("%+v", s)
	}
}

func TestSchemasAreClosed(t *testing.T) {
	for _, endpoint := range []bool{true, false} {
		var s map[string]any
		if err := json.Unmarshal(Schema(endpoint), &s); err != nil {
			t.Fatal(err)
		}
		properties := s["properties"].(map[string]any)
		if _, has := properties["endpoint"]; has != endpoint || s["additionalProperties"] != false {
			t.Errorf("endpoint %t: %v", endpoint, s)
		}
	}
}

// Whatever is written in a module, loading it ends in problems with a file or in a set that judges.
func FuzzModule(f *testing.F) {
	for _, m := range mistakes {
		if text, ok := m.files["rego/p.rego"]; ok {
			f.Add(text)
		}
	}
	f.Add("package org.p\n\n" + goodDeny)
	f.Add(strings.ReplaceAll(mixed, "org.mixed", "org.p"))
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 10_000 || strings.Contains(text, "numbers.range") {
			t.Skip()
		}
		set, problems := files{"chaperone.toml": one("").toml(), "rego/p.rego": text}.load(t)
		for _, p := range problems {
			if p.File == "" || p.Message == "" {
				t.Errorf("%+v", p)
			}
		}
		if set == nil {
			return
		}
		for _, v := range set.Judge(context.Background(), query()).Verdicts {
			if (v.Permit.Row() == nil) == (len(v.Denials) == 0) {
				t.Errorf("%+v", v)
			}
		}
	})
}
