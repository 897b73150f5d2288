package server

import (
	"encoding/binary"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// watcher tells exchanges what becomes of their connections while nobody reads them. One goroutine serves all.
type watcher struct {
	epoll, wake int
	done        chan struct{}

	mu      sync.Mutex
	last    uint64
	watched map[uint64]watched
}

// watched is told, without being waited for, what its client has done.
type watched interface {
	finished() // sent FIN: gone, or done with sending
	gone()     // reset the connection, or the network did
}

func newWatcher() (*watcher, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(epoll)
		return nil, err
	}
	w := &watcher{epoll: epoll, wake: wake, done: make(chan struct{}), watched: make(map[uint64]watched)}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		unix.Close(epoll)
		unix.Close(wake)
		return nil, err
	}
	go w.run()
	return w, nil
}

// add watches c. The id is never used again, so that an event that is late for one exchange cannot be taken for another's,
// even where both had the same file descriptor.
func (w *watcher) add(c syscall.Conn, x watched) (id uint64, err error) {
	w.mu.Lock()
	w.last++
	id = w.last
	w.watched[id] = x
	w.mu.Unlock()
	// Data that is ready to be read (a pipelined request) is no news: only FIN, reset and errors are asked for.
	err = w.control(c, unix.EPOLL_CTL_ADD, id, unix.EPOLLRDHUP|unix.EPOLLONESHOT)
	if err != nil {
		w.forget(id)
	}
	return id, err
}

// afterFIN goes on watching for a reset, which epoll reports unasked.
func (w *watcher) afterFIN(c syscall.Conn, id uint64) {
	w.control(c, unix.EPOLL_CTL_MOD, id, unix.EPOLLONESHOT)
}

// remove must be called before c is closed or used for another exchange.
func (w *watcher) remove(c syscall.Conn, id uint64) {
	w.forget(id)
	w.control(c, unix.EPOLL_CTL_DEL, id, 0)
}

func (w *watcher) forget(id uint64) {
	w.mu.Lock()
	delete(w.watched, id)
	w.mu.Unlock()
}

func (w *watcher) control(c syscall.Conn, op int, id uint64, events uint32) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.EpollCtl(w.epoll, op, int(fd), &unix.EpollEvent{Events: events, Fd: int32(id), Pad: int32(id >> 32)})
	})
	if err != nil {
		return err
	}
	return failed
}

func (w *watcher) run() {
	defer close(w.done)
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(w.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return
		}
		for _, e := range events[:max(n, 0)] {
			id := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			if e.Events&unix.EPOLLIN != 0 { // only ever asked for on wake
				return
			}
			w.mu.Lock()
			x := w.watched[id]
			w.mu.Unlock()
			switch {
			case x == nil:
			case e.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0:
				x.gone()
			default:
				x.finished()
			}
		}
	}
}

func (w *watcher) close() {
	unix.Write(w.wake, binary.NativeEndian.AppendUint64(nil, 1))
	<-w.done
	unix.Close(w.epoll)
	unix.Close(w.wake)
}
