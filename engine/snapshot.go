package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/scorer"
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

// absent is the columns of a plugin that nothing in a catalog has, as many as are worth reading. Those that refine another by a
// suffix, attr.grid_03 beside attr.grid, may be absent where the other is not.
func (p loaded) absent(cat *catalog.Catalog) []string {
	columns := p.Manifest().Columns
	absent := slices.DeleteFunc(slices.Clone(columns), func(name string) bool {
		return !scorer.Absent(name, cat) || slices.ContainsFunc(columns, func(other string) bool {
			return strings.HasPrefix(name, other+"_") && !scorer.Absent(other, cat)
		})
	})
	if more := len(absent) - 5; more > 0 {
		absent = append(absent[:5], fmt.Sprintf("and %d more", more))
	}
	return absent
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
