package server

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"chaperone/engine/wire"
)

const (
	flushBytes   = 64 << 10               // a write of more is cut into pieces, each with its own deadline
	backlogGrace = 50 * time.Millisecond  // how long connections that the kernel has completed are still taken when listening ends
	idleGrace    = 500 * time.Millisecond // how long an idle connection may still send a request when draining has come to it
	lingerTime   = 500 * time.Millisecond // how long, and
	lingerBytes  = 256 << 10              // how much, a client that was refused may still send
	refusalTime  = 5 * time.Second
	refusals     = 64 // connections over the limit that are told so at the same time; more are just closed
)

// listener accepts TCP connections, at most limit at a time, and outlives what is only temporary: fasthttp would stop
// serving for good when the process runs out of file descriptors for a moment.
type listener struct {
	*net.TCPListener
	tls   *tls.Config // nil: plain HTTP
	limit int
	flush time.Duration // per write
	log   *slog.Logger

	telling chan struct{}

	mu      sync.Mutex
	conns   map[*conn]struct{}
	closing bool          // idle connections have idleGrace left
	empty   chan struct{} // closed when closing is set and no connection is left
}

func listen(address string, limit int, flush time.Duration, config *tls.Config, log *slog.Logger) (*listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &listener{
		TCPListener: l.(*net.TCPListener), tls: config, limit: limit, flush: flush, log: log,
		telling: make(chan struct{}, refusals), conns: make(map[*conn]struct{}), empty: make(chan struct{}),
	}, nil
}

// Accept returns the next connection below the limit; net.ErrClosed after stop or Close.
func (l *listener) Accept() (net.Conn, error) {
	var pause time.Duration
	for {
		nc, err := l.TCPListener.Accept()
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			l.TCPListener.Close()
			return nil, net.ErrClosed
		default:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			l.log.Error("cannot accept a connection", "error", err, "retry_in", pause)
			time.Sleep(pause)
			continue
		}
		pause = 0
		c := &conn{Conn: nc, l: l, idle: true}
		if !l.admit(c) {
			l.refuse(c)
			continue
		}
		return l.secured(c), nil
	}
}

// Close stops listening; connections that the kernel has completed but nobody has accepted are lost.
func (l *listener) Close() error {
	l.TCPListener.Close()
	return nil
}

// stop ends listening once Accept has given out what the kernel has completed.
func (l *listener) stop() { l.SetDeadline(time.Now().Add(backlogGrace)) }

// lastCall gives idle connections idleGrace, and returns what is closed when the last connection is. Nothing may be accepted
// after it.
func (l *listener) lastCall() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	for c := range l.conns {
		c.hurry()
	}
	if len(l.conns) == 0 {
		close(l.empty)
	}
	return l.empty
}

// abort closes every connection at once and returns how many there were.
func (l *listener) abort() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Conn.Close()
	}
	return len(l.conns)
}

func (l *listener) admit(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) >= l.limit {
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *listener) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.conns[c]; !ok {
		return
	}
	delete(l.conns, c)
	if l.closing && len(l.conns) == 0 {
		close(l.empty)
	}
}

func (l *listener) isClosing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closing
}

func (l *listener) secured(c *conn) net.Conn {
	if l.tls == nil {
		return c
	}
	return tls.Server(c, l.tls)
}

// refuse tells a client that there are too many connections already. The handshake and the writing happen beside the
// accept loop, which a client must not be able to hold up.
func (l *listener) refuse(c *conn) {
	select {
	case l.telling <- struct{}{}:
	default:
		c.Close()
		return
	}
	go func() {
		defer func() { <-l.telling }()
		body := wire.Chat.AppendError(nil, &wire.Error{Status: fasthttp.StatusServiceUnavailable, Type: "provider_overloaded",
			Message: "this router has as many connections open as it may; close idle ones, or ask again shortly"})
		var h fasthttp.ResponseHeader
		h.SetStatusCode(fasthttp.StatusServiceUnavailable)
		h.SetContentType(jsonType)
		h.SetContentLength(len(body))
		h.Set(fasthttp.HeaderRetryAfter, "1")
		h.SetConnectionClose()
		c.SetDeadline(time.Now().Add(refusalTime))
		c.drain()
		nc := l.secured(c)
		nc.Write(append(h.Header(), body...))
		nc.Close()
	}()
}

// conn is one TCP connection below TLS. It gives every write a deadline of its own, since fasthttp's WriteTimeout would cut
// long streams, and it closes so that a client which is still sending can read why it was refused.
type conn struct {
	net.Conn
	l *listener

	mu       sync.Mutex
	idle     bool // no request is being read or answered
	draining bool // Close waits for what the client is sending
	closed   bool
}

func (c *conn) Write(p []byte) (int, error) {
	n := 0
	for {
		piece := p[n:min(len(p), n+flushBytes)]
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.l.flush)); err != nil {
			return n, err
		}
		m, err := c.Conn.Write(piece)
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// SetReadDeadline keeps an idle connection from outliving the end of a drain.
func (c *conn) SetReadDeadline(t time.Time) error {
	closing := c.l.isClosing()
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := time.Now().Add(idleGrace); closing && c.idle && (t.IsZero() || t.After(last)) {
		t = last
	}
	return c.Conn.SetReadDeadline(t)
}

// hurry gives the connection idleGrace to send another request, if it is idle. One that is already on its way is still read:
// the deadline only ends a wait for the first byte.
func (c *conn) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle {
		c.Conn.SetReadDeadline(time.Now().Add(idleGrace))
	}
}

func (c *conn) setIdle(idle bool) {
	c.mu.Lock()
	c.idle = idle
	c.mu.Unlock()
}

// drain makes Close read on for a moment. Closing a socket that holds unread bytes resets it, and the reset can overtake
// the answer that says what was wrong.
func (c *conn) drain() {
	c.mu.Lock()
	c.draining = true
	c.mu.Unlock()
}

func (c *conn) Close() error {
	c.mu.Lock()
	draining := c.draining && !c.closed
	c.closed = true
	c.mu.Unlock()
	if draining {
		if c.Conn.(*net.TCPConn).CloseWrite() == nil {
			c.Conn.SetReadDeadline(time.Now().Add(lingerTime))
			io.CopyN(io.Discard, c.Conn, lingerBytes)
		}
	}
	c.l.forget(c)
	return c.Conn.Close()
}

// plain is the connection below TLS.
func plain(nc net.Conn) *conn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	return nc.(*conn)
}
