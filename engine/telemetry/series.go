package telemetry

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// slots is how many parts the window has. It slides by one part at a time, so statistics cover between nine tenths of it
// and all of it.
const slots = 10

// leastTokens is how long an output must be for its speed to count: that of a shorter one says more about buffering.
const leastTokens = 8

// series is what is known of one row. Times in it are nanoseconds on the store's clock.
type series struct {
	failures atomic.Int64 // read without the lock

	mu      sync.Mutex
	window  *window // nil until the first observation: a row without traffic costs next to nothing
	changed bool    // since summary was made
	summary summary
}

// window is a ring of slots. The slot of number k is at k mod slots; head is the newest number.
type window struct {
	head  int64
	slots [slots]slot
	ttft  histogram // sums over the slots
	tps   histogram
}

// slot is what happened in one part of the window.
type slot struct {
	ok, failed, limited int64
	lost                float64 // milliseconds, summed over failed and limited
	ttft, tps           logNormal
	ttftBins, tpsBins   histogram
}

// logNormal sums logarithms, since times and speeds spread by factors: its mean is the geometric one.
type logNormal struct {
	n   int64
	sum float64
}

func (l *logNormal) add(other logNormal) {
	l.n += other.n
	l.sum += other.sum
}

// summary is a window added up.
type summary struct {
	ok, failed, limited int64
	lost                float64
	ttft, tps           logNormal
	ttftAt, tpsAt       Percentiles
}

// observe records o, which ended at the given time in the slot of that number. An outcome from before the window is dropped.
func (s *series) observe(o *Outcome, number int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.window == nil {
		s.window = &window{head: number}
	}
	w := s.window
	s.advance(number)
	if number <= w.head-slots {
		return
	}
	s.changed = true
	at := &w.slots[index(number)]
	switch {
	case o.RateLimited:
		at.limited++
		at.lost += millis(o.FailedAfter)
		return
	case !o.OK:
		at.failed++
		at.lost += millis(o.FailedAfter)
		s.failures.Add(1)
	default:
		at.ok++
		s.failures.Store(0)
	}
	if o.TTFT > 0 {
		log := math.Log(millis(o.TTFT))
		in := bin(log)
		at.ttft.add(logNormal{1, log})
		at.ttftBins[in]++
		w.ttft[in]++
	}
	if o.OK && o.Generation > 0 && o.OutputTokens >= leastTokens {
		log := math.Log(float64(o.OutputTokens) / o.Generation.Seconds())
		in := bin(log)
		at.tps.add(logNormal{1, log})
		at.tpsBins[in]++
		w.tps[in]++
	}
}

// advance empties the slots that have left a window whose newest slot is number. It never goes back.
func (s *series) advance(number int64) {
	w := s.window
	for leaving := max(w.head-slots, number-2*slots) + 1; leaving <= number-slots; leaving++ {
		old := &w.slots[index(leaving)]
		if old.ok+old.failed+old.limited == 0 {
			continue
		}
		w.ttft.subtract(&old.ttftBins)
		w.tps.subtract(&old.tpsBins)
		*old = slot{}
		s.changed = true
	}
	w.head = max(w.head, number)
}

// summarize is the window that ends with the slot of that number, added up.
func (s *series) summarize(number int64) summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.window == nil {
		return summary{ttftAt: noPercentiles, tpsAt: noPercentiles}
	}
	s.advance(number)
	if s.changed {
		s.changed = false
		var sum summary
		for i := range s.window.slots {
			at := &s.window.slots[i]
			sum.ok += at.ok
			sum.failed += at.failed
			sum.limited += at.limited
			sum.lost += at.lost
			sum.ttft.add(at.ttft)
			sum.tps.add(at.tps)
		}
		sum.ttftAt = s.window.ttft.percentiles(sum.ttft.n)
		sum.tpsAt = s.window.tps.percentiles(sum.tps.n)
		s.summary = sum
	}
	return s.summary
}

// newest is the number of the newest slot, and whether there is one.
func (s *series) newest() (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.window == nil {
		return 0, false
	}
	return s.window.head, true
}

func index(number int64) int64 {
	return (number%slots + slots) % slots
}

func millis(d time.Duration) float64 {
	return float64(max(d, 0)) / float64(time.Millisecond)
}
