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
)

const (
	flushBytes   = 64 << 10               // a write of more is cut into pieces, each with its own deadline
	backlogGrace = 50 * time.Millisecond  // how long connections that the kernel has completed are still taken when listening ends
	idleGrace    = 500 * time.Millisecond // how long an idle connection may still send a request when draining has come to it
	lingerTime   = 500 * time.Millisecond // how long, and
	lingerBytes  = 256 << 10              // how much, a client that was refused may still send
	overTime     = 5 * time.Second        // how long a connection over the limit may take to send its request
	overs        = 64                     // connections over the limit that are served all the same: health checks, and who is told so; more are just closed
)

// listener accepts TCP connections, at most limit at a time and a few over it, and outlives what is only temporary: fasthttp would stop
// serving for good when the process runs out of file descriptors for a moment.
type listener struct {
	*net.TCPListener
	tls   *tls.Config // nil: plain HTTP
	limit int
	flush time.Duration // per write
	log   *slog.Logger

	mu      sync.Mutex
	conns   map[*conn]struct{}
	over    int           // of conns
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
		conns: make(map[*conn]struct{}), empty: make(chan struct{}),
	}, nil
}

// Accept returns the next connection that is to be served; net.ErrClosed after stop or Close.
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
			c.Close()
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

// admit says whether a connection is to be served, and marks it where it is over the limit.
func (l *listener) admit(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns)-l.over >= l.limit {
		if l.over == overs {
			return false
		}
		l.over++
		c.over = time.Now().Add(overTime)
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
	if !c.over.IsZero() {
		l.over--
	}
	if l.closing && len(l.conns) == 0 {
		close(l.empty)
	}
}

func (l *listener) secured(c *conn) net.Conn {
	if l.tls == nil {
		return c
	}
	return &secure{Conn: tls.Server(c, l.tls)}
}

// secure is a connection with TLS.
type secure struct {
	*tls.Conn
	ahead
}

func (c *secure) Read(p []byte) (int, error) {
	if n := c.take(p); n > 0 {
		return n, nil
	}
	return c.Conn.Read(p)
}

// ahead is what was read of a connection and put back.
type ahead []byte

func (a *ahead) take(p []byte) int {
	n := copy(p, *a)
	*a = (*a)[n:]
	return n
}

func (a *ahead) unread(p []byte) { *a = append(p, *a...) }

// conn is one TCP connection below TLS. It gives every write a deadline of its own, since fasthttp's WriteTimeout would cut
// long streams, and it closes so that a client which is still sending can read why it was refused.
type conn struct {
	net.Conn
	ahead // of one without TLS
	l     *listener
	over  time.Time // of one over the limit: when its one request is to be there; zero: it is not

	mu       sync.Mutex
	idle     bool // no request is being read or answered
	draining bool // Close waits for what the client is sending
	closed   bool
}

func (c *conn) Read(p []byte) (int, error) {
	if n := c.take(p); n > 0 {
		return n, nil
	}
	return c.Conn.Read(p)
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

// SetReadDeadline keeps an idle connection from outliving the end of a drain, and one over the limit from staying.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.l.mu.Lock() // against lastCall, which could come in between
	defer c.l.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := time.Now().Add(idleGrace); c.l.closing && c.idle && (t.IsZero() || t.After(last)) {
		t = last
	}
	if !c.over.IsZero() && (t.IsZero() || t.After(c.over)) {
		t = c.over
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
	if s, ok := nc.(*secure); ok {
		nc = s.NetConn()
	}
	return nc.(*conn)
}
