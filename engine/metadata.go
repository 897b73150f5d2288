package engine

import (
	"encoding/json"
	"fmt"

	"chaperone/engine/journal"
	"chaperone/engine/route"
)

// routerMetadata is OpenRouter's openrouter_metadata (https://openrouter.ai/docs/guides/features/router-metadata), with the id
// of the decision, under which all of it can be read.
type routerMetadata struct {
	ID        string            `json:"id"`
	Requested string            `json:"requested"`
	Strategy  string            `json:"strategy"` // direct, alias, free or fallback
	Region    *string           `json:"region"`   // a router of one's own is in none of OpenRouter's
	Summary   string            `json:"summary"`
	Attempt   int               `json:"attempt"` // 1-based, of the one that answered; 0: none reached a provider
	BYOK      bool              `json:"is_byok"`
	Endpoints metadataEndpoints `json:"endpoints"`
	Attempts  []metadataAttempt `json:"attempts"`
	Params    struct{}          `json:"params"`
	Pipeline  []struct{}        `json:"pipeline"` // nothing here changes what is asked or answered
}

type metadataEndpoints struct {
	Total     int                `json:"total"`
	Available []metadataEndpoint `json:"available"`
}

type metadataEndpoint struct {
	Provider string `json:"provider"`
	Model    string `json:"model"`
	Tag      string `json:"tag"`
	Selected bool   `json:"selected"`
}

type metadataAttempt struct {
	Provider string `json:"provider"`
	Model    string `json:"model"`
	Status   int    `json:"status"` // the provider's; 0: none came
	Outcome  string `json:"outcome"`
}

// metadataOf is what a client is told of a request that became rec; nil: it was not dispatched.
func metadataOf(p *route.Plan, rec *journal.Record) []byte {
	m := routerMetadata{
		ID: p.ID, Requested: p.Request.Model, Strategy: p.Strategy(),
		Endpoints: metadataEndpoints{Total: len(p.Candidates), Available: []metadataEndpoint{}}, Attempts: []metadataAttempt{}, Pipeline: []struct{}{},
	}
	served := ""
	if rec != nil {
		served = rec.Outcome.Row
		for _, a := range rec.Attempts {
			m.Attempts = append(m.Attempts, metadataAttempt{a.Provider, a.Model, a.Status, a.Outcome})
			if a.Row == served {
				m.Attempt = len(m.Attempts)
			}
		}
		if m.Attempt == 0 {
			m.Attempt = len(m.Attempts)
		}
	}
	for _, permit := range p.Permits {
		row := permit.Row()
		m.Endpoints.Available = append(m.Endpoints.Available, metadataEndpoint{row.Provider.Name, row.Model.ID, row.Tag, row.ID == served})
	}
	m.Summary = fmt.Sprintf("available=%d of %d, attempts=%d", len(p.Permits), len(p.Candidates), len(m.Attempts))
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return b
}
