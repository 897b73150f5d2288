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
