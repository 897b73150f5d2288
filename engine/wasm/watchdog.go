package wasm

import (
	"context"
	"sync/atomic"
	"time"
)

// watchdog is the context in which an instance runs: it ends when the call's time is up. There is one for the life of an
// instance, because context.WithTimeout would allocate on every call; one that has bitten cannot be used again, nor can its
// instance, which wazero closes.
type watchdog struct {
	in     *instance
	done   chan struct{}
	timer  *time.Timer
	bitten atomic.Bool
}

func newWatchdog(in *instance) *watchdog {
	w := &watchdog{in: in, done: make(chan struct{})}
	w.timer = time.AfterFunc(time.Hour, func() {
		w.bitten.Store(true)
		close(w.done)
	})
	w.timer.Stop()
	return w
}

// watch starts the time of one call.
func (w *watchdog) watch(limit time.Duration) { w.timer.Reset(limit) }

// release ends it and says whether the instance may be used again.
func (w *watchdog) release() bool { return w.timer.Stop() }

// instanceKey finds the instance in the context that a host function is given.
type instanceKey struct{}

func (w *watchdog) Deadline() (time.Time, bool) { return time.Time{}, false }
func (w *watchdog) Done() <-chan struct{}       { return w.done }

func (w *watchdog) Err() error {
	if w.bitten.Load() {
		return context.DeadlineExceeded
	}
	return nil
}

func (w *watchdog) Value(key any) any {
	if _, ok := key.(instanceKey); ok {
		return w.in
	}
	return nil
}
