package wasm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/scorer"
	"chaperone/engine/wire"
)

// Attempt is how one attempt at a row ended, as far as stateful plugins may learn from it.
type Attempt struct {
	Row         *catalog.Row
	At          time.Time // when it ended
	OK          bool      // it produced an answer
	Counts      bool      // whether it says anything about the endpoint: false for a client's own error or cancellation
	RateLimited bool
	TTFT        time.Duration // 0 where no content came, or where the answer came in one piece
	Duration    time.Duration // of the whole attempt
	Usage       wire.Usage
	Cost        catalog.Picodollars
}

// observed is one resolved name of a manifest's observe.
type observed func(*Attempt) float64

// attemptNames is the vocabulary for attempts, beside that for rows, which can be asked of an attempt's row.
var attemptNames = map[string]observed{
	"ok": func(a *Attempt) float64 {
		switch {
		case a.OK:
			return 1
		case a.Counts:
			return 0
		}
		return math.NaN()
	},
	"rate_limited": func(a *Attempt) float64 {
		if a.RateLimited {
			return 1
		}
		return 0
	},
	"ttft_ms":     func(a *Attempt) float64 { return millis(a.TTFT) },
	"duration_ms": func(a *Attempt) float64 { return millis(a.Duration) },
	"tps": func(a *Attempt) float64 {
		generation := a.Duration - a.TTFT
		if !a.OK || a.TTFT == 0 || generation <= 0 {
			return math.NaN()
		}
		return tokens(a, a.Usage.CompletionTokens) / generation.Seconds()
	},
	"prompt_tokens": func(a *Attempt) float64 { return tokens(a, a.Usage.PromptTokens) },
	"output_tokens": func(a *Attempt) float64 { return tokens(a, a.Usage.CompletionTokens) },
	"cost_usd":      func(a *Attempt) float64 { return float64(a.Cost) * 1e-12 },
}

func millis(d time.Duration) float64 {
	if d == 0 {
		return math.NaN()
	}
	return float64(d) / float64(time.Millisecond)
}

func tokens(a *Attempt, n int64) float64 {
	if !a.Usage.Known {
		return math.NaN()
	}
	return float64(n)
}

// resolveObserved finds a name for attempts, or one for rows.
func resolveObserved(name string) (observed, error) {
	if f, ok := attemptNames[name]; ok {
		return f, nil
	}
	column, err := scorer.Resolve(name)
	if err != nil {
		own := make([]string, 0, len(attemptNames))
		for n := range attemptNames {
			own = append(own, n)
		}
		slices.Sort(own)
		return nil, fmt.Errorf("%s; nor does it tell of an attempt: %w", config.NotOneOf(name, own), err)
	}
	return func(a *Attempt) float64 {
		return column(&scorer.Batch{Rows: []*catalog.Row{a.Row}, Now: a.At}, 0)
	}, nil
}

// What waits to be told to a plugin, and how often it is told at most: each time its only instance is taken from scoring,
// and afterwards what it learned is saved.
const (
	maxWaiting    = 4096
	observeEvery  = 100 * time.Millisecond
	observeWithin = time.Second // to get the instance
)

// learner tells a stateful plugin of attempts, off the path of requests.
type learner struct {
	mu      sync.Mutex
	waiting []Attempt
	state   []byte  // what was saved last
	heir    *Plugin // which has taken over the state, keeps the file, and is told of what comes late

	telling sync.Mutex    // one delivery at a time
	kept    []byte        // what the file holds; under telling
	owns    bool          // the file is written; under telling
	refused bool          // what the file holds was refused: it is put aside before the file is written; under telling
	wake    chan struct{} // holds one
	stop    chan struct{}
	stopped chan struct{}
}

// Observe tells a stateful plugin how attempts ended. It returns at once; where the plugin cannot keep up, attempts are left
// out and counted. Plugins that observe nothing ignore it.
func (p *Plugin) Observe(attempts ...Attempt) {
	l := p.learner
	if l == nil || len(p.observed) == 0 {
		return
	}
	l.mu.Lock()
	if heir := l.heir; heir != nil {
		l.mu.Unlock()
		heir.Observe(attempts...)
		return
	}
	room := min(maxWaiting-len(l.waiting), len(attempts))
	l.waiting = append(l.waiting, attempts[:room]...)
	l.mu.Unlock()
	p.stats.missed.Add(int64(len(attempts) - room))
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// learn runs until the plugin closes.
func (p *Plugin) learn() {
	l := p.learner
	defer close(l.stopped)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-pause.C:
		}
		select {
		case <-l.stop:
			return
		case <-l.wake:
		}
		if err := p.Flush(context.Background()); err != nil {
			p.warn("plugin could not learn", err)
		}
		pause.Reset(observeEvery)
	}
}

// Flush tells a stateful plugin of every attempt that waits, and saves what it learned. It is done by itself, at most ten
// times a second.
func (p *Plugin) Flush(ctx context.Context) error {
	if p.learner == nil {
		return nil
	}
	p.learner.telling.Lock()
	defer p.learner.telling.Unlock()
	return p.flush(ctx)
}

func (p *Plugin) flush(ctx context.Context) error {
	l := p.learner
	for {
		l.mu.Lock()
		if l.heir != nil {
			l.mu.Unlock()
			return nil
		}
		batch := slices.Clone(l.waiting[:min(len(l.waiting), p.layout.capacity)])
		l.mu.Unlock()
		if len(batch) == 0 {
			break
		}
		err := p.tell(ctx, len(batch), batch[len(batch)-1].At, func(column, row int) float64 { return p.observed[column](&batch[row]) })
		if errors.Is(err, ErrBusy) {
			return err // it is told later
		}
		l.mu.Lock()
		l.waiting = slices.Delete(l.waiting, 0, len(batch))
		l.mu.Unlock()
		if err != nil {
			p.stats.missed.Add(int64(len(batch)))
			return err
		}
		p.stats.observed.Add(int64(len(batch)))
	}
	return p.save(ctx)
}

// tell calls chaperone_observe with rows attempts.
func (p *Plugin) tell(ctx context.Context, rows int, now time.Time, value func(column, row int) float64) error {
	return p.use(ctx, observeWithin, func(in *instance) error {
		a := in.prepare(rows, now, 0)
		a.columns = len(p.observed)
		a.header(rows, float64(now.UnixMicro())/1e3, 0)
		for c := range p.observed {
			into := a.column(c, rows)
			for row := range rows {
				putFloat(into[8*row:], value(c, row))
			}
		}
		for i := range p.request {
			putFloat(a.requestField(i), math.NaN())
		}
		err := in.run(in.observe, rows, observeFuel)
		if err == ErrAbstained {
			return nil
		}
		return err
	})
}

// ObserveTable tells a stateful plugin of attempts that are given as numbers: a column for every name of the manifest's
// observe, each with a value per attempt. It returns when the plugin has learned.
func (p *Plugin) ObserveTable(ctx context.Context, columns [][]float64, now time.Time) error {
	if len(p.observed) == 0 {
		return fmt.Errorf("the plugin %s observes nothing", p.name)
	}
	if len(columns) != len(p.observed) {
		return fmt.Errorf("a table of %d columns, the plugin observes %d", len(columns), len(p.observed))
	}
	rows := len(columns[0])
	for i, c := range columns {
		if len(c) != rows {
			return fmt.Errorf("column %s has %d values for %d attempts", p.manifest.Observe[i], len(c), rows)
		}
	}
	if rows > p.layout.capacity {
		return ErrRows
	}
	return p.tell(ctx, rows, now, func(column, row int) float64 { return columns[column][row] })
}
