package policy

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"chaperone/engine/catalog"
)

// deciding is the library in three layers: 14 rules that read 8 fields of the request and 11 of the row.
func deciding(t testing.TB, n int) (*Set, *Query) {
	everyone := []string{
		"package = \"library.training\"", "package = \"library.free_credentials\"", "package = \"library.provider_tools\"",
		"package = \"library.self_hosted\"\nparams = { from = \"restricted\" }", "package = \"org.mixed\"",
	}
	org := []string{
		"package = \"library.retention\"\nparams = { max_days = 36500 }", "package = \"library.residency\"\nparams = { regions = [\"eu\", \"ch\", \"unknown\"] }",
		"package = \"library.jurisdiction\"\nparams = { jurisdictions = [\"DE\", \"unknown\"] }", "package = \"library.providers\"\nparams = { deny = [\"beta\"] }",
	}
	team := []string{"package = \"library.models\"\nparams = { allow = [\"acme/*\"] }", "package = \"library.price\"\nparams = { prompt = 10, completion = 20 }"}
	var bindings []string
	for scope, of := range map[string][]string{"everyone": everyone, "org:acme": org, "team:acme/fraud": team} {
		for _, b := range of {
			bindings = append(bindings, bindingOf(b, scope))
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	kinds := randomRows(r, 30)
	rows := make([]*catalog.Row, n)
	for i := range rows {
		row := *kinds[i%len(kinds)]
		row.Index, row.ID = i, fmt.Sprint(row.ID, i)
		rows[i] = &row
	}
	q := query()
	q.Rows = rows
	return withSources(bindings...).mustLoad(t, honoursAll...).on(rows), q
}

var sizes = []int{20, 200, 1000}

func BenchmarkDecideNaive(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("endpoints=%d", n), func(b *testing.B) {
			set, q := deciding(b, n)
			plain := set.plainly()
			j := &Judgement{}
			b.ReportAllocs()
			for b.Loop() {
				plain.JudgeInto(context.Background(), q, j)
			}
		})
	}
}

func BenchmarkDecideMiss(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("endpoints=%d", n), func(b *testing.B) {
			set, q := deciding(b, n)
			j := &Judgement{}
			b.ReportAllocs()
			for b.Loop() {
				set.forget()
				set.JudgeInto(context.Background(), q, j)
			}
		})
	}
}

func BenchmarkDecideHit(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("endpoints=%d", n), func(b *testing.B) {
			set, q := deciding(b, n)
			j := &Judgement{}
			set.JudgeInto(context.Background(), q, j)
			b.ReportAllocs()
			for b.Loop() {
				set.JudgeInto(context.Background(), q, j)
			}
		})
	}
}

func BenchmarkDecideHitParallel(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("endpoints=%d", n), func(b *testing.B) {
			set, q := deciding(b, n)
			set.Judge(context.Background(), q)
			b.ReportAllocs()
			b.ResetTimer() // unlike Loop, RunParallel counts what comes before it
			b.RunParallel(func(pb *testing.PB) {
				j := &Judgement{}
				for pb.Next() {
					set.JudgeInto(context.Background(), q, j)
				}
			})
		})
	}
}

// forget makes every question new.
func (s *Set) forget() {
	s.dockets.Store(&map[scopeKey]*docket{})
	for _, bs := range [][]*binding{s.everyone, s.byOrg["acme"], s.byTeam[team{"acme", "fraud"}]} {
		for _, b := range bs {
			for _, q := range []*question{b.policy.row, b.policy.request, b.policy.prefer} {
				if q != nil {
					q.memo = newMemo(q.reads)
				}
			}
		}
	}
}

func TestAHitAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	set, q := deciding(t, 200)
	j := &Judgement{}
	set.JudgeInto(context.Background(), q, j)
	denied := 0
	for _, v := range j.Verdicts {
		if len(v.Denials) > 0 {
			denied++
		}
	}
	if denied == 0 || denied == len(j.Verdicts) {
		t.Fatalf("%d of %d rows are denied: the case shows too little", denied, len(j.Verdicts))
	}
	set.guard.next.Store(math.MaxInt64) // it has just checked one, which allocates, and so looks on
	if n := testing.AllocsPerRun(2000, func() { set.JudgeInto(context.Background(), q, j) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
