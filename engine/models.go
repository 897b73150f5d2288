package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/listing"
	"chaperone/engine/wire"
)

// Listing asks for models.
type Listing struct {
	Key       string
	Query     url.Values
	Anthropic bool // in Anthropic's form and paging; otherwise in OpenRouter's, which OpenAI's clients read too
}

// Models lists, as JSON, the models that a key may use.
func (e *Engine) Models(ctx context.Context, l Listing) ([]byte, error) {
	s, who, err := e.listener(l.Key)
	if err != nil {
		return nil, err
	}
	defer s.release()
	now := e.options.Now()
	if l.Anthropic {
		return listing.AnthropicPage(s.usable(ctx, who, now), l.Query, now)
	}
	f, refused := listing.ReadFilter(l.Query)
	if refused != nil {
		return nil, refused
	}
	return f.Page(s.usable(ctx, who, now), now)
}

// CountModels says, as JSON, how many models the same listing has.
func (e *Engine) CountModels(ctx context.Context, l Listing) ([]byte, error) {
	s, who, err := e.listener(l.Key)
	if err != nil {
		return nil, err
	}
	defer s.release()
	f, refused := listing.ReadFilter(l.Query)
	if refused != nil {
		return nil, refused
	}
	now := e.options.Now()
	return f.Count(s.usable(ctx, who, now), now)
}

// Model shows one model, as JSON, by any of its names: bare as OpenAI's and Anthropic's APIs do, or within data as
// OpenRouter's does.
func (e *Engine) Model(ctx context.Context, l Listing, name string, withinData bool) ([]byte, error) {
	s, who, err := e.listener(l.Key)
	if err != nil {
		return nil, err
	}
	defer s.release()
	now := e.options.Now()
	m := s.router.Model(who, name)
	all := s.usable(ctx, who, now)
	at := slices.IndexFunc(all, func(u listing.Model) bool { return u.Model == m })
	if at < 0 {
		return nil, noModel(name)
	}
	if l.Anthropic {
		return all[at].ShowAnthropic()
	}
	shown, err := all[at].Show(now)
	if err == nil && withinData {
		shown, err = json.Marshal(map[string]any{"data": json.RawMessage(shown)})
	}
	return shown, err
}

func noModel(name string) *wire.Error {
	return &wire.Error{Status: http.StatusNotFound, Type: "not_found", Param: "model",
		Message: fmt.Sprintf("%q is not a model that this key may use; GET /v1/models lists those that are", name)}
}

// Endpoints lists, as JSON, every endpoint of a model with live statistics, terms, and what the key's policies say of it. A
// model of a catalog variant that does not exist (author/slug:free) has none.
func (e *Engine) Endpoints(ctx context.Context, key, model string) ([]byte, error) {
	s, who, err := e.listener(key)
	if err != nil {
		return nil, err
	}
	defer s.release()
	live := e.live(s, who)
	if m := s.router.Model(who, model); m != nil {
		return live.Endpoints(m, s.router.Endpoints(ctx, who, m, live.Now))
	}
	base, _, variant := strings.Cut(model, ":")
	m := s.router.Model(who, base)
	if m == nil || !variant {
		return nil, noModel(model)
	}
	return live.Endpoints(m, nil)
}

// ZDREndpoints lists, as JSON, the endpoints with zero data retention that a key may use.
func (e *Engine) ZDREndpoints(ctx context.Context, key string) ([]byte, error) {
	s, who, err := e.listener(key)
	if err != nil {
		return nil, err
	}
	defer s.release()
	live := e.live(s, who)
	return live.ZDR(s.router.Usable(ctx, who, live.Now))
}

// Providers lists, as JSON, the providers of the catalog, by slug.
func (e *Engine) Providers(_ context.Context, key string) ([]byte, error) {
	s, _, err := e.listener(key)
	if err != nil {
		return nil, err
	}
	defer s.release()
	return listing.Providers(s.catalog, e.options.Now())
}

// live is what is known just now, for who asks.
func (e *Engine) live(s *snapshot, who *account.Principal) *listing.Live {
	now := e.options.Now()
	return &listing.Live{Stats: s.published.View(now), Doubt: e.health.Doubt, Now: now,
		ErrorDetail: who.Organisation.ErrorDetail}
}

// listener is the newest snapshot, to be released, and who asks it for a listing.
func (e *Engine) listener(key string) (*snapshot, *account.Principal, error) {
	s := e.acquire()
	who, refused := e.authenticate(s, Call{Key: key})
	if refused != nil {
		s.release()
		return nil, nil, refused
	}
	return s, who, nil
}

// usable lists the models that a principal may use, by id.
func (s *snapshot) usable(ctx context.Context, who *account.Principal, now time.Time) []listing.Model {
	return listing.Of(s.router.Usable(ctx, who, now), s.published.View(now).Minutes30)
}
