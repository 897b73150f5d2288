package engine

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"chaperone/engine/telemetry"
)

// healthView is the health of an endpoint, or of a credential as used for a row.
type healthView struct {
	Endpoint   string          `json:"endpoint"`             // model@tag, of a credential its row: model@tag#group
	Credential string          `json:"credential,omitempty"` // its name
	Breaker    telemetry.State `json:"breaker"`
	Openings   int64           `json:"openings"`             // of the breaker so far
	Resting    string          `json:"resting,omitempty"`    // why it is not to be tried now
	Until      *time.Time      `json:"until,omitempty"`      // as far as that is known
	LastFault  string          `json:"last_fault,omitempty"` // the kind, as decisions have it
	FaultAt    *time.Time      `json:"last_fault_at,omitempty"`
	Probes     *probesView     `json:"probes,omitempty"` // of the router's own
	InFlight   *int            `json:"in_flight,omitempty"`
	Limit      *int            `json:"in_flight_limit,omitempty"` // 0: none
	Queued     *int            `json:"queued,omitempty"`
}

type probesView struct {
	Passed int64 `json:"passed"`
	Failed int64 `json:"failed"`
}

// told is a time as it is told; nil where it is not known.
func told(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Health is, as JSON, the state of every endpoint and credential that has been asked: for operators.
func (e *Engine) Health() ([]byte, error) {
	endpoints, credentials := []healthView{}, []healthView{}
	for _, r := range e.health.Reports(e.options.Now()) {
		v := healthView{Endpoint: r.Endpoint, Credential: r.Credential, Breaker: r.State, Openings: r.Openings, Resting: r.Rest.Why, LastFault: r.Fault}
		v.Until, v.FaultAt = told(r.Rest.Until), told(r.FaultAt)
		if r.Probes != (telemetry.Probes{}) {
			v.Probes = &probesView{r.Probes.Passed, r.Probes.Failed}
		}
		if r.OfEndpoint {
			v.InFlight, v.Limit, v.Queued = &r.Load.InFlight, &r.Limit, &r.Load.Waiting
			endpoints = append(endpoints, v)
		} else {
			credentials = append(credentials, v)
		}
	}
	for _, list := range [][]healthView{endpoints, credentials} {
		slices.SortFunc(list, func(a, b healthView) int {
			return cmp.Or(cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Credential, b.Credential))
		})
	}
	return json.Marshal(map[string]any{"endpoints": endpoints, "credentials": credentials})
}
