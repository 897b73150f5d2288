package dispatch

import (
	"fmt"
	"net/http"
	"slices"

	"chaperone/engine/wire"
)

// exhausted is the most telling of the faults, with every attempt.
func (r *run) exhausted() *wire.Error {
	var best *failed
	for i := range r.faults {
		f := &r.faults[i]
		if best == nil || kinds[f.fault.Kind].telling > kinds[best.fault.Kind].telling {
			best = f
		}
	}
	if best == nil {
		return &wire.Error{Status: http.StatusGatewayTimeout, Type: "timeout", DecisionID: r.j.Plan.ID,
			Message: "the time for this request was over before a provider could be asked; allow more, or ask again"}
	}
	return r.said(best)
}

// said puts one fault into words for the client.
func (r *run) said(best *failed) *wire.Error {
	e := &wire.Error{DecisionID: r.j.Plan.ID, Metadata: map[string]any{"attempts": r.told()}}
	k := kinds[best.fault.Kind]
	e.Status, e.Type = k.status, k.errType
	if e.Status == 0 {
		e.Status = best.fault.Status
	}
	e.Message = fmt.Sprintf("%s %s", best.row.Provider.Name, k.text)
	if best.fault.Message != "" {
		e.Message += ": " + best.fault.Message
	}
	if n := len(r.faults); n > 1 {
		e.Message += fmt.Sprintf(" (%d attempts failed, see metadata.attempts)", n)
	}
	e.Metadata["provider_name"] = best.row.Provider.Name
	if k.scope != OfRequest {
		for _, f := range r.faults {
			if f.fault.RetryAfter > 0 && (e.RetryAfter == 0 || f.fault.RetryAfter < e.RetryAfter) {
				e.RetryAfter = f.fault.RetryAfter
			}
		}
	}
	e.Availability = r.availability(e.Status)
	return e
}

// availability says of a failure that time may mend that it may; nil of any other.
func (r *run) availability(status int) *wire.Availability {
	a := &wire.Availability{Code: wire.TemporarilyUnavailable, Retryable: true, RequestedModels: []string{r.j.Plan.Request.Model}}
	switch {
	case status == http.StatusTooManyRequests:
		a.Code = wire.CapacityExhausted
	case status < 500:
		return nil
	}
	a.RequestedModels = append(a.RequestedModels, r.j.Plan.Request.Models...)
	for _, f := range r.faults {
		if name := f.row.Provider.Name; !slices.Contains(a.AffectedProviders, name) {
			a.AffectedProviders = append(a.AffectedProviders, name)
		}
	}
	return a
}

// told is what a client may read of the attempts.
func (r *run) told() []map[string]any {
	out := make([]map[string]any, 0, len(r.faults))
	for _, f := range r.faults {
		m := map[string]any{"provider": f.row.Provider.Name, "model": f.row.Model.ID, "outcome": f.fault.Kind}
		if f.fault.Status != 0 {
			m["status"] = f.fault.Status
		}
		out = append(out, m)
	}
	return out
}
