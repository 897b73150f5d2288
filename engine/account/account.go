// Package account knows who asks: organisations, teams and keys, and what their operators have fixed about them.
package account

import (
	"time"

	"chaperone/engine/wire"
)

// DataClasses in rising order. An operator sets a floor on organisations, teams and keys; a caller can only raise it.
var DataClasses = []string{"public", "internal", "confidential", "restricted"}

// Organisation is a tenant.
type Organisation struct {
	ID          string
	Name        string
	Labels      map[string]string
	DataClass   string
	ErrorDetail string             // full | codes | none
	Aliases     map[string]string  // before the catalog's own
	Presets     map[string]*Preset // before those for everyone
	Teams       map[string]*Team
	ValueOfTime *float64     // USD an hour; nil: the router's
	LogContent  bool         // what is asked and answered is kept: the operator's switch
	InFlight    int          // the most requests at once; 0: load.in_flight_organisation
	Defaults    *wire.Preset // the models of a request that names none; nil: it has to
	Fallbacks   []string     // that are tried after the one of a request which names one only
}

// Team is a part of an organisation.
type Team struct {
	ID        string
	Name      string
	Labels    map[string]string
	DataClass string
}

// Key is one client key. Only its SHA-256 is kept.
type Key struct {
	ID           string // "key_" and 12 hex digits of the hash: safe to show
	Name         string
	Organisation string
	Team         string // "" where it belongs to no team
	SHA256       [32]byte
	Labels       map[string]string
	DataClass    string
	Created      time.Time
	Expires      time.Time // zero: never
	Disabled     bool
}

// Principal is who a request is for: trusted, because operators wrote it.
type Principal struct {
	Organisation *Organisation
	Team         *Team // nil where the key belongs to no team
	Key          *Key
	Labels       map[string]string // organisation, team, key; the narrower wins
	DataClass    string            // the highest of the three floors
}
