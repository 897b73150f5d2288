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

// stream hands the answer's events to the client, one after the other has been written: a client that does not read holds up the
// provider and not the router's memory. The connection is taken from fasthttp for as long as that lasts.
func (s *Server) stream(r *request, x *exchange, response *dispatch.Response) {
	h := &r.Response.Header
	h.SetStatusCode(response.Status)
	h.SetContentType("text/event-stream; charset=utf-8")
	h.Set(fasthttp.HeaderCacheControl, "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx would collect events
	identify(h, r.path.shape, response.Plan.ID)
	h.Set(timingHeader, response.Timing)
	tellCache(h, response.Cache)
	re := &relay{s: s, path: r.path, x: x, stream: response.Stream, plan: response.Plan, conn: r.Conn(), status: response.Status, started: time.Now()}
	if r.Request.Header.IsHTTP11() {
		h.SetContentLength(-1) // chunked
		re.chunked = true
	} else {
		h.SetContentLength(-2) // HTTP/1.0 has no chunks: the end of the connection is the end of the answer
	}
	if s.draining.Load() {
		h.SetConnectionClose()
	}
	re.keeps, re.head = re.chunked && !h.ConnectionClose(), h.AppendBytes(nil)
	x.answers(response.Stream)
	r.HijackSetNoResponse(true)
	r.Hijack(func(buffered net.Conn) {
		re.unread(buffered)
		go re.run() // when this returns, fasthttp lets the request go
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

// relay is an answer in events on its way to the client. fasthttp would hold a request, and the buffer that its head had to fit
// into, for as long as it writes the answer; a relay holds neither, and gives the connection back at the end.
type relay struct {
	s       *Server
	path    *path
	x       *exchange
	stream  *dispatch.Stream
	plan    *route.Plan
	conn    net.Conn
	head    []byte
	chunked bool
	keeps   bool // the connection may serve another request
	status  int
	started time.Time
}

// unread puts back what fasthttp has read of the connection beyond the request, the beginning of a pipelined one.
func (re *relay) unread(buffered net.Conn) {
	var beyond []byte
	part := make([]byte, 64)
	re.conn.SetReadDeadline(time.Unix(1, 0)) // what has not been read yet stays where it is
	for {
		n, err := buffered.Read(part)
		beyond = append(beyond, part[:n]...)
		if err != nil {
			break
		}
	}
	re.conn.SetReadDeadline(time.Time{})
	re.conn.(interface{ unread([]byte) }).unread(beyond)
}

// run writes the answer, and waits for the next request where there may be one.
func (re *relay) run() {
	err := re.answer()
	re.end()
	re.x, re.stream, re.plan = nil, nil, nil // a connection that waits for its next request holds none of the last
	if err != nil || !re.keeps {
		re.conn.Close()
		return
	}
	plain(re.conn).setIdle(true)
	re.conn.SetReadDeadline(time.Now().Add(re.s.settings.IdleTimeout))
	first := make([]byte, 1)
	if n, _ := re.conn.Read(first); n == 0 {
		re.conn.Close()
		return
	}
	re.conn.(interface{ unread([]byte) }).unread(first)
	re.s.public.server.ServeConn(re.conn) // the error is the client's, and it has been told
}

func (re *relay) answer() error {
	_, err := re.conn.Write(re.head)
	if re.head = nil; err != nil {
		return err
	}
	if !re.chunked {
		return re.events(re.conn)
	}
	if err := re.events(&chunks{to: re.conn}); err != nil {
		return err
	}
	_, err = re.conn.Write(lastChunk)
	return err
}

var lastChunk = []byte("0\r\n\r\n")

// chunks writes each piece as a chunk (RFC 9112, 7.1), in one go.
type chunks struct {
	to  io.Writer
	buf []byte
}

// mostKept is how much of a buffer a stream keeps for its next event.
const mostKept = 4 << 10

func (c *chunks) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // it would be the last
	}
	c.buf = append(strconv.AppendInt(c.buf[:0], int64(len(p)), 16), "\r\n"...)
	c.buf = append(append(c.buf, p...), "\r\n"...)
	_, err := c.to.Write(c.buf)
	if cap(c.buf) > mostKept {
		c.buf = nil
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// errCut closes the connection without the last chunk, so that nobody takes what was sent for the whole.
var errCut = errors.New("the stream was cut off")

// events writes them, each at once.
func (re *relay) events(w io.Writer) (err error) {
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
		if _, err := w.Write(events); err != nil {
			return err
		}
	}
	switch context.Cause(re.x.ctx) {
	case nil:
		return nil
	case errShutdown:
		l := talk.Label{ID: re.plan.ID, Model: re.plan.Request.Model, Created: re.plan.At.Unix()}
		if _, err := w.Write(re.path.shape.AppendErrorEvent(nil, cutOff(re.plan.ID), l)); err != nil {
			return err
		}
	}
	return errCut
}

// end ends the exchange, and the upstream request where it still runs.
func (re *relay) end() {
	if context.Cause(re.x.ctx) == errClientGone {
		re.status = statusClientGone
	}
	re.stream.Close()
	re.x.end()
	re.s.log.LogAttrs(context.Background(), slog.LevelDebug, "request",
		slog.String("method", fasthttp.MethodPost), slog.String("route", re.path.pattern), slog.Int("status", re.status),
		slog.Duration("took", time.Since(re.started)), slog.String("remote", re.conn.RemoteAddr().String()), slog.String("id", re.plan.ID))
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
