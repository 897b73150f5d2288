package server

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// cutGrace is how long requests that are ended by the router have to say so to their clients.
const cutGrace = time.Second

// Shutdown drains the server and returns when it has ended. /readyz says no from the first moment on. For DrainDelay, new
// connections and requests are still taken, so that load balancers can notice, and every answer asks its client to close the
// connection. Then nobody is let in any more, and requests in flight have DrainTimeout to end. Those that have not by then,
// or when ctx is done, are ended, streams with an error event, and the error says so. A further call waits for the first.
func (s *Server) Shutdown(ctx context.Context) error {
	s.shutdown.Do(func() { s.ended = s.drain(ctx) })
	return s.ended
}

func (s *Server) drain(ctx context.Context) error {
	s.draining.Store(true)
	wait(ctx, nil, s.settings.DrainDelay)
	empty := s.public.finish()
	var err error
	if !wait(ctx, empty, s.settings.DrainTimeout) {
		s.cut(errShutdown)
		if !wait(context.Background(), empty, cutGrace) {
			n := s.public.l.abort()
			wait(context.Background(), empty, cutGrace)
			err = fmt.Errorf("%d connections were cut off", n)
		} else {
			err = errors.New("requests were ended before their answers were complete")
		}
	}
	s.cut(errShutdown)
	if s.private.l != nil {
		if none := s.private.finish(); !wait(ctx, none, cutGrace) {
			s.private.l.abort()
		}
	}
	s.watcher.close()
	return err
}

// finish lets nobody in any more and returns what is closed when the last one has left.
func (f *front) finish() <-chan struct{} {
	f.l.stop()
	<-f.served
	return f.l.lastCall()
}

// wait returns true when done is closed, false when d has passed or ctx is done.
func wait(ctx context.Context, done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}
