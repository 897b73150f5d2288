package route

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/wire"
)

// ask is one model that a request names, and what the suffixes of its name ask for.
type ask struct {
	model *catalog.Model
	sort  string // "" where no suffix says
	tier  string // the service tier that a suffix admits
	free  bool   // only where nothing is billed
	other bool   // the name is not the model's id
}

// routingSuffixes are OpenRouter's that ask for an order (https://openrouter.ai/docs/guides/routing/model-variants/overview).
var routingSuffixes = map[string]struct{ sort, tier string }{
	"nitro": {"throughput", "priority"}, "floor": {"price", "flex"}, "exacto": {"exacto", ""},
}

// models resolves model and models in the order asked for, each once; after a single one the fallbacks of the
// organisation. A name that is not known refuses the plan.
func (r *Router) models(ctx context.Context, p *Plan) []ask {
	names := p.Request.Models
	if p.Request.Model != "" {
		names = append([]string{p.Request.Model}, names...)
	}
	if len(names) == 1 {
		names = append(names[:1:1], p.Principal.Organisation.Fallbacks...)
	}
	if len(names) == 0 {
		p.Refusal = &wire.Error{Status: http.StatusBadRequest, Type: "invalid_request", Param: "model",
			Message: "model is missing; name one, as in \"model\": \"author/name\" (GET /v1/models lists those that this key may use)"}
		return nil
	}
	asked := make([]ask, 0, len(names))
	for _, name := range names {
		a, online := r.resolve(p, name)
		switch {
		case online:
			p.Refusal = &wire.Error{Status: http.StatusBadRequest, Type: "invalid_request", Param: "model",
				Message: fmt.Sprintf("%q asks for a web search by the suffix :online, which this router does not make; leave it out, or send a tool of the provider's own", name)}
			return nil
		case a.model == nil:
			p.Refusal = r.unknownModel(ctx, p, name)
			return nil
		}
		if !slices.ContainsFunc(asked, func(b ask) bool { return b.model == a.model }) {
			asked = append(asked, a)
		}
	}
	return asked
}

// resolve finds the model of a name, exactly or without its suffixes, which may stand in any order. online: it asks for a
// search.
func (r *Router) resolve(p *Plan, name string) (a ask, online bool) {
	if a.model = r.lookup(p, name); a.model != nil {
		a.other = a.model.ID != name
		return a, false
	}
	from := strings.LastIndexByte(name, '/') + 1
	base, suffixes, found := strings.Cut(name[from:], ":")
	if !found {
		return a, false
	}
	rest := name[:from] + base // with the suffixes that are a part of a model's own name
	for suffix := range strings.SplitSeq(suffixes, ":") {
		switch asks, routing := routingSuffixes[suffix]; {
		case suffix == "online":
			return a, true
		case routing:
			a.sort = asks.sort // the last one wins
			if asks.tier != "" {
				a.tier = asks.tier
			}
		default:
			rest += ":" + suffix
		}
	}
	if a.model = r.lookup(p, rest); a.model == nil {
		if base, free := strings.CutSuffix(rest, ":free"); free {
			a.model, a.free = r.lookup(p, base), true
		}
	}
	a.other = a.model != nil && a.model.ID != rest
	return a, false
}

// lookup finds the model of a name by the organisation's aliases, then as the catalog does.
func (r *Router) lookup(p *Plan, name string) *catalog.Model {
	if id, ok := p.Principal.Organisation.Aliases[name]; ok {
		return r.Catalog.Models[id]
	}
	return r.Catalog.Named(name)
}

// namesShown is how many models are named to who asks for one that does not exist.
const namesShown = 3

// nearest are those that come close to a name as it is written, and after them those that share most of its words: to somebody
// who asks for "claude-3-5-sonnet-latest", "anthropic/claude-sonnet-4.5" is near.
func nearest(name string, usable []string) []string {
	near := config.NearestN(name, namesShown, usable)
	if base, _, suffixed := strings.Cut(name, ":"); suffixed && len(near) == 0 {
		near = config.NearestN(base, namesShown, usable)
	}
	words := wordsOf(name)
	shared := map[string]int{}
	var kin []string
	for _, id := range usable {
		for word := range wordsOf(id) {
			if words[word] {
				shared[id]++
			}
		}
		if shared[id] > 0 && !slices.Contains(near, id) {
			kin = append(kin, id)
		}
	}
	slices.SortStableFunc(kin, func(a, b string) int { return shared[b] - shared[a] })
	return append(near, kin[:min(len(kin), namesShown-len(near))]...)
}

// wordsOf are the words of a model's name, without its numbers and what is too short to tell anything.
func wordsOf(name string) map[string]bool {
	words := map[string]bool{}
	for _, word := range strings.FieldsFunc(strings.ToLower(name[:min(len(name), 200)]), func(c rune) bool { return c < 'a' || c > 'z' }) {
		if len(word) >= 3 {
			words[word] = true
		}
	}
	return words
}

// unknownModel names the three nearest that the key may use.
func (r *Router) unknownModel(ctx context.Context, p *Plan, name string) *wire.Error {
	e := &wire.Error{Status: http.StatusBadRequest, Type: "not_found", Param: "model"}
	e.Message = fmt.Sprintf("%q is not a model of this router", name)
	if p.past != nil {
		return e // nobody waits for advice
	}
	var usable []string
	for _, u := range r.Usable(ctx, p.Principal, p.At) {
		usable = append(usable, u.Model.ID)
	}
	near := nearest(name, usable)
	switch {
	case len(usable) == 0:
		e.Message += "; this key may use no model at all"
	case len(near) == 0:
		near = usable[:min(namesShown, len(usable))]
		e.Message += "; this key may use " + strings.Join(near, ", ") + " (GET /v1/models lists all)"
	default:
		e.Message += "; the nearest that this key may use: " + strings.Join(near, ", ")
	}
	e.Availability = &wire.Availability{Code: wire.ModelNotFound, RequestedModels: []string{name}, FallbackModels: near}
	return e
}
