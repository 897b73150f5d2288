package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"chaperone/engine/wire"
)

const jsonType = "application/json"

// refuse answers with an error in the form of the API that was asked.
func refuse(ctx *fasthttp.RequestCtx, shape wire.Shape, e *wire.Error) {
	h := &ctx.Response.Header
	writeJSON(ctx, e.Status, shape.AppendError(nil, e))
	if e.DecisionID != "" {
		identify(h, shape, e.DecisionID)
	}
	if e.Timing != "" {
		h.Set(timingHeader, e.Timing)
	}
	if e.RetryAfter > 0 {
		h.Set(fasthttp.HeaderRetryAfter, strconv.FormatInt(int64(math.Ceil(e.RetryAfter.Seconds())), 10))
	}
	if e.Status == fasthttp.StatusUnauthorized {
		h.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
	}
}

func writeJSON(ctx *fasthttp.RequestCtx, status int, body []byte) {
	ctx.SetStatusCode(status)
	ctx.SetContentType(jsonType)
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.Response.SetBodyRaw(body)
}

// hangUp closes the connection after the answer, so that what the client sends after it is not taken for another request.
func hangUp(ctx *fasthttp.RequestCtx) {
	ctx.SetConnectionClose()
	plain(ctx.Conn()).drain()
}

// tooManyConnections is what every request but a health check is told on a connection over the limit.
func tooManyConnections() *wire.Error {
	return &wire.Error{Status: fasthttp.StatusServiceUnavailable, Type: "provider_overloaded", RetryAfter: time.Second,
		Message: "this router has as many connections open as it may; close idle ones, or ask again shortly"}
}

// unparsed answers a request that fasthttp could not read. Its errors quote the header, keys and all, so none of their text
// goes to the client or into a log.
func (s *Server) unparsed(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	e := badHeader("the request line or the header is malformed: expected \"METHOD /path HTTP/1.1\", then \"Name: value\" lines, " +
		"one Host among them and at most one Content-Length (a number) or Transfer-Encoding (chunked), then an empty line, all ended by CRLF")
	switch {
	case !plain(ctx.Conn()).over.IsZero():
		e = tooManyConnections()
	case errors.As(err, &small):
		e = &wire.Error{Status: fasthttp.StatusRequestHeaderFieldsTooLarge, Type: "invalid_request",
			Message: fmt.Sprintf("the header is longer than the limit of %d bytes (server.max_header_bytes)", s.settings.MaxHeaderBytes)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		e = &wire.Error{Status: fasthttp.StatusRequestTimeout, Type: "timeout",
			Message: fmt.Sprintf("the header did not arrive within %s (server.read_timeout)", s.settings.ReadTimeout)}
	}
	ctx.Response.Reset()
	refuse(ctx, wire.Chat, e)
	hangUp(ctx)
}

// internal answers after a panic. The value of a panic may hold anything, so only the runtime's own are logged; the stack
// shows where, and holds no contents.
func (s *Server) internal(ctx *fasthttp.RequestCtx, p *path, panicked any) {
	id := "err-" + randomHex()
	refuse(ctx, p.form(ctx), &wire.Error{Status: fasthttp.StatusInternalServerError, Type: "server",
		Message: "the router failed on this request; its log has the details under " + id})
	ctx.Response.Header.Set(requestHeader, id)
	hangUp(ctx)
	s.logPanic(id, p.pattern, panicked)
}

func (s *Server) logPanic(id, route string, panicked any) {
	reason := fmt.Sprintf("a panic with a %T", panicked)
	if e, ok := panicked.(runtime.Error); ok {
		reason = e.Error()
	}
	s.log.Error("panic while serving a request", slog.String("id", id), slog.String("route", route),
		slog.String("reason", reason), slog.String("stack", string(debug.Stack())))
}

func randomHex() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
