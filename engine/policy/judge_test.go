package policy

import (
	"context"
	"strings"
	"testing"
)

func TestTheLibraryDeniesWhatTrains(t *testing.T) {
	set := files{"chaperone.toml": "[[policy.bindings]]\npackage = \"library.training\"\nfor = \"org:acme\"\n"}.mustLoad(t)
	j := set.Judge(context.Background(), query())
	if got := permitted(j); got != "alpha american" {
		t.Fatalf("permitted %q, verdicts %+v", got, j.Verdicts)
	}
	got := j.Verdicts[1].Denials[0]
	want := Reason{
		Binding: "library.training for org:acme", Package: "library.training", Rule: "deny", Code: "training",
		Message: "the terms say yes to training on prompts; the policy asks for no", File: "library/training.rego", Line: 11, Enforcement: "deny",
		Title: "No provider that trains on prompts", Control: "GDPR-28", Severity: "high",
	}
	if got != want {
		t.Fatalf("got %+v\nwant %+v", got, want)
	}
}

func TestWithoutBindingsEveryRowIsPermitted(t *testing.T) {
	set := files{"chaperone.toml": "\n"}.mustLoad(t)
	if got := permitted(set.Judge(context.Background(), query())); got != "alpha trainer silent american" {
		t.Fatal(got)
	}
}

func TestAllowMustHold(t *testing.T) {
	set := one(`allow if input.endpoint.jurisdiction == "DE"`).mustLoad(t)
	j := set.Judge(context.Background(), query())
	if got := permitted(j); got != "alpha trainer" {
		t.Fatal(got, j.Verdicts)
	}
	if r := j.Verdicts[2].Denials[0]; r.Rule != "allow" || r.Line != 3 {
		t.Fatal(r)
	}
}

// A thousand long reasons are as good as fifty that are cut short: the row is denied, and nothing is waived that was not shown.
func TestReasonsAreBounded(t *testing.T) {
	set := module("# METADATA\n# custom: {waivable: true}\ndeny contains message if {\n\tsome n in numbers.range(1, 200)\n\tmessage := sprintf(\"%d %01200d\", [n, 0])\n}").mustLoad(t)
	v := set.Judge(context.Background(), query()).Verdicts[0]
	if v.Permit.Row() != nil || len(v.Denials) != maxReasons+1 {
		t.Fatalf("%d reasons", len(v.Denials))
	}
	for _, r := range v.Denials[:maxReasons] {
		if len(r.Message) > maxMessage+len("…") || !strings.HasSuffix(r.Message, "…") {
			t.Fatalf("%d bytes: %s", len(r.Message), r.Message)
		}
	}
	if last := v.Denials[maxReasons]; last.Message != "and 150 more reasons" || last.waivable {
		t.Fatalf("%+v", last)
	}
}
