// Package ledger keeps usage and cost: every generation with its attempts, in SQLite or PostgreSQL, as an index of the journal that
// can be made again from it. It reads the journal behind the requests' backs: no request waits for it.
package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"chaperone/engine/journal"
)

// Options is how a ledger is kept.
type Options struct {
	Database  string        // path of an SQLite file, or postgres://…
	Journal   string        // folder of the journal that it is an index of; "": it is only asked
	Retention time.Duration // of generations, after which only sums by day are kept; 0: for ever
	Log       *slog.Logger  // slog.Default where nil
}

// Ledger is safe for concurrent use, and any number of processes may have the same one open: each record is entered once.
type Ledger struct {
	o  Options
	db *sql.DB
	dialect

	migrated atomic.Bool
	reading  sync.Mutex // the follower's
	follower *journal.Follower
	replica  string // "": not known yet

	entered atomic.Uint64
	failing atomic.Bool
	stop    context.CancelFunc
	done    chan struct{}
}

// Open opens a ledger, or makes the file. A PostgreSQL server that does not answer is no error yet: it is asked again with every use.
func Open(o Options) (*Ledger, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	l := &Ledger{o: o, follower: journal.Follow(o.Journal)}
	var err error
	if l.db, l.dialect, err = connect(o.Database); err != nil {
		return nil, fmt.Errorf("the ledger cannot be opened: %w", err)
	}
	if err := l.ready(context.Background()); err != nil && !l.remote {
		return nil, errors.Join(fmt.Errorf("the ledger cannot be opened: %w", err), l.db.Close())
	}
	return l, nil
}

// ready brings the schema up to date, once.
func (l *Ledger) ready(ctx context.Context) (err error) {
	if l.migrated.Load() {
		return nil
	}
	defer l.explain(&err)
	if err := l.migrate(ctx); err != nil {
		return err
	}
	l.migrated.Store(true)
	return nil
}

// Follow enters what the journal has and gets, until Close.
func (l *Ledger) Follow() {
	ctx, stop := context.WithCancel(context.Background())
	l.stop, l.done = stop, make(chan struct{})
	go func() {
		defer close(l.done)
		var kept time.Time
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			err := l.CatchUp(ctx)
			if now := time.Now(); err == nil && now.Sub(kept) >= time.Hour {
				if err = l.Keep(ctx, now); err == nil {
					kept = now
				}
			}
			if ctx.Err() != nil {
				return
			}
			l.tell(err)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
}

// tell says once that it fails, and once that it goes on.
func (l *Ledger) tell(err error) {
	switch failed := err != nil; {
	case failed && !l.failing.Swap(true):
		l.o.Log.Error("the ledger cannot be kept up to date; requests are served and recorded all the same, and it goes on from there", "error", err)
	case !failed && l.failing.Swap(false):
		l.o.Log.Info("the ledger is kept up to date again")
	}
}

// Counts is how many records were entered since it was opened, and whether it fails just now.
func (l *Ledger) Counts() (entered uint64, failing bool) { return l.entered.Load(), l.failing.Load() }

// CatchUp enters what the journal has by now.
func (l *Ledger) CatchUp(ctx context.Context) error {
	if l.o.Journal == "" {
		return nil
	}
	if err := l.ready(ctx); err != nil {
		return err
	}
	l.reading.Lock()
	defer l.reading.Unlock()
	if l.replica == "" {
		name, err := l.follower.Replica()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		l.replica = name
	}
	for {
		more, err := l.batch(ctx)
		if err != nil || !more {
			l.explain(&err)
			return err
		}
	}
}

// Close ends Follow and lets go of the database.
func (l *Ledger) Close() error {
	if l.stop != nil {
		l.stop()
		<-l.done
	}
	return l.db.Close()
}
