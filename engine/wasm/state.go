package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxState is the most bytes that a plugin may save.
const maxState = 1 << 20

// save takes what the plugin learned: for the instance that replaces this one after a trap, and into the file.
func (p *Plugin) save(ctx context.Context) error {
	if !p.saves {
		return nil
	}
	var state []byte
	err := p.use(ctx, observeWithin, func(in *instance) error {
		in.clock, in.random = 1, 0 // the same is saved whatever was scored before
		place, err := in.call("chaperone_save", 0, saveFuel)
		if err != nil {
			return err
		}
		at, size := uint32(place>>32), uint32(place)
		if size > maxState {
			return fmt.Errorf("%w: chaperone_save gave %d bytes, at most %d are kept", ErrState, size, maxState)
		}
		mem, ok := in.module.Memory().Read(at, size)
		if !ok {
			return fmt.Errorf("%w: chaperone_save gave %d bytes at address %d, which is outside of its memory", ErrState, size, at)
		}
		state = bytes.Clone(mem)
		return nil
	})
	if err != nil {
		return err
	}
	l := p.learner
	l.mu.Lock()
	l.state = state
	l.mu.Unlock()
	if p.statePath == "" || !l.owns || bytes.Equal(state, l.kept) {
		return nil
	}
	if err := p.writeState(state); err != nil {
		return err
	}
	l.kept = state
	return nil
}

// lastState is what was saved last; nil where nothing was.
func (p *Plugin) lastState() []byte {
	if p.learner == nil {
		return nil
	}
	p.learner.mu.Lock()
	defer p.learner.mu.Unlock()
	return p.learner.state
}

// Own has a plugin that was loaded with a state of another's write it from now on.
func (p *Plugin) Own() {
	if l := p.learner; l != nil {
		l.telling.Lock()
		l.owns = true
		l.telling.Unlock()
	}
}

// Inherit hands what a plugin of the same name learned over to p, which is to take its place; the old one keeps nothing from
// then on, and passes on what it is told. Where p refuses it the error says so, and p is as it was.
func (p *Plugin) Inherit(ctx context.Context, old *Plugin) error {
	if p.learner == nil || old.learner == nil || !old.saves {
		return nil
	}
	l := old.learner
	l.telling.Lock()
	defer l.telling.Unlock()
	p.learner.telling.Lock() // what p learned before it took over would be gone
	defer p.learner.telling.Unlock()
	if err := old.flush(ctx); err != nil {
		old.log.Warn("plugin could not save before its successor took over", "plugin", old.name, "error", err)
	}
	l.mu.Lock()
	l.heir = p
	late := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	defer func() { p.Observe(late...) }() // the old one could not be told of these
	state := old.lastState()
	if !p.restores || len(state) == 0 {
		return nil
	}
	heir, err := p.newInstance(state)
	if err != nil {
		p.learner.refused = true
		return fmt.Errorf("plugin %s takes over nothing of what was learned: %w", p.name, err)
	}
	in, _, err := p.pool.take(ctx, observeWithin)
	if err != nil {
		heir.close()
		return err
	}
	if in != nil {
		in.close()
	}
	p.learner.mu.Lock()
	p.learner.state = state
	p.learner.mu.Unlock()
	p.pool.put(heir)
	return nil
}

// readState reads what an earlier process saved; nil where there is nothing.
func (p *Plugin) readState() ([]byte, error) {
	if p.statePath == "" || !p.restores {
		return nil, nil
	}
	f, err := open(p.statePath)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	defer f.Close()
	state, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if len(state) > maxState {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrState, p.statePath, maxState)
	}
	return state, nil
}

// startAnew makes an instance that has learned nothing: ranking should not end because a new version cannot read what an old one
// wrote. The file stays where it is until there is something else to write, since a configuration that is refused leaves it to
// the version that wrote it.
func (p *Plugin) startAnew(why error) (*instance, error) {
	p.log.Error("plugin starts without what it had learned", "plugin", p.name, "error", why, "to_be_kept_as", p.aside())
	p.learner.state, p.learner.kept, p.learner.refused = nil, nil, true
	return p.newInstance(nil)
}

// aside is where a state goes that was refused.
func (p *Plugin) aside() string { return p.statePath + ".refused" }

// writeState replaces the file as a whole: a crash leaves the old state or the new one.
func (p *Plugin) writeState(state []byte) error {
	dir := filepath.Dir(p.statePath)
	err := os.MkdirAll(dir, 0o700)
	if err == nil && p.learner.refused {
		if err = os.Rename(p.statePath, p.aside()); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	p.learner.refused = false
	f, err := os.CreateTemp(dir, ".state-*")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	_, err = f.Write(state)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), p.statePath)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
