package policy

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func equalAny(a, b any) bool { return reflect.DeepEqual(a, b) }

func compareOf(t *testing.T, before, after files) *Comparison {
	t.Helper()
	c, err := Compare(context.Background(), before.mustLoad(t, honoursAll...), after.mustLoad(t, honoursAll...), today)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheSamePoliciesDoNotDiffer(t *testing.T) {
	f := files{"chaperone.toml": bindingOf("package = \"library.training\"", "everyone") + bindingOf("package = \"library.provider_state\"", "org:acme")}
	if c := compareOf(t, f, f); len(c.Differences) != 0 || !c.Exhaustive || c.Cases == 0 || len(c.Open) != 0 {
		t.Fatalf("%+v", c)
	}
}

func TestEveryDifferenceHasAWitness(t *testing.T) {
	before := files{"chaperone.toml": bindingOf("package = \"library.self_hosted\"\nparams = { from = \"restricted\" }", "org:acme")}
	after := files{"chaperone.toml": bindingOf("package = \"library.self_hosted\"\nparams = { from = \"confidential\" }", "org:acme")}
	c := compareOf(t, before, after)
	if !c.Exhaustive || len(c.Differences) != 1 { // nothing tells the organisation's teams apart
		t.Fatalf("%+v", c)
	}
	d := c.Differences[0]
	if d.Organisation != "acme" || len(d.Rows) != 4 || !d.Before.Permitted || d.After.Permitted || d.Request["input.request.data_class"] != "confidential" || d.After.Reasons[0].Code != "self_hosted" {
		t.Fatalf("%+v", d)
	}
}

func TestADifferenceInObligationsAndRejectionsIsSeen(t *testing.T) {
	c := compareOf(t, one("require contains {\"max_output_tokens\": 10} if input.request.stream\n"), one("require contains {\"max_output_tokens\": 20} if input.request.stream\n"))
	if len(c.Differences) == 0 || c.Differences[0].Before.Obligations.MaxOutputTokens != 10 || c.Differences[0].After.Obligations.MaxOutputTokens != 20 || c.Differences[0].Request["input.request.stream"] != true {
		t.Fatalf("%+v", c)
	}
	c = compareOf(t, one("deny contains \"x\" if input.request.n < 0\n"), one("reject contains \"x\" if input.time.weekday == \"sunday\"\n"))
	if !slices.ContainsFunc(c.Differences, func(d Difference) bool {
		return d.Rows == nil && d.Request["input.time.weekday"] == "sunday" && !d.After.Permitted && d.Before.Permitted
	}) {
		t.Fatalf("%+v", c)
	}
}

// A field without a small set of values is tried where policies can change their mind, and named as one that stays open.
func TestOpenFieldsAreTriedAtTheirBorders(t *testing.T) {
	c := compareOf(t, one("deny contains \"long\" if input.request.prompt_tokens > 1000\n"), one("deny contains \"long\" if input.request.prompt_tokens >= 1000\n"))
	if c.Exhaustive || len(c.Open) != 1 || c.Open[0].Field != "input.request.prompt_tokens" || len(c.Open[0].Places) != 1 {
		t.Fatalf("%+v", c)
	}
	if len(c.Differences) == 0 || c.Differences[0].Request["input.request.prompt_tokens"] != int64(1000) {
		t.Fatalf("%+v", c.Differences)
	}
}

// A comparison that is exhaustive and finds nothing means that nobody can find anything.
func TestAComparisonFindsWhatRequestsFind(t *testing.T) {
	r := seeded(t)
	var enumerable []string
	for _, b := range pool {
		if !slices.ContainsFunc([]string{"performance", "output_limit", "models", "mixed", "failing", "weights", "trial"}, func(s string) bool { return strings.Contains(b, s) }) {
			enumerable = append(enumerable, b)
		}
	}
	rounds := 60
	if testing.Short() || raceEnabled {
		rounds = 10
	}
	for n := range rounds {
		var sets [2]*Set
		rows := randomRows(r, 6)
		for i := range rows {
			rows[i].ID = fmt.Sprintf("m@%d", i)
		}
		for i := range sets {
			var bindings []string
			for range 1 + r.IntN(2) {
				bindings = append(bindings, bindingOf(pick(r, enumerable...), pick(r, "everyone", "org:acme")))
			}
			set := withSources(bindings...).mustLoad(t, honoursAll...)
			sets[i] = set.on(rows)
			sets[i].principals = set.principals
		}
		c, err := Compare(context.Background(), sets[0], sets[1], today)
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			q := &Query{Principal: randomPrincipal(r), Request: randomRequest(r), Rows: rows, Now: today}
			a, b := permitted(sets[0].Judge(context.Background(), q)), permitted(sets[1].Judge(context.Background(), q))
			if a != b && len(c.Differences) == 0 {
				t.Fatalf("round %d: one permits %q, the other %q, and the comparison (exhaustive: %t) found nothing", n, a, b, c.Exhaustive)
			}
		}
	}
}
