package wasm

import (
	"sync"
	"time"
)

// A plugin's log may have this many lines at once and this many a second over time; the rest is counted and dropped.
const (
	logBurst     = 20
	logPerSecond = 5
)

// lineRate is a token bucket for log lines.
type lineRate struct {
	mu      sync.Mutex
	spent   float64
	last    time.Time
	dropped int
}

// allow says whether a line may be logged and how many were dropped before it.
func (l *lineRate) allow(now time.Time) (dropped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spent = max(0, l.spent-now.Sub(l.last).Seconds()*logPerSecond)
	l.last = now
	if l.spent+1 > logBurst {
		l.dropped++
		return 0, false
	}
	l.spent++
	dropped, l.dropped = l.dropped, 0
	return dropped, true
}

// minute counts what happens within a minute of the first.
type minute struct {
	mu    sync.Mutex
	since time.Time
	n     int
}

func (m *minute) count(now time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.since) > time.Minute {
		m.since, m.n = now, 0
	}
	m.n++
	return m.n
}
