package server

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"chaperone/engine/wire"
)

// handle serves one request: head, target, route, and then the route.
func (s *Server) handle(ctx *fasthttp.RequestCtx, paths []path) {
	started, p := time.Now(), &path{shape: guess(ctx)}
	defer func() {
		if panicked := recover(); panicked != nil {
			s.internal(ctx, p, panicked)
		}
		if s.draining.Load() {
			ctx.SetConnectionClose()
		}
		if !ctx.Hijacked() {
			s.access(ctx, p.pattern, ctx.Response.StatusCode(), started)
		}
	}()
	h, e := s.check(ctx)
	if e != nil {
		refuse(ctx, p.shape, e)
		hangUp(ctx)
		return
	}
	over := !plain(ctx.Conn()).over.IsZero()
	if h.close || over {
		ctx.SetConnectionClose()
	}
	segments, e := readTarget(ctx.Request.Header.RequestURI(), ctx.Request.Header.Host(), ctx.IsTLS())
	if e != nil {
		refuse(ctx, p.shape, e)
		hangUp(ctx)
		return
	}
	r := &request{RequestCtx: ctx, head: h}
	if found, params := find(paths, segments); found == nil {
		refuse(ctx, p.shape, unknownPath(paths, segments))
	} else {
		p, r.path, r.params = found, found, params
		if over && !p.health() {
			refuse(ctx, p.form(ctx), tooManyConnections())
			hangUp(ctx)
			return
		}
		s.serve(r)
	}
	// A body that was not read must not be taken for the next request.
	if !r.read && !skipBody(ctx) {
		hangUp(ctx)
	}
}

// form is that of the path's errors. What is listed, every API has: there it is the client's.
func (p *path) form(ctx *fasthttp.RequestCtx) wire.Shape {
	if p.method == fasthttp.MethodGet {
		return guess(ctx)
	}
	return p.shape
}

// guess is the form of an error for a request whose path is not known, or not yet: Anthropic's clients all send their version.
func guess(ctx *fasthttp.RequestCtx) wire.Shape {
	if len(ctx.Request.Header.Peek(versionHeader)) > 0 {
		return wire.Messages
	}
	return wire.Chat
}

// check holds the request against what has nothing to do with its path.
func (s *Server) check(ctx *fasthttp.RequestCtx) (*head, *wire.Error) {
	if e := checkVersion(ctx.Request.Header.Protocol()); e != nil {
		return nil, e
	}
	h, e := readHead(ctx.Request.Header.RawHeaders())
	if e != nil {
		return nil, e
	}
	if h.expect != "" && !strings.EqualFold(h.expect, "100-continue") {
		return nil, &wire.Error{Status: fasthttp.StatusExpectationFailed, Type: "invalid_request",
			Message: "the Expect field holds something other than 100-continue"}
	}
	return h, nil
}

func (s *Server) serve(r *request) {
	p := r.path
	err := s.admit(p, r)
	switch {
	case err != nil:
	case r.IsOptions():
		r.SetStatusCode(fasthttp.StatusNoContent)
		r.Response.Header.Set(fasthttp.HeaderAllow, p.allow())
	default:
		err = p.serve(s, r)
	}
	var e *wire.Error
	switch {
	case err == nil:
	case errors.As(err, &e):
		refuse(r.RequestCtx, p.form(r.RequestCtx), e)
		if e.Status == fasthttp.StatusMethodNotAllowed {
			r.Response.Header.Set(fasthttp.HeaderAllow, p.allow())
		}
	default:
		panic(err) // every error of a Router is a *wire.Error
	}
}

func (s *Server) admit(p *path, r *request) error {
	if e := p.checkMethod(string(r.Method())); e != nil {
		return e
	}
	if p.method == fasthttp.MethodGet && r.Request.Header.ContentLength() != 0 && r.RequestBodyStream() != nil {
		return badHeader("%s takes no body; send none", p.pattern)
	}
	if p.keyed && !r.IsOptions() {
		return s.router.Authenticate(r.head.key) // before the body: who may ask nothing fills no memory
	}
	return nil
}

// access logs one request, without what it asked, who asked (but for the address) and what it was told.
func (s *Server) access(ctx *fasthttp.RequestCtx, route string, status int, started time.Time) {
	s.log.LogAttrs(ctx, slog.LevelDebug, "request",
		slog.String("method", string(ctx.Method())), slog.String("route", route), slog.Int("status", status),
		slog.Duration("took", time.Since(started)), slog.String("remote", ctx.RemoteAddr().String()),
		slog.String("id", string(ctx.Response.Header.Peek(generationHeader))))
}
