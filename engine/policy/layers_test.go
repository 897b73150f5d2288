package policy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Adding a binding never adds a row nor loosens an obligation, whoever wrote it.
func TestAddingALayerNeverAddsARow(t *testing.T) {
	seed := seeded(t).Uint64()
	all := compiledPool(t)
	sets := 10_000
	if testing.Short() || raceEnabled {
		sets = 500
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for n := next.Add(1); int(n) <= sets && !t.Failed(); n = next.Add(1) {
				r := rand.New(rand.NewPCG(seed, uint64(n)))
				if why := addLayers(r, all); why != "" {
					t.Errorf("set %d: %s", n, why)
				}
			}
		})
	}
	group.Wait()
}

// addLayers adds bindings of all one by one to a set, and says what became looser.
func addLayers(r *rand.Rand, all *Set) string {
	rows := randomRows(r, 4)
	set := all.bare(rows)
	q := &Query{Principal: principal(), Request: randomRequest(r), Rows: rows, Stats: randomView(r, 4), Now: today.Add(time.Duration(r.IntN(48)) * time.Hour)}
	var before *Judgement
	for range 2 + r.IntN(4) {
		layered := set.with(r, pick(r, all.everyone...))
		after := layered.Judge(context.Background(), q)
		if before != nil {
			for i := range rows {
				was, is := before.Verdicts[i].Permit, after.Verdicts[i].Permit
				if is.Row() != nil && was.Row() == nil {
					return fmt.Sprintf("a layer added %s, which %+v denied", rows[i].ID, before.Verdicts[i].Denials)
				}
				if is.Row() != nil && looser(is.Obligations(), was.Obligations()) {
					return fmt.Sprintf("a layer loosened %+v to %+v", was.Obligations(), is.Obligations())
				}
			}
			if len(before.Rejections) > 0 && len(after.Rejections) == 0 {
				return fmt.Sprintf("a layer took back %+v", before.Rejections)
			}
		}
		set, before = layered, after
	}
	return ""
}

// A team's file adds no row either, whatever it binds and excepts, though the operators' rules may be waived.
func TestATeamsFileNeverAddsARow(t *testing.T) {
	r := seeded(t)
	rounds := 200
	if testing.Short() || raceEnabled {
		rounds = 60
	}
	refused, waived := 0, 0
	// Most of what is drawn is refused, so that it may take more rounds until something is waived.
	for n := 0; n < rounds || waived == 0 && n < 50*rounds; n++ {
		f := withSources(bindingOf(pick(r, pool...), pick(r, "everyone", "org:acme", "team:acme/fraud")), bindingOf("package = \"org.p\"", pick(r, "everyone", "org:acme", "team:acme/fraud")))
		f["rego/p.rego"] = waivable
		q := query()
		q.Request = randomRequest(r)
		without := f.mustLoad(t, honoursAll...).Judge(context.Background(), q)
		f["team.toml"] = "organisation = \"acme\"\nteam = \"fraud\"\n[[policy.sources]]\nname = \"theirs\"\npath = \"theirs\"\n"
		f["theirs/p.rego"] = strings.ReplaceAll(waivable, "org.p", "theirs.p")
		for _, b := range []string{"package = \"org.p\"", "package = \"theirs.p\"", pick(r, pool...)} {
			if r.IntN(2) == 0 {
				f["team.toml"] += "[[policy.bindings]]\n" + b + "\n"
			}
		}
		for range 1 + r.IntN(3) {
			f["team.toml"] += waiverOf(pick(r, "org.p.deny", "theirs.p.deny", "org.p.deny/retention", "org.mixed.deny"), pick(r, "team:acme/fraud", "team:acme/fraud", "everyone"),
				pick(r, "acme/large@alpha", "acme/large@american", "acme/large@trainer#paid", "acme/large@silent"), "2027-01-01")
		}
		set, problems := f.load(t, honoursAll...)
		if len(problems) > 0 {
			refused++
			continue // the old set stays
		}
		with := set.Judge(context.Background(), q)
		for i := range q.Rows {
			was, is := without.Verdicts[i].Permit, with.Verdicts[i].Permit
			if is.Row() != nil && (was.Row() == nil || looser(is.Obligations(), was.Obligations())) {
				t.Fatalf("a team's file added %s, which %+v denied\n%s\n%s", q.Rows[i].ID, without.Verdicts[i].Denials, f["chaperone.toml"], f["team.toml"])
			}
			for _, w := range with.Verdicts[i].Warnings {
				if w.Waiver != nil {
					waived++
				}
			}
		}
	}
	if waived == 0 {
		t.Fatalf("%d files were refused and no denial was waived: the test shows nothing", refused)
	}
}

// with is s and one more binding, in one of the layers that apply to the principal of the tests.
func (s *Set) with(r *rand.Rand, b *binding) *Set {
	more := s.on(s.rows)
	one := *b
	one.policy = b.policy.anew()
	switch r.IntN(4) {
	case 0:
		more.everyone = append(more.everyone, &one)
	case 1:
		more.byOrg["acme"] = append(more.byOrg["acme"], &one)
	case 2:
		t := team{"acme", "fraud"}
		more.byTeam[t] = append(more.byTeam[t], &one)
	default:
		k := principal().Key.ID
		more.byKey[k] = append(more.byKey[k], &one)
	}
	return more
}

func looser(a, than Obligations) bool {
	united := a
	united.unite(&than)
	return united != a
}

// What other layers write cannot touch a policy, even where it names the policy's own package.
func TestAnotherSourceCannotReopenAPackage(t *testing.T) {
	const own = "package org.p\n\nallow if input.endpoint.data_policy.training == \"no\"\n\ndeny contains \"us\" if \"us\" in input.endpoint.processing_regions\n"
	for name, attack := range map[string]string{
		"the same package":             "package org.p\n\nallow if true\n",
		"the same package, by default": "package org.p\n\ndefault allow := false\n\nallow := true\n",
		"the library's package":        "package library.training\n\ndeny := set()\n",
		"a package above":              "package org\n\np := {\"allow\": true, \"deny\": set()}\n\ndeny contains \"x\" if false\n",
		"a package below":              "package org.p.allow\n\ndeny contains \"x\" if false\n",
		"all of data":                  "package org.q\n\nallow if true with data.org.p.deny as set()\n",
		"the parameters":               "package params\n\nregions := [\"us\"]\n\nallow if true\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := one(own)
			f["team.toml"] = "organisation = \"acme\"\nteam = \"fraud\"\n[[policy.sources]]\nname = \"theirs\"\npath = \"theirs\"\n"
			f["theirs/attack.rego"] = attack
			pkg := strings.Fields(attack)[1]
			f["team.toml"] += "[[policy.bindings]]\npackage = \"" + pkg + "\"\n"
			set, problems := f.load(t)
			if len(problems) > 0 {
				return // refused: the old set stays
			}
			if got := permitted(set.Judge(context.Background(), query())); got != "alpha" {
				t.Fatalf("permitted %q", got)
			}
		})
	}
}

func TestBindingsApplyToTheirScope(t *testing.T) {
	for scope, applies := range map[string]bool{
		"everyone": true, "org:acme": true, "team:acme/fraud": true, "org:other": false, "team:other/fraud": false,
	} {
		set := files{"chaperone.toml": bindingOf("package = \"library.training\"", scope)}.mustLoad(t)
		got := permitted(set.Judge(context.Background(), query()))
		if denies := got == "alpha american"; denies != applies {
			t.Errorf("%s: permitted %q", scope, got)
		}
	}
}

func TestATeamsFileBindsItsTeam(t *testing.T) {
	set := files{
		"chaperone.toml": "\n",
		"team.toml":      "organisation = \"acme\"\nteam = \"fraud\"\n[[policy.sources]]\nname = \"ours\"\npath = \"rego\"\n[[policy.bindings]]\npackage = \"team.p\"\n",
		"rego/p.rego":    "package team.p\n\ndeny contains \"not ours\" if input.endpoint.provider != \"alpha\"\n",
	}.mustLoad(t)
	q := query()
	if got := permitted(set.Judge(context.Background(), q)); got != "alpha" {
		t.Error(got)
	}
	q.Principal.Team = nil
	if got := permitted(set.Judge(context.Background(), q)); got != "alpha trainer silent american" {
		t.Error(got)
	}
}

func TestRequirePolicyRefusesWhomNobodyBound(t *testing.T) {
	f := files{"chaperone.toml": "[policy]\nrequire_policy = true\n" + bindingOf("package = \"library.training\"", "org:other")}
	j := f.mustLoad(t).Judge(context.Background(), query())
	if len(j.Rejections) != 1 || j.Rejections[0].Code != "no_policy" || permitted(j) != "" {
		t.Errorf("%+v", j)
	}
	f["chaperone.toml"] += bindingOf("package = \"library.retention\"\nparams = { max_days = 36500 }\nenforcement = \"dryrun\"\nuntil = 2026-12-31", "everyone")
	if j := f.mustLoad(t).Judge(context.Background(), query()); len(j.Rejections) != 1 {
		t.Errorf("a binding that excludes nothing counts: %+v", j)
	}
	f["chaperone.toml"] += bindingOf("package = \"library.training\"", "org:acme")
	if got := permitted(f.mustLoad(t).Judge(context.Background(), query())); got != "alpha american" {
		t.Error(got)
	}
}

func TestATrialRecordsAndExcludesNothingUntilItEnds(t *testing.T) {
	set := files{"chaperone.toml": bindingOf("package = \"library.training\"\nenforcement = \"warn\"\nuntil = 2026-11-23", "everyone")}.mustLoad(t)
	q := query()
	set = set.on(q.Rows)
	j := set.Judge(context.Background(), q)
	w := j.Verdicts[1].Warnings
	if permitted(j) != "alpha trainer silent american" || len(w) != 1 || w[0].Enforcement != "warn" || w[0].Code != "training" {
		t.Fatalf("%+v", j.Verdicts)
	}
	q.Now = today.AddDate(0, 0, 1)
	if j := set.Judge(context.Background(), q); permitted(j) != "alpha american" || len(j.Verdicts[1].Warnings) != 0 {
		t.Fatalf("after its end: %+v", j.Verdicts)
	}
}

func TestOverdueReviewsChangeTheVerdictAtMidnight(t *testing.T) {
	set := files{"chaperone.toml": bindingOf("package = \"library.training\"", "everyone")}.mustLoad(t)
	q := query()
	q.Rows[0].DataPolicy.ReviewBy = today
	set = set.on(q.Rows)
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{today, "alpha american"},
		{time.Date(2026, 11, 23, 23, 59, 59, 0, time.UTC), "alpha american"},
		{time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), "american"},
		{today, "alpha american"},
	} {
		q.Now = c.at
		if got := permitted(set.Judge(context.Background(), q)); got != c.want {
			t.Errorf("at %s: %q, want %q", c.at, got, c.want)
		}
	}
}

func TestReasonsNameTheRuleThatFired(t *testing.T) {
	set := module(`# the first
deny contains "regions" if count(input.endpoint.processing_regions) > 1

deny contains {"code": "c", "message": m} if {
	m := concat(" ", ["tag", input.endpoint.tag])
	input.endpoint.tag == "american"
}

deny contains r if some r in {"x", "y"} - {"y"}
`).mustLoad(t)
	got := map[string]int{}
	for _, d := range set.Judge(context.Background(), query()).Verdicts[3].Denials {
		if !strings.HasSuffix(d.File, "rego/p.rego") {
			t.Errorf("file %q", d.File)
		}
		got[d.Code+d.Message] = d.Line
	}
	want := map[string]int{"regions": 4, "ctag american": 6, "x": 11}
	if len(got) != len(want) || got["regions"] != 4 || got["ctag american"] != 6 || got["x"] != 11 {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTheSameSetHasTheSameDigest(t *testing.T) {
	f := files{"chaperone.toml": bindingOf("package = \"library.retention\"\nparams = { max_days = 30 }", "everyone")}
	a, b := f.mustLoad(t), f.mustLoad(t)
	f["chaperone.toml"] = strings.Replace(f["chaperone.toml"], "30", "31", 1)
	c := f.mustLoad(t)
	if a.Digest() != b.Digest() || a.Digest() == c.Digest() || len(a.Digest()) != 64 || a.Generation() != 7 {
		t.Errorf("%s %s %s", a.Digest(), b.Digest(), c.Digest())
	}
}

func TestWhatIsReadIsWhatChangesTheAnswer(t *testing.T) {
	r := seeded(t)
	var all []string
	for _, b := range pool {
		all = append(all, bindingOf(b, "everyone"))
	}
	set := withSources(all...).mustLoad(t)
	for range 300 {
		rows := randomRows(r, 1)
		q := &Query{Principal: randomPrincipal(r), Request: randomRequest(r), Rows: rows, Stats: randomView(r, 1), Now: today}
		var in Input
		in.fillRequest(q)
		in.fillEndpoint(rows[0])
		in.fillTerms(rows[0], q.Now)
		in.fillStats(new(steady), q.Stats, rows[0])
		for _, b := range set.everyone {
			for _, question := range []*question{b.policy.row, b.policy.request, b.policy.prefer} {
				if question == nil {
					continue
				}
				narrow, err1 := b.policy.ask(context.Background(), question, question.reads.value(&in), nil)
				wide, err2 := b.policy.ask(context.Background(), question, everything.value(&in), nil)
				if (err1 == nil) != (err2 == nil) || err1 == nil && narrow.Compare(wide) != 0 {
					t.Fatalf("%s: on what it reads (%v) %v, %v; on everything %v, %v", b.name, question.reads, narrow, err1, wide, err2)
				}
			}
		}
	}
}
