package engine

import (
	"context"
	"sync"
	"time"

	"chaperone/engine/catalog"
)

// probesAtOnce is how many probes run beside each other: a provider with many endpoints that has failed is not to be flooded.
const probesAtOnce = 8

// prober asks what rests, where dispatch.breaker.probe says so, whether it is there again.
type prober struct {
	stop  context.CancelFunc
	ended sync.WaitGroup
}

func (e *Engine) startProbing() {
	ctx, stop := context.WithCancel(context.Background())
	e.prober.stop = stop
	e.prober.ended.Go(func() { e.keepProbing(ctx) })
}

// end returns when no probe is under way any more.
func (p *prober) end() {
	if p.stop != nil {
		p.stop()
		p.ended.Wait()
	}
}

// keepProbing follows reloads: every round is of the newest snapshot.
func (e *Engine) keepProbing(ctx context.Context) {
	slots := make(chan struct{}, probesAtOnce)
	for {
		s := e.acquire()
		pause, b := time.Second, s.settings.Dispatch.Breaker
		if b.Probe {
			pause = min(pause, max(b.CoolDown/20, 10*time.Millisecond))
			e.probeDue(ctx, s, slots)
		}
		s.release()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// probeDue begins the probes whose time has come.
func (e *Engine) probeDue(ctx context.Context, s *snapshot, slots chan struct{}) {
	limit := min(s.settings.Timeouts.FirstByte, 10*time.Second)
	for _, row := range s.catalog.Rows {
		if row.Disabled || !row.Group.Usable() {
			continue
		}
		credentials := row.Group.Credentials
		if row.Group.NoAuth {
			credentials = []catalog.Credential{{}}
		}
		for _, cred := range credentials {
			trial := e.health.Probe(row, cred.Name, time.Now())
			if trial == nil {
				continue
			}
			e.prober.ended.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				e.dispatch.Probe(ctx, row, cred, trial, limit)
			})
		}
	}
}
