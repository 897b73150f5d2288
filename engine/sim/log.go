package sim

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Fates that are not a Kind of fault.
const (
	Served       Kind = "served"        // answered well
	RateLimited  Kind = "rate_limited"  // over the profile's Limit: 429
	Unauthorised Kind = "unauthorised"  // no accepted credential: 401
	UnknownModel Kind = "unknown_model" // not among the profile's models: 404
	BadRequest   Kind = "bad_request"   // not a chat completion request: 400
	Unread       Kind = "unread"        // its body never came to an end
	Outage       Kind = "outage"        // the provider went down or was closed under it
)

// Record is one chat completion request as the provider saw it.
type Record struct {
	Number     uint64 // 1-based, in the order of arrival
	At         time.Time
	Bearer     string // as sent
	Credential string // the name of the accepted credential; "" where it was none
	User       string // the body's user field
	Model      string // as asked for
	Stream     bool
	BodyBytes  int64 // that were read
	Denied     bool  // it should never have come
	Fate       Kind

	Status    int       // sent; 0: none
	Tokens    int       // output tokens sent, all choices together
	Cancelled bool      // the client went away before the answer ended
	Ended     time.Time // when the answer ended or the client went away; zero: neither yet

	Header http.Header // with KeepRequests
	Body   []byte      // with KeepRequests
}

// Counts sums up all requests since the start.
type Counts struct {
	Requests     int64            `json:"requests"`
	Open         int64            `json:"open"` // not ended yet
	Cancelled    int64            `json:"cancelled"`
	Denied       int64            `json:"denied"`
	Listed       int64            `json:"listed"`        // times that the models were asked for, which is no request
	ByFate       map[Kind]int64   `json:"by_fate"`       // of requests that have ended
	ByCredential map[string]int64 `json:"by_credential"` // by name; "" where none was accepted
}

// records is the log. A record is in it from its arrival and filled in as things happen.
type records struct {
	mu     sync.Mutex
	size   int
	list   []*Record
	counts Counts
	ended  chan struct{} // closed and replaced whenever a request ends
}

func newRecords() *records {
	return &records{
		counts: Counts{ByFate: map[Kind]int64{}, ByCredential: map[string]int64{}},
		ended:  make(chan struct{}),
	}
}

// begin enters a record and gives it its number.
func (l *records) begin(r *Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Requests++
	l.counts.Open++
	l.counts.ByCredential[r.Credential]++
	if r.Denied {
		l.counts.Denied++
	}
	r.Number = uint64(l.counts.Requests)
	l.list = append(l.list, r)
	// Twice the size before anything is dropped, so that dropping is rare and cheap.
	if len(l.list) >= 2*l.size {
		l.list = slices.Delete(l.list, 0, len(l.list)-l.size)
	}
}

func (l *records) listed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Listed++
}

// update changes a record that others may be reading and returns a copy of it.
func (l *records) update(r *Record, change func(*Record)) Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(r)
	return *r
}

// end counts a record that nothing more will happen to.
func (l *records) end(r *Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Open--
	l.counts.ByFate[r.Fate]++
	if r.Cancelled {
		l.counts.Cancelled++
	}
	close(l.ended)
	l.ended = make(chan struct{})
}

// settle waits until no request is open.
func (l *records) settle(ctx context.Context) error {
	for {
		l.mu.Lock()
		open, ended := l.counts.Open, l.ended
		l.mu.Unlock()
		if open == 0 {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return fmt.Errorf("%d requests are still open: %w", open, ctx.Err())
		}
	}
}

func (l *records) all() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list[max(0, len(l.list)-l.size):]
	out := make([]Record, len(list))
	for i, r := range list {
		out[i] = *r
	}
	return out
}

func (l *records) sums() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts
	c.ByFate, c.ByCredential = maps.Clone(c.ByFate), maps.Clone(c.ByCredential)
	return c
}
