package policy

import (
	"slices"
	"strings"

	"chaperone/engine/account"
	"chaperone/engine/telemetry"
)

// Recall has the set show policies the figures of a view as they were once shown, Set.Shown, for decisions that are made again.
func (s *Set) Recall(view *telemetry.View, figures []StatsInput) {
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	recent := s.stats.recent.Load()
	if find(recent, view) != nil {
		return
	}
	next := tick{view: view, rows: make([]shown, len(figures))}
	for i := range figures {
		next.rows[i].stats = figures[i]
	}
	kept := []tick{next}
	if recent != nil {
		kept = append(kept, (*recent)[:min(len(*recent), ticksKept-1)]...)
	}
	s.stats.recent.Store(&kept)
}

// Reads says whether any policy that applies to who reads something at or below the field of that name, such as "input.claims", of
// a request or of its time.
func (s *Set) Reads(who *account.Principal, name string) bool {
	return slices.ContainsFunc(s.docketFor(who).request, func(r read) bool {
		return r.field.name == name || strings.HasPrefix(r.field.name, name+".")
	})
}

// ReadsStatistics says whether any policy that applies to who reads live statistics of endpoints.
func (s *Set) ReadsStatistics(who *account.Principal) bool { return s.docketFor(who).live }
