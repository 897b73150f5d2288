package engine

import "chaperone/engine/telemetry"

// policyState is what the metrics tell of the policies in force.
func (e *Engine) policyState() telemetry.PolicyState {
	s := e.current.Load()
	if s == nil {
		return telemetry.PolicyState{}
	}
	guard := s.policies.Guard()
	state := telemetry.PolicyState{Checked: guard.Checked, Mismatches: guard.Mismatches, Plain: guard.Plain}
	for _, b := range e.bundles.Report() {
		state.Bundles = append(state.Bundles, telemetry.BundleState{Source: b.Source, Age: b.Age, Failing: b.Error != ""})
	}
	return state
}
