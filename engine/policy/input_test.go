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

// What nobody has stated makes every cautious rule deny.
func TestWhatIsUnknownIsTheWorst(t *testing.T) {
	for _, rule := range []string{
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
	} {
		set := module("deny contains \"x\" if " + rule).mustLoad(t)
		q := query()
		q.Principal.DataClass = "a class that nobody knows"
		q.Rows = q.Rows[2:3]
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
