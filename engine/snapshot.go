package engine

import (
	"context"
	"sync/atomic"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/telemetry"
	"chaperone/engine/wasm"
)

// snapshot is everything that can change while running. It is immutable; its plugins close when the engine has let go of it
// and its last plan has been made.
type snapshot struct {
	generation uint64
	settings   *Settings
	catalog    *catalog.Catalog
	accounts   *account.Accounts
	policies   *policy.Set
	router     *route.Router
	published  *telemetry.PublishedBoard
	plugins    []loaded
	files      []string
	path       string                       // of chaperone.toml
	documents  []*config.Document           // that, teams' files, catalogs
	shipped    []*config.Document           // the catalog that ships, where it counts
	seen       atomic.Pointer[journal.Seen] // at the tick that was planned with last: requests of one tick share it

	// refs counts the engine and every request that plans. It is counted, not left to the garbage collector, because an
	// instance of a plugin holds memory that only Close gives back.
	refs atomic.Int64
}

type loaded struct {
	*wasm.Plugin
	path string
}

// acquire takes the newest snapshot for planning; release it afterwards.
func (e *Engine) acquire() *snapshot {
	for {
		s := e.current.Load()
		for {
			n := s.refs.Load()
			if n == 0 {
				break // it was replaced and is closing: take its successor
			}
			if s.refs.CompareAndSwap(n, n+1) {
				return s
			}
		}
	}
}

func (s *snapshot) release() {
	if s.refs.Add(-1) == 0 {
		s.close(context.Background())
	}
}

func (s *snapshot) close(ctx context.Context) {
	for _, p := range s.plugins {
		p.Close(ctx)
	}
}
