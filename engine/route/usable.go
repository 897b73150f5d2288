package route

import (
	"context"
	"encoding/json"
	"sort"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// UsableModel is a model with the rows that a key may use for a plain request.
type UsableModel struct {
	Model     *catalog.Model
	Endpoints []Endpoint
}

// Endpoint is a row with what policy says of it for a plain request of one key.
type Endpoint struct {
	Row     *catalog.Row
	Stats   telemetry.RowStats
	Rest    telemetry.Rest
	Denials []policy.Reason // empty: permitted
}

// Model is the model of any of the names that a principal may call it by; nil where there is none.
func (r *Router) Model(who *account.Principal, name string) *catalog.Model {
	a, _ := r.resolve(&Plan{Principal: who}, name)
	if a.free {
		return nil // a choice among the model's endpoints, and no entry of the catalog
	}
	return a.model
}

// Usable lists the models of which this principal may use at least one row, by id.
func (r *Router) Usable(ctx context.Context, who *account.Principal, now time.Time) []UsableModel {
	var out []UsableModel
	for _, m := range r.Catalog.Models {
		u := UsableModel{Model: m}
		for _, e := range r.Endpoints(ctx, who, m, now) {
			if len(e.Denials) == 0 && !e.Row.Disabled && e.Row.Group.Usable() {
				u.Endpoints = append(u.Endpoints, e)
			}
		}
		if len(u.Endpoints) > 0 {
			out = append(out, u)
		}
	}
	sort.Slice(out, func(a, b int) bool { return out[a].Model.ID < out[b].Model.ID })
	return out
}

// Endpoints judges every row of m for a plain request of this principal, in the model's own API.
func (r *Router) Endpoints(ctx context.Context, who *account.Principal, m *catalog.Model, now time.Time) []Endpoint {
	stats := r.Board.View(now)
	j := r.Policies.Judge(ctx, &policy.Query{Principal: who, Request: plainRequest(m), Rows: m.Rows, Stats: stats, Now: now})
	out := make([]Endpoint, len(m.Rows))
	for i, row := range m.Rows {
		out[i] = Endpoint{Row: row, Stats: stats.Rows[row.Index], Rest: r.Health.Row(row, 0, now), Denials: j.Rejections}
		if len(j.Rejections) == 0 {
			out[i].Denials = j.Verdicts[i].Denials
		}
	}
	return out
}

// plainRequest asks m for what it is for and wants nothing special.
func plainRequest(m *catalog.Model) *wire.Request {
	api := m.API()
	body, err := json.Marshal(api.Plain(m.ID))
	if err != nil {
		panic(err) // well-formed by construction
	}
	req, refused := wire.Skim(api, wire.Head{}, body)
	if refused != nil {
		panic(refused) // likewise
	}
	return req
}
