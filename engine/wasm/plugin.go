// Package wasm runs scorers that users bring as WebAssembly modules: the host of ABI version 1, which sdk/README.md
// describes. A plugin sees numbers of permitted rows and returns a score for each; whatever else it does makes it abstain.
package wasm

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"

	"chaperone/engine/scorer"
	"chaperone/engine/wasm/meter"
)

// Config is one plugin as its operator configured it.
type Config struct {
	Name          string         // of the scorer; the manifest's where empty
	Path          string         // of the module; for messages where Bytes is given
	Bytes         []byte         // the module; read from Path where nil. They must not change
	SHA256        string         // hex; "" for any
	Trusted       TrustedKeys    // where there are any, the module must be signed by one: in Path.sig
	Configuration map[string]any // handed to the plugin as JSON
	Golden        *Golden        // which a plugin must reproduce to be loaded; nil for none
	State         string         // file in which what a stateful plugin learns outlives the process; "" for none
	Borrowed      bool           // State is another's: it is read, and written once the plugin has been told to own it
	Pool          int            // instances; 0: GOMAXPROCS, at most 8. A stateful plugin always has one
	Limits        Limits
}

// Limits bound what a plugin takes. Zero fields have the defaults.
type Limits struct {
	MemoryPages uint32        // of 64 KiB, per instance; default 64, with WASI 1024
	CodeBytes   int           // of the module's functions, which are compiled; default 8 MiB
	Wait        time.Duration // for an instance while all are in use; default 10 ms
	Fuel        Fuel          // what a manifest may ask for at most, and gets where it does not ask; default DefaultFuel
}

func (l Limits) withDefaults(wasi bool) Limits {
	if l.MemoryPages == 0 {
		l.MemoryPages = 64
		if wasi {
			l.MemoryPages = 1024
		}
	}
	if l.CodeBytes == 0 {
		l.CodeBytes = meter.Default.CodeBytes
	}
	if l.Wait == 0 {
		l.Wait = 10 * time.Millisecond
	}
	for b := range budgets {
		if n := l.Fuel.of(b); *n <= 0 {
			*n = *DefaultFuel.of(b)
		}
	}
	return l
}

// How many failures in a row, or within a minute, disable a plugin until it is loaded again. The second bounds what a plugin costs
// that fails every other time: each failure takes a new instance, and starting one of stock Go's takes milliseconds.
const (
	breakAfter = 10
	breakAt    = 60
)

// Plugin is a loaded scorer. It is safe for concurrent use.
type Plugin struct {
	name          string
	digest        string
	signer        string // name of the key
	signature     []byte
	manifest      *Manifest
	limits        Limits
	fuel          [budgets]int64 // of each call
	layout        layout
	columns       *scorer.Gatherer
	request       []scorer.RequestField
	observed      []observed
	configuration []byte // JSON
	statePath     string
	borrows       bool // the file is not written at first

	configures, saves, restores bool // it has these exports

	host     *Host // its own where Load was given none
	ownsHost bool
	log      *slog.Logger
	lines    lineRate
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	pool     *pool
	learner  *learner // nil where it is not stateful

	failures atomic.Int64 // in a row
	recent   minute       // failures
	disabled atomic.Bool
	stats    counters
	runs     runs
	renewing sync.Mutex // one instance at a time
	renewals sync.WaitGroup
	closing  sync.Once
	closed   chan struct{}
}

var _ scorer.Scorer = (*Plugin)(nil)

// Name is the configured name.
func (p *Plugin) Name() string { return p.name }

// Scale is how the plugin's scores blend: scorer.MinMax or scorer.Unit.
func (p *Plugin) Scale() scorer.Scale { return p.manifest.Scale }

// Manifest is what the plugin says of itself; it must not be changed.
func (p *Plugin) Manifest() *Manifest { return p.manifest }

// Digest is the SHA-256 of the module's bytes in hex.
func (p *Plugin) Digest() string { return p.digest }

// Signature is the name of the trusted key that has signed the module, and the content of the signature file; "" and nil where
// no keys were configured.
func (p *Plugin) Signature() (signer string, signature []byte) { return p.signer, p.signature }

// ScoreFuel is the most instructions that one call may take: what the manifest asks for, within the host's limit.
func (p *Plugin) ScoreFuel() int64 { return p.fuel[scoreFuel] }

// Disabled says that the plugin failed too often and is not called any more.
func (p *Plugin) Disabled() bool { return p.disabled.Load() }

// Score fills scores, one for each row of the batch. An error is one of this package's, and scores are then as they were.
// A call that has begun is not cut short by ctx, only by its fuel.
func (p *Plugin) Score(ctx context.Context, b *scorer.Batch, scores []float64) error {
	return p.run(ctx, len(b.Rows), b.Now, b.Seed, b, nil, scores)
}

// run gathers one call's input from a batch, or from a table where b is nil, and scores it.
func (p *Plugin) run(ctx context.Context, rows int, now time.Time, seed uint64, b *scorer.Batch, t *Table, scores []float64) (err error) {
	if rows == 0 {
		return nil
	}
	if len(scores) != rows {
		return fmt.Errorf("%d scores for %d rows", len(scores), rows)
	}
	p.stats.calls.Add(1)
	defer func() { p.stats.count(err) }()
	if p.disabled.Load() {
		return ErrDisabled
	}
	if rows > p.layout.capacity {
		return ErrRows
	}
	return p.use(ctx, p.limits.Wait, func(in *instance) error {
		a := in.prepare(rows, now, seed)
		if b != nil {
			p.gather(b, a)
		} else {
			t.fill(a)
		}
		err := in.run(in.score, rows, scoreFuel)
		used := in.used(scoreFuel)
		p.stats.burn(used)
		p.runs.add(run{now, rows, used, err})
		if err == nil {
			in.arena().scores(scores)
		}
		return err
	})
}

// use takes an instance, waiting for one at most that long, and calls it. Anything but a clean return, a panic of a column
// too, loses the instance: its memory is in no known state.
func (p *Plugin) use(ctx context.Context, wait time.Duration, call func(*instance) error) error {
	in, waited, err := p.pool.take(ctx, wait)
	if waited {
		p.stats.waits.Add(1)
	}
	if err != nil {
		return err
	}
	if in == nil {
		go p.replace()
		return ErrBusy
	}
	healthy := false
	defer func() {
		if healthy {
			if in.worn() && p.renewing.TryLock() {
				p.renewals.Go(p.renew) // while this slot is taken: Close cannot have drained the pool
			}
			p.pool.put(in)
			return
		}
		in.close()
		go p.replace()
	}()
	err = call(in)
	healthy = err == nil || err == ErrAbstained
	p.judge(healthy, err)
	return err
}

// gather writes what the manifest names into the arena.
func (p *Plugin) gather(b *scorer.Batch, a arena) {
	p.columns.Fill(b, a.mem[a.columnsAt:], 8*a.capacity)
	for i, value := range p.request {
		putFloat(a.requestField(i), value(b))
	}
}

// replace puts a new instance where one was lost. A slot stays empty where that fails; the next call tries again.
func (p *Plugin) replace() {
	var in *instance
	if !p.pool.closed() && !p.disabled.Load() {
		var err error
		if in, err = p.newInstance(p.lastState()); err != nil {
			in = nil
			p.judge(false, err)
		}
	}
	p.pool.put(in)
}

// renew puts a new instance where one is worn, which serves until the new one is there. It takes the one that was used last, and
// so nearly always that one.
func (p *Plugin) renew() {
	defer p.renewing.Unlock()
	in, err := p.newInstance(nil)
	if err != nil {
		p.judge(false, err)
		return
	}
	worn, _, err := p.pool.take(context.Background(), observeWithin)
	if err != nil {
		in.close()
		return
	}
	if worn != nil {
		worn.close()
	}
	p.pool.put(in)
}

// judge counts failures in a row and disables a plugin that has too many.
func (p *Plugin) judge(healthy bool, err error) {
	if healthy {
		if p.failures.Load() != 0 {
			p.failures.Store(0)
		}
		return
	}
	n, recent := p.failures.Add(1), p.recent.count(time.Now())
	p.warn("plugin call failed", err, "in_a_row", n)
	if (n >= breakAfter || recent >= breakAt) && p.disabled.CompareAndSwap(false, true) {
		p.log.Error("plugin disabled: it abstains until it is loaded again", "plugin", p.name, "failures_in_a_row", n,
			"failures_within_a_minute", recent, "last", err)
	}
}

// warn logs what went wrong as far as the plugin's lines go: it may go wrong at every call.
func (p *Plugin) warn(what string, err error, attrs ...any) {
	if dropped, ok := p.lines.allow(time.Now()); ok {
		p.log.Warn(what, append([]any{"plugin", p.name, "error", err, "lines_dropped", dropped}, attrs...)...)
	}
}

// Close ends the plugin when the calls in flight have ended; calls that come later give ErrClosed. What a stateful one
// learned is saved, unless a successor has inherited it. Where ctx ends first it returns its error and the rest happens behind
// it, within the fuel of the calls.
func (p *Plugin) Close(ctx context.Context) error {
	p.closing.Do(func() {
		go func() {
			defer close(p.closed)
			if l := p.learner; l != nil {
				close(l.stop)
				<-l.stopped
				if err := p.Flush(context.Background()); err != nil {
					p.log.Warn("plugin could not save before it closed", "plugin", p.name, "error", err)
				}
			}
			p.pool.drain()
			p.renewals.Wait()
			p.release()
		}()
	})
	select {
	case <-p.closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release frees what Load took, but for the pool.
func (p *Plugin) release() {
	ctx := context.Background()
	if p.compiled != nil {
		_ = p.compiled.Close(ctx) // neither of these does anything that could fail
	}
	_ = p.runtime.Close(ctx)
	if p.ownsHost {
		_ = p.host.Close(ctx)
	}
}

func defaultPool() int { return min(runtime.GOMAXPROCS(0), 8) }
