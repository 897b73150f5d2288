package policy

import (
	"context"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

// Set is the compiled policies of one generation. It is immutable and safe for concurrent use.
type Set struct{}

// Config is what Load compiles.
type Config struct {
	Generation uint64
	Documents  []*config.Document // chaperone.toml and the files that it includes
	Accounts   *account.Accounts
	Catalog    *catalog.Catalog
}

// Load compiles every binding, each source alone.
func Load(ctx context.Context, c Config) (*Set, config.Problems) { panic("stub") }

// Judge answers q. It fails closed: whatever goes wrong denies the row or refuses the request, with a reason.
func (s *Set) Judge(ctx context.Context, q *Query) *Judgement { panic("stub") }

// Digest identifies policies and parameters, SHA-256 in hex.
func (s *Set) Digest() string { panic("stub") }

// Generation is Config.Generation.
func (s *Set) Generation() uint64 { panic("stub") }
