// Package engine is the façade that a Go program embeds: Open, Decide, Do, Reload, Close.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/admission"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/dispatch"
	"chaperone/engine/journal"
	"chaperone/engine/ledger"
	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/telemetry"
	"chaperone/engine/wasm"
	"chaperone/engine/wire"
)

// Options is how an engine is opened.
type Options struct {
	ConfigPath string
	Config     []byte                      // the configuration itself, in place of the file; ConfigPath is then its name in messages
	CacheDir   string                      // private folder for compiled plugins, where [plugins] has none; "" keeps them in memory
	Env        func(string) (string, bool) // os.LookupEnv where nil
	Log        *slog.Logger                // slog.Default where nil
	Now        func() time.Time            // time.Now where nil
	DecideOnly bool                        // nothing will be dispatched: the journal's folder is left to others
	// For rehearsals: Adjust changes the settings before anything is made of them, Way what providers are asked through. nil: as
	// they are.
	Adjust func(*Settings)
	Way    func(http.RoundTripper) http.RoundTripper
}

// Call is one request of a client.
type Call struct {
	Key   string     // the client's API key as sent, without "Bearer "
	As    string     // in place of Key, for an operator's own questions: the id of a key
	Shape wire.Shape // the API that Body is in, and its answer; chat completions where empty
	Head  wire.Head
	Body  []byte // owned by the engine from here on
	// Timeout is how long the client will wait, X-Request-Timeout; 0: it does not say. It can only shorten [timeouts] total.
	Timeout time.Duration
	Session string   // x-session-id, for bodies without a session_id
	App     wire.App // the program that asks, as it names itself
	Cache   CacheWish
	// Metadata asks for what became of the request in the answer, X-OpenRouter-Metadata.
	Metadata bool
}

// Engine routes. It is safe for concurrent use.
type Engine struct {
	options Options
	began   time.Time // to read the configuration for the first time
	current atomic.Pointer[snapshot]
	reload  sync.Mutex // one Reload at a time
	wasm    *wasm.Host
	bundles *policy.Bundles
	stats   *telemetry.Store
	// published is what listings show.
	published *telemetry.Published
	health    *telemetry.Health
	metrics   *telemetry.Metrics
	gate      admission.Gate // before everything that is dispatched
	dispatch  *dispatch.Dispatcher
	journal   *journal.Journal
	ledger    *ledger.Ledger // nil where the journal is in memory
	prober    prober
	replicas  replicas
	sticky    *sticky
	seals     *seals
	answers   *answers
	contents  *journal.Contents // nil: no content is kept of anybody
	archive   archive           // nil: files are read from the disk
}

// Open loads the configuration and everything that it names. The error is config.Problems where the input is at fault.
// Connection, statistics and journal sizes are fixed from here on; everything else follows Reload.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Engine{options: o, began: time.Now(), metrics: telemetry.NewMetrics(), health: telemetry.NewHealth(telemetry.Breaker{}),
		published: telemetry.NewPublished()}
	e.metrics.Watch(e.health)
	e.metrics.Admission(&e.gate)
	e.metrics.Cover((&coverage{engine: e}).read)
	e.metrics.Policies(e.policyState)
	e.metrics.Plugins(e.pluginStates)
	kept := ""
	if o.CacheDir != "" {
		kept = filepath.Join(o.CacheDir, "bundles")
	}
	e.bundles = policy.NewBundles(kept, o.Log)
	s, err := e.build(ctx, 1)
	if err != nil {
		return nil, errors.Join(err, e.wasm.Close(ctx))
	}
	e.dispatch = dispatch.New(s.settings.Timeouts.Connect, s.settings.Timeouts.TLS, o.Way)
	if err := e.openJournal(s.settings); err != nil {
		return nil, errors.Join(err, e.abandon(ctx, s))
	}
	if err := e.keepArtefacts(s); err != nil {
		return nil, errors.Join(err, e.journal.Close(), e.abandon(ctx, s))
	}
	if err := e.openLedger(s.settings); err != nil {
		return nil, errors.Join(err, e.journal.Close(), e.abandon(ctx, s))
	}
	e.sticky = newSticky(s.settings.Routing.StickyConversations)
	e.seals = newSeals()
	e.answers = newAnswers(s.settings.ResponseCache.MaxBytes)
	e.limit(s)
	e.current.Store(s)
	e.metrics.Reload(true, o.Now())
	if !o.DecideOnly {
		if err := e.startSharing(s.settings.Replicas); err != nil {
			return nil, errors.Join(err, e.Close(ctx))
		}
		s.own()
		e.startProbing()
	}
	return e, nil
}

// Check loads everything as Open does, and lets go of it again. Warnings say what of its policies would be better.
func Check(ctx context.Context, o Options) (warnings config.Problems, err error) {
	o.DecideOnly = true
	e, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	warnings = warningsOf(e.current.Load().policies, e.options.Now())
	return warnings, e.Close(ctx)
}

// statistics makes the store with the settings of the first snapshot.
func (e *Engine) statistics(s *Settings) *telemetry.Store {
	if e.stats == nil {
		e.stats = telemetry.NewStore(s.Statistics.Window, s.Statistics.Tick)
	}
	return e.stats
}

// Decide plans a request without dispatching it. Errors are *wire.Error; a refusal is a plan with Refusal set.
func (e *Engine) Decide(ctx context.Context, c Call) (*route.Plan, error) {
	if err := e.Ready(); err != nil {
		return nil, err // a question is recorded as well
	}
	d, err := e.plan(ctx, c)
	if err != nil {
		return nil, err
	}
	rec := journal.Of(d.plan)
	rec.Question = true
	e.keep(rec, d.seen)
	return d.plan, nil
}

// decided is a plan with what is needed of its snapshot afterwards.
type decided struct {
	plan     *route.Plan
	settings *Settings
	seen     *journal.Seen
	preset   *account.Preset // nil where there is none
}

// plan decides on the newest snapshot. Also an error of what is no decision yet has an id, by which it can be spoken of.
func (e *Engine) plan(ctx context.Context, c Call) (decided, *wire.Error) {
	s := e.acquire()
	defer s.release()
	m := route.NewMoment(e.options.Now())
	who, refused := e.authenticate(s, c)
	if refused != nil {
		refused.DecisionID = m.ID
		return decided{}, refused
	}
	req, preset, refused := e.understand(s, who, c)
	if refused != nil {
		refused.DecisionID = m.ID
		return decided{}, refused
	}
	m.Holds = e.holds(who, req, m.Now)
	m.Made = e.seals.makers(who.Organisation.ID, req.Seals())
	p := s.router.Plan(ctx, who, req, m)
	e.countPlan(s, p)
	return decided{p, s.settings, e.seen(s, p), preset}, nil
}

// Authenticate says whether a key may ask anything at all just now. The error is a *wire.Error.
func (e *Engine) Authenticate(key string) error {
	s := e.acquire()
	defer s.release()
	if _, refused := e.authenticate(s, Call{Key: key}); refused != nil {
		return refused
	}
	return nil
}

func (e *Engine) authenticate(s *snapshot, c Call) (*account.Principal, *wire.Error) {
	if c.As != "" {
		who := s.accounts.ByKeyID(c.As, e.options.Now())
		if who == nil {
			return nil, &wire.Error{Status: http.StatusUnauthorized, Type: "authentication",
				Message: fmt.Sprintf("no key with the id %s is in force; chaperone key list shows those that are", c.As)}
		}
		return who, nil
	}
	if c.Key == "" {
		return nil, &wire.Error{Status: http.StatusUnauthorized, Type: "authentication",
			Message: "no API key; send it as \"Authorization: Bearer KEY\""}
	}
	who, err := s.accounts.Authenticate(c.Key, e.options.Now())
	if err != nil {
		return nil, &wire.Error{Status: http.StatusUnauthorized, Type: "authentication", Message: err.Error()}
	}
	return who, nil
}

// Do plans and dispatches. It returns when the answer is whole or its stream has committed. ctx ends the request when the
// client goes away, also while its stream is read; closing that does so as well. Errors are *wire.Error.
func (e *Engine) Do(ctx context.Context, c Call) (*dispatch.Response, error) {
	resp, p, err := e.do(ctx, c)
	if err != nil && c.Shape == wire.CountTokens {
		return estimated(p, err)
	}
	return resp, err
}

// do is Do, with the plan as far as there is one. The error is nil or a *wire.Error.
func (e *Engine) do(ctx context.Context, c Call) (*dispatch.Response, *route.Plan, error) {
	began := time.Now()
	if err := e.Ready(); err != nil {
		return nil, nil, e.refuse("", "", err, began)
	}
	pass, waited, refused := e.admit(ctx, c)
	if refused != nil {
		return nil, nil, refused
	}
	handed := false
	defer func() {
		if !handed { // also where something panics
			pass.Leave()
		}
	}()
	d, err := e.plan(ctx, c)
	if err != nil {
		return nil, nil, e.refuse("", "", err, began)
	}
	p, settings, seen := d.plan, d.settings, d.seen
	if p.Refusal != nil {
		p.Refusal.Timing = dispatch.Timing(p, float64(waited)/float64(time.Millisecond))
		e.keep(journal.Of(p), seen)
		if c.Metadata {
			p.Refusal.Router = metadataOf(p, nil)
		}
		return nil, p, e.refuse(p.Principal.Organisation.ID, "", p.Refusal, began)
	}
	e.metrics.Begin()
	content := e.content(p)
	job := dispatch.Job{
		Plan: p, Limits: settings.limits(p, c.Timeout, waited), Queued: waited,
		Patience: func(m *catalog.Model) dispatch.Patience { return settings.patience(p.Principal.Organisation.ID, m.ID) },
		Recheck: func(ctx context.Context, permit policy.Permit) (policy.Permit, *account.Principal, error) {
			return e.recheck(ctx, p, permit)
		},
		Health:     e.health,
		HedgeAfter: e.usualTTFT,
		Observe:    e.observe,
		Made: func(row *catalog.Row, seals []wire.Seal) {
			e.seals.hold(p.Principal.Organisation.ID, row.Account(), seals)
		},
		Waited:   func(took time.Duration, err error) { e.waited(p.Principal.Organisation.ID, "endpoint", took, err) },
		Answered: content.answered(),
		Panicked: func(panicked any) { e.panicked(p.ID, panicked) },
	}
	var record *journal.Record
	job.Finish = func(rec *journal.Record) {
		record = rec
		content.of(rec)
		e.stick(p.Principal, p.Request, rec)
		e.finish(rec, seen)
		pass.Leave()
	}
	handed = true
	wish := e.wish(c, d)
	if wish.Enabled {
		if again := e.again(wish, job, began); again != nil {
			return again, p, nil
		}
		job.Keep, job.KeepBytes = e.keeper(wish, p, &record), settings.ResponseCache.MaxEntryBytes
	}
	if c.Metadata {
		job.Metadata = func() []byte { return metadataOf(p, record) }
	}
	resp, failed := e.dispatch.Do(ctx, job)
	if failed != nil {
		if told := (*wire.Error)(nil); c.Metadata && errors.As(failed, &told) {
			told.Router = metadataOf(p, record)
		}
		return nil, p, failed
	}
	if wish.Enabled {
		resp.Cache = dispatch.Cache{Status: "MISS", TTL: wish.TTL}
	}
	return resp, p, nil
}

// panicked logs a panic without what it was about, which may be a prompt.
func (e *Engine) panicked(id string, panicked any) {
	reason := fmt.Sprintf("a panic with a %T", panicked)
	if err, ok := panicked.(runtime.Error); ok {
		reason = err.Error()
	}
	e.options.Log.Error("panic in an attempt", slog.String("id", id), slog.String("reason", reason), slog.String("stack", string(debug.Stack())))
}

// recheck holds a permit against the newest snapshot, which may only tighten what the plan's own allowed.
func (e *Engine) recheck(ctx context.Context, p *route.Plan, permit policy.Permit) (policy.Permit, *account.Principal, error) {
	if e.current.Load().generation == permit.Generation() {
		return permit, p.Principal, nil
	}
	s := e.acquire()
	defer s.release()
	now := e.options.Now()
	who := s.accounts.ByKeyID(p.Principal.Key.ID, now)
	if who == nil {
		return policy.Permit{}, nil, dispatch.ErrKeyRevoked
	}
	row := s.catalog.Row(permit.Row().ID)
	if row == nil || !row.Group.Usable() || !s.router.Suits(p, row, now) {
		return policy.Permit{}, nil, policy.ErrNoPermit
	}
	j := s.policies.Judge(ctx, &policy.Query{
		Principal: who, Request: p.Request, Rows: []*catalog.Row{row}, Stats: s.router.Board.View(now), Now: now,
	})
	if len(j.Rejections) > 0 || j.Verdicts[0].Permit.Check(who, p.Request) != nil {
		return policy.Permit{}, nil, policy.ErrNoPermit
	}
	return j.Verdicts[0].Permit, who, nil
}

// usualTTFT is what nineteen of twenty answers of a row begin within, 0 where that is not known.
func (e *Engine) usualTTFT(row *catalog.Row) time.Duration {
	s := e.current.Load()
	now := s.catalog.Row(row.ID) // a request can outlive a reload
	if now == nil {
		return 0
	}
	p95 := s.router.Board.View(e.options.Now()).Rows[now.Index].TTFT.P95
	if math.IsNaN(p95) {
		return 0
	}
	return time.Duration(p95 * float64(time.Millisecond))
}

func (e *Engine) observe(row *catalog.Row, o telemetry.Outcome) {
	s := e.current.Load()
	s.router.Board.Observe(row, o)
	s.published.Observe(row, o)
}

// Reload builds a new snapshot and swaps it in; on an error nothing has changed.
func (e *Engine) Reload(ctx context.Context) error {
	e.reload.Lock()
	defer e.reload.Unlock()
	old := e.current.Load()
	s, err := e.build(ctx, old.generation+1)
	if err == nil {
		if err = e.keepArtefacts(s); err != nil {
			s.release()
		}
	}
	e.metrics.Reload(err == nil, e.options.Now())
	if err != nil {
		return err
	}
	e.limit(s)
	s.inherit(ctx, old, e.options.Log)
	s.own()
	e.current.Store(s)
	old.release()
	return nil
}

// Files are the files and folders whose change calls for a Reload.
func (e *Engine) Files() []string { return e.current.Load().files }

// Settings are those of the newest snapshot.
func (e *Engine) Settings() *Settings { return e.current.Load().settings }

// Metrics serves the process's metrics.
func (e *Engine) Metrics() http.Handler { return e.metrics.Handler() }

// Generation counts the snapshots; the first is 1.
func (e *Engine) Generation() uint64 { return e.current.Load().generation }

// Close ends the engine; requests in flight should have ended.
func (e *Engine) Close(ctx context.Context) error {
	e.prober.end()
	e.replicas.end()
	err := e.journal.Close()
	if e.ledger != nil {
		err = errors.Join(err, e.ledger.Close())
	}
	return errors.Join(err, e.abandon(ctx, e.current.Load()))
}

// abandon lets go of all but the journal.
func (e *Engine) abandon(ctx context.Context, s *snapshot) error {
	e.dispatch.Close()
	s.release()
	return e.wasm.Close(ctx)
}
