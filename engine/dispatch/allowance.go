package dispatch

import (
	"sync"
	"time"
)

// retryReserve is how many retries a second there may be beside their share of traffic, so that a router with little traffic
// can retry at all.
const retryReserve = 10

// mostSaved bounds what quiet times save up for an outage.
const mostSaved = 100

// allowance caps what is done extra as a share of all requests: each request earns a share, each extra takes 1.
type allowance struct {
	reserve float64 // earned each second whatever the traffic

	mu   sync.Mutex
	left float64
	at   time.Time
}

func (a *allowance) earn(share float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left = min(a.left+share, max(mostSaved, a.reserve))
}

// spend takes 1; false where there is not so much.
func (a *allowance) spend() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reserve > 0 {
		now := time.Now()
		if !a.at.IsZero() && a.left < a.reserve {
			a.left = min(a.reserve, a.left+now.Sub(a.at).Seconds()*a.reserve)
		}
		a.at = now
	}
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}
