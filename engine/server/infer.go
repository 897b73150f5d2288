package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"chaperone/engine/dispatch"
	"chaperone/engine/route"
	"chaperone/engine/wire"
	"chaperone/engine/wire/talk"
)

const (
	generationHeader = "X-Generation-Id" // of the decision, the journal's record and the answer
	requestHeader    = "X-Request-Id"
	timingHeader     = "Server-Timing"
)

// infer carries out what is asked of a model, in the shape of its path.
func (s *Server) infer(r *request) error {
	call, err := s.call(r)
	if err != nil {
		return err
	}
	x := s.exchange(r.RequestCtx)
	streaming := false
	defer func() {
		if !streaming {
			x.end()
		}
	}()
	response, err := s.router.Do(x.ctx, call)
	if err != nil {
		if e := (*wire.Error)(nil); context.Cause(x.ctx) == errShutdown && errors.As(err, &e) {
			return cutOff(e.DecisionID) // the router only knows that the request was cancelled
		}
		return err
	}
	if response.Stream == nil {
		writeJSON(r.RequestCtx, response.Status, response.Body)
		tellCache(&r.Response.Header, response.Cache)
		identify(&r.Response.Header, r.path.shape, response.Plan.ID)
		r.Response.Header.Set(timingHeader, response.Timing)
		return nil
	}
	s.stream(r, x, response)
	streaming = true
	return nil
}

// stream hands the answer's events to fasthttp, one after the other has been written: a client that does not read holds up the
// provider and not the router's memory.
func (s *Server) stream(r *request, x *exchange, response *dispatch.Response) {
	h := &r.Response.Header
	h.SetStatusCode(response.Status)
	h.SetContentType("text/event-stream; charset=utf-8")
	h.Set(fasthttp.HeaderCacheControl, "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx would collect events
	identify(h, r.path.shape, response.Plan.ID)
	h.Set(timingHeader, response.Timing)
	tellCache(h, response.Cache)
	re := &relay{s: s, path: r.path, x: x, stream: response.Stream, plan: response.Plan, remote: r.RemoteAddr(), status: response.Status, started: time.Now()}
	x.answers(response.Stream)
	if r.Request.Header.IsHTTP11() {
		r.Response.ImmediateHeaderFlush = true
		r.SetBodyStream(re, -1)
		return
	}
	// HTTP/1.0 has no chunks, which fasthttp would send all the same: there the end of the connection is the end of the answer.
	h.SetContentLength(-2)
	head := h.AppendBytes(nil)
	r.HijackSetNoResponse(true)
	r.Hijack(func(nc net.Conn) {
		defer re.Close()
		if _, err := nc.Write(head); err == nil {
			re.WriteTo(nc)
		}
	})
}

// tellCache says what the response cache had to do with an answer.
func tellCache(h *fasthttp.ResponseHeader, c dispatch.Cache) {
	if c.Status == "" {
		return
	}
	seconds := func(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
	h.Set("X-OpenRouter-Cache-Status", c.Status)
	h.Set("X-OpenRouter-Cache-TTL", seconds(c.TTL))
	if c.Source != "" {
		h.Set("X-OpenRouter-Cache-Age", seconds(c.Age))
		h.Set("X-OpenRouter-Cache-Source-Id", c.Source)
	}
}

// relay is an answer in events on its way to the client.
type relay struct {
	s       *Server
	path    *path
	x       *exchange
	stream  *dispatch.Stream
	plan    *route.Plan
	remote  net.Addr
	status  int
	started time.Time
}

// errCut makes fasthttp close the connection without the last chunk, so that nobody takes what was sent for the whole.
var errCut = errors.New("the stream was cut off")

// SupportsBodyWriteTo has fasthttp use WriteTo, which needs no buffer of its own.
func (re *relay) SupportsBodyWriteTo() bool { return true }

// WriteTo writes events, each of which fasthttp sends as a chunk and flushes.
func (re *relay) WriteTo(w io.Writer) (n int64, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			re.s.logPanic(re.plan.ID, re.path.pattern, panicked)
			err = errCut
		}
	}()
	for {
		events, ended := re.stream.Next()
		if ended != nil {
			break
		}
		m, err := w.Write(events)
		if n += int64(m); err != nil {
			return n, err
		}
	}
	switch context.Cause(re.x.ctx) {
	case nil:
		return n, nil
	case errShutdown:
		l := talk.Label{ID: re.plan.ID, Model: re.plan.Request.Model, Created: re.plan.At.Unix()}
		m, err := w.Write(re.path.shape.AppendErrorEvent(nil, cutOff(re.plan.ID), l))
		if n += int64(m); err != nil {
			return n, err
		}
	}
	return n, errCut
}

// Read is there because a body has to be a reader; see SupportsBodyWriteTo.
func (re *relay) Read([]byte) (int, error) { return 0, errCut }

// Close ends the exchange, and the upstream request where it still runs.
func (re *relay) Close() error {
	if context.Cause(re.x.ctx) == errClientGone {
		re.status = statusClientGone
	}
	re.stream.Close()
	re.x.end()
	re.s.log.LogAttrs(context.Background(), slog.LevelDebug, "request",
		slog.String("method", fasthttp.MethodPost), slog.String("route", re.path.pattern), slog.Int("status", re.status),
		slog.Duration("took", time.Since(re.started)), slog.String("remote", re.remote.String()), slog.String("id", re.plan.ID))
	return nil
}

func cutOff(decision string) *wire.Error {
	return &wire.Error{Status: fasthttp.StatusServiceUnavailable, Type: "provider_unavailable",
		Message: "the router shut down before the answer was complete", DecisionID: decision}
}

// statusClientGone is what the log calls a request whose client did not wait for the end.
const statusClientGone = 499

// exchange starts to watch the client. Where that fails (the kernel's limit on watches), the next write notices.
func (s *Server) exchange(ctx *fasthttp.RequestCtx) *exchange {
	x, err := newExchange(s.base, s.watcher, ctx.Conn(), !ctx.Request.Header.IsHTTP11())
	if err != nil {
		s.log.Warn("cannot watch a connection; a client that goes away is only noticed when written to", "error", err)
	}
	return x
}
