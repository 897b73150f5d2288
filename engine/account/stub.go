package account

import (
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

// Accounts is one immutable state of organisations, teams and keys.
type Accounts struct {
	Organisations map[string]*Organisation
}

// Load reads [organisations.*] and [[keys]] of the given documents.
func Load(docs []*config.Document, cat *catalog.Catalog) (*Accounts, config.Problems) { panic("stub") }

// Authenticate finds the principal of a client key as sent, in constant time; the error says unknown, expired or disabled.
func (a *Accounts) Authenticate(secret string, now time.Time) (*Principal, error) { panic("stub") }

// ByKeyID is the principal of a key's id, nil where it is gone, expired or disabled: for the check before a further attempt.
func (a *Accounts) ByKeyID(id string, now time.Time) *Principal { panic("stub") }
