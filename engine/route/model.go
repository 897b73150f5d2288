package route

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/wire"
)

// sortSuffixes are the routing suffixes of OpenRouter that choose an order (reference: model variants).
var sortSuffixes = map[string]string{"nitro": "throughput", "floor": "price", "exacto": "exacto"}

// models resolves model and models in the order asked for, each once. The second result is the order that a suffix asks
// for, "" where none does. A name that is not known refuses the plan.
func (r *Router) models(ctx context.Context, p *Plan) (models []*catalog.Model, sort string) {
	names := append([]string{p.Request.Model}, p.Request.Models...)
	if p.Request.Model == "" {
		names = names[1:]
	}
	if len(names) == 0 {
		p.Refusal = &wire.Error{Status: http.StatusBadRequest, Type: "invalid_request", Param: "model",
			Message: "model is missing; name one, as in \"model\": \"author/name\" (GET /v1/models lists those that this key may use)"}
		return nil, ""
	}
	seen := map[*catalog.Model]bool{}
	for _, name := range names {
		m, by := r.resolve(p, name)
		if m == nil {
			p.Refusal = r.unknownModel(ctx, p, name)
			return nil, ""
		}
		if by != "" {
			sort = by
		}
		if !seen[m] {
			seen[m] = true
			models = append(models, m)
		}
	}
	return models, sort
}

// resolve finds the model of a name: exactly, by the organisation's aliases, by the catalog's, without its author where that
// is unique; and all of this again without a routing suffix.
func (r *Router) resolve(p *Plan, name string) (m *catalog.Model, sort string) {
	for {
		if m := r.lookup(p, name); m != nil {
			return m, sort
		}
		base, suffix, ok := cutLast(name, ':')
		by, known := sortSuffixes[suffix]
		if !ok || !known {
			return nil, ""
		}
		if sort == "" {
			sort = by // the last suffix wins, and it is met first
		}
		name = base
	}
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func (r *Router) lookup(p *Plan, name string) *catalog.Model {
	if id, ok := p.Principal.Organisation.Aliases[name]; ok {
		return r.Catalog.Models[id]
	}
	if m, ok := r.Catalog.Models[name]; ok {
		return m
	}
	if id, ok := r.Catalog.Aliases[name]; ok {
		return r.Catalog.Models[id]
	}
	if strings.Contains(name, "/") {
		return nil
	}
	var found *catalog.Model
	for id, m := range r.Catalog.Models {
		if _, slug, _ := strings.Cut(id, "/"); slug == name {
			if found != nil {
				return nil // two authors: the caller has to say which
			}
			found = m
		}
	}
	return found
}

// unknownModel names the three nearest that the key may use.
func (r *Router) unknownModel(ctx context.Context, p *Plan, name string) *wire.Error {
	e := &wire.Error{Status: http.StatusBadRequest, Type: "not_found", Param: "model"}
	e.Message = fmt.Sprintf("%q is not a model of this router", name)
	var usable []string
	for _, u := range r.Usable(ctx, p.Principal, p.At) {
		usable = append(usable, u.Model.ID)
	}
	near := config.NearestN(name, 3, usable)
	switch {
	case len(usable) == 0:
		e.Message += "; this key may use no model at all"
		return e
	case len(near) == 0:
		near = usable[:min(3, len(usable))]
		e.Message += "; this key may use " + strings.Join(near, ", ") + " (GET /v1/models lists all)"
	default:
		e.Message += "; the nearest that this key may use: " + strings.Join(near, ", ")
	}
	e.Metadata = map[string]any{"availability": map[string]any{
		"code": "model_not_found", "retryable": false, "requested_models": []string{name}, "fallback_models": near,
	}}
	return e
}
