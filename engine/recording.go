package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"os"
	"runtime/debug"

	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/wasm"
	"chaperone/engine/wire"
)

// openJournal opens the journal of the first snapshot's settings, or, for an engine that only decides, one in memory.
func (e *Engine) openJournal(s *Settings) (err error) {
	c := s.Journal
	o := journal.Options{
		Keep: c.Keep, Fsync: journal.Fsync(c.Fsync), OnFull: journal.OnFull(c.OnFull),
		SegmentBytes: c.SegmentBytes, SegmentAge: c.SegmentAge, Retention: c.Retention,
		AnchorURL: c.AnchorURL, AnchorCommand: c.AnchorCommand, TimestampURL: c.TimestampURL, TimestampEvery: c.TimestampEvery, DecisionLogURL: c.DecisionLogURL, Log: e.options.Log,
	}
	if c.DecisionLogTokenEnv != "" {
		o.DecisionLogToken, _ = e.options.Env(c.DecisionLogTokenEnv)
	}
	if c.Dir != "" && !e.options.DecideOnly {
		o.Dir = beside(e.options.ConfigPath, c.Dir)
	}
	if c.ContentDir != "" && !e.options.DecideOnly {
		if e.contents, err = journal.KeepContents(beside(e.options.ConfigPath, c.ContentDir), c.ContentRetention, e.options.Log); err != nil {
			return err
		}
	}
	if e.journal, err = journal.Open(o); err == nil && e.journal.OnDisk() {
		e.metrics.Journal(e.journal.Counts)
	}
	return err
}

// keep keeps a record as far as policy lets it be kept.
func (e *Engine) keep(rec *journal.Record, seen *journal.Seen) {
	if rec.Log != policy.LogNone {
		e.journal.Append(rec, seen)
	}
}

// seen is what a plan read of statistics, for the journal; nil where that keeps none.
func (e *Engine) seen(s *snapshot, p *route.Plan) *journal.Seen {
	if p.Stats == nil || !e.journal.OnDisk() {
		return nil
	}
	last := s.seen.Load()
	if last == nil || last.Stats != p.Stats {
		last = &journal.Seen{Stats: p.Stats, Rows: s.catalog.Rows, Shown: s.policies.Shown(p.Stats)}
		s.seen.Store(last)
	}
	return last
}

// Ready refuses requests while there is nowhere to record them; nil where they are served.
func (e *Engine) Ready() *wire.Error {
	if err := e.journal.Ready(); err != nil {
		return &wire.Error{Status: http.StatusServiceUnavailable, Type: "server",
			Message: "the router cannot write its journal and serves nothing without a record; ask again later"}
	}
	return nil
}

// keepArtefacts has the journal archive what decides from now on.
func (e *Engine) keepArtefacts(s *snapshot) error {
	if !e.journal.OnDisk() {
		return nil
	}
	files := map[string][]byte{}
	for _, doc := range s.documents {
		// None of these decides anything: addresses can be secrets, and a preset's text is a prompt. What presets set is in each record.
		text, err := doc.Plain("server", "journal", "ledger", "replicas", "presets", "organisations.*.presets")
		if err != nil {
			return fmt.Errorf("%s cannot be archived: %w", doc.Path(), err)
		}
		files[doc.Path()] = text
	}
	for _, doc := range s.shipped {
		text, err := doc.Plain()
		if err != nil {
			return fmt.Errorf("%s cannot be archived: %w", doc.Path(), err)
		}
		files[shipsWith+doc.Path()] = text
	}
	maps.Copy(files, s.policies.Texts())
	for _, p := range s.plugins {
		module, err := os.ReadFile(p.path)
		if sum := sha256.Sum256(module); err != nil || hex.EncodeToString(sum[:]) != p.Digest() {
			return fmt.Errorf("plugin %s cannot be archived: %s has changed since it was loaded; load again", p.Name(), p.path)
		}
		files[p.path] = module
		if _, signature := p.Signature(); signature != nil {
			files[p.path+wasm.SignatureSuffix] = signature
		}
	}
	return e.journal.Configure(journal.Artefacts{
		Generation: s.generation, Configuration: s.path, Policy: s.policies.Digest(), Catalog: s.catalog.Digest, Program: program(),
	}, files)
}

// program is the version of what runs.
func program() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v
}
