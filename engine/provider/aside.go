package provider

import (
	"encoding/json"

	"chaperone/engine/catalog"
	"chaperone/engine/wire"
)

// tier is the edit that asks for the service tier of the endpoint, and for none at one that has none: what it serves and costs
// is what was chosen. A provider's own words that are no tier of the catalog's ("auto", "on_demand") go as they came.
func tier(row *catalog.Row, req *wire.Request, said *wire.Version) []wire.Edit {
	switch {
	case row.ServiceTier != "":
		return []wire.Edit{{Field: "service_tier", Value: text(row.ServiceTier)}}
	case catalog.IsServiceTier(req.ServiceTier) && said.Has("service_tier"):
		return []wire.Edit{{Field: "service_tier"}}
	}
	return nil
}

// about are the edits of what a request says of its user and itself: the user goes out under the name that the router has
// settled on, and metadata only where the provider is asked to store it with the answer.
func about(req *wire.Request, said *wire.Version) []wire.Edit {
	var edits []wire.Edit
	if said.Has("user") {
		e := wire.Edit{Field: "user"}
		if req.UpstreamUser != "" {
			e.Value = text(req.UpstreamUser)
		}
		edits = append(edits, e)
	}
	if said.Has("metadata") && !req.Store {
		edits = append(edits, wire.Edit{Field: "metadata"})
	}
	return edits
}

func text(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always marshals
	}
	return b
}
