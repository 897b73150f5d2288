package server

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

var (
	errClientGone = errors.New("the client closed the connection")
	errShutdown   = errors.New("the router is shutting down")
)

// probeEvery is how often a client that has sent FIN but answered the first probe is asked again whether it is there.
const probeEvery = 15 * time.Second

// processing is an interim answer (RFC 2518, 10.1), which every HTTP/1.1 client has to be able to skip (RFC 9110, 15.2).
var processing = []byte("HTTP/1.1 102 Processing\r\n\r\n")

// exchange is one request and its answer, while both ends of it are alive. Its context ends when the client goes away or
// the router does.
//
// A FIN alone does not tell a client that has closed from one that has only finished sending and still reads. So the
// exchange writes something that means nothing: an interim answer before the answer has begun, a comment in a stream. A
// client that is gone answers with a reset; one that reads goes on. HTTP/1.0 knows neither, there FIN means gone.
type exchange struct {
	ctx    context.Context
	cancel context.CancelCauseFunc

	watcher *watcher
	id      uint64
	conn    net.Conn     // as the client sees it: with TLS, if there is any
	socket  syscall.Conn // below
	http10  bool

	mu     sync.Mutex
	stream prober // nil until the answer streams
	over   bool   // what is written from now on is the answer
	asking bool

	writing sync.Mutex // held while a probe is written
}

// prober is a stream that can be asked to write a comment.
type prober interface{ Probe() }

func newExchange(ctx context.Context, w *watcher, nc net.Conn, http10 bool) (*exchange, error) {
	x := &exchange{watcher: w, conn: nc, socket: plain(nc).Conn.(syscall.Conn), http10: http10}
	x.ctx, x.cancel = context.WithCancelCause(ctx)
	// From here on the watcher may call; x.id is only read after that under mu.
	x.mu.Lock()
	defer x.mu.Unlock()
	var err error
	x.id, err = w.add(x.socket, x)
	return x, err
}

func (x *exchange) gone() { x.cancel(errClientGone) }

func (x *exchange) finished() {
	if x.http10 {
		x.gone()
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.asking || x.over && x.stream == nil {
		return
	}
	x.asking = true
	x.watcher.afterFIN(x.socket, x.id)
	go x.ask()
}

// ask probes until the exchange is over.
func (x *exchange) ask() {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for x.probe() {
		select {
		case <-tick.C:
		case <-x.ctx.Done():
			return
		}
	}
}

func (x *exchange) probe() bool {
	x.writing.Lock()
	defer x.writing.Unlock()
	x.mu.Lock()
	stream, over := x.stream, x.over
	x.mu.Unlock()
	switch {
	case stream != nil:
		stream.Probe()
	case over:
		return false
	default:
		if _, err := x.conn.Write(processing); err != nil {
			x.gone()
		}
	}
	return true
}

// answers ends interim answers: the caller is about to let the final one out. A stream, if not nil, is probed instead.
func (x *exchange) answers(stream prober) {
	x.mu.Lock()
	x.over, x.stream = true, stream
	x.mu.Unlock()
	x.writing.Lock() // a probe that is being written has to be out first
	defer x.writing.Unlock()
}

// end must be called before the connection is used for anything else.
func (x *exchange) end() {
	x.answers(nil)
	x.watcher.remove(x.socket, x.id)
	x.cancel(nil)
}
