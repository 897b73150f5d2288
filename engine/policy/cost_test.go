package policy

import (
	"context"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

func TestTheCostNamesWhatIsReadAndWhere(t *testing.T) {
	set := files{"chaperone.toml": bindingOf("package = \"library.training\"", "org:acme") + bindingOf("package = \"library.self_hosted\"\nparams = { from = \"internal\" }", "everyone")}.mustLoad(t)
	costs := set.Cost(today)
	if len(costs) != 2 {
		t.Fatalf("%+v", costs)
	}
	hosted, training := costs[0], costs[1]
	if training.Binding != "library.training for org:acme" || len(training.Request) != 0 || len(training.Row) != 1 || training.Combinations != 1 ||
		training.Rows != 4 || training.Classes != 3 || !training.Enumerable || training.Worst != nil {
		t.Errorf("%+v", training)
	}
	if f := training.Row[0]; f.Field != "input.endpoint.data_policy.training" || f.Values != 3 || len(f.Places) != 1 || f.Places[0] != (Place{"library/training.rego", 12}) {
		t.Errorf("%+v", f)
	}
	if hosted.Combinations != 16 || !hosted.Enumerable || hosted.Classes != 1 {
		t.Errorf("%+v", hosted)
	}
}

func TestAFieldWithManyValuesIsWarnedOf(t *testing.T) {
	set := module("deny contains \"x\" if {\n\tinput.endpoint.free\n\tinput.claims.user == \"mallory\"\n}").mustLoad(t)
	c := set.Cost(today)[0]
	if c.Worst == nil || c.Worst.Field != "input.claims.user" || c.Enumerable || c.Combinations != 0 {
		t.Fatalf("%+v", c)
	}
	w := set.Warnings(today)
	if len(w) != 1 || !strings.HasSuffix(w[0].File, "rego/p.rego") || w[0].Line != 5 || !strings.Contains(w[0].Message, "it reads input.claims.user, and each end user has its own") {
		t.Fatalf("%v", w)
	}
	live := module(`deny contains "x" if input.endpoint.stats.uptime < 0.5`).mustLoad(t)
	if c := live.Cost(today)[0]; c.Enumerable || c.Worst == nil || !c.Worst.Live || len(live.Warnings(today)) != 0 {
		t.Fatalf("%+v", c)
	}
}

func TestAPolicyThatGivesEveryRowItsOwnClassIsWarnedOf(t *testing.T) {
	set := module(`deny contains "x" if endswith(input.endpoint.id, "13#paid")`).mustLoad(t)
	set = set.on(randomRows(seeded(t), 200))
	if w := set.Warnings(today); len(w) != 1 || !strings.Contains(w[0].Message, "200 classes of 200 rows") || !strings.Contains(w[0].Message, "input.endpoint.id, which has 200 values") {
		t.Fatalf("%v", w)
	}
}

// After an enumeration no request asks Rego anything.
func TestWhatIsEnumeratedIsNeverEvaluatedAgain(t *testing.T) {
	set := files{"chaperone.toml": bindingOf("package = \"library.self_hosted\"\nparams = { from = \"internal\" }", "everyone") +
		bindingOf("package = \"library.office_hours\"\nparams = { from_hour = 7, to_hour = 19, weekdays = [\"monday\"] }", "org:acme")}.mustLoad(t)
	q := query()
	q.Rows = set.rows
	want := comparable(set.plainly().Judge(context.Background(), q))
	for _, b := range set.all() {
		for _, question := range b.policy.questions() {
			if !question.memo.enumerated {
				t.Fatalf("%s is not enumerated", b.name)
			}
			question.body = ast.NewBody(ast.NewExpr(ast.BooleanTerm(false))) // whoever is asked now is in error
		}
	}
	if got := comparable(set.Judge(context.Background(), q)); !equalAny(got, want) {
		t.Fatalf("got %v\nwant %v", got, want)
	}
}
