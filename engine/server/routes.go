package server

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"chaperone/engine"
	"chaperone/engine/config"
	"chaperone/engine/wire"
)

// path is one path with the one method that it has. Everything under /v1 is also there under /api/v1, as OpenRouter's
// clients ask for it.
type path struct {
	pattern string // a segment in braces stands for any one segment that is not empty
	method  string
	keyed   bool       // refused at once without an API key
	shape   wire.Shape // of what is asked and answered there, errors included
	serve   func(s *Server, r *request) error
}

// request is one request after its head and its target were found to be sound.
type request struct {
	*fasthttp.RequestCtx
	head   *head
	path   *path
	params []string // what the braces of the pattern stand for
	read   bool     // the body was read to its end
}

var public = []path{
	{"/v1/chat/completions", fasthttp.MethodPost, true, wire.Chat, (*Server).infer},
	{"/v1/messages", fasthttp.MethodPost, true, wire.Messages, (*Server).infer},
	{"/v1/messages/count_tokens", fasthttp.MethodPost, true, wire.CountTokens, (*Server).infer},
	{"/v1/responses", fasthttp.MethodPost, true, wire.Responses, (*Server).infer},
	{"/v1/completions", fasthttp.MethodPost, true, wire.Completions, (*Server).infer},
	{"/v1/embeddings", fasthttp.MethodPost, true, wire.Embeddings, (*Server).infer},
	{"/v1/rerank", fasthttp.MethodPost, true, wire.Rerank, (*Server).infer},
	{"/v1/route", fasthttp.MethodPost, true, wire.Chat, (*Server).decide},
	{"/v1/models", fasthttp.MethodGet, true, wire.Chat, (*Server).models},
	{"/v1/models/user", fasthttp.MethodGet, true, wire.Chat, (*Server).models}, // every listing is the caller's own
	{"/v1/models/count", fasthttp.MethodGet, true, wire.Chat, (*Server).modelCount},
	{"/v1/models/{id}", fasthttp.MethodGet, true, wire.Chat, (*Server).retrieveModel},
	{"/v1/models/{author}/{slug}", fasthttp.MethodGet, true, wire.Chat, (*Server).retrieveModel},
	{"/v1/models/{author}/{slug}/endpoints", fasthttp.MethodGet, true, wire.Chat, (*Server).endpoints},
	{"/v1/model/{author}/{slug}", fasthttp.MethodGet, true, wire.Chat, (*Server).showModel},
	{"/v1/providers", fasthttp.MethodGet, true, wire.Chat, (*Server).providers},
	{"/v1/endpoints/zdr", fasthttp.MethodGet, true, wire.Chat, (*Server).zdrEndpoints},
	{"/v1/decisions/{id}", fasthttp.MethodGet, true, wire.Chat, (*Server).decision},
	{"/v1/generation", fasthttp.MethodGet, true, wire.Chat, (*Server).generation},
	{"/v1/key", fasthttp.MethodGet, true, wire.Chat, (*Server).key},
	{"/v1/auth/key", fasthttp.MethodGet, true, wire.Chat, (*Server).key}, // as OpenRouter had it before
	{"/v1/credits", fasthttp.MethodGet, true, wire.Chat, (*Server).credits},
	{"/v1/activity", fasthttp.MethodGet, true, wire.Chat, (*Server).activity},
	{"/v1/analytics/meta", fasthttp.MethodGet, true, wire.Chat, (*Server).analyticsMeta},
	{"/v1/analytics/query", fasthttp.MethodPost, true, wire.Chat, (*Server).analytics},
	{"/openapi.json", fasthttp.MethodGet, false, wire.Chat, (*Server).openapi},
	{"/healthz", fasthttp.MethodGet, false, wire.Chat, (*Server).healthz},
	{"/readyz", fasthttp.MethodGet, false, wire.Chat, (*Server).readyz},
}

func find(paths []path, segments []string) (*path, []string) {
	if len(segments) > 1 && segments[0] == "api" && segments[1] == "v1" {
		segments = segments[1:]
	}
	for i := range paths {
		if params, ok := match(paths[i].pattern, segments); ok {
			return &paths[i], params
		}
	}
	return nil, nil
}

func match(pattern string, segments []string) (params []string, ok bool) {
	if strings.Count(pattern, "/") != len(segments) {
		return nil, false
	}
	i := 0
	for want := range strings.SplitSeq(pattern[1:], "/") {
		switch {
		case strings.HasPrefix(want, "{"):
			if segments[i] == "" {
				return nil, false
			}
			params = append(params, segments[i])
		case want != segments[i]:
			return nil, false
		}
		i++
	}
	return params, true
}

func unknownPath(paths []path, segments []string) *wire.Error {
	if e := notRouted(segments); e != nil {
		return e
	}
	asked := "/" + strings.Join(segments, "/")
	patterns := make([]string, len(paths))
	for i := range paths {
		patterns[i] = paths[i].pattern
	}
	message := fmt.Sprintf("there is no %s here", clip([]byte(asked)))
	if near, ok := config.Nearest(strings.TrimPrefix(asked, "/api"), patterns); ok {
		message += "; did you mean " + near + "?"
	} else {
		message += "; GET /openapi.json describes what there is"
	}
	return &wire.Error{Status: fasthttp.StatusNotFound, Type: "not_found", Message: message}
}

// methods are those that a path answers. HEAD is GET without the body (RFC 9110, 9.3.2); OPTIONS names them, and, like every
// other answer, has no CORS field: keys do not belong into pages of other origins.
func (p *path) methods() []string {
	if p.method == fasthttp.MethodGet {
		return []string{fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodOptions}
	}
	return []string{p.method, fasthttp.MethodOptions}
}

func (p *path) allow() string { return strings.Join(p.methods(), ", ") }

func (p *path) checkMethod(method string) *wire.Error {
	if slices.Contains(p.methods(), method) {
		return nil
	}
	return &wire.Error{Status: fasthttp.StatusMethodNotAllowed, Type: "invalid_request",
		Message: fmt.Sprintf("%s does not take %s; send %s", p.pattern, clip([]byte(method)), p.method)}
}

func (s *Server) decide(r *request) error {
	call, err := s.question(r)
	if err != nil {
		return err
	}
	return answer(r)(s.router.Route(s.base, call))
}

// question reads a request that is only to be decided, in the API that the query names; a chat completion where it names none.
func (s *Server) question(r *request) (engine.Call, error) {
	q, e := r.query()
	if e != nil {
		return engine.Call{}, e
	}
	call, err := s.call(r)
	if name := q.Get("api"); err == nil && q.Has("api") {
		if !slices.Contains(wire.Shapes(), name) {
			return call, &wire.Error{Status: fasthttp.StatusBadRequest, Type: "invalid_request", Param: "api", Message: config.UnknownName("api", name, wire.Shapes())}
		}
		call.Shape = wire.Shape(name)
	}
	return call, err
}

func (s *Server) decision(r *request) error {
	return answer(r)(s.router.Decision(s.base, r.head.key, r.params[0]))
}

// health says whether a path is for whoever watches over the process: it is served also where connections are short.
func (p *path) health() bool { return p.pattern == "/healthz" || p.pattern == "/readyz" }

// healthz says that the process serves; readyz also that it wants more to serve, and can.
func (s *Server) healthz(r *request) error {
	return answer(r)([]byte(`{"status":"ok"}`), nil)
}

func (s *Server) readyz(r *request) error {
	if s.draining.Load() {
		return &wire.Error{Status: fasthttp.StatusServiceUnavailable, Type: "provider_unavailable", Message: "the router is shutting down"}
	}
	if err := s.router.Ready(); err != nil {
		return err
	}
	return answer(r)([]byte(`{"status":"ready"}`), nil)
}

// call reads what the engine needs.
func (s *Server) call(r *request) (engine.Call, error) {
	body, e := s.body(r)
	if e != nil {
		return engine.Call{}, e
	}
	timeout, e := requestTimeout(r.Request.Header.PeekAll("X-Request-Timeout"))
	if e != nil {
		return engine.Call{}, e
	}
	head, e := shapeHead(&r.Request.Header)
	if e != nil {
		return engine.Call{}, e
	}
	call := engine.Call{Key: r.head.key, Shape: r.path.shape, Head: head, Body: body, Timeout: timeout}
	if e := r.asides(&call); e != nil {
		return engine.Call{}, e
	}
	return call, nil
}

// body reads that of a request, which has to be JSON.
func (s *Server) body(r *request) ([]byte, *wire.Error) {
	return s.bodyWithin(r, s.settings.MaxBodyBytes)
}

func (s *Server) bodyWithin(r *request, limit int) ([]byte, *wire.Error) {
	if e := checkBodyHeaders(r.head, r.Request.Header.ContentLength(), limit); e != nil {
		return nil, e
	}
	body, e := readBody(r.RequestCtx, limit, s.settings.ReadTimeout)
	r.read = e == nil
	return body, e
}

// requestTimeout reads how long a client will wait: seconds, or a duration such as 1500ms; 0 where it does not say.
func requestTimeout(fields [][]byte) (time.Duration, *wire.Error) {
	if len(fields) == 0 {
		return 0, nil
	}
	text := string(fields[0])
	d, err := time.ParseDuration(text)
	if s, notSeconds := strconv.ParseFloat(text, 64); notSeconds == nil && s < float64(maxRequestTimeout/time.Second) {
		d, err = time.Duration(s*float64(time.Second)), nil
	}
	if len(fields) > 1 || err != nil || d <= 0 || d > maxRequestTimeout {
		return 0, badHeader("X-Request-Timeout should be there once, with seconds or a duration such as 1500ms, above 0 and up to a day")
	}
	return d, nil
}

const maxRequestTimeout = 24 * time.Hour

// answer writes JSON, or passes the error on.
func answer(r *request) func(body []byte, err error) error {
	return func(body []byte, err error) error {
		if err == nil {
			writeJSON(r.RequestCtx, fasthttp.StatusOK, body)
		}
		return err
	}
}
