package telemetry

import (
	"sync"
	"sync/atomic"
	"time"

	"chaperone/engine/catalog"
)

// Reasons for which something rests.
const (
	RestAnnounced = "announced_wait" // the endpoint has asked for no request before Until
	RestLimited   = "rate_limited"   // so it has for the credential
	RestBreaker   = "breaker_open"   // too many failures; Until is the next probe
	RestProbing   = "probing"        // one request tries whether it is well again
	RestHeadroom  = "no_headroom"    // the request would exceed what is known to be left
)

// Rest is why something is not to be tried now; the zero value: it may be.
type Rest struct {
	Why   string
	Until time.Time // zero where nobody knows
}

// Firm says that it must not be tried at all before Until. What rests for any other reason may be, where nothing else is left.
func (r Rest) Firm() bool { return r.Why == RestAnnounced || r.Why == RestLimited }

// Health is what all requests together know of endpoints and credentials: breakers, announced waits and headroom. It outlives
// reloads and is safe for concurrent use.
//
// A credential is looked at as used for one row: limits are commonly set by model, and a key may be good for one only.
type Health struct {
	settings atomic.Pointer[Breaker]

	mu          sync.RWMutex
	endpoints   map[endpoint]*condition
	credentials map[credential]*condition
}

// endpoint is one whatever the credentials: its failures are the same for all.
type endpoint struct{ model, tag string }

type credential struct{ row, name string }

func endpointOf(row *catalog.Row) endpoint { return endpoint{row.Model.ID, row.Tag} }

// condition is that of one endpoint or credential.
type condition struct {
	mu        sync.Mutex
	breaker   breaker
	announced time.Time // no attempt before
	limited   bool      // by a rate limit
	headroom  Headroom
	openings  int64
}

// NewHealth knows nothing yet.
func NewHealth(b Breaker) *Health {
	h := &Health{endpoints: map[endpoint]*condition{}, credentials: map[credential]*condition{}}
	h.settings.Store(&b)
	return h
}

// Configure takes new settings, and forgets what a catalog no longer has.
func (h *Health) Configure(b Breaker, cat *catalog.Catalog) {
	h.settings.Store(&b)
	endpoints, rows := map[endpoint]bool{}, map[string]bool{}
	for _, row := range cat.Rows {
		endpoints[endpointOf(row)], rows[row.ID] = true, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := range h.endpoints {
		if !endpoints[e] {
			delete(h.endpoints, e)
		}
	}
	for c := range h.credentials {
		if !rows[c.row] {
			delete(h.credentials, c)
		}
	}
}

// Row is the rest of a row for a request of so many tokens: that of its endpoint, or else the least of its credentials'.
func (h *Health) Row(row *catalog.Row, tokens int64, now time.Time) Rest {
	if row.Group.NoAuth {
		return h.Try(row, "", tokens, now)
	}
	var least Rest
	for i, c := range row.Group.Credentials {
		rest := h.Try(row, c.Name, tokens, now)
		if rest.Why == "" {
			return rest
		}
		if i == 0 || least.Firm() && !rest.Firm() || least.Firm() == rest.Firm() && rest.Until.Before(least.Until) {
			least = rest
		}
	}
	return least
}

// Try is the rest of a row with one of its credentials.
func (h *Health) Try(row *catalog.Row, name string, tokens int64, now time.Time) Rest {
	h.mu.RLock()
	e, c := h.endpoints[endpointOf(row)], h.credentials[credential{row.ID, name}]
	h.mu.RUnlock()
	return worse(e.rest(0, now), c.rest(tokens, now))
}

func worse(a, b Rest) Rest {
	if a.Why == "" || b.Firm() && (!a.Firm() || b.Until.After(a.Until)) {
		return b
	}
	return a
}

func (c *condition) rest(tokens int64, now time.Time) Rest {
	if c == nil {
		return Rest{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resting(tokens, now)
}

func (c *condition) resting(tokens int64, now time.Time) Rest {
	switch state := c.breaker.state(now); {
	case now.Before(c.announced) && c.limited:
		return Rest{RestLimited, c.announced}
	case now.Before(c.announced):
		return Rest{RestAnnounced, c.announced}
	case state == Open:
		return Rest{RestBreaker, c.breaker.until}
	case state == HalfOpen && c.breaker.probing:
		return Rest{Why: RestProbing}
	case c.headroom.Requests.lacks(1, now):
		return Rest{RestHeadroom, c.headroom.Requests.Reset}
	case c.headroom.Tokens.lacks(tokens, now):
		return Rest{RestHeadroom, c.headroom.Tokens.Reset}
	}
	return Rest{}
}

// Trial is one attempt as health sees it. It must be ended exactly once, by Succeeded, Failed, Refused, Limited or Released.
type Trial struct {
	h                    *Health
	endpoint, credential *condition
	probes               [2]bool // of the endpoint, of the credential: no other attempt may probe meanwhile
}

// Begin admits an attempt. Where the row rests there is none and rest says why; force admits it all the same, unless the rest
// is firm.
func (h *Health) Begin(row *catalog.Row, name string, tokens int64, now time.Time, force bool) (*Trial, Rest) {
	t := &Trial{h: h, endpoint: find(h, h.endpoints, endpointOf(row)), credential: find(h, h.credentials, credential{row.ID, name})}
	t.endpoint.mu.Lock()
	defer t.endpoint.mu.Unlock()
	t.credential.mu.Lock()
	defer t.credential.mu.Unlock()
	rest := worse(t.endpoint.resting(0, now), t.credential.resting(tokens, now))
	if rest.Why != "" && (!force || rest.Firm()) {
		return nil, rest
	}
	for i, c := range []*condition{t.endpoint, t.credential} {
		if b := &c.breaker; b.state(now) == HalfOpen && !b.probing {
			b.probing, t.probes[i] = true, true
		}
	}
	t.credential.headroom.Requests.take(1)
	t.credential.headroom.Tokens.take(tokens)
	return t, rest
}

// find is the condition of key in one of h's maps, made where there is none.
func find[K comparable](h *Health, in map[K]*condition, key K) *condition {
	h.mu.RLock()
	c := in[key]
	h.mu.RUnlock()
	if c != nil {
		return c
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if in[key] == nil {
		in[key] = &condition{}
	}
	return in[key]
}

// Learn takes in what an answer says of the credential's limits.
func (t *Trial) Learn(said Headroom, now time.Time) {
	c := t.credential
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headroom.Requests.learn(said.Requests, now)
	c.headroom.Tokens.learn(said.Tokens, now)
}

// Committed says that an answer has begun.
func (t *Trial) Committed() {
	t.each(func(c *condition) { c.breaker.committed() })
	t.release()
}

// Succeeded says that the attempt has answered.
func (t *Trial) Succeeded(now time.Time) {
	t.each(func(c *condition) { c.breaker.succeeded(t.h.settings.Load(), now) })
	t.release()
}

// Failed says that the endpoint has failed, and how long it wants to be left alone (0: it did not say).
func (t *Trial) Failed(now time.Time, wait time.Duration) { t.failed(t.endpoint, now, wait) }

// Refused says that the endpoint has refused the credential.
func (t *Trial) Refused(now time.Time) { t.failed(t.credential, now, 0) }

func (t *Trial) failed(c *condition, now time.Time, wait time.Duration) {
	c.mu.Lock()
	if c.breaker.failed(t.h.settings.Load(), now) {
		c.openings++
	}
	c.mu.Unlock()
	c.announce(now, wait)
	t.release()
}

// Limited says that the credential is rate limited for so long.
func (t *Trial) Limited(now time.Time, wait time.Duration) {
	t.credential.announce(now, wait)
	t.credential.mu.Lock()
	t.credential.limited = true
	t.credential.mu.Unlock()
	t.release()
}

// Released ends a trial that says nothing about either.
func (t *Trial) Released() { t.release() }

func (c *condition) announce(now time.Time, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := now.Add(wait); wait > 0 && until.After(c.announced) {
		c.announced = until
	}
}

func (t *Trial) each(f func(*condition)) {
	for _, c := range []*condition{t.endpoint, t.credential} {
		c.mu.Lock()
		f(c)
		c.mu.Unlock()
	}
}

func (t *Trial) release() {
	for i, c := range []*condition{t.endpoint, t.credential} {
		if t.probes[i] {
			c.mu.Lock()
			c.breaker.probing = false
			c.mu.Unlock()
		}
	}
	t.probes = [2]bool{}
}

// Report is the condition of one endpoint, or of one credential as used for a row.
type Report struct {
	Endpoint   string // model@tag, of a credential its row: model@tag#group
	Credential string // its name; "" for an endpoint
	State      State
	Rest       Rest
	Openings   int64 // of the breaker so far
}

// Reports are the conditions of all that has been tried, in no order.
func (h *Health) Reports(now time.Time) []Report {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var all []Report
	add := func(r Report, c *condition) {
		c.mu.Lock()
		defer c.mu.Unlock()
		r.State, r.Rest, r.Openings = c.breaker.state(now), c.resting(0, now), c.openings
		all = append(all, r)
	}
	for e, c := range h.endpoints {
		add(Report{Endpoint: e.model + "@" + e.tag}, c)
	}
	for k, c := range h.credentials {
		add(Report{Endpoint: k.row, Credential: k.name}, c)
	}
	return all
}
