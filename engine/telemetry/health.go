package telemetry

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"chaperone/engine/admission"
	"chaperone/engine/catalog"
)

// Reasons for which something rests.
const (
	RestAnnounced = "announced_wait" // the endpoint has asked for no request before Until
	RestLimited   = "rate_limited"   // so it has for the credential
	RestBreaker   = "breaker_open"   // too many failures; Until is the next probe
	RestProbing   = "probing"        // one request tries whether it is well again
	RestHeadroom  = "no_headroom"    // the request would exceed what is known to be left
	RestFull      = "at_limit"       // as many requests are in flight at the endpoint as may be: wait for a place
)

// Rest is why something is not to be tried now; the zero value: it may be.
type Rest struct {
	Why   string
	Until time.Time // zero where nobody knows
	Heard bool      // only by the word of another router
}

// Firm says that it must not be tried at all before Until. What rests for any other reason may be, where nothing else is left.
func (r Rest) Firm() bool { return r.Why == RestAnnounced || r.Why == RestLimited }

// Health is what all requests together know of endpoints and credentials: breakers, announced waits and headroom. It outlives
// reloads and is safe for concurrent use.
//
// A credential is looked at as used for one row: limits are commonly set by model, and a key may be good for one only.
type Health struct {
	settings atomic.Pointer[HealthSettings]
	feeds    []*Feed
	token    string // that replicas have

	mu          sync.RWMutex
	endpoints   map[endpoint]*condition
	credentials map[credential]*condition
}

// HealthSettings are those of all endpoints and credentials.
type HealthSettings struct {
	Breaker  Breaker
	Endpoint admission.Limits // of an endpoint that has no limit of its own

	limits    map[endpoint]int
	unprobed  map[endpoint]bool
	endpoints map[endpoint]*catalog.Row // one of each that there is
	rows      map[string]*catalog.Row   // by their ids
}

// breakerOf is that of a row: what the router's own probes never ask waits for none.
func (s *HealthSettings) breakerOf(row *catalog.Row) *Breaker {
	if !s.unprobed[endpointOf(row)] {
		return &s.Breaker
	}
	b := s.Breaker
	b.Active = false
	return &b
}

// limitsOf are those of an endpoint; of several rows with limits of their own, the least counts.
func (s *HealthSettings) limitsOf(e endpoint) admission.Limits {
	l := s.Endpoint
	if n, ok := s.limits[e]; ok {
		l.InFlight = n
	}
	return l
}

// endpoint is one whatever the credentials: its failures are the same for all.
type endpoint struct{ model, tag string }

func (e endpoint) news() News { return News{Model: e.model, Tag: e.tag} }

type credential struct{ row, name string }

func (c credential) news() News { return News{Row: c.row, Credential: c.name} }

func endpointOf(row *catalog.Row) endpoint { return endpoint{row.Model.ID, row.Tag} }

// condition is that of one endpoint or credential.
type condition struct {
	named     News // what it is of
	mu        sync.Mutex
	breaker   breaker
	announced time.Time // no attempt before
	limited   bool      // by a rate limit
	headroom  Headroom
	openings  int64
	gate      admission.Gate   // of an endpoint
	doubt     string           // of the catalog's entry for an endpoint; see Trial.Doubted
	doubts    map[string]int64 // how often, by what
	fault     string           // the kind of the last that counted
	faultAt   time.Time
	probes    Probes

	succeededAt time.Time // the last answer that has begun or ended well

	heardOpen, heardWait time.Time // until when the breaker and the wait are to last by the word of another router
}

// Probes counts the router's own.
type Probes struct{ Passed, Failed int64 }

// NewHealth knows nothing yet.
func NewHealth(b Breaker) *Health {
	h := &Health{endpoints: map[endpoint]*condition{}, credentials: map[credential]*condition{}}
	h.settings.Store(&HealthSettings{Breaker: b})
	return h
}

// Configure takes new settings, and forgets what a catalog no longer has.
func (h *Health) Configure(s HealthSettings, cat *catalog.Catalog) {
	s.limits, s.unprobed = map[endpoint]int{}, map[endpoint]bool{}
	s.endpoints, s.rows = map[endpoint]*catalog.Row{}, map[string]*catalog.Row{}
	for _, row := range cat.Rows {
		e := endpointOf(row)
		s.endpoints[e], s.rows[row.ID], s.unprobed[e] = row, row, row.Provider.Unprobed
		if n := row.InFlight; n > 0 && (s.limits[e] == 0 || n < s.limits[e]) {
			s.limits[e] = n
		}
	}
	h.settings.Store(&s)
	h.mu.Lock()
	defer h.mu.Unlock()
	for e, c := range h.endpoints {
		switch row := s.endpoints[e]; {
		case row == nil:
			delete(h.endpoints, e)
			continue
		case !s.breakerOf(row).Active:
			c.proven()
		}
		c.gate.Configure(s.limitsOf(e))
	}
	for k, c := range h.credentials {
		switch row := s.rows[k.row]; {
		case row == nil:
			delete(h.credentials, k)
		case !s.breakerOf(row).Active:
			c.proven()
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
	rest := worse(e.rest(0, now), c.rest(tokens, now))
	if rest.Why == "" && e != nil && e.gate.Full(admission.Tenant{}) {
		rest.Why = RestFull
	}
	return rest
}

// Wait waits for a place at one of the rows' endpoints, and returns which. The errors are those of admission.Entry.
func (h *Health) Wait(ctx context.Context, organisation string, atMost time.Duration, rows []*catalog.Row) (int, admission.Pass, error) {
	gates := make([]*admission.Gate, len(rows))
	for i, row := range rows {
		gates[i] = &h.endpoint(row).gate
	}
	return admission.Join(admission.Tenant{ID: organisation}, gates...).Wait(ctx, atMost)
}

func worse(a, b Rest) Rest {
	if a.Why == "" || b.Firm() && (!a.Firm() || b.Until.After(a.Until)) {
		return b
	}
	a.Heard = a.Heard && (b.Why == "" || b.Heard)
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
		return Rest{Why: RestLimited, Until: c.announced}
	case now.Before(c.announced):
		return Rest{Why: RestAnnounced, Until: c.announced}
	case state == Open:
		return Rest{Why: RestBreaker, Until: c.breaker.until, Heard: c.breaker.heard}
	case state == HalfOpen && (c.breaker.probing || c.breaker.unproven):
		return Rest{Why: RestProbing, Heard: c.breaker.heard}
	case c.headroom.Requests.lacks(1, now):
		return Rest{Why: RestHeadroom, Until: c.headroom.Requests.Reset}
	case c.headroom.Tokens.lacks(tokens, now):
		return Rest{Why: RestHeadroom, Until: c.headroom.Tokens.Reset}
	}
	return Rest{}
}

// Trial is one attempt as health sees it. It must be ended, by Succeeded, Failed, Refused, Limited, Doubted or Released; after
// Released it may be once more, by what came of it all the same.
type Trial struct {
	h                    *Health
	row                  *catalog.Row
	endpoint, credential *condition
	probes               [2]bool // of the endpoint, of the credential: no other attempt may probe meanwhile
	pass                 admission.Pass
}

// Begin admits an attempt of an organisation. Where the row rests there is none and rest says why; force admits it all the
// same, unless the rest is firm or the endpoint at its limit. A pass that Wait gave belongs to the trial where there is one.
func (h *Health) Begin(row *catalog.Row, name, organisation string, tokens int64, now time.Time, force bool, pass admission.Pass) (*Trial, Rest) {
	t := &Trial{h: h, row: row, endpoint: h.endpoint(row), credential: find(h, h.credentials, credential{row.ID, name}), pass: pass}
	t.endpoint.mu.Lock()
	defer t.endpoint.mu.Unlock()
	t.credential.mu.Lock()
	defer t.credential.mu.Unlock()
	rest := worse(t.endpoint.resting(0, now), t.credential.resting(tokens, now))
	if rest.Why != "" && (!force || rest.Firm()) {
		return nil, rest
	}
	if pass == (admission.Pass{}) {
		var free bool
		if t.pass, free = t.endpoint.gate.Try(admission.Tenant{ID: organisation}); !free {
			return nil, Rest{Why: RestFull}
		}
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

// endpoint is the condition of a row's endpoint.
func (h *Health) endpoint(row *catalog.Row) *condition {
	key := endpointOf(row)
	c := find(h, h.endpoints, key)
	if limits := h.settings.Load().limitsOf(key); c.gate.Limits() != limits {
		c.gate.Configure(limits)
	}
	return c
}

// find is the condition of key in one of h's maps, made where there is none.
func find[K interface {
	comparable
	news() News
}](h *Health, in map[K]*condition, key K) *condition {
	h.mu.RLock()
	c := in[key]
	h.mu.RUnlock()
	if c != nil {
		return c
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if in[key] == nil {
		in[key] = &condition{named: key.news()}
	}
	return in[key]
}

func (t *Trial) breaker() *Breaker { return t.h.settings.Load().breakerOf(t.row) }

// Learn takes in what an answer says of the credential's limits.
func (t *Trial) Learn(said Headroom, now time.Time) {
	c := t.credential
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headroom.Requests.learn(said.Requests, now)
	c.headroom.Tokens.learn(said.Tokens, now)
	if said.Requests.Known || said.Tokens.Known {
		t.h.changed(c)
	}
}

// Committed says that an answer has begun.
func (t *Trial) Committed(now time.Time) {
	t.each(func(c *condition) {
		t.wentWell(c, now)
		c.breaker.committed()
	})
	t.release()
}

// Succeeded says that the attempt has answered.
func (t *Trial) Succeeded(now time.Time) {
	t.each(func(c *condition) {
		t.wentWell(c, now)
		c.breaker.succeeded(t.breaker(), now)
		c.doubt = ""
	})
	t.end()
}

// wentWell notes it, and tells others where they may think that it does not go well.
func (t *Trial) wentWell(c *condition, now time.Time) {
	c.succeededAt = now
	if c.breaker.open {
		t.h.changed(c)
	}
}

// Failed says that the endpoint has failed, by what kind of fault, and how long it wants to be left alone (0: it did not say).
func (t *Trial) Failed(now time.Time, kind string, wait time.Duration) {
	t.failed(t.endpoint, now, kind, wait)
}

// Refused says that the endpoint has refused the credential.
func (t *Trial) Refused(now time.Time, kind string) { t.failed(t.credential, now, kind, 0) }

func (t *Trial) failed(c *condition, now time.Time, kind string, wait time.Duration) {
	c.mu.Lock()
	c.fault, c.faultAt = kind, now
	if c.breaker.failed(t.breaker(), now) {
		c.openings++
	}
	if c.breaker.open {
		t.h.changed(c)
	}
	c.mu.Unlock()
	t.announce(c, now, wait)
	t.end()
}

// Limited says that the credential is rate limited for so long.
func (t *Trial) Limited(now time.Time, kind string, wait time.Duration) {
	c := t.credential
	c.mu.Lock()
	c.limited = true
	c.fault, c.faultAt = kind, now
	c.mu.Unlock()
	t.announce(c, now, wait)
	t.end()
}

// Doubted says that the endpoint does not know what the catalog says it does, the model or a parameter, or cannot take as much.
// That speaks against the entry, not against the endpoint's health; it is told until the endpoint has answered again.
func (t *Trial) Doubted(what string) {
	c := t.endpoint
	c.mu.Lock()
	c.doubt = what
	if c.doubts == nil {
		c.doubts = map[string]int64{}
	}
	c.doubts[what]++
	c.mu.Unlock()
	t.end()
}

// Doubt is what the endpoint of a row did not know when it was last asked; "" where it knew all.
func (h *Health) Doubt(row *catalog.Row) string {
	h.mu.RLock()
	c := h.endpoints[endpointOf(row)]
	h.mu.RUnlock()
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.doubt
}

// Released ends a trial that says nothing about either.
func (t *Trial) Released() { t.end() }

func (t *Trial) end() {
	t.release()
	t.pass.Leave()
	t.pass = admission.Pass{}
}

func (t *Trial) announce(c *condition, now time.Time, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := now.Add(wait); wait > 0 && until.After(c.announced) {
		c.announced = until
		t.h.changed(c)
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
	OfEndpoint bool
	Load       admission.Load // of an endpoint
	Limit      int            // of an endpoint: the most in flight; 0: any number
	Endpoint   string         // model@tag, of a credential its row: model@tag#group
	Credential string         // its name; "" for an endpoint
	State      State
	Rest       Rest
	Openings   int64            // of the breaker so far
	Doubts     map[string]int64 // of the catalog's entry, by what was not known
	Fault      string           // the kind of the last that spoke against it; "": none yet
	FaultAt    time.Time
	Probes     Probes
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
		r.Doubts, r.Fault, r.FaultAt, r.Probes = maps.Clone(c.doubts), c.fault, c.faultAt, c.probes
		all = append(all, r)
	}
	for e, c := range h.endpoints {
		load, _ := c.gate.Load()
		add(Report{OfEndpoint: true, Endpoint: e.model + "@" + e.tag, Load: load, Limit: c.gate.Limits().InFlight}, c)
	}
	for k, c := range h.credentials {
		add(Report{Endpoint: k.row, Credential: k.name}, c)
	}
	return all
}
