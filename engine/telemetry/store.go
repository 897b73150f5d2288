package telemetry

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"chaperone/engine/catalog"
)

// What NewStore takes for a window or tick that is not positive.
const (
	DefaultWindow = 5 * time.Minute
	DefaultTick   = time.Second
)

// Store keeps the statistics of rows by row id, so that they outlive a reload.
type Store struct {
	width time.Duration // of a slot
	tick  time.Duration
	// epoch is 1970 on the monotonic clock: a clock that is set back neither freezes nor empties the window.
	epoch time.Time
	ticks atomic.Uint64 // of all boards together

	mu   sync.RWMutex
	rows map[string]*series
}

// NewStore keeps samples for window, in which a View is made at most every tick.
func NewStore(window, tick time.Duration) *Store {
	if window <= 0 {
		window = DefaultWindow
	}
	if tick <= 0 {
		tick = DefaultTick
	}
	now := time.Now()
	return &Store{
		width: max(window/slots, 1),
		tick:  tick,
		epoch: now.Add(-time.Duration(now.UnixNano())),
		rows:  map[string]*series{},
	}
}

// Bind makes the board of a catalog. Rows that it no longer has are forgotten once their window has passed.
func (s *Store) Bind(cat *catalog.Catalog) *Board {
	b := &Board{store: s, rows: cat.Rows, series: make([]*series, len(cat.Rows))}
	place := map[*catalog.Model]int{}
	for i, row := range cat.Rows {
		at, known := place[row.Model]
		if !known {
			at = len(b.models)
			place[row.Model] = at
			b.models = append(b.models, nil)
		}
		b.models[at] = append(b.models[at], i)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	bound := make(map[string]bool, len(cat.Rows))
	for i, row := range cat.Rows {
		bound[row.ID] = true
		b.series[i] = s.rows[row.ID]
		if b.series[i] == nil {
			b.series[i] = &series{}
			s.rows[row.ID] = b.series[i]
		}
	}
	s.forget(bound)
	return b
}

// forget drops rows that are not bound and have nothing to say any more, by the newest time that any row has seen.
func (s *Store) forget(bound map[string]bool) {
	newest := int64(math.MinInt64)
	for _, row := range s.rows {
		if at, seen := row.newest(); seen {
			newest = max(newest, at)
		}
	}
	for id, row := range s.rows {
		at, seen := row.newest()
		if !bound[id] && (!seen || at <= newest-slots) {
			delete(s.rows, id)
		}
	}
}

func (s *Store) add(id string) *series {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows[id] == nil {
		s.rows[id] = &series{}
	}
	return s.rows[id]
}

// nanos is a moment on the store's clock: nanoseconds since 1970.
func (s *Store) nanos(t time.Time) int64 { return int64(t.Sub(s.epoch)) }

// slot is the number of the part of the window that t falls in.
func (s *Store) slot(t time.Time) int64 {
	n, width := s.nanos(t), int64(s.width)
	if n%width < 0 {
		return n/width - 1
	}
	return n / width
}
