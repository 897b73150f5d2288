package server

import (
	"net/http"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
	"github.com/valyala/fasthttp/pprofhandler"
)

// privateConnections bounds the private listener, whose clients are few. It shares nothing with the public one, so that no
// load there keeps a health check waiting.
const privateConnections = 256

var private = []path{
	{"/metrics", fasthttp.MethodGet, false, func(s *Server, r *request) error {
		s.metrics(r.RequestCtx)
		return nil
	}},
	{"/healthz", fasthttp.MethodGet, false, (*Server).healthz},
	{"/readyz", fasthttp.MethodGet, false, (*Server).readyz},
	{"/debug/pprof/", fasthttp.MethodGet, false, profile},
	{"/debug/pprof/{profile}", fasthttp.MethodGet, false, profile},
}

// profile is Go's own profiler; see https://pkg.go.dev/net/http/pprof.
func profile(_ *Server, r *request) error {
	pprofhandler.PprofHandler(r.RequestCtx)
	return nil
}

func adapt(h http.Handler) fasthttp.RequestHandler { return fasthttpadaptor.NewFastHTTPHandler(h) }
