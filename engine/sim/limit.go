package sim

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// buckets are the token buckets of a provider, one a credential.
type buckets struct {
	mu sync.Mutex
	by map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// take spends a request of the credential's bucket, if there is one to spend, and states the limit in the header in the
// form of OpenAI's guide to rate limits (platform.openai.com/docs/guides/rate-limits).
func (b *buckets) take(l Limit, credential string, now time.Time, h http.Header) (wait time.Duration, ok bool) {
	if l.RequestsPerSecond == 0 {
		return 0, true
	}
	burst := float64(max(l.Burst, 1))
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.by[credential]
	if k == nil {
		k = &bucket{tokens: burst, at: now}
		b.by[credential] = k
	}
	// Requests may overtake each other between their clock reading and the lock: time never runs backwards here.
	if elapsed := now.Sub(k.at); elapsed > 0 {
		k.tokens = min(burst, k.tokens+elapsed.Seconds()*l.RequestsPerSecond)
		k.at = now
	}
	if ok = k.tokens >= 1; ok {
		k.tokens--
	} else {
		wait = seconds((1 - k.tokens) / l.RequestsPerSecond)
	}
	full := seconds((burst - k.tokens) / l.RequestsPerSecond)
	h.Set("x-ratelimit-limit-requests", strconv.Itoa(int(burst)))
	h.Set("x-ratelimit-remaining-requests", strconv.Itoa(int(k.tokens)))
	h.Set("x-ratelimit-reset-requests", full.Round(time.Millisecond).String())
	return wait, ok
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
