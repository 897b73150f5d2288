package wasm

import (
	"context"
	"sync"
	"time"
)

// pool holds a plugin's instances, last in first out: the last one used has the warmest caches. It is not a sync.Pool,
// which would drop instances without closing them and has no bound.
//
// A slot is an instance or nil, where an instance was lost and could not be replaced. free holds the slots that nobody
// uses; tokens has one token for each of them.
type pool struct {
	tokens  chan struct{}
	closing chan struct{}

	mu   sync.Mutex
	free []*instance
}

func newPool(size int) *pool {
	return &pool{tokens: make(chan struct{}, size), closing: make(chan struct{}), free: make([]*instance, 0, size)}
}

func (p *pool) closed() bool {
	select {
	case <-p.closing:
		return true
	default:
		return false
	}
}

// take waits for a slot at most that long. waited says that it had to.
func (p *pool) take(ctx context.Context, limit time.Duration) (in *instance, waited bool, err error) {
	if p.closed() {
		return nil, false, ErrClosed
	}
	select {
	case <-p.tokens:
		return p.pop(), false, nil
	default:
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.tokens:
		return p.pop(), true, nil
	case <-p.closing:
		return nil, true, ErrClosed
	case <-ctx.Done():
		return nil, true, ctx.Err()
	case <-timer.C:
		return nil, true, ErrBusy
	}
}

func (p *pool) pop() *instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.free) - 1
	in := p.free[last]
	p.free = p.free[:last]
	return in
}

func (p *pool) put(in *instance) {
	p.mu.Lock()
	p.free = append(p.free, in)
	p.mu.Unlock()
	p.tokens <- struct{}{}
}

// drain closes every instance, after the call that is using it; calls that come later are refused.
func (p *pool) drain() {
	close(p.closing)
	for range cap(p.tokens) {
		<-p.tokens
		if in := p.pop(); in != nil {
			in.close()
		}
	}
}
