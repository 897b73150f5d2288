// Package server is the HTTP front of the router: it reads requests strictly, knows when a client has gone away, relays
// answers as they arrive, and shuts down without losing a request.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"chaperone/engine"
	"chaperone/engine/dispatch"
	"chaperone/engine/wire"
)

// Router is what the server needs of an engine. Every error is a *wire.Error. What a Do or Route is given of a body belongs
// to the router from then on.
type Router interface {
	Ready() *wire.Error
	Authenticate(key string) error
	Do(ctx context.Context, c engine.Call) (*dispatch.Response, error)
	Route(ctx context.Context, c engine.Call) ([]byte, error)
	Rows(ctx context.Context, c engine.Call) ([]byte, error)
	Models(ctx context.Context, l engine.Listing) ([]byte, error)
	CountModels(ctx context.Context, l engine.Listing) ([]byte, error)
	Model(ctx context.Context, l engine.Listing, name string, withinData bool) ([]byte, error)
	Endpoints(ctx context.Context, key, model string) ([]byte, error)
	ZDREndpoints(ctx context.Context, key string) ([]byte, error)
	Providers(ctx context.Context, key string) ([]byte, error)
	Decision(ctx context.Context, key, id string) ([]byte, error)
	Health() ([]byte, error)
	KnowReplica(token string) error
	Hear(body []byte) error
	ShowGeneration(ctx context.Context, key, id string) ([]byte, error)
	Key(ctx context.Context, key string) ([]byte, error)
	Credits(ctx context.Context, key string) ([]byte, error)
	Activity(ctx context.Context, key string, query url.Values) ([]byte, error)
	Analytics(ctx context.Context, key string, body []byte) ([]byte, error)
	AnalyticsMeta(ctx context.Context, key string) ([]byte, error)
	Plugins() []engine.PluginReport
}

var _ Router = (*engine.Engine)(nil)

// Server serves one router on a public listener, and its metrics, profiles and health on a private one.
type Server struct {
	router   Router
	settings engine.Server
	metrics  fasthttp.RequestHandler
	log      *slog.Logger
	tls      *tls.Config // nil: plain HTTP
	document []byte      // OpenAPI

	base    context.Context // of every exchange; cancelled where a drain has taken too long
	cut     context.CancelCauseFunc
	watcher *watcher

	public, private front
	draining        atomic.Bool
	shutdown        sync.Once
	ended           error // what Shutdown returns
}

// front is a listener with what serves it.
type front struct {
	l      *listener
	server *fasthttp.Server
	served chan struct{} // closed when no further connection is accepted
}

// New prepares a server. The settings are as engine.Settings has them, defaults filled in; the error says which file of the
// certificate cannot be used. metrics serves GET /metrics of the private listener.
func New(r Router, settings engine.Server, metrics http.Handler, log *slog.Logger) (*Server, error) {
	s := &Server{router: r, settings: settings, metrics: adapt(metrics), log: log, document: describe()}
	if settings.TLSCertificate != "" {
		c, err := newCertificate(settings.TLSCertificate, settings.TLSKey, log)
		if err != nil {
			return nil, err
		}
		s.tls = c.config()
	}
	return s, nil
}

// Start listens on both addresses and serves until Shutdown. On an error nothing listens.
func (s *Server) Start() error {
	var err error
	s.public.l, err = listen(s.settings.Listen, s.settings.MaxConnections, s.settings.FlushTimeout, s.tls, s.log)
	if err != nil {
		return fmt.Errorf("cannot listen on server.listen: %w", err)
	}
	if s.settings.PrivateListen != "" {
		s.private.l, err = listen(s.settings.PrivateListen, privateConnections, s.settings.FlushTimeout, nil, s.log)
		if err != nil {
			s.public.l.Close()
			return fmt.Errorf("cannot listen on server.private_listen: %w", err)
		}
	}
	if s.watcher, err = newWatcher(); err != nil {
		return errors.Join(fmt.Errorf("cannot watch connections: %w", err), s.public.l.Close(), s.private.close())
	}
	s.base, s.cut = context.WithCancelCause(context.Background())
	s.public.serve(s, public)
	if s.private.l != nil {
		s.private.serve(s, private)
	}
	return nil
}

// Addr is where the public listener is, for a configured port of 0.
func (s *Server) Addr() net.Addr { return s.public.l.Addr() }

// PrivateAddr is where the private listener is; nil where it is switched off.
func (s *Server) PrivateAddr() net.Addr {
	if s.private.l == nil {
		return nil
	}
	return s.private.l.Addr()
}

func (f *front) serve(s *Server, paths []path) {
	f.server = &fasthttp.Server{
		Handler:                      func(ctx *fasthttp.RequestCtx) { s.handle(ctx, paths) },
		ErrorHandler:                 s.unparsed,
		ConnState:                    connState,
		Logger:                       quiet{s.log},
		Concurrency:                  2 * (f.l.limit + overs), // the listener limits; a worker may still be closing what it has forgotten
		ReadBufferSize:               s.settings.MaxHeaderBytes,
		WriteBufferSize:              512, // a head; a body is written past it
		MaxRequestBodySize:           s.settings.MaxBodyBytes,
		ReadTimeout:                  s.settings.ReadTimeout,
		IdleTimeout:                  s.settings.IdleTimeout,
		StreamRequestBody:            true, // a request is refused before its body is read
		ReduceMemoryUsage:            true, // and an answer does not wait for the next one of a pipeline
		KeepHijackedConns:            true, // a stream's connection is given back; see relay
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
	}
	f.served = make(chan struct{})
	go func() {
		defer close(f.served)
		if err := f.server.Serve(f.l); err != nil {
			s.log.Error("the listener has failed", "address", f.l.Addr(), "error", err)
		}
	}()
}

func (f *front) close() error {
	if f.l == nil {
		return nil
	}
	return f.l.Close()
}

// connState tells a connection whether a request is on it.
func connState(nc net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateActive:
		plain(nc).setIdle(false)
	case fasthttp.StateIdle:
		plain(nc).setIdle(true)
	}
}

// quiet keeps fasthttp's log lines without their values, which quote what clients send.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, _ ...any) {
	q.log.Debug("fasthttp", "about", format)
}
