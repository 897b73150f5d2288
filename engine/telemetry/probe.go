package telemetry

import (
	"time"

	"chaperone/engine/catalog"
)

// Probe begins a probe of the router's own: of a row with one of its credentials, where the breaker of the endpoint or of the
// credential waits for one and nothing else rests; nil else. It ends like any Trial, or by Passed.
func (h *Health) Probe(row *catalog.Row, name string, now time.Time) *Trial {
	h.mu.RLock()
	e, c := h.endpoints[endpointOf(row)], h.credentials[credential{row.ID, name}]
	h.mu.RUnlock()
	if e == nil || c == nil || !h.settings.Load().breakerOf(row).Active {
		return nil // never tried, or not to be asked
	}
	t := &Trial{h: h, row: row, endpoint: e, credential: c}
	e.mu.Lock()
	defer e.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	due := false
	for i, c := range []*condition{e, c} {
		b := &c.breaker
		state := b.state(now)
		if now.Before(c.announced) || state == Open || state == HalfOpen && b.probing {
			return nil
		}
		t.probes[i] = state == HalfOpen && b.unproven
		due = due || t.probes[i]
	}
	if !due {
		return nil
	}
	for i, c := range []*condition{e, c} {
		c.breaker.probing = c.breaker.probing || t.probes[i]
	}
	return t
}

// Passed says that a probe of the router's own was answered. The breaker stays half open: whether an answer comes as well, the
// next request will show.
func (t *Trial) Passed() {
	t.eachProbed(func(c *condition) {
		c.breaker.unproven = false
		c.probes.Passed++
	})
	t.end()
}

// eachProbed calls f with what the trial probes.
func (t *Trial) eachProbed(f func(*condition)) {
	for i, c := range []*condition{t.endpoint, t.credential} {
		if t.probes[i] {
			c.mu.Lock()
			f(c)
			c.mu.Unlock()
		}
	}
}

// FailedProbe says that one was not, by what kind of fault; what it probes rests for another cool-down, and as long as it has
// announced. An endpoint that refuses a credential answers.
func (t *Trial) FailedProbe(now time.Time, kind string, ofCredential bool, wait time.Duration) {
	t.eachProbed(func(c *condition) {
		if ofCredential && c == t.endpoint {
			c.breaker.unproven = false
			c.probes.Passed++
			return
		}
		c.probes.Failed++
		c.fault, c.faultAt = kind, now
		c.breaker.failed(t.breaker(), now)
		t.h.changed(c)
		if until := now.Add(wait); wait > 0 && until.After(c.announced) {
			c.announced = until
		}
	})
	t.end()
}

// proven lets requests through where a probe of the router's own was waited for.
func (c *condition) proven() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breaker.unproven = false
}
