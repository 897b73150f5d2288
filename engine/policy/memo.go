package policy

import (
	"sync"
	"sync/atomic"
	"time"

	"chaperone/engine/telemetry"
)

// A verdict is a function of what its question reads of the request and of the row (readSet), because evaluation is handed
// nothing else. So it is remembered under exactly that, compared in full and never by a hash alone: two requests that
// were taken for one another would be a breach. Rows that agree on what is read share a class and so an evaluation.
//
// What is remembered belongs to one Set, and so to one generation of policies and catalog; it never expires and is never
// wrong. Overruns are not remembered: they say nothing about the row.

// memo is what has been asked of one question.
type memo struct {
	request  readSet // what the question reads that is the same for every row
	endpoint readSet // what it reads of the row
	daily    bool    // of that, something that changes with the day
	live     bool    // of that, something that changes with the statistics
	domain   *domain // of request, where that can have few values; nil otherwise

	enumerated bool // every answer has been worked out, see enumerate.go

	mu      sync.Mutex
	current atomic.Pointer[assignment]
}

func newMemo(reads readSet) *memo {
	m := &memo{}
	m.endpoint, m.request = reads.under("input.endpoint")
	m.daily, m.live = m.endpoint.touches(dailyFields...), m.endpoint.touches("input.endpoint.stats")
	m.domain = finiteDomain(m.request, maxCombinations)
	return m
}

// space is the classes there are, and the answers by request and class.
type space struct {
	ids     map[string]int32      // by canonical bytes; guarded by memo.mu
	answers table[slots[outcome]] // by class
	cells   []slots[outcome]      // in place of answers where the memo has a domain, by the combination's number
}

// assignment says which class each row of the catalog is of, at one day and one tick of the statistics.
type assignment struct {
	*space
	day  int64 // where daily
	view *telemetry.View
	of   []int32 // by catalog.Row.Index
}

// Bounds of what one question remembers (maxClasses, or four times the rows of a larger catalog; maxAnswers, or fewer where each
// is for many classes). A policy that reads something with more values than that, such as input.claims.user, is evaluated again
// and again.
const (
	maxClasses = 4096
	maxAnswers = 8192
)

// answersFor is how many requests' answers are kept where each is for so many classes of rows.
func answersFor(classes int) int { return max(16, min(maxAnswers, maxRulings/(classes+1))) }

func day(now time.Time) int64 { return now.UTC().Unix() / (24 * 60 * 60) }

// assign returns the classes of the set's rows as they are for q.
func (m *memo) assign(s *Set, q *Query) *assignment {
	if a := m.current.Load(); m.holds(a, q) {
		return a
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.current.Load()
	if m.holds(a, q) {
		return a
	}
	next := &assignment{day: day(q.Now), of: make([]int32, len(s.rows))}
	if m.live {
		next.view = q.Stats
	}
	if a != nil && len(a.ids) <= max(maxClasses, 4*len(s.rows)) {
		next.space = a.space
	} else {
		next.space = &space{ids: map[string]int32{}}
		if m.domain != nil {
			next.cells = make([]slots[outcome], m.domain.size)
		}
	}
	var in Input
	var key []byte
	for i, row := range s.rows {
		in.Endpoint = s.endpoints[i]
		in.fillTerms(row, q.Now)
		in.fillStats(s.stats, q.Stats, row)
		key = m.endpoint.appendKey(key[:0], &in)
		id, ok := next.ids[string(key)]
		if !ok {
			id = int32(len(next.ids))
			next.ids[string(key)] = id
		}
		next.of[i] = id
	}
	if next.answers.limit == 0 {
		next.answers.limit = answersFor(len(next.ids))
	}
	m.current.Store(next)
	return next
}

// holds says whether a is right for q.
func (m *memo) holds(a *assignment, q *Query) bool {
	return a != nil && (!m.live || a.view == q.Stats) && (!m.daily || a.day == day(q.Now))
}
