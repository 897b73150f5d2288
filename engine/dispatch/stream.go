package dispatch

import (
	"context"
	"io"
	"sync"
	"time"

	"chaperone/engine/wire"
)

// Stream is a committed answer in events. Read returns at most one flush's worth: whole events as they arrived. It ends with
// io.EOF after the end mark or after the in-band error event; it never returns another error. Close cancels the upstream
// and may be called at any time, from any goroutine, more than once.
type Stream struct {
	ctx       context.Context
	cancel    context.CancelCauseFunc
	keepAlive time.Duration
	alive     []byte // what a client gets that means nothing, in the form of its API
	timer     *time.Timer

	chunks chan []byte   // from the run to Read; closed at the end
	free   chan []byte   // buffers on their way back
	probe  chan struct{} // asks Read for a comment

	committed chan struct{} // closed at the first content
	failed    chan struct{} // closed when the run ended without an answer
	mu        sync.Mutex
	open      bool // the client has, or is about to get, status and headers
	err       *wire.Error

	current []byte // the buffer that pending is the rest of
	pending []byte
}

func newStream(ctx context.Context, cancel context.CancelCauseFunc, keepAlive time.Duration, alive string) *Stream {
	s := &Stream{
		ctx: ctx, cancel: cancel, keepAlive: keepAlive, alive: []byte(alive),
		chunks: make(chan []byte), free: make(chan []byte, 2), probe: make(chan struct{}, 1),
		committed: make(chan struct{}), failed: make(chan struct{}),
	}
	s.free <- nil
	s.free <- nil
	return s
}

// Read fills p with the next events, or with a comment where there has been none for a while.
func (s *Stream) Read(p []byte) (int, error) {
	if len(s.pending) == 0 {
		if s.current != nil {
			s.free <- s.current[:0]
			s.current = nil
		}
		if s.timer == nil {
			s.timer = time.NewTimer(s.keepAlive)
		} else {
			s.timer.Reset(s.keepAlive)
		}
		select {
		case b, ok := <-s.chunks:
			if !ok {
				s.timer.Stop()
				return 0, io.EOF
			}
			s.current, s.pending = b, b
		case <-s.timer.C:
			s.pending = s.alive
		case <-s.probe:
			s.pending = s.alive
		}
	}
	n := copy(p, s.pending)
	s.pending = s.pending[n:]
	return n, nil
}

// Probe makes a Read that is waiting return a comment, so that a write shows whether the client is still there.
func (s *Stream) Probe() {
	select {
	case s.probe <- struct{}{}:
	default:
	}
}

// Close cancels the upstream request where it still runs.
func (s *Stream) Close() error {
	s.cancel(errClientGone)
	return nil
}

// buffer is an empty buffer to fill for emit; false where the request is over.
func (s *Stream) buffer() ([]byte, bool) {
	select {
	case b := <-s.free:
		return b[:0], true
	case <-s.ctx.Done():
		return nil, false
	}
}

// emit hands b to Read and waits until it is taken; false where the request is over.
func (s *Stream) emit(b []byte) bool {
	select {
	case s.chunks <- b:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// commit promises the client status and headers.
func (s *Stream) commit() {
	s.mu.Lock()
	s.open = true
	s.mu.Unlock()
	close(s.committed)
}

// openEarly promises them before there is content, unless the run has failed already.
func (s *Stream) openEarly() {
	s.mu.Lock()
	s.open = s.open || s.err == nil
	s.mu.Unlock()
}

// fail ends the run without an answer. It returns true where the client has headers already, so that only an event can
// tell it.
func (s *Stream) fail(err *wire.Error) (open bool) {
	s.mu.Lock()
	if !s.open {
		s.err = err
	}
	open = s.open
	s.mu.Unlock()
	if !open {
		close(s.failed)
	}
	return open
}

// refusal is the error that the client gets in place of a stream; nil where it gets the stream.
func (s *Stream) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return nil
	}
	return s.err
}
