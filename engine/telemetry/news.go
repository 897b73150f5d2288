package telemetry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"chaperone/engine/catalog"
)

// News is what one router tells another of an endpoint, or of a credential as used for a row. Times are told from the moment of
// telling, in milliseconds: clocks differ.
type News struct {
	Model      string `json:"model,omitempty"` // of an endpoint
	Tag        string `json:"tag,omitempty"`
	Row        string `json:"row,omitempty"` // of a credential
	Credential string `json:"credential,omitempty"`
	Of         string `json:"of"` // which server and key that is, in hexadecimal

	Open        int64      `json:"open_ms,omitempty"` // the breaker lets nothing through for so long yet, since …
	Failed      int64      `json:"failed_ms_ago,omitempty"`
	Fault       string     `json:"fault,omitempty"`            // … of this kind
	Succeeded   *int64     `json:"succeeded_ms_ago,omitempty"` // what has failed before is over
	Wait        int64      `json:"wait_ms,omitempty"`          // that was announced
	RateLimited bool       `json:"rate_limited,omitempty"`     // by a rate limit
	Requests    *QuotaNews `json:"requests,omitempty"`
	Tokens      *QuotaNews `json:"tokens,omitempty"`
}

// QuotaNews is a Quota that is known.
type QuotaNews struct {
	Left  int64 `json:"left"`
	Reset int64 `json:"reset_ms"`
}

// mostTold bounds every time that is told: another router's mistake must not shut an endpoint out for good.
const mostTold = time.Hour

// MostOnTheWay is the longest that news may take from one router to another. A rest seems to end later by as much as it has taken;
// by that it is told shorter where it has only been heard of, or routers would keep each other's rests alive.
const MostOnTheWay = 2 * time.Second

// Feed collects what a Health has met itself since it was taken last.
type Feed struct {
	h     *Health
	mu    sync.Mutex
	of    map[*condition]bool
	taken map[*condition]bool
}

// Subscribe makes a feed for routers that have the same token. It must be called before h is used by others.
func (h *Health) Subscribe(token string) *Feed {
	f := &Feed{h: h, of: map[*condition]bool{}}
	h.token = token
	h.feeds = append(h.feeds, f)
	return f
}

// changed tells the feeds of a condition.
func (h *Health) changed(c *condition) {
	for _, f := range h.feeds {
		f.mu.Lock()
		f.of[c] = true
		f.mu.Unlock()
	}
}

// Take is what is new since the last time.
func (f *Feed) Take(now time.Time) []News {
	f.mu.Lock()
	changed := f.of
	f.of, f.taken = map[*condition]bool{}, changed
	f.mu.Unlock()
	var all []News
	for c := range changed {
		all = append(all, f.h.tell(c, now))
	}
	return all
}

// Missed puts back what was taken last: it did not arrive.
func (f *Feed) Missed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.Copy(f.of, f.taken)
}

// All is everything that rests, whoever has met it: for who was not there to hear it.
func (f *Feed) All(now time.Time) []News {
	f.h.mu.RLock()
	defer f.h.mu.RUnlock()
	var all []News
	add := func(c *condition) {
		if n := f.h.tell(c, now); n.Open > 0 || n.Wait > 0 {
			all = append(all, n)
		}
	}
	for _, c := range f.h.endpoints {
		add(c)
	}
	for _, c := range f.h.credentials {
		add(c)
	}
	return all
}

func (h *Health) tell(c *condition, now time.Time) News {
	n := c.tell(now)
	s := h.settings.Load()
	n.Of = h.server(s.row(&n), &n)
	return n
}

// row is the one of the catalog that news is of; nil where there is none.
func (s *HealthSettings) row(n *News) *catalog.Row {
	if n.Row == "" {
		return s.endpoints[endpoint{n.Model, n.Tag}]
	}
	if row := s.rows[n.Row]; row != nil && hasCredential(row, n.Credential) {
		return row
	}
	return nil
}

// server stands for the address, and of a credential the key, that this router has for what news is of. Two routers may have others
// by the same name, each from its environment; what one of those does says nothing of the other.
func (h *Health) server(row *catalog.Row, n *News) string {
	if row == nil {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(h.token))
	io.WriteString(mac, row.BaseURL)
	for _, c := range row.Group.Credentials {
		if n.Row != "" && c.Name == n.Credential {
			mac.Write([]byte{0})
			io.WriteString(mac, c.Secret.Reveal())
		}
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// ownNetwork are the faults that may be of the router's own network, which is not that of the others.
var ownNetwork = []string{"connect", "tls"}

func (c *condition) tell(now time.Time) News {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.named
	open, failed, announced := c.breaker.until, c.faultAt, c.announced
	if open.Equal(c.heardOpen) {
		open, failed = open.Add(-MostOnTheWay), failed.Add(-MostOnTheWay)
	}
	if announced.Equal(c.heardWait) {
		announced = announced.Add(-MostOnTheWay)
	}
	switch {
	case c.breaker.state(now) == Open && !slices.Contains(ownNetwork, c.fault):
		n.Open, n.Failed, n.Fault = max(0, open.Sub(now).Milliseconds()), now.Sub(failed).Milliseconds(), c.fault
	case !c.breaker.open && !c.succeededAt.IsZero():
		ago := now.Sub(c.succeededAt).Milliseconds()
		n.Succeeded = &ago
	}
	if now.Before(announced) {
		n.Wait, n.RateLimited = announced.Sub(now).Milliseconds()+1, c.limited // rounded up: never inside it
	}
	n.Requests, n.Tokens = c.headroom.Requests.tell(now), c.headroom.Tokens.tell(now)
	return n
}

func (q *Quota) tell(now time.Time) *QuotaNews {
	if !q.Known || !now.Before(q.Reset) {
		return nil
	}
	return &QuotaNews{q.Left, q.Reset.Sub(now).Milliseconds()}
}

// told is a time that was told.
func told(ms int64) time.Duration {
	return time.Duration(max(0, min(ms, mostTold.Milliseconds()))) * time.Millisecond
}

// Hear takes in what another router tells. Of a failure and a success the later counts. What the catalog does not have, or
// has elsewhere or with another key, is passed over.
func (h *Health) Hear(news []News, now time.Time) {
	s := h.settings.Load()
	for _, n := range news {
		row := s.row(&n)
		switch {
		case row == nil || n.Of != h.server(row, &n):
		case n.Row != "":
			find(h, h.credentials, credential{n.Row, n.Credential}).hear(&n, now)
		default:
			h.endpoint(row).hear(&n, now)
		}
	}
}

func hasCredential(row *catalog.Row, name string) bool {
	if row.Group.NoAuth {
		return name == ""
	}
	return slices.ContainsFunc(row.Group.Credentials, func(c catalog.Credential) bool { return c.Name == name })
}

func (c *condition) hear(n *News, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &c.breaker
	failed := now.Add(-told(n.Failed))
	switch until := now.Add(told(n.Open)); {
	case n.Open > 0 && failed.After(c.succeededAt):
		if !b.open {
			b.open, b.heard = true, true
		}
		if until.After(b.until) {
			b.until, c.heardOpen = until, until
		}
		if failed.After(c.faultAt) {
			c.fault, c.faultAt = n.Fault, failed
		}
	case n.Succeeded != nil:
		if at := now.Add(-told(*n.Succeeded)); at.After(c.faultAt) && at.After(c.succeededAt) {
			c.succeededAt, b.streak = at, 0
			b.close()
		}
	}
	if until := now.Add(told(n.Wait)); n.Wait > 0 && until.After(c.announced) {
		c.announced, c.heardWait, c.limited = until, until, n.RateLimited
	}
	c.headroom.Requests.hear(n.Requests, now)
	c.headroom.Tokens.hear(n.Tokens, now)
}

// hear learns what another router was told, unless that is no less than what is known of the same period, which seems to end later.
func (q *Quota) hear(n *QuotaNews, now time.Time) {
	if n == nil {
		return
	}
	said := Quota{Known: true, Left: max(0, n.Left), Reset: now.Add(told(n.Reset))}
	if q.Known && now.Before(q.Reset) && q.Left <= said.Left && said.Reset.Sub(q.Reset) < MostOnTheWay {
		return
	}
	q.learn(said, now)
}
