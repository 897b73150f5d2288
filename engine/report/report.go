// Package report says, from journals, which controls stood between an organisation's data and whom, who was shown that data all the
// same, and how far that is proven.
package report

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"chaperone/engine"
	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/route"
)

// Options say what is reported on.
type Options struct {
	Dirs         []string // of journals, one a router
	Organisation string
	From, To     time.Time // To itself is outside
	Trust        journal.Trust
	Now          time.Time
}

// Report is all that is said.
type Report struct {
	Organisation string    `json:"organisation"`
	From         time.Time `json:"from"`
	To           time.Time `json:"to"`
	Made         time.Time `json:"made"`

	Requests Requests     `json:"requests"`
	Periods  []*Period    `json:"periods"`  // what was in force when
	Controls []*Control   `json:"controls"` // how often each has excluded whom
	Shown    []*Recipient `json:"shown"`    // who was shown data
	Waivers  []*Waiver    `json:"waivers"`
	Trials   []*Trial     `json:"trials"` // what only warns or runs dry
	Aged     []*Evidence  `json:"aged_evidence"`
	Verified []*Verified  `json:"verification"`
	Limits   []string     `json:"limits"` // of what all of this proves
	Gaps     []string     `json:"gaps"`   // what is not in the journals, as far as they say so

	organisations map[string]bool // of the configurations that were in force
	shown         map[string]*Recipient
	controls      map[string]*Control
	waivers       map[policy.Waiver]*Waiver
	trials        map[string]*Trial
	aged          map[string]*Evidence
	worlds        map[string]*world
}

// Requests counts those of the organisation.
type Requests struct {
	All         int            `json:"all"`
	Answered    int            `json:"answered"`
	Refused     int            `json:"refused"` // nobody was asked
	Failed      int            `json:"failed"`  // somebody was, and no answer came whole
	Questions   int            `json:"questions"`
	Shown       int            `json:"shown"` // of which some provider was sent something
	DataClasses map[string]int `json:"data_classes"`
	First       time.Time      `json:"first,omitzero"`
	Last        time.Time      `json:"last,omitzero"`
}

// Period is a configuration while it was in force.
type Period struct {
	From     time.Time        `json:"from"`
	Until    time.Time        `json:"until,omitzero"` // zero: still, as far as the journal goes
	Digest   string           `json:"configuration_digest"`
	Policy   string           `json:"policy_digest"`
	Catalog  string           `json:"catalog_digest"`
	Program  string           `json:"program"`
	Journal  string           `json:"journal"`
	Requests int              `json:"requests"`
	Controls []policy.Control `json:"controls"`
	Missing  string           `json:"missing,omitempty"` // why its controls are not known
}

// Control is a binding, or what else of policy excludes, with whom it has excluded.
type Control struct {
	Binding  string        `json:"binding"`
	Rules    []policy.Rule `json:"rules,omitempty"`
	Requests int           `json:"requests"` // in which it denied somebody, or refused the whole
	Excluded []*Excluded   `json:"excluded"`
}

// Excluded is a provider that a control has kept out.
type Excluded struct {
	Provider string `json:"provider"` // "": the whole request was refused
	Code     string `json:"code,omitempty"`
	Message  string `json:"message"`
	Times    int    `json:"times"` // endpoints for requests
}

// Recipient is a provider's endpoints under the same terms that were shown data.
type Recipient struct {
	Provider      string         `json:"provider"`
	Endpoint      string         `json:"endpoint"` // its tag
	Credentials   string         `json:"credential_group"`
	Regions       []string       `json:"processing_regions"`
	Jurisdiction  string         `json:"jurisdiction"`
	Headquarters  string         `json:"headquarters"`
	Training      string         `json:"training"`
	Retains       string         `json:"retains_prompts"`
	RetentionDays int            `json:"retention_days"`
	ZDR           string         `json:"zdr"`
	AsOf          string         `json:"evidence_as_of,omitempty"`
	Models        []string       `json:"models"`
	Requests      int            `json:"requests"`
	Attempts      int            `json:"attempts"`
	Failed        int            `json:"failed"`   // that were shown data and gave no answer
	InPart        int            `json:"in_part"`  // that were sent a part of the request
	Purposes      map[string]int `json:"purposes"` // attempts
	DataClasses   map[string]int `json:"data_classes"`
	First         time.Time      `json:"first"`
	Last          time.Time      `json:"last"`
	last          string         // request that was counted
}

// Waiver is an exception, and how often it has counted.
type Waiver struct {
	policy.Waiver
	Times    int       `json:"times"`
	Requests int       `json:"requests"`
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
	last     string
}

// Trial is a binding that only warns or runs dry, with what it would have excluded.
type Trial struct {
	Binding     string    `json:"binding"`
	Enforcement string    `json:"enforcement"`
	Until       time.Time `json:"until,omitzero"`
	Times       int       `json:"times"` // endpoints for requests
	Requests    int       `json:"requests"`
	Providers   []string  `json:"providers"`
	last        string
}

// Evidence is a provider's terms that rest on nothing or on what is old.
type Evidence struct {
	Provider    string    `json:"provider"`
	Endpoint    string    `json:"endpoint"`
	Credentials string    `json:"credential_group"`
	AsOf        time.Time `json:"as_of,omitzero"`
	ReviewBy    time.Time `json:"review_by,omitzero"`
	Why         string    `json:"why"`
	Shown       int       `json:"shown"` // attempts that sent data while it was so
}

// Verified is what the verification of one journal has found.
type Verified struct {
	*journal.Report
	Error string `json:"error,omitempty"`
}

// world is what a record's configuration says.
type world struct {
	catalog  *catalog.Catalog
	controls []policy.Control
	accounts *account.Accounts
	missing  string
}

// Make reads the journals. The error is of ctx, or of a folder that is not there; what else is wrong is in the report.
func Make(ctx context.Context, o Options) (*Report, error) {
	r := &Report{
		Organisation: o.Organisation, From: o.From, To: o.To, Made: o.Now, Requests: Requests{DataClasses: map[string]int{}},
		Limits: limits, Gaps: []string{}, shown: map[string]*Recipient{}, controls: map[string]*Control{}, waivers: map[policy.Waiver]*Waiver{},
		trials: map[string]*Trial{}, aged: map[string]*Evidence{}, worlds: map[string]*world{},
		organisations: map[string]bool{},
	}
	for _, dir := range o.Dirs {
		if err := r.read(ctx, &o, dir); err != nil {
			return nil, err
		}
		v, trust := &Verified{}, o.Trust
		if len(o.Dirs) > 1 && len(trust.Checkpoints) > 0 {
			replica, err := journal.Follow(dir).Replica()
			if err != nil {
				return nil, err
			}
			trust.Checkpoints = slices.DeleteFunc(slices.Clone(trust.Checkpoints), func(c journal.Checkpoint) bool { return c.Replica != replica })
			if len(trust.Checkpoints) == 0 {
				r.gap("%s: none of the checkpoints from outside is of this journal, or its key was replaced", dir)
			}
		}
		var err error
		if v.Report, err = journal.Verify(dir, trust); err != nil {
			v.Report, v.Error = &journal.Report{Dir: dir}, err.Error()
		}
		r.Verified = append(r.Verified, v)
	}
	r.finish()
	return r, nil
}

func (r *Report) read(ctx context.Context, o *Options, dir string) error {
	changes, events, err := journal.History(dir)
	if err != nil && len(changes) == 0 {
		return err
	}
	if err != nil {
		r.gap("%s: what was in force cannot be read to its end: %v", dir, err)
	}
	periods := map[string]*Period{} // the latest of a digest
	var all []*Period
	for i, c := range changes {
		p := &Period{Digest: c.Digest, Policy: c.Policy, Catalog: c.Catalog, Program: c.Program, Journal: dir, Controls: []policy.Control{}}
		if c.At != nil {
			p.From = *c.At
		}
		if i+1 < len(changes) && changes[i+1].At != nil {
			p.Until = *changes[i+1].At
		}
		all = append(all, p)
		if p.From.Before(o.To) && (p.Until.IsZero() || p.Until.After(o.From)) {
			w := r.world(ctx, dir, c.Digest)
			p.Controls, p.Missing = w.controls, w.missing
			if w.accounts != nil {
				for id := range w.accounts.Organisations {
					r.organisations[id] = true
				}
			}
			r.configured(w.controls)
			r.Periods = append(r.Periods, p)
		}
	}
	for _, e := range events {
		if e.At.Before(o.From) || !e.At.Before(o.To) {
			continue
		}
		at := e.At.UTC().Format(time.DateTime)
		switch e.What {
		case journal.Dropped:
			r.gap("%s: at %s %d requests, of whatever organisation, had been served without a record, because the journal could not be written", dir, at, e.Count)
		case journal.Recovered:
			r.gap("%s: at %s the last %d bytes before a crash were no whole record and were set aside", dir, at, e.Bytes)
		case journal.Expired:
			r.gap("%s: at %s segments up to %d were past their retention and were removed", dir, at, e.Segment)
		}
	}
	filter := journal.Filter{Organisation: o.Organisation, Since: o.From, Until: o.To}
	for e, err := range journal.Records(dir, o.From) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.gap("%s: not read: %v", dir, err)
			continue
		}
		if !filter.Match(e.Record) {
			continue
		}
		if p := periods[e.Record.Configuration]; p == nil || e.Record.At.Before(p.From) || !p.Until.IsZero() && !e.Record.At.Before(p.Until) {
			for _, p := range all {
				if p.Digest == e.Record.Configuration && !e.Record.At.Before(p.From) {
					periods[p.Digest] = p
				}
			}
		}
		if p := periods[e.Record.Configuration]; p != nil {
			p.Requests++
		}
		r.record(e.Record, r.world(ctx, dir, e.Record.Configuration))
	}
	return nil
}

func (r *Report) gap(format string, args ...any) {
	r.Gaps = append(r.Gaps, fmt.Sprintf(format, args...))
}

func (r *Report) world(ctx context.Context, dir, digest string) *world {
	if w := r.worlds[digest]; w != nil {
		return w
	}
	w := &world{controls: []policy.Control{}}
	r.worlds[digest] = w
	// No scorer has a say in who is excluded: plugins need not be compiled.
	rebuilt, err := engine.Rebuild(ctx, dir, digest, engine.Change{Scorer: "value"})
	if err != nil {
		w.missing = err.Error()
		return w
	}
	defer rebuilt.Close(ctx)
	w.catalog, w.accounts = rebuilt.Router.Catalog, rebuilt.Accounts
	w.controls = append(w.controls, rebuilt.Router.Policies.Controls(rebuilt.Accounts, r.Organisation)...)
	return w
}

// configured takes in controls that need never have had an effect.
func (r *Report) configured(controls []policy.Control) {
	for _, c := range controls {
		if c.Enforcement == "deny" {
			r.control(c.Binding).Rules = c.Rules
		} else {
			t := r.trial(c.Binding, c.Enforcement)
			t.Until = c.Until
		}
		for _, w := range c.Waivers {
			r.waiver(w)
		}
	}
}

func (r *Report) control(binding string) *Control {
	c := r.controls[binding]
	if c == nil {
		c = &Control{Binding: binding, Excluded: []*Excluded{}}
		r.controls[binding] = c
	}
	return c
}

func (r *Report) trial(binding, enforcement string) *Trial {
	key := binding + " " + enforcement
	t := r.trials[key]
	if t == nil {
		t = &Trial{Binding: binding, Enforcement: enforcement, Providers: []string{}}
		r.trials[key] = t
	}
	return t
}

func (r *Report) waiver(w policy.Waiver) *Waiver {
	w.File, w.Line = "", 0 // the same exception, wherever it is written
	known := r.waivers[w]
	if known == nil {
		known = &Waiver{Waiver: w}
		r.waivers[w] = known
	}
	return known
}

// record takes one request in.
func (r *Report) record(rec *journal.Record, w *world) {
	if rec.Question {
		r.Requests.Questions++
		return
	}
	q := &r.Requests
	q.All++
	q.DataClasses[rec.Request.DataClass]++
	if q.First.IsZero() {
		q.First = rec.At
	}
	q.Last = rec.At
	switch {
	case rec.Outcome.Error == "" && rec.Outcome.Status < 400:
		q.Answered++
	case len(rec.Attempts) == 0:
		q.Refused++
	default:
		q.Failed++
	}
	denied := map[string]bool{}
	for i := range rec.Rejections {
		r.excluded(&rec.Rejections[i], "", denied)
	}
	r.warned(rec, rec.Warnings, "")
	for i := range rec.Candidates {
		c := &rec.Candidates[i]
		r.warned(rec, c.Warnings, c.Provider)
		if e := c.Excluded; e != nil && e.Stage == route.StagePolicy && len(rec.Rejections) == 0 {
			for k := range e.Denials {
				r.excluded(&e.Denials[k], c.Provider, denied)
			}
		}
	}
	for binding := range denied {
		r.control(binding).Requests++
	}
	sent := false
	for i := range rec.Attempts {
		if a := &rec.Attempts[i]; a.BodySent != "none" {
			sent = true
			r.sent(rec, a, w)
		}
	}
	if sent {
		q.Shown++
	}
}

func (r *Report) excluded(d *policy.Reason, provider string, denied map[string]bool) {
	c := r.control(d.Binding)
	denied[d.Binding] = true
	if rule := (policy.Rule{Title: d.Title, Control: d.Control, Severity: d.Severity}); rule != (policy.Rule{}) && !slices.Contains(c.Rules, rule) {
		c.Rules = append(c.Rules, rule)
	}
	for _, e := range c.Excluded {
		if e.Provider == provider && e.Code == d.Code && (d.Code != "" || e.Message == d.Message) {
			e.Times++
			return
		}
	}
	c.Excluded = append(c.Excluded, &Excluded{Provider: provider, Code: d.Code, Message: d.Message, Times: 1})
}

// warned takes in what did not count against a provider, or against the whole request where that is "".
func (r *Report) warned(rec *journal.Record, reasons []policy.Reason, provider string) {
	for i := range reasons {
		d := &reasons[i]
		if d.Waiver != nil {
			w := r.waiver(*d.Waiver)
			w.Times++
			if w.last != rec.ID {
				w.Requests, w.last = w.Requests+1, rec.ID
			}
			if w.First.IsZero() {
				w.First = rec.At
			}
			w.Last = rec.At
			continue
		}
		t := r.trial(d.Binding, d.Enforcement)
		t.Times++
		if t.last != rec.ID {
			t.Requests, t.last = t.Requests+1, rec.ID
		}
		if provider != "" && !slices.Contains(t.Providers, provider) {
			t.Providers = append(t.Providers, provider)
		}
	}
}

// sent takes in an attempt that showed a provider data.
func (r *Report) sent(rec *journal.Record, a *journal.Attempt, w *world) {
	var row *catalog.Row
	if w.catalog != nil {
		row = w.catalog.Row(a.Row)
	}
	n := Recipient{Provider: a.ProviderID, Endpoint: a.Tag, Regions: []string{"unknown"}, Jurisdiction: "unknown", Headquarters: "unknown",
		Training: "unknown", Retains: "unknown", RetentionDays: catalog.UnknownRetentionDays, ZDR: "unknown"}
	if row != nil {
		d := row.DataPolicy.At(rec.At)
		n.Credentials, n.Jurisdiction, n.Headquarters = row.Group.Name, cmp.Or(row.Jurisdiction, "unknown"), cmp.Or(row.Headquarters, "unknown")
		n.Training, n.Retains, n.RetentionDays, n.ZDR = cmp.Or(string(d.Training), "unknown"), cmp.Or(string(d.RetainsPrompts), "unknown"), d.RetentionDays, cmp.Or(string(d.ZDR), "unknown")
		if len(row.ProcessingRegions) > 0 {
			n.Regions = row.ProcessingRegions
		}
		if !d.AsOf.IsZero() {
			n.AsOf = d.AsOf.Format(time.DateOnly)
		}
		r.age(rec, row)
	}
	key := fmt.Sprint(n.Provider, n.Endpoint, n.Credentials, n.Regions, n.Jurisdiction, n.Headquarters, n.Training, n.Retains, n.RetentionDays, n.ZDR, n.AsOf)
	s := r.shown[key]
	if s == nil {
		s = &n
		s.Models, s.Purposes, s.DataClasses, s.First = []string{}, map[string]int{}, map[string]int{}, rec.At
		r.shown[key] = s
	}
	s.Attempts++
	s.Purposes[a.Purpose]++
	s.Last = rec.At
	if s.last != rec.ID {
		s.last = rec.ID
		s.Requests++
		s.DataClasses[rec.Request.DataClass]++
	}
	if !slices.Contains(s.Models, a.Model) {
		s.Models = append(s.Models, a.Model)
	}
	if a.Outcome != "ok" {
		s.Failed++
	}
	if a.BodySent == "part" {
		s.InPart++
	}
}

// oldEvidence is from when on evidence counts as aged that no review date says anything of.
const oldEvidence = 365 * 24 * time.Hour

// age notes what the terms of a row rested on when it was shown data.
func (r *Report) age(rec *journal.Record, row *catalog.Row) {
	d := &row.DataPolicy
	why := ""
	switch {
	case d.AsOf.IsZero():
		why = "there is no evidence: what is not stated counts as the worst"
	case !d.ReviewBy.IsZero() && rec.At.UTC().Truncate(24*time.Hour).After(d.ReviewBy):
		why = "its review was due: good claims count as unknown since then"
	case rec.At.Sub(d.AsOf) > oldEvidence:
		why = "it was more than a year old"
	default:
		return
	}
	key := row.ID + why
	e := r.aged[key]
	if e == nil {
		e = &Evidence{Provider: row.Provider.ID, Endpoint: row.ID, Credentials: row.Group.Name, AsOf: d.AsOf, ReviewBy: d.ReviewBy, Why: why}
		r.aged[key] = e
	}
	e.Shown++
}

func (r *Report) finish() {
	r.Controls, r.Shown, r.Waivers, r.Trials, r.Aged = sorted(r.controls), sorted(r.shown), []*Waiver{}, sorted(r.trials), sorted(r.aged)
	for _, w := range r.waivers {
		r.Waivers = append(r.Waivers, w)
	}
	slices.SortFunc(r.Waivers, func(a, b *Waiver) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.For, b.For), cmp.Compare(a.Until, b.Until))
	})
	for _, c := range r.Controls {
		slices.SortStableFunc(c.Excluded, func(a, b *Excluded) int {
			return cmp.Or(-cmp.Compare(a.Times, b.Times), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Code, b.Code))
		})
	}
	for _, s := range r.Shown {
		slices.Sort(s.Models)
	}
	for _, t := range r.Trials {
		slices.Sort(t.Providers)
	}
	sort.SliceStable(r.Periods, func(i, j int) bool { return r.Periods[i].From.Before(r.Periods[j].From) })
	if r.Periods == nil {
		r.Periods = []*Period{}
	}
	if first := r.begins(); !first.IsZero() && first.After(r.From) {
		r.gap("nothing is recorded before %s, when the oldest segment that is there begins", first.UTC().Format(time.DateTime))
	}
	if r.To.After(r.Made) {
		r.gap("the time asked for ends after this report was made, %s", r.Made.UTC().Format(time.DateTime))
	}
}

// begins is when the oldest segment of any journal begins.
func (r *Report) begins() (first time.Time) {
	for _, v := range r.Verified {
		if !v.First.IsZero() && (first.IsZero() || v.First.Before(first)) {
			first = v.First
		}
	}
	return first
}

func sorted[T any](m map[string]*T) []*T {
	all := make([]*T, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, m[key])
	}
	return all
}

// Strange are the organisations that there were, where the one that is asked about was none of them and has asked for nothing; nil
// else.
func (r *Report) Strange() []string {
	if r.Requests.All+r.Requests.Questions > 0 || r.organisations[r.Organisation] {
		return nil
	}
	return slices.Sorted(maps.Keys(r.organisations))
}

// Holds says whether every journal was verified without a finding.
func (r *Report) Holds() bool {
	return !slices.ContainsFunc(r.Verified, func(v *Verified) bool { return v.Error != "" || len(v.Problems) > 0 })
}

// limits are those of every report.
var limits = []string{
	"The journal proves what the router wrote, not that it was told the truth: regions and terms are what the catalog said of providers.",
	"Who can read the signing key can rewrite what came after the last checkpoint that was anchored outside; without such checkpoints, all of it. With checkpoints from outside, nothing before the last of them can have been changed unnoticed.",
	"Records behind the last checkpoint, at most a second or a thousand of them, are protected by checksums alone.",
	"Requests for which a policy demands log = \"none\", requests without a valid key and requests that cannot be read have no record.",
	"A provider counts as shown data from the first byte of a request's body that was sent, whatever became of the attempt: failed attempts, hedges and rescues too.",
	"Whom a provider passes data on to is not known here.",
}
