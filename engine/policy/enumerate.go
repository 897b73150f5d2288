package policy

import (
	"context"
	"time"
)

// Bounds of the decision tables that are worked out at load.
const (
	maxCombinations = 4096    // values that what one question reads of requests can have together
	maxEnumerated   = 1 << 14 // evaluations of one load
)

// enumerate works out every answer of the questions whose fields all have few values, so that judging is a look into a table.
// What changes with the day is worked out for now's, and later days' answers are added as they are asked for.
func (s *Set) enumerate(ctx context.Context, now time.Time) {
	left := maxEnumerated
	seen := map[*policy]bool{}
	for _, b := range s.all() {
		p := b.policy
		if seen[p] {
			continue
		}
		seen[p] = true
		s.enumerateQuestion(ctx, p, p.row, p.judgeRow, now, &left)
		s.enumerateQuestion(ctx, p, p.request, p.judgeRequest, now, &left)
		s.enumerateQuestion(ctx, p, p.prefer, p.weigh, now, &left)
	}
}

func (s *Set) enumerateQuestion(ctx context.Context, p *policy, q *question, evaluate evaluation, now time.Time, left *int) {
	if q == nil || q.memo.domain == nil || q.memo.live {
		return
	}
	m := q.memo
	a := m.assign(s, &Query{Now: now})
	ofClass := make([]int, len(a.ids)) // a row of each class
	for i, class := range a.of {
		ofClass[class] = i
	}
	if q != p.row {
		ofClass = []int{-1}
	}
	if *left -= m.domain.size * len(ofClass); *left < 0 {
		return
	}
	for class, i := range ofClass {
		var in Input
		if i >= 0 {
			in.Endpoint = s.endpoints[i]
			in.fillTerms(s.rows[i], now)
		}
		for n := range m.domain.size {
			m.domain.set(&in, n)
			if !in.possible(q.reads) {
				continue
			}
			o := evaluate(ctx, q.reads.value(&in))
			if o.overran || o.transient {
				return
			}
			a.cells[n].put(class, len(ofClass), o)
		}
	}
	m.enumerated = true
}
