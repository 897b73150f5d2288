package dispatch

import (
	"fmt"
	"strings"

	"chaperone/engine/route"
)

// Timing is the value of Server-Timing (https://www.w3.org/TR/server-timing/) of a plan that nobody was asked for: how long
// its policies took, and how long the request has waited before, in milliseconds.
func Timing(p *route.Plan, queuedMs float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "policy;dur=%.1f", millis(p.Judged))
	if queuedMs > 0 {
		fmt.Fprintf(&b, ", queue;dur=%.1f", queuedMs)
	}
	return b.String()
}

// timing adds the attempts, each with its provider and its outcome. Of one that answers just now, and of none other, the
// duration is that to its first content.
func (r *run) timing(answers *attempt) string {
	var b strings.Builder
	b.WriteString(Timing(r.j.Plan, r.outcome.QueuedMs))
	add := func(provider, outcome string, ms float64) {
		fmt.Fprintf(&b, ", attempt;desc=\"%s %s\";dur=%.1f", provider, outcome, ms) // ids and kinds need no escapes
	}
	for _, a := range r.attempts {
		add(a.ProviderID, a.Outcome, a.DurationMs)
	}
	if answers != nil {
		add(answers.row.Provider.ID, "ttft", millis(answers.ttft))
	}
	return b.String()
}
