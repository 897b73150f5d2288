package policy

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

func guarded(t *testing.T, log *bytes.Buffer) (*Set, *Query) {
	f := withSources(bindingOf("package = \"library.training\"", "everyone"), bindingOf("package = \"org.mixed\"", "org:acme"), bindingOf("package = \"library.output_limit\"\nparams = { max = 10 }", "org:acme"))
	set := f.mustLoad(t, honoursAll...)
	q := query()
	set = set.on(q.Rows)
	set.guard = newGuard(1, slog.New(slog.NewTextHandler(log, nil)))
	return set, q
}

func TestTheGuardAgreesWithWhatIsRight(t *testing.T) {
	var log bytes.Buffer
	set, q := guarded(t, &log)
	for range 20 {
		set.Judge(context.Background(), q)
	}
	if g := set.Guard(); g.Checked != 19 || g.Mismatches != 0 || g.Plain || log.Len() > 0 {
		t.Fatalf("%+v %s", g, log.String())
	}
}

// However many are judged, what the guard evaluates is bounded.
func TestTheGuardTakesNoMoreThanItsShareOfTime(t *testing.T) {
	var log bytes.Buffer
	set, q := guarded(t, &log)
	set.guard.oneIn = 2
	j := &Judgement{}
	start := time.Now()
	for time.Since(start) < 3*guardEvery {
		set.JudgeInto(context.Background(), q, j)
	}
	if checked, most := set.Guard().Checked, 1+uint64(time.Since(start)/guardEvery); checked == 0 || checked > most {
		t.Fatalf("%d checked; expected 1 to %d", checked, most)
	}
}

// Memory is made to lie; the guard notices, the judgement that noticed is right already, and nothing is remembered again.
func TestTheGuardGivesUpMemoryThatLies(t *testing.T) {
	for name, lie := range map[string]func(*ruling){
		"a denial is forgotten":     func(r *ruling) { r.denials = nil },
		"an obligation is loosened": func(r *ruling) { r.conditions = &Obligations{MaxOutputTokens: 1000} },
		"a warning is invented":     func(r *ruling) { r.warnings = []Reason{{Message: "x"}} },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			set, q := guarded(t, &log)
			q.Rows = q.Rows[:2]
			want := comparable(set.Judge(context.Background(), q))
			sheet := set.docketFor(q.Principal).session(q, len(set.rows)).sheets.at(keyFor(set, q))
			for i := range q.Rows {
				r := *sheet.rows.get(i)
				lie(&r)
				sheet.rows.put(i, len(set.rows), &r)
			}
			var got any
			for range 200 { // it looks at one row at a time
				if got = comparable(set.Judge(context.Background(), q)); set.Guard().Plain {
					break
				}
			}
			if !equalAny(got, want) {
				t.Errorf("the judgement that noticed: %v, want %v", got, want)
			}
			if g := set.Guard(); g.Mismatches != 1 || !g.Plain {
				t.Errorf("%+v", g)
			}
			if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "a verdict from memory differs") {
				t.Errorf("log %q", log.String())
			}
			if got := comparable(set.Judge(context.Background(), q)); !equalAny(got, want) || set.everyone[0].policy.row.memo.current.Load() != nil || len(*set.dockets.Load()) > 1 {
				t.Errorf("afterwards: %v, want %v", got, want)
			}
		})
	}
}

func keyFor(s *Set, q *Query) []byte {
	var in Input
	in.fillRequest(q)
	return s.docketFor(q.Principal).request.appendKey(nil, &in)
}

// forgetful is an index that leaves out every rule, as OPA's own left out some in past releases.
type forgetful struct{ ast.RuleIndex }

func (f forgetful) Lookup(r ast.ValueResolver) (*ast.IndexResult, error) {
	found, err := f.RuleIndex.Lookup(r)
	if err != nil {
		return nil, err
	}
	none := *found
	none.Rules = nil
	return &none, nil
}

func TestAnIndexThatChangesAnAnswerIsRefused(t *testing.T) {
	set := module(`deny contains "x" if input.request.model == "gpt"`).mustLoad(t)
	p := set.everyone[0].policy
	if why, overrun := set.compareIndex(context.Background(), p, p.row, today); why != "" || overrun != nil {
		t.Fatal(why, overrun)
	}
	node := p.row.compiler.RuleTree.Find(ast.MustParseRef("data.org.p.deny"))
	node.Index = forgetful{node.Index}
	why, _ := set.compareIndex(context.Background(), p, p.row, today)
	if !strings.Contains(why, "OPA's rule index changes the answer on") || !strings.Contains(why, `"gpt"`) {
		t.Fatalf("got %q", why)
	}
	if problems, _ := set.checkIndex(context.Background(), today); len(problems) != 1 || !strings.HasSuffix(problems[0].File, "rego/p.rego") {
		t.Fatal(problems)
	}
}
