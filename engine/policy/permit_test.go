package policy

import (
	"context"
	"errors"
	"strings"
	"testing"

	"chaperone/engine/catalog"
)

func TestAPermitIsForOneRequestOfOneKey(t *testing.T) {
	set := files{"chaperone.toml": "\n"}.mustLoad(t)
	q := query()
	p := set.Judge(context.Background(), q).Verdicts[0].Permit
	if err := p.Check(q.Principal, q.Request); err != nil || p.Row() != q.Rows[0] || p.Generation() != 7 {
		t.Fatal(err, p.Row(), p.Generation())
	}
	otherRequest, otherPrincipal := request(), principal()
	otherRequest.Digest[0]++
	otherKey := *otherPrincipal.Key
	otherKey.ID = "key_ffffffffffff"
	otherPrincipal.Key = &otherKey
	for name, err := range map[string]error{
		"zero value":      Permit{}.Check(q.Principal, q.Request),
		"another request": p.Check(q.Principal, otherRequest),
		"another key":     p.Check(otherPrincipal, q.Request),
		"no principal":    p.Check(nil, q.Request),
		"no request":      p.Check(q.Principal, nil),
	} {
		if !errors.Is(err, ErrNoPermit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADeniedRowHasTheZeroPermit(t *testing.T) {
	set := files{"chaperone.toml": bindingOf("package = \"library.training\"", "everyone")}.mustLoad(t)
	for _, v := range set.Judge(context.Background(), query()).Verdicts {
		if (v.Permit == Permit{}) != (len(v.Denials) > 0) {
			t.Errorf("%+v", v)
		}
	}
}

func TestObligationsUniteToTheStrictest(t *testing.T) {
	set := withObligations(`{"max_output_tokens": 4096}`, `{"max_output_tokens": 1024, "store": false}`, `{"max_processors": 3}`, `{"max_processors": 2, "hedge": false}`,
		`{"log": "metadata"}`, `{"log": "none"}`, `{"rescue": false}`, `{"cache": false}`).mustLoad(t, honoursAll...)
	got := set.Judge(context.Background(), query()).Verdicts[0].Permit.Obligations()
	want := Obligations{MaxOutputTokens: 1024, NoStore: true, MaxProcessors: 2, NoHedge: true, NoRescue: true, NoCache: true, Log: LogNone}
	if got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

// withObligations is a source with one package for each obligation, all bound.
func withObligations(obligations ...string) files {
	f := files{"chaperone.toml": "[[policy.sources]]\nname = \"own\"\npath = \"rego\"\n"}
	for i, o := range obligations {
		name := string(rune('a' + i))
		f["rego/"+name+".rego"] = "package org." + name + "\n\nrequire contains " + o + "\n"
		f["chaperone.toml"] += bindingOf("package = \"org."+name+"\"", "everyone")
	}
	return f
}

func TestAnObligationThatNobodyCarriesOutDenies(t *testing.T) {
	for _, name := range honoursAll {
		obligation := map[string]string{
			ObligationMaxOutputTokens: `{"max_output_tokens": 10}`, ObligationStore: `{"store": false}`, ObligationZDR: `{"zdr": true}`,
			ObligationMaxProcessors: `{"max_processors": 1}`, ObligationHedge: `{"hedge": false}`, ObligationRescue: `{"rescue": false}`,
			ObligationCache: `{"cache": false}`, ObligationLog: `{"log": "none"}`,
		}[name]
		q := query()
		q.Rows[0].DataPolicy.ZDR, q.Rows[0].DataPolicy.ZDROption = catalog.No, "header"
		q.Rows = q.Rows[:1]
		j := withObligations(obligation).mustLoad(t).Judge(context.Background(), q)
		if permitted(j) != "" || !strings.Contains(j.Verdicts[0].Denials[0].Message, "the obligation "+name+" is demanded and cannot be carried out here") {
			t.Errorf("%s: %+v", name, j.Verdicts[0])
		}
		if j := withObligations(obligation).mustLoad(t, name).Judge(context.Background(), q); permitted(j) != "alpha" {
			t.Errorf("%s, carried out: %+v", name, j.Verdicts[0])
		}
	}
}

func TestObligationsThatTheRowCannotMeetDeny(t *testing.T) {
	zdr := withObligations(`{"zdr": true}`).mustLoad(t, honoursAll...)
	q := query()
	if got := permitted(zdr.Judge(context.Background(), q)); got != "alpha trainer" {
		t.Errorf("zdr: %q", got)
	}
	tools := withObligations(`{"no_provider_tools": true}`).mustLoad(t)
	tools = tools.on(q.Rows)
	if got := permitted(tools.Judge(context.Background(), q)); got != "alpha trainer silent american" {
		t.Errorf("tools: %q", got)
	}
	q.Request.ToolKinds = []string{"function", "mcp"}
	if got := permitted(tools.Judge(context.Background(), q)); got != "" {
		t.Errorf("with mcp: %q", got)
	}
	q = query()
	store := withObligations(`{"store": false}`).mustLoad(t, honoursAll...)
	store = store.on(q.Rows)
	if got := permitted(store.Judge(context.Background(), q)); got != "alpha trainer silent american" {
		t.Errorf("store: %q", got)
	}
	for name, set := range map[string]func(){
		"background":        func() { q.Request.Background = true },
		"previous response": func() { q.Request.PreviousResponse = true },
		"files":             func() { q.Request.FileReferences = true },
	} {
		q.Request = request()
		set()
		if got := permitted(store.Judge(context.Background(), q)); got != "" {
			t.Errorf("store, %s: %q", name, got)
		}
	}
}

func TestAnObligationThatIsNoneDenies(t *testing.T) {
	set := module("import input.request\n\nrequire contains o if some o in [{\"max_output_tokens\": request.n - 1}, {\"store\": request.n == 1}, {\"unheard_of\": 1}, {}]").mustLoad(t, honoursAll...)
	j := set.Judge(context.Background(), query())
	if permitted(j) != "" || len(j.Verdicts[0].Denials) < 4 {
		t.Fatalf("%+v", j.Verdicts[0])
	}
}

func TestWeights(t *testing.T) {
	set := module("prefer[\"price\"] := 3 if input.request.stream\n\nprefer[\"latency\"] := 1").mustLoad(t)
	q := query()
	if j := set.Judge(context.Background(), q); len(j.Weights) != 1 || j.Weights["latency"] != 1 {
		t.Errorf("%+v", j.Weights)
	}
	q.Request.Stream = true
	if j := set.Judge(context.Background(), q); len(j.Weights) != 2 || j.Weights["price"] != 3 {
		t.Errorf("%+v", j.Weights)
	}
	for name, rule := range map[string]string{
		"a conflict":         "prefer[\"price\"] := 3 if input.request.stream\n\nprefer[\"price\"] := 4 if input.request.n == 1",
		"a negative weight":  `prefer["price"] := 0 - input.request.n`,
		"an error":           `prefer["price"] := to_number(input.request.model)`,
		"a scorer that is 1": `prefer[input.request.n] := 1`,
	} {
		set, problems := module(rule).load(t)
		if len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
			continue
		}
		if j := set.Judge(context.Background(), q); j.Weights != nil || len(j.Ignored) != 1 || permitted(j) != "alpha trainer silent american" {
			t.Errorf("%s: %+v", name, j)
		}
	}
	f := files{
		"chaperone.toml": "[[policy.sources]]\nname = \"own\"\npath = \"rego\"\n" + bindingOf("package = \"org.a\"", "everyone") + bindingOf("package = \"org.b\"", "everyone"),
		"rego/a.rego":    "package org.a\n\nprefer[\"price\"] := 1\n", "rego/b.rego": "package org.b\n\nprefer[\"price\"] := 2\n",
	}
	if j := f.mustLoad(t).Judge(context.Background(), q); j.Weights != nil || len(j.Ignored) != 1 || !strings.Contains(j.Ignored[0].Message, "the configured weights stand") {
		t.Errorf("two layers: %+v", j)
	}
}
