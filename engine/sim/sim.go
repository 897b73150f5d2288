// Package sim simulates providers: real HTTP servers that speak OpenAI's chat completions and Anthropic's messages, with a pace, limits and
// faults set by a profile and deterministic from a seed. Demo, tests and benchmarks use them, and `chaperone sim`.
//
// # What decides a request's fate
//
// Each request draws its fault, TTFT and TPS from a generator seeded with the hash of the profile's seed, its name and the
// request's place in the order of arrival (or, with FateBy "body", its user and messages and how often they have come
// before). When requests come and how long they take changes nothing; only the rate limit and outages depend on the clock. Every
// request takes its place in the order, those that are refused for their credential, model or rate too.
package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Provider is a running simulated provider. It is safe for concurrent use.
type Provider struct {
	address string
	began   time.Time
	log     *records
	limits  buckets
	profile atomic.Pointer[Profile]

	onRequest, onEnd atomic.Pointer[func(Record)]

	seenMu sync.Mutex
	seen   map[[32]byte]uint64 // how often a body has come, for FateBy "body"

	mu     sync.Mutex // held while going up or down
	closed bool
	down   context.CancelFunc // nil while down
	server *http.Server
	socket net.Listener
	unbind func() bool
	vacate func() // gives the address away while down
}

// Start starts a provider, which runs until Close or the end of ctx. The profile's slices belong to it from then on.
func Start(ctx context.Context, profile Profile) (*Provider, error) {
	if err := check(&profile); err != nil {
		return nil, err
	}
	address := profile.Listen
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("simulated provider %s: %w", profile.Name, err)
	}
	p := &Provider{
		address: listener.Addr().String(),
		began:   time.Now(),
		log:     newRecords(),
		limits:  buckets{by: map[string]*bucket{}},
		seen:    map[[32]byte]uint64{},
	}
	p.use(&profile)
	if !profile.Down {
		p.serve(listener)
	} else {
		listener.Close()
		if err := p.keep(profile.Name); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	p.unbind = context.AfterFunc(ctx, func() { p.Close() })
	p.mu.Unlock()
	return p, nil
}

func check(p *Profile) error {
	var all []error
	for _, m := range p.mistakes() {
		all = append(all, fmt.Errorf("simulated provider %q: %s: %s", p.Name, m.key, m.message))
	}
	return errors.Join(all...)
}

func (p *Provider) use(profile *Profile) {
	size := profile.LogSize
	if size == 0 {
		size = 100_000
	}
	p.log.mu.Lock()
	p.log.size = size
	p.log.mu.Unlock()
	p.profile.Store(profile)
}

// serve begins a period in which the provider is up.
func (p *Provider) serve(listener net.Listener) {
	up, down := context.WithCancel(context.Background())
	mux := http.NewServeMux()
	for path, read := range map[string]func([]byte) (*request, error){
		"POST /v1/chat/completions":      parse,
		"POST /v1/embeddings":            parseEmbeddings,
		"POST /v1/rerank":                parseRerank,
		"POST /v1/messages":              func(body []byte) (*request, error) { return parseMessages(body, false) },
		"POST /v1/messages/count_tokens": func(body []byte) (*request, error) { return parseMessages(body, true) },
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { p.answer(up, w, r, read) })
	}
	mux.HandleFunc("GET /v1/models", p.models)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, apiError{Type: "invalid_request_error", Code: "unknown_url",
			Message: fmt.Sprintf("Unknown request URL: %s %s.", r.Method, r.URL.Path)})
	})
	p.server = &http.Server{
		Handler:     mux,
		BaseContext: func(net.Listener) context.Context { return up },
		ErrorLog:    log.New(io.Discard, "", 0), // clients that break connections are what this is for
	}
	p.down, p.socket = down, listener
	go p.server.Serve(listener)
}

// keep keeps the address for the next period; p.mu is held, or nobody else has p yet.
func (p *Provider) keep(name string) error {
	release, err := reserve(p.address)
	if err != nil {
		p.vacate = func() {}
		return fmt.Errorf("simulated provider %s: %w", name, err)
	}
	p.vacate = release
	return nil
}

// halt ends the period; p.mu is held.
func (p *Provider) halt() {
	if p.down != nil {
		p.down()
		// The server knows the listener only once Serve has begun, and the address must be free when halt returns.
		p.socket.Close()
		p.server.Close()
		p.down = nil
	}
}

// URL is the base URL that clients are configured with: http://127.0.0.1:PORT/v1.
func (p *Provider) URL() string { return "http://" + p.address + "/v1" }

// Name is the profile's.
func (p *Provider) Name() string { return p.profile.Load().Name }

// SetProfile changes the behaviour towards requests that arrive from now on: an outage begins and ends like this. Name and
// Listen stay as they are.
func (p *Provider) SetProfile(profile Profile) error {
	if err := check(&profile); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("simulated provider %s is closed", profile.Name)
	}
	old := p.profile.Load()
	if profile.Name != old.Name || profile.Listen != old.Listen {
		return fmt.Errorf("simulated provider %s: name and listen stay as they are while it runs; found %q and %q, they are %q and %q",
			old.Name, profile.Name, profile.Listen, old.Name, old.Listen)
	}
	switch up := p.down != nil; {
	case profile.Down && up:
		p.use(&profile)
		p.halt()
		return p.keep(profile.Name)
	case !profile.Down && !up:
		listener, err := net.Listen("tcp", p.address)
		if err != nil {
			return fmt.Errorf("simulated provider %s: %w", profile.Name, err)
		}
		p.vacate()
		p.use(&profile)
		p.serve(listener)
	default:
		p.use(&profile)
	}
	return nil
}

// Profile is the one in use; its slices are shared with the provider.
func (p *Provider) Profile() Profile { return *p.profile.Load() }

// Close ends the provider and every request, and returns when they have ended.
func (p *Provider) Close() error {
	p.mu.Lock()
	if !p.closed && p.down == nil {
		p.vacate()
	}
	p.closed = true
	p.halt()
	if p.unbind != nil {
		p.unbind()
	}
	p.mu.Unlock()
	return p.log.settle(context.Background())
}

// Log is the latest requests in the order of arrival, those in flight too.
func (p *Provider) Log() []Record { return p.log.all() }

// Counts sums up all requests.
func (p *Provider) Counts() Counts { return p.log.sums() }

// Denied is how many requests came that never should have, by the profile's Denied.
func (p *Provider) Denied() int64 { return p.log.sums().Denied }

// Settle waits until no request is in flight: the log is then complete and every hook has returned.
func (p *Provider) Settle(ctx context.Context) error { return p.log.settle(ctx) }

// OnRequest has f called with every request when its fate is known and before it meets it. f runs on the request's own
// goroutine and may block, which delays the answer. nil ends it.
func (p *Provider) OnRequest(f func(Record)) { p.onRequest.Store(&f) }

// OnEnd has f called with every request when its answer has ended or its client has gone. nil ends it.
func (p *Provider) OnEnd(f func(Record)) { p.onEnd.Store(&f) }

func call(hook *atomic.Pointer[func(Record)], r Record) {
	if f := hook.Load(); f != nil && *f != nil {
		(*f)(r)
	}
}

// models answers GET /v1/models.
func (p *Provider) models(w http.ResponseWriter, r *http.Request) {
	profile := p.profile.Load()
	p.log.listed()
	bearer := bearerOf(r)
	if _, ok := profile.credential(bearer); !ok {
		writeError(w, http.StatusUnauthorized, unauthorised(bearer))
		return
	}
	type model struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}
	list := struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{"list", []model{}}
	for _, name := range profile.Models {
		list.Data = append(list.Data, model{name, "model", 1_700_000_000, profile.Name})
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(list)
}
