package chaos

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"chaperone/engine/sim"
)

// stage is what stands in for every provider: one that misbehaves, and one that is well.
type stage struct {
	bad, good *sim.Provider
	refused   bool
	everyone  bool // they all misbehave

	mu    sync.Mutex
	first string // the provider that was asked first, which is the one that misbehaves
}

func newStage(ctx context.Context, f Fault, everyone bool) (*stage, error) {
	s := &stage{refused: f.refused, everyone: everyone}
	for _, p := range []struct {
		into **sim.Provider
		name string
	}{{&s.bad, "misbehaves"}, {&s.good, "is well"}} {
		profile := sim.Profile{Name: p.name, Seed: 1, Continues: "any", KeepRequests: true, OutputTokens: sim.Distribution{P50: 24}}
		if p.into == &s.bad && !f.refused {
			profile.Faults = []sim.Fault{f.fault}
		}
		started, err := sim.Start(ctx, profile)
		if err != nil {
			s.close()
			return nil, err
		}
		*p.into = started
	}
	return s, nil
}

func (s *stage) close() {
	for _, p := range []*sim.Provider{s.bad, s.good} {
		if p != nil {
			p.Close()
		}
	}
}

// way sends everything that is for a provider to one of the stage's.
func (s *stage) way(next http.RoundTripper) http.RoundTripper { return &detour{s, next} }

type detour struct {
	stage *stage
	next  http.RoundTripper
}

// tails are the ends of the paths that the dialects ask.
var tails = []string{"/chat/completions", "/messages"}

func (d *detour) RoundTrip(r *http.Request) (*http.Response, error) {
	base := r.URL.Scheme + "://" + r.URL.Host + r.URL.Path
	tail := ""
	for _, t := range tails {
		if b, ok := strings.CutSuffix(base, t); ok {
			base, tail = b, t
		}
	}
	if tail == "" {
		return nil, fmt.Errorf("chaos has no simulated provider for %s", r.URL.Path)
	}
	to := d.stage.good.URL()
	if d.stage.misbehaves(base) {
		to = d.stage.bad.URL()
		if d.stage.refused {
			to = "http://127.0.0.1:1" // of TCP's port service multiplexer, which nobody runs
		}
	}
	target, err := url.Parse(to + tail)
	if err != nil {
		return nil, err
	}
	there := r.WithContext(r.Context()) // a request is not to be changed by a round tripper
	there.URL, there.Host = target, ""
	return d.next.RoundTrip(there)
}

func (s *stage) misbehaves(base string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == "" {
		s.first = base
	}
	return s.everyone || s.first == base
}

// right is the answer that a client should have got: the first provider that read the request says it whole, whatever it did
// say.
func (s *stage) right() (sim.Choice, error) {
	for _, p := range []*sim.Provider{s.bad, s.good} {
		if log := p.Log(); len(log) > 0 && len(log[0].Body) > 0 {
			c, err := sim.Answer(p.Profile(), log[0].Body)
			if err != nil {
				return sim.Choice{}, err
			}
			return c.Choices[0], nil
		}
	}
	return sim.Choice{}, nil
}
