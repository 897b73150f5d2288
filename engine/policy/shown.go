package policy

import "chaperone/engine/telemetry"

// Shown is what policies read of every row's statistics in a view, by catalog.Row.Index. It is asked while the view is new: of
// one that has been displaced it no longer knows what was shown.
func (s *Set) Shown(view *telemetry.View) []StatsInput {
	shown := make([]StatsInput, len(view.Rows))
	for i := range shown {
		shown[i] = *s.stats.at(view, i)
	}
	return shown
}
