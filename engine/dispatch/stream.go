package dispatch

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"chaperone/engine/wire"
)

// Stream is a committed answer in events. Next returns one flush's worth: whole events as they arrived; Read as much of it as
// fits. Both end with io.EOF after the end mark or after the in-band error event, and never with another error. Close cancels
// the upstream and may be called at any time, from any goroutine, more than once.
type Stream struct {
	ctx       context.Context // of the request
	cancel    context.CancelCauseFunc
	keepAlive time.Duration
	alive     []byte // what a client gets that means nothing, in the form of its API
	timer     *time.Timer

	chunks chan []byte   // from the run to Next; closed at the end
	probe  chan struct{} // asks Next for something that means nothing
	spare  []byte        // what the run may fill while Next's caller has the other
	filled []byte        // what was handed over last
	last   atomic.Bool   // what is handed over next, or was, is the end
	keeps  bool          // all of it is kept in handed
	handed []byte

	settled chan struct{} // closed at the first content, or when the run ended without an answer and nothing was promised
	closing sync.Once
	closed  chan struct{}
	mu      sync.Mutex
	open    bool // the client has, or is about to get, status and headers
	err     *wire.Error
	timing  string

	kept *keeping // nil where what goes out is not kept

	pending []byte // what Read has still to return
}

func newStream(ctx context.Context, cancel context.CancelCauseFunc, keepAlive time.Duration, alive string) *Stream {
	return &Stream{
		ctx: ctx, cancel: cancel, keepAlive: keepAlive, alive: []byte(alive),
		chunks: make(chan []byte), probe: make(chan struct{}, 1),
		settled: make(chan struct{}), closed: make(chan struct{}),
	}
}

// Next is the next events, or something that means nothing where there have been none for a while. It is valid until the next
// call.
func (s *Stream) Next() ([]byte, error) {
	if s.timer == nil {
		probe := s.probe // the timer may not hold the stream: see leash
		s.timer = time.AfterFunc(s.keepAlive, func() { ask(probe) })
	} else {
		s.timer.Reset(s.keepAlive)
	}
	for {
		select {
		case b, ok := <-s.chunks:
			if !ok {
				s.timer.Stop()
				return nil, io.EOF
			}
			return b, nil
		case <-s.probe:
			if !s.last.Load() { // nothing may follow the end mark
				return s.alive, nil
			}
		}
	}
}

// Read fills p with the next events, as Next has them.
func (s *Stream) Read(p []byte) (int, error) {
	if len(s.pending) == 0 {
		var err error
		if s.pending, err = s.Next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.pending)
	s.pending = s.pending[n:]
	return n, nil
}

// Probe makes a Next that is waiting return something that means nothing, so that a write shows whether the client is still there.
func (s *Stream) Probe() { ask(s.probe) }

func ask(probe chan<- struct{}) {
	select {
	case probe <- struct{}{}:
	default:
	}
}

// Close cancels the upstream request where it still runs.
func (s *Stream) Close() error {
	s.closing.Do(func() { close(s.closed) })
	s.cancel(errClientGone)
	return nil
}

// buffer is an empty buffer to fill for emit. There are two: while one is written to the client the other is filled, and emit
// waits until the first is back.
func (s *Stream) buffer() []byte { return s.spare[:0] }

// emit hands b to Next and waits until it is taken; false where the request is over.
func (s *Stream) emit(b []byte) bool {
	s.keep(b)
	select {
	case s.chunks <- b:
		if s.keeps {
			s.handed = append(s.handed, b...)
		}
		s.spare, s.filled = s.filled, b
		return true
	case <-s.ctx.Done():
	case <-s.closed:
	}
	return false
}

// end hands over what the stream ends with.
func (s *Stream) end(b []byte) {
	s.last.Store(true)
	s.emit(b)
}

// keep adds what goes out to what is kept of it.
func (s *Stream) keep(b []byte) {
	switch k := s.kept; {
	case k == nil:
	case len(k.events)+len(b) > k.most:
		s.kept = nil
	default:
		k.events = append(k.events, b...)
	}
}

// keeping is what has gone out of a stream; it ends where that gets too long.
type keeping struct {
	events []byte
	most   int
}

// commit promises the client status and headers.
func (s *Stream) commit() {
	s.mu.Lock()
	s.open = true
	s.mu.Unlock()
	close(s.settled)
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
		close(s.settled)
	}
	return open
}

// time takes the value of Server-Timing as far as it is known.
func (s *Stream) time(timing string) {
	s.mu.Lock()
	s.timing = timing
	s.mu.Unlock()
}

// timed gives it away.
func (s *Stream) timed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	timing := s.timing
	s.timing = ""
	return timing
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
