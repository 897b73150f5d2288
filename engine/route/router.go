package route

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"sort"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/scorer"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// expectedOutput is how many tokens an answer is taken to have where the request does not bound it.
const expectedOutput = 500

// Router plans on one snapshot. It is immutable.
type Router struct {
	Generation  uint64
	Catalog     *catalog.Catalog
	Policies    *policy.Set
	Board       *telemetry.Board
	Health      *telemetry.Health
	Scorers     []scorer.Weighted
	Spread      scorer.Spread
	ValueOfTime float64 // USD an hour, where the organisation has none of its own
	// Cannot is what of a request a row's dialect has no words for; "" where it can say all.
	Cannot func(row *catalog.Row, req *wire.Request) string
}

// Moment is what a plan depends on beside its request and the snapshot.
type Moment struct {
	ID   string
	Now  time.Time
	Seed uint64
}

// NewMoment draws an id and a seed.
func NewMoment(now time.Time) Moment {
	var b [20]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return Moment{ID: "gen-" + hex.EncodeToString(b[:12]), Now: now, Seed: binary.BigEndian.Uint64(b[12:])}
}

// Plan decides. It never fails: what cannot be served is a plan with a Refusal.
func (r *Router) Plan(ctx context.Context, who *account.Principal, req *wire.Request, m Moment) *Plan {
	began := time.Now()
	p := &Plan{
		ID: m.ID, At: m.Now, Seed: m.Seed, Principal: who, Request: req, Snapshot: r.Generation,
		PolicyDigest: r.Policies.Digest(), CatalogDigest: r.Catalog.Digest,
	}
	r.fill(ctx, p)
	p.Took = time.Since(began)
	if p.Refusal != nil {
		p.Refusal.DecisionID = p.ID
	}
	return p
}

func (r *Router) fill(ctx context.Context, p *Plan) {
	if p.Refusal = unacceptable(p.Request); p.Refusal != nil {
		return
	}
	prefs := p.Request.Preferences
	models, sort := r.models(ctx, p)
	if p.Refusal != nil {
		return
	}
	if prefs.Sort == "" {
		prefs.Sort = sort
	}
	total := 0
	for _, m := range models {
		total += len(m.Rows)
	}
	p.Candidates = make([]Candidate, 0, total)
	for rank, m := range models {
		for _, row := range m.Rows {
			p.Candidates = append(p.Candidates, Candidate{Row: row, model: rank, Excluded: r.exclude(p.Request, &prefs, row, p.At)})
		}
	}
	stats := r.Board.View(p.At)
	p.Stats = stats
	r.judge(ctx, p, stats)
	if len(p.Rejections) > 0 {
		p.Refusal = rejected(p)
		return
	}
	r.order(ctx, p, &prefs, stats)
	if len(p.Permits) == 0 {
		p.Refusal = r.refused(p)
	}
}

// judge asks policy about the candidates that are left, and takes those out that have no credential.
func (r *Router) judge(ctx context.Context, p *Plan, stats *telemetry.View) {
	left, rows := make([]int, 0, len(p.Candidates)), make([]*catalog.Row, 0, len(p.Candidates))
	for i := range p.Candidates {
		if p.Candidates[i].Excluded == nil {
			left, rows = append(left, i), append(rows, p.Candidates[i].Row)
		}
	}
	j := r.Policies.Judge(ctx, &policy.Query{Principal: p.Principal, Request: p.Request, Rows: rows, Stats: stats, Now: p.At})
	p.Rejections, p.Warnings, p.Weights = j.Rejections, j.Warnings, j.Weights
	for _, why := range j.Ignored {
		p.abstain("policy "+why.Package, errors.New(why.Message))
	}
	for k, i := range left {
		c, v := &p.Candidates[i], &j.Verdicts[k]
		c.Warnings = v.Warnings
		switch {
		case len(j.Rejections) > 0:
			c.Excluded = &Exclusion{Stage: StagePolicy, Code: "policy", Message: "the whole request is refused", Denials: j.Rejections}
		case v.Permit.Check(p.Principal, p.Request) != nil || v.Permit.Row() != c.Row:
			c.Excluded = &Exclusion{Stage: StagePolicy, Code: excludedBy(v.Denials), Message: denialText(v.Denials), Denials: v.Denials}
		case !c.Row.Group.Usable():
			c.Excluded = &Exclusion{Stage: StageAccount, Code: "credentials", Message: missing(c.Row.Group)}
		default:
			c.permit = v.Permit
		}
	}
}

// order ranks what is left: models in the order asked for (one list where partition is "none"), within each the rows that
// rest behind the others.
func (r *Router) order(ctx context.Context, p *Plan, prefs *wire.Preferences, stats *telemetry.View) {
	var groups [][]int
	last := -1
	for i := range p.Candidates {
		c := &p.Candidates[i]
		if c.Excluded != nil {
			continue
		}
		c.Rest = r.Health.Row(c.Row, p.Request.PromptTokens+p.Request.MaxOutputTokens, p.At)
		if len(groups) == 0 || (c.model != last && prefs.Partition != "none") {
			groups = append(groups, nil)
		}
		last = c.model
		groups[len(groups)-1] = append(groups[len(groups)-1], i)
	}
	var order []int
	for _, g := range groups {
		order = append(order, r.rank(ctx, p, prefs, stats, g)...)
	}
	sort.SliceStable(order, func(a, b int) bool {
		return p.Candidates[order[a]].Rest.Why == "" && p.Candidates[order[b]].Rest.Why != ""
	})
	if !prefs.AllowFallbacks {
		order = order[:fixed(p, prefs, order)]
	}
	for place, i := range order {
		c := &p.Candidates[i]
		c.Place = place + 1
		p.Permits = append(p.Permits, c.permit)
	}
	for i := range p.Candidates {
		if c := &p.Candidates[i]; c.Excluded == nil && c.Place == 0 {
			c.Excluded = &Exclusion{Stage: StagePreference, Code: "allow_fallbacks",
				Message: "provider.allow_fallbacks is false and another endpoint comes first"}
		}
	}
}

// fixed is how many endpoints are left without fallbacks: those of order, or the first one.
func fixed(p *Plan, prefs *wire.Preferences, order []int) int {
	if len(prefs.Order) == 0 {
		return min(1, len(order))
	}
	n := 0
	for _, i := range order {
		if matchesAny(prefs.Order, p.Candidates[i].Row) >= 0 {
			order[n] = i
			n++
		}
	}
	return n
}

// rank orders one group of candidates, best first.
func (r *Router) rank(ctx context.Context, p *Plan, prefs *wire.Preferences, stats *telemetry.View, group []int) []int {
	b := &scorer.Batch{
		Catalog: r.Catalog, Stats: stats, Principal: p.Principal, Request: p.Request, Now: p.At, Seed: p.Seed,
		ValueOfTime: r.ValueOfTime, OutputTokens: expectedOutput,
	}
	if v := p.Principal.Organisation.ValueOfTime; v != nil {
		b.ValueOfTime = *v
	}
	if m := p.Request.MaxOutputTokens; m > 0 {
		b.OutputTokens = min(b.OutputTokens, m)
	}
	b.Rows = make([]*catalog.Row, 0, len(group))
	for _, i := range group {
		b.Rows = append(b.Rows, p.Candidates[i].Row)
	}
	scorers, spread := r.weighted(p.Weights), r.Spread
	if name, ok := sortScorers[prefs.Sort]; ok {
		native, _ := scorer.Native(name)
		scorers, spread = []scorer.Weighted{{Scorer: native, Weight: 1}}, scorer.Spread{}
	}
	ranking := scorer.Rank(ctx, b, scorers, spread)
	p.Scorers = ranking.Scorers
	for name, err := range ranking.Abstained {
		p.abstain(name, err)
	}
	order := make([]int, len(ranking.Order))
	for place, k := range ranking.Order {
		order[place] = group[k]
		p.Candidates[group[k]].Ranked = ranking.Rows[k]
	}
	p.shadow(group, ranking.Shadows)
	demote(order, func(i int) bool { return meetsCutoffs(prefs, &stats.Rows[p.Candidates[i].Row.Index]) })
	if len(prefs.Order) > 0 {
		wanted := func(i int) int {
			if at := matchesAny(prefs.Order, p.Candidates[i].Row); at >= 0 {
				return at
			}
			return math.MaxInt
		}
		sort.SliceStable(order, func(a, b int) bool { return wanted(order[a]) < wanted(order[b]) })
	}
	return order
}

// shadow notes what shadow scorers made of one group of candidates.
func (p *Plan) shadow(group []int, shadows []scorer.Shadow) {
	if len(shadows) == 0 {
		return
	}
	p.Shadows = make([]string, len(shadows))
	all := make([]Shadow, len(group)*len(shadows))
	for k, i := range group {
		p.Candidates[i].Shadows = all[k*len(shadows) : (k+1)*len(shadows)]
	}
	for s, shadow := range shadows {
		p.Shadows[s] = shadow.Scorer
		for place, k := range shadow.Order {
			row := shadow.Rows[k]
			utility := row.Utility
			if math.IsNaN(row.Parts[0]) {
				utility = math.NaN()
			}
			p.Candidates[group[k]].Shadows[s] = Shadow{Place: place + 1, Score: row.Scores[0], Utility: utility, Share: row.Share}
		}
	}
}

// weighted are the scorers with the weights that a policy prefers, where it does: those that it does not name get none.
func (r *Router) weighted(preferred map[string]float64) []scorer.Weighted {
	if preferred == nil {
		return r.Scorers
	}
	out := make([]scorer.Weighted, len(r.Scorers))
	for i, s := range r.Scorers {
		out[i] = s
		out[i].Weight = preferred[s.Scorer.Name()]
	}
	return out
}

func (p *Plan) abstain(name string, err error) {
	if p.Abstained == nil {
		p.Abstained = map[string]error{}
	}
	p.Abstained[name] = err
}

// sortScorers are the native scorers behind provider.sort.
var sortScorers = map[string]string{"price": "price", "throughput": "throughput", "latency": "latency", "exacto": "uptime"}

// demote moves those that fail ok behind the others, keeping the order within.
func demote(order []int, ok func(int) bool) {
	sort.SliceStable(order, func(a, b int) bool { return ok(order[a]) && !ok(order[b]) })
}
