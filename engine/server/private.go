package server

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"chaperone/engine"
	"chaperone/engine/wire"
)

// privateConnections bounds the private listener, whose clients are few. It shares nothing with the public one, so that no
// load there keeps a health check waiting.
const privateConnections = 256

var private = []path{
	{"/metrics", fasthttp.MethodGet, false, wire.Chat, func(s *Server, r *request) error {
		s.metrics(r.RequestCtx)
		return nil
	}},
	{"/v1/rows", fasthttp.MethodPost, true, wire.Chat, (*Server).rows},
	{"/health", fasthttp.MethodGet, false, wire.Chat, func(s *Server, r *request) error { return answer(r)(s.router.Health()) }},
	{"/replicas", fasthttp.MethodPost, false, wire.Chat, (*Server).hear},
	{"/plugins", fasthttp.MethodGet, false, wire.Chat, (*Server).plugins},
	{"/healthz", fasthttp.MethodGet, false, wire.Chat, (*Server).healthz},
	{"/readyz", fasthttp.MethodGet, false, wire.Chat, (*Server).readyz},
	{"/debug/pprof/", fasthttp.MethodGet, false, wire.Chat, profile},
	{"/debug/pprof/{profile}", fasthttp.MethodGet, false, wire.Chat, profile},
}

// rows decides without dispatching, and tells the numbers by which scorers ranked.
func (s *Server) rows(r *request) error {
	call, err := s.question(r)
	if err != nil {
		return err
	}
	return answer(r)(s.router.Rows(s.base, call))
}

// mostTold is how many bytes another router may tell at a time: some ten thousand endpoints at rest.
const mostTold = 4 << 20

// hear takes in what another router tells.
func (s *Server) hear(r *request) error {
	if err := s.router.KnowReplica(r.head.key); err != nil {
		return err
	}
	body, e := s.bodyWithin(r, mostTold)
	if e != nil {
		return e
	}
	if err := s.router.Hear(body); err != nil {
		return err
	}
	r.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

// plugins tells how the WASM plugins are doing.
func (s *Server) plugins(r *request) error {
	return answer(r)(json.Marshal(struct {
		Plugins []engine.PluginReport `json:"plugins"`
	}{s.router.Plugins()}))
}

// profiles are Go's own; see https://pkg.go.dev/net/http/pprof. fasthttp's package for them has no index with working links.
var profiles = func() fasthttp.RequestHandler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return adapt(mux)
}()

func profile(_ *Server, r *request) error {
	profiles(r.RequestCtx)
	return nil
}

func adapt(h http.Handler) fasthttp.RequestHandler { return fasthttpadaptor.NewFastHTTPHandler(h) }
