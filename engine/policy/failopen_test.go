package policy

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/rego"

	"chaperone/engine/catalog"
	"chaperone/engine/wire"
)

// plainOPA is what a program that embeds OPA by its documentation gets for data.org.p.deny, on the same input.
func plainOPA(t *testing.T, module string, q *Query, row *catalog.Row) (reasons []any) {
	t.Helper()
	defer func() {
		if recover() != nil {
			reasons = nil // and the program is gone
		}
	}()
	var in Input
	in.fillRequest(q)
	in.fillEndpoint(row)
	in.fillTerms(row, q.Now)
	in.fillStats(new(steady), q.Stats, row)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	rs, err := rego.New(rego.Query("data.org.p.deny"), rego.Module("p.rego", module), rego.ParsedInput(everything.value(&in))).Eval(ctx)
	if err != nil || len(rs) == 0 {
		return nil // what fails or is undefined names no reason to deny
	}
	set, _ := rs[0].Expressions[0].Value.([]any)
	return set
}

// Each policy means to deny every row. Plain OPA names no reason to; ours denies, or refuses to load.
func TestWhatFailsOpenInPlainOPADeniesHere(t *testing.T) {
	claims := func(q *Query) { q.Request.Claims = wire.Claims{User: "no number", Metadata: map[string]string{}} }
	for _, c := range []struct {
		name   string
		rule   string
		change func(*Query)
		why    string // of the denial; "" where the policy does not load
	}{
		{"a builtin fails", `deny contains "x" if to_number(input.claims.user) < 18`, claims, "to_number: "},
		{"a division by zero", `deny contains "x" if 1 / input.request.tool_count > 0`, nil, "divide by zero"},
		{"JSON that is none", `deny contains "x" if object.get(json.unmarshal(input.claims.user), "age", 0) < 18`, claims, "json.unmarshal"},
		{"a regular expression that is none", `deny contains "x" if regex.match(input.claims.user, input.request.model)`, func(q *Query) { q.Request.Claims.User = "(" }, "regex.match"},
		{"a date that is none", `deny contains "x" if time.parse_rfc3339_ns(input.claims.user) < 0`, claims, "time.parse_rfc3339_ns"},
		{"a size that is none", `deny contains "x" if units.parse_bytes(input.claims.user) > 0`, claims, "units.parse_bytes"},
		{"a version that is none", `deny contains "x" if semver.compare(input.claims.user, "1.0.0") >= 0`, claims, "semver.compare"},
		{"a network that is none", `deny contains "x" if net.cidr_contains(input.claims.user, "10.0.0.1")`, claims, "net.cidr_contains"},
		{"a complete rule that conflicts", "default limit := 0\n\nlimit := 1 if input.request.n > 0\n\nlimit := 2 if input.request.n > -1\n\ndeny contains \"x\" if input.request.prompt_tokens > limit", nil, "rule data.org.p.limit produced conflicting values"},
		{"a function that conflicts", "default f(_) := 0\n\nf(x) := 1 if x > 0\n\nf(x) := 2 if x > -1\n\ndeny contains \"x\" if f(input.request.n) > 0", nil, "function data.org.p.f produced conflicting values"},
		{"an object key that conflicts", "m := {k: v | some k in [\"a\", \"a\"]; some v in [1, 2]}\n\ndeny contains \"x\" if object.get(m, \"a\", 0) > 0", nil, "object keys must be unique"},
		{"work without end", "deny contains \"x\" if {\n\tsome a in numbers.range(1, 10000)\n\tsome b in numbers.range(1, 10000)\n\ta + b < 0\n}\n\ndeny contains \"y\" if input.request.n > 5", nil, "makes values of more than"},
		{"memory without end", `deny contains "x" if count(numbers.range(1, 1000000000000)) < 0`, nil, "numbers.range: the evaluation makes values of more than"},
		{"a figure that is none", `deny contains "x" if object.get(input.endpoint.attributes, "quality", 0) < 100`, func(q *Query) {
			for _, r := range q.Rows {
				r.Attributes = map[string]float64{"quality": math.NaN()}
			}
		}, "evaluation failed: "},
		{"the greatest of nothing", `deny contains "x" if max(input.claims.tags) != "approved"`, claims, "max: it has no result"},
		{"a reason that is null", `deny contains r if some r in [null, object.get(input.principal.labels, "none", null)]`, nil, "deny: a reason is a string"},
		{"an absent key", `deny contains "x" if input.principal.labels.tier != "gold"`, nil, ""},
		{"a misspelt field", `deny contains "x" if input.endpoint.data_polici.training != "no"`, nil, ""},
		{"a misspelt field behind a helper", "trains(e) if e.data_polici.training != \"no\"\n\ndeny contains \"x\" if trains(input.endpoint)", nil, ""},
		{"a field by a computed name", `deny contains "x" if { some f in ["trainign"]; input.endpoint.data_policy[f] != "no" }`, nil, ""},
		{"a number against text", `deny contains "x" if input.request.prompt_tokens > "10"`, nil, ""},
		{"a value in the wrong case", `deny contains "x" if input.endpoint.data_policy.training == "NO"`, nil, ""},
		{"data that is missing", `deny contains "x" if input.endpoint.provider in data.lists.blocked`, nil, ""},
		{"parameters that are missing", `deny contains "x" if input.request.prompt_tokens > data.params.max`, nil, ""},
		{"a rule of another name", `denied contains "x" if input.request.prompt_tokens > 10`, nil, ""},
		{"a rule of the contract as a helper's", "deny if input.request.prompt_tokens > 10", nil, ""},
		{"an import that is misspelt", "import input.endpoint.data_polici as terms\n\ndeny contains \"x\" if terms.training != \"no\"", nil, ""},
		{"some in a string", `deny contains "x" if { some r in input.request.model; r == "a" }`, nil, ""},
		{"every over what is none", `deny contains "x" if { every r in input.request.prompt_tokens { r > 0 } }`, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := query()
			if c.change != nil {
				c.change(q)
			}
			module := "package org.p\n\n" + c.rule
			if got := plainOPA(t, module, q, q.Rows[0]); len(got) > 0 && !strings.Contains(c.why, "a reason is a string") {
				t.Fatalf("plain OPA denies: %v; the case shows nothing", got)
			}
			set, problems := one(module).within("1s").load(t)
			if c.why == "" {
				if len(problems) == 0 {
					j := set.Judge(context.Background(), q)
					if permitted(j) != "" {
						t.Fatalf("loads, and permits %s", permitted(j))
					}
					t.Fatalf("loads, and denies: %+v", j.Verdicts[0].Denials)
				}
				return
			}
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			j := set.Judge(context.Background(), q)
			if permitted(j) != "" {
				t.Fatalf("permits %s", permitted(j))
			}
			r := j.Verdicts[0].Denials[0]
			if r.Rule != ruleError || !strings.Contains(r.Message, c.why) || r.Binding != "org.p for everyone" {
				t.Fatalf("got %+v, want an error with %q", r, c.why)
			}
		})
	}
}

func TestAnAllowThatIsNotTrueDenies(t *testing.T) {
	for name, rule := range map[string]string{
		"undefined":   `allow if input.request.stream`,
		"false":       "default allow := false\n\nallow if input.request.stream",
		"text":        `allow := object.get(input.principal.labels, "none", "true")`,
		"a number":    `allow := v if some v in [1]`,
		"conflicting": "allow := true if input.request.n > 0\n\nallow := false if input.request.n > -1",
	} {
		t.Run(name, func(t *testing.T) {
			set, problems := module(rule).load(t)
			if len(problems) > 0 {
				if name != "text" && name != "a number" {
					t.Fatal(problems)
				}
				return
			}
			j := set.Judge(context.Background(), query())
			if permitted(j) != "" || len(j.Verdicts[0].Denials) != 1 {
				t.Fatalf("%+v", j.Verdicts)
			}
		})
	}
}

func TestARequestThatEndsIsDenied(t *testing.T) {
	set := module(goodDeny).mustLoad(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	j := set.Judge(ctx, query())
	if permitted(j) != "" || !strings.Contains(j.Verdicts[0].Denials[0].Message, "the request ended before it was judged") {
		t.Fatalf("%+v", j.Verdicts[0])
	}
}

func TestAnOverrunIsWaitedForOnce(t *testing.T) {
	set := module("deny contains \"x\" if count(numbers.range(1, 1000000000000)) < 0").within("1s").mustLoad(t)
	q := query()
	for len(q.Rows) < 200 {
		q.Rows = append(q.Rows, q.Rows[0])
	}
	start := time.Now()
	j := set.Judge(context.Background(), q)
	if took := time.Since(start); permitted(j) != "" || took > 5*time.Second {
		t.Fatalf("%s for %d rows, permitted %q", took, len(q.Rows), permitted(j))
	}
}

func TestErrorsInRejectRefuseTheRequest(t *testing.T) {
	set := module(`reject contains "x" if to_number(input.request.model) > 1`).mustLoad(t)
	j := set.Judge(context.Background(), query())
	if len(j.Rejections) != 1 || j.Rejections[0].Rule != ruleError || permitted(j) != "" || len(j.Verdicts[3].Denials) != 1 {
		t.Fatalf("%+v", j)
	}
}

func TestWithoutAPrincipalOrARequestNothingIsPermitted(t *testing.T) {
	set := files{"chaperone.toml": "\n"}.mustLoad(t)
	for name, break_ := range map[string]func(*Query){
		"principal":    func(q *Query) { q.Principal = nil },
		"organisation": func(q *Query) { q.Principal.Organisation = nil },
		"key":          func(q *Query) { q.Principal.Key = nil },
		"request":      func(q *Query) { q.Request = nil },
	} {
		q := query()
		break_(q)
		if j := set.Judge(context.Background(), q); permitted(j) != "" || len(j.Rejections) != 1 {
			t.Errorf("%s: %+v", name, j)
		}
	}
	q := query()
	q.Rows[1] = nil
	if j := set.Judge(context.Background(), q); permitted(j) != "alpha silent american" || len(j.Verdicts[1].Denials) != 1 {
		t.Errorf("row: %+v", j)
	}
}
