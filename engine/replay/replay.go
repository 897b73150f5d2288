// Package replay decides recorded requests again, under the policies, the catalog and the scorers that were in force or under
// others, and says what would have been different. What a record does not tell is counted as undecidable, never guessed.
package replay

import (
	"context"
	"math/big"
	"sort"
	"time"

	"chaperone/engine"
	"chaperone/engine/journal"
)

// Options say what is decided again.
type Options struct {
	Dir    string // of the journal
	Filter journal.Filter
	Change engine.Change // the zero value: nothing, as a check of the journal and of this program
	// Examples is how many of each kind of change, and of each reason for not knowing, are shown.
	Examples int
	// Progress is called now and then with how many records have been read and when the last of them was made; nil for nothing.
	Progress func(records int, at time.Time)
}

// Result is what came of it.
type Result struct {
	Records  int           `json:"records"`  // that were decided again, or could not be
	Verdicts int           `json:"verdicts"` // of policy on an endpoint for a request
	Rankings int           `json:"rankings"`
	Took     time.Duration `json:"took_ns"`

	// Endpoints that would be denied or permitted now and were not, and requests: no endpoint would be left of some that were
	// served, one would be there for some that were refused, and others would have gone to another provider first.
	Denied    int `json:"denied"`
	Permitted int `json:"permitted"`
	Refused   int `json:"refused"`
	Served    int `json:"served"`
	Provider  int `json:"other_provider"`
	// What else would be different, in requests: the order of the endpoints that had a place and have one, the obligations, or the reasons
	// and warnings that policies give.
	Order   int `json:"other_order"`
	Terms   int `json:"other_obligations"`
	Reasons int `json:"other_reasons"`

	Groups []*Group `json:"groups"`
	// Undecidable is why some requests, or the order of their endpoints, cannot be decided again.
	Undecidable []*Unknown `json:"undecidable"`
	Examples    []Example  `json:"examples"`
	Unread      []string   `json:"unread,omitempty"` // what of the journal could not be read

	groups   map[groupKey]*Group
	unknown  map[[2]string]*Unknown // by what and why
	examples map[string]int
}

type groupKey struct{ organisation, model string }

// Group is the requests of an organisation for a model, as it was named. Costs are expected: the same tokens, those that were counted
// or else estimated, at the price of the endpoint that comes first. So are times to the first token.
type Group struct {
	Organisation string `json:"organisation"`
	Model        string `json:"model"`
	Requests     int    `json:"requests"`
	Denied       int    `json:"denied"` // endpoints
	Permitted    int    `json:"permitted"`
	Refused      int    `json:"refused"` // requests
	Served       int    `json:"served"`
	Provider     int    `json:"other_provider"`
	Undecidable  int    `json:"undecidable"`
	// Compared is how many have a first endpoint then and now, both known: over them are these sums.
	Compared   int      `json:"compared"`
	CostBefore *big.Int `json:"cost_before_picodollars"`
	CostAfter  *big.Int `json:"cost_after_picodollars"`
	// TTFT is the mean, in milliseconds.
	TTFTBefore float64 `json:"ttft_before_ms"`
	TTFTAfter  float64 `json:"ttft_after_ms"`
}

// Unknown is a reason for which requests cannot be decided again.
type Unknown struct {
	What     string   `json:"what"` // "verdict", or "order": policy's word is known, who comes first is not
	Why      string   `json:"why"`
	Requests int      `json:"requests"`
	Examples []string `json:"examples,omitempty"` // decisions
}

// What of a decision is not known.
const (
	Verdict = "verdict"
	Order   = "order"
)

// Example is one request that would have been decided otherwise.
type Example struct {
	Kind         string    `json:"kind"` // denied, permitted, refused, served, other_provider, other_order, other_obligations, other_reasons
	Decision     string    `json:"decision"`
	At           time.Time `json:"at"`
	Organisation string    `json:"organisation"`
	Model        string    `json:"model"`
	Endpoint     string    `json:"endpoint,omitempty"`
	Before       string    `json:"before"`
	After        string    `json:"after"`
}

// Changed says whether any request would have been denied, permitted or sent elsewhere.
func (r *Result) Changed() bool {
	return r.Denied+r.Permitted+r.Refused+r.Served+r.Provider > 0
}

// Same says whether everything came out as it is recorded, down to reasons and shares.
func (r *Result) Same() bool {
	return !r.Changed() && r.Order+r.Terms+r.Reasons == 0
}

// Run decides again. The error is of the change, or of ctx.
func Run(ctx context.Context, o Options) (*Result, error) {
	began := time.Now()
	r := &Result{Groups: []*Group{}, Undecidable: []*Unknown{}, Examples: []Example{},
		groups: map[groupKey]*Group{}, unknown: map[[2]string]*Unknown{}, examples: map[string]int{}}
	c := &court{options: &o, result: r, worlds: map[string]*world{}, trial: &trial{candidates: map[string]*journal.Candidate{}}}
	defer c.close(ctx)
	for e, err := range journal.Records(o.Dir, o.Filter.Since) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err != nil {
			r.Unread = append(r.Unread, err.Error())
			continue
		}
		if !o.Filter.Match(e.Record) {
			continue
		}
		r.Records++
		if err := c.again(ctx, e); err != nil {
			return nil, err
		}
		if o.Progress != nil && r.Records%1000 == 0 {
			o.Progress(r.Records, e.Record.At)
		}
	}
	r.finish(time.Since(began))
	return r, nil
}

func (r *Result) finish(took time.Duration) {
	r.Took = took
	for _, g := range r.groups {
		if g.Compared > 0 {
			g.TTFTBefore /= float64(g.Compared)
			g.TTFTAfter /= float64(g.Compared)
		}
		r.Groups = append(r.Groups, g)
	}
	sort.Slice(r.Groups, func(i, j int) bool {
		a, b := r.Groups[i], r.Groups[j]
		return a.Organisation < b.Organisation || a.Organisation == b.Organisation && a.Model < b.Model
	})
	for _, u := range r.unknown {
		r.Undecidable = append(r.Undecidable, u)
	}
	sort.Slice(r.Undecidable, func(i, j int) bool {
		a, b := r.Undecidable[i], r.Undecidable[j]
		return a.Requests > b.Requests || a.Requests == b.Requests && a.What+a.Why < b.What+b.Why
	})
}

func (r *Result) group(rec *journal.Record) *Group {
	k := groupKey{rec.Organisation, rec.Request.Model}
	g := r.groups[k]
	if g == nil {
		g = &Group{Organisation: k.organisation, Model: k.model, CostBefore: new(big.Int), CostAfter: new(big.Int)}
		r.groups[k] = g
	}
	return g
}

// undecided counts a request of which something is not known.
func (r *Result) undecided(rec *journal.Record, what, why string, examples int) {
	u := r.unknown[[2]string{what, why}]
	if u == nil {
		u = &Unknown{What: what, Why: why}
		r.unknown[[2]string{what, why}] = u
	}
	if u.Requests++; len(u.Examples) < examples {
		u.Examples = append(u.Examples, rec.ID)
	}
}

// example keeps one, where there are not enough of its kind yet.
func (r *Result) example(rec *journal.Record, most int, kind, endpoint string, texts func() (before, after string)) {
	if r.examples[kind] >= most {
		return
	}
	r.examples[kind]++
	before, after := texts()
	r.Examples = append(r.Examples, Example{Kind: kind, Decision: rec.ID, At: rec.At, Organisation: rec.Organisation, Model: rec.Request.Model,
		Endpoint: endpoint, Before: before, After: after})
}

// Speed is verdicts a second.
func (r *Result) Speed() float64 { return float64(r.Verdicts) / r.Took.Seconds() }
