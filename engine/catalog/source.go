package catalog

import (
	"maps"
	"slices"
	"time"

	"chaperone/engine/config"
)

// Source is where a statement of the catalog can be read. It is there to be shown: unlike a claim of a data policy the
// statement stays what it is after ReviewBy.
type Source struct {
	Evidence string    // an address
	AsOf     time.Time // the day for which it says so
	ReviewBy time.Time // zero: not stated
}

// Statements are what a source can be given for. The claims of a data policy have their evidence beside them.
var Statements = []string{"headquarters", "certifications", "processing_regions", "price", "limits", "custom_tools"}

type sourceTable struct {
	config.Origin
	Evidence string    `toml:"evidence" check:"required"`
	AsOf     time.Time `toml:"as_of" check:"required"`
	ReviewBy time.Time `toml:"review_by"`
}

func (l *loader) readSources(o config.Origin, tables map[string]*sourceTable) map[string]Source {
	sources := map[string]Source{}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		t := tables[name]
		if !slices.Contains(Statements, name) {
			l.add(o.Problem(config.Dotted("sources", name), "%s", config.UnknownName("statement", name, Statements)))
		}
		if !t.ReviewBy.IsZero() && t.ReviewBy.Before(t.AsOf) {
			l.add(t.Problem("review_by", "found %s, before as_of = %s; expected a later date", t.ReviewBy.Format(time.DateOnly), t.AsOf.Format(time.DateOnly)))
		}
		sources[name] = Source{Evidence: t.Evidence, AsOf: t.AsOf, ReviewBy: t.ReviewBy}
	}
	return sources
}
