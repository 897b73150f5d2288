package catalog

import (
	"time"

	"chaperone/engine/config"
)

// Secret is a provider key; it prints as [redacted] in every format.
type Secret struct{ value string }

// Reveal returns the key itself. Only a dialect that is writing a request header calls it.
func (s Secret) Reveal() string { return s.value }

// Load reads catalog files and resolves credentials through env (os.LookupEnv in production).
func Load(docs []*config.Document, env func(string) (string, bool)) (*Catalog, config.Problems) { panic("stub") }

// At is the policy as it counts on that day: past ReviewBy every claim is unknown.
func (d DataPolicy) At(now time.Time) DataPolicy { panic("stub") }

// Row finds a row by its ID; nil where there is none.
func (c *Catalog) Row(id string) *Row { panic("stub") }
