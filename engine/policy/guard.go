package policy

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"chaperone/engine/catalog"
)

// What is remembered is right by construction. The guard is there for the day on which that is not so: of N judgements that
// were answered from memory it evaluates one again, on the whole input instead of on what the policy reads, though no more than ten
// a second: an evaluation takes as long as hundreds of memories. If the answers differ the set forgets everything, evaluates
// plainly from then on, and says so.

// guardEvery is the least time from one judgement that is checked to the next.
const guardEvery = 100 * time.Millisecond

// guard watches one Set.
type guard struct {
	oneIn      uint32 // 0: never; 1: always, whatever that costs
	log        *slog.Logger
	since      time.Time
	next       atomic.Int64 // nanoseconds after since before which nothing is checked
	checked    atomic.Uint64
	mismatches atomic.Uint64
	tripped    atomic.Bool
}

// GuardReport is what the guard of a Set has seen.
type GuardReport struct {
	Checked    uint64 // judgements from memory that were evaluated again
	Mismatches uint64 // of those, the ones with another answer; more than 0 is an alarm
	Plain      bool   // nothing is remembered any more
}

func newGuard(oneIn int, log *slog.Logger) *guard {
	if log == nil {
		log = slog.Default()
	}
	return &guard{oneIn: uint32(oneIn), log: log, since: time.Now()}
}

// Guard reports what the guard has seen since the set was loaded.
func (s *Set) Guard() GuardReport {
	return GuardReport{Checked: s.guard.checked.Load(), Mismatches: s.guard.mismatches.Load(), Plain: s.guard.tripped.Load()}
}

func (g *guard) due() bool {
	if g.oneIn <= 1 {
		return g.oneIn == 1
	}
	if rand.Uint32N(g.oneIn) != 0 {
		return false
	}
	now, next := time.Since(g.since), g.next.Load()
	return int64(now) >= next && g.next.CompareAndSwap(next, int64(now+guardEvery))
}

// verify evaluates what t answered from memory: all that concerns the whole request, and one row. It is false where the
// answers differ; a row whose evaluation overruns says nothing.
func (t *trial) verify() bool {
	j := t.judgement
	again := trial{ctx: t.ctx, set: t.set, query: t.query, docket: t.docket, plain: true, wide: true}
	again.input.fillRequest(t.query)
	r, transient := again.request(nil)
	if transient {
		return true
	}
	t.set.guard.checked.Add(1)
	if !slices.Equal(r.rejections, j.Rejections) || !slices.Equal(r.warnings, j.Warnings) || !slices.Equal(r.ignored, j.Ignored) || !maps.Equal(r.weights, j.Weights) {
		t.set.alarm("the request", fmt.Sprint(j.Rejections, j.Warnings, j.Ignored, j.Weights), fmt.Sprint(r.rejections, r.warnings, r.ignored, r.weights))
		return false
	}
	if len(r.rejections) > 0 || len(j.Verdicts) == 0 {
		return true
	}
	i := rand.IntN(len(j.Verdicts))
	row, v := t.query.Rows[i], &j.Verdicts[i]
	if row == nil {
		return true
	}
	ruled, transient := again.rule(row, false)
	if transient {
		return true
	}
	var obligations Obligations
	if ruled.conditions != nil && len(ruled.denials) == 0 {
		obligations = *ruled.conditions
	}
	if !slices.Equal(ruled.denials, v.Denials) || !slices.Equal(ruled.warnings, v.Warnings) || obligations != v.Permit.Obligations() {
		t.set.alarm(rowName(row), fmt.Sprint(v.Denials, v.Warnings, v.Permit.Obligations()), fmt.Sprint(ruled.denials, ruled.warnings, obligations))
		return false
	}
	return true
}

func rowName(row *catalog.Row) string { return "the endpoint " + row.ID }

// alarm gives up remembering.
func (s *Set) alarm(of, remembered, evaluated string) {
	s.guard.mismatches.Add(1)
	if s.guard.tripped.Swap(true) {
		return
	}
	s.dockets.Store(&map[scopeKey]*docket{})
	for _, b := range s.all() {
		for _, q := range b.policy.questions() {
			q.memo.current.Store(nil)
		}
	}
	s.guard.log.Error("a verdict from memory differs from its evaluation; everything remembered is dropped and policies are evaluated plainly from now on. Please report this",
		slog.Uint64("generation", s.generation), slog.String("policies", s.digest), slog.String("of", of),
		slog.String("remembered", remembered), slog.String("evaluated", evaluated))
}
