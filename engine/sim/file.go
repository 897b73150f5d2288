package sim

import (
	"context"
	"fmt"

	"chaperone/engine/config"
)

// File is the TOML form of a set of providers:
//
//	seed = 1                      # of all fates and texts; 0 where absent
//
//	[[providers]]
//	name    = "flaky"
//	listen  = "127.0.0.1:9101"    # a free port of 127.0.0.1 where absent
//	ttft_ms = { p50 = 180, p95 = 400 }
//	tps     = { p50 = 90 }        # without p95 always this
//
//	[[providers.faults]]
//	kind  = "status"
//	share = 0.2
//	status = 503
//	retry_after = "2s"
//
// The keys are those of Profile and its parts.
type File struct {
	Seed      uint64
	Providers []Profile
}

// Parse reads a file; path is only for messages.
func Parse(path string, src []byte) (*File, config.Problems) {
	doc, problems := config.Parse(path, src)
	if len(problems) > 0 {
		return nil, problems
	}
	problems = doc.Only("seed", "providers")
	var f File
	problems = append(problems, doc.Decode("seed", &f.Seed)...)
	problems = append(problems, doc.Decode("providers", &f.Providers)...)
	if len(problems) > 0 {
		return nil, problems
	}
	if len(f.Providers) == 0 {
		problems = append(problems, config.Problem{File: path, Message: "has no [[providers]]; there should be one or more"})
	}
	names := map[string]bool{}
	for i := range f.Providers {
		p := &f.Providers[i]
		for _, m := range p.mistakes() {
			problems = append(problems, m.origin.Problem(m.key, "%s", m.message))
		}
		if names[p.Name] {
			problems = append(problems, p.Origin.Problem("name", "found %q for the second time; names should be unique", p.Name))
		}
		names[p.Name] = true
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return &f, nil
}

// Start starts every provider of the file with the file's seed, or none. Close each of them.
func (f *File) Start(ctx context.Context) ([]*Provider, error) {
	var started []*Provider
	for _, profile := range f.Providers {
		profile.Seed = f.Seed
		p, err := Start(ctx, profile)
		if err != nil {
			for _, s := range started {
				s.Close()
			}
			return nil, fmt.Errorf("start simulated providers: %w", err)
		}
		started = append(started, p)
	}
	return started, nil
}
