package route

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"sort"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/scorer"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// ExpectedOutput is how many tokens an answer is taken to have where the request does not bound it.
const ExpectedOutput = 500

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
	// Holds is the row, by its id, whose provider holds the conversation's prompt with that model in its cache; "": none. nil: no
	// conversation is known.
	Holds func(model string) string
	// Made are the accounts (catalog.Row.Account) that made signed or encrypted reasoning which the request sends back, as far as
	// that is known.
	Made []string
	Past *Past // nil: it is now
}

// Past stands in for what is live, where a decision is made again from its record.
type Past struct {
	Stats  *telemetry.View
	Rest   func(*catalog.Row) telemetry.Rest
	Usable func(*catalog.Row) bool   // whether it had an address and a credential
	Cannot func(*catalog.Row) string // Router.Cannot of the request, whose body is gone
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
		PolicyDigest: r.Policies.Digest(), CatalogDigest: r.Catalog.Digest, Made: m.Made, past: m.Past,
	}
	r.fill(ctx, p, m.Holds)
	p.Took = time.Since(began)
	if p.Refusal != nil {
		p.Refusal.DecisionID = p.ID
	}
	return p
}

func (r *Router) fill(ctx context.Context, p *Plan, holds func(string) string) {
	if p.Refusal = unacceptable(p.Request); p.Refusal != nil {
		return
	}
	if p.asked = r.models(ctx, p); p.Refusal != nil {
		return
	}
	total := 0
	for i := range p.asked {
		total += len(p.asked[i].model.Rows)
		if holds != nil {
			if row := holds(p.asked[i].model.ID); row != "" {
				p.Holds = append(p.Holds, row)
			}
		}
	}
	p.Candidates = make([]Candidate, 0, total)
	prefs := &p.Request.Preferences
	for i := range p.asked {
		for _, row := range p.asked[i].model.Rows {
			s := sieve{router: r, made: p.Made, past: p.past, req: p.Request, prefs: prefs, ask: &p.asked[i], row: row, now: p.At}
			p.Candidates = append(p.Candidates, Candidate{Row: row, model: i, Excluded: s.exclude()})
		}
	}
	stats := r.view(p)
	p.Stats = stats
	began := time.Now()
	r.judge(ctx, p, stats)
	p.Judged = time.Since(began)
	if len(p.Rejections) > 0 {
		p.Refusal = rejected(p)
		return
	}
	r.order(ctx, p, stats)
	if len(p.Permits) == 0 {
		p.Refusal = r.refused(ctx, p)
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
		case !p.usable(c.Row):
			c.Excluded = &Exclusion{Stage: StageAccount, Code: "credentials", Message: missing(c.Row.Group)}
		default:
			c.permit = v.Permit
		}
		if c.Excluded != nil && c.Excluded.Stage == StagePolicy {
			c.Rest = r.rest(p, c.Row) // for the record: what it would have been, had it been permitted
		}
	}
}

// view, rest and usable are as things are, or as they were.

func (r *Router) view(p *Plan) *telemetry.View {
	if p.past != nil {
		return p.past.Stats
	}
	return r.Board.View(p.At)
}

func (r *Router) rest(p *Plan, row *catalog.Row) telemetry.Rest {
	if p.past != nil {
		return p.past.Rest(row)
	}
	return r.Health.Row(row, p.Request.PromptTokens+p.Request.MaxOutputTokens, p.At)
}

func (p *Plan) usable(row *catalog.Row) bool {
	if p.past != nil {
		return p.past.Usable(row)
	}
	return row.Group.Usable()
}

// order ranks what is left: models in the order asked for (one list where partition is "none"), within each the rows that
// rest behind the others.
func (r *Router) order(ctx context.Context, p *Plan, stats *telemetry.View) {
	prefs := &p.Request.Preferences
	var order []int
	for from := 0; from < len(p.Candidates); {
		to := len(p.Candidates)
		if prefs.Partition != "none" {
			for to = from; to < len(p.Candidates) && p.Candidates[to].model == p.Candidates[from].model; to++ {
			}
		}
		order = append(order, r.group(ctx, p, stats, from, to)...)
		from = to
	}
	if len(prefs.Order) == 0 {
		// Over all models: a fallback that is fast enough comes before a first choice that is not.
		demote(order, func(i int) bool { return meetsCutoffs(prefs, &stats.Rows[p.Candidates[i].Row.Index]) })
	}
	demote(order, func(i int) bool { return p.Candidates[i].Rest.Why == "" })
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
			c.Excluded = &Exclusion{Stage: StagePreference, Code: CodeFallbacks,
				Message: "provider.allow_fallbacks is false and another endpoint comes first"}
		}
	}
}

// group orders the candidates from…to that are left, which compete with each other.
func (r *Router) group(ctx context.Context, p *Plan, stats *telemetry.View, from, to int) []int {
	req, prefs := p.Request, &p.Request.Preferences
	members := make([]int, 0, to-from)
	for model := p.Candidates[from].model; from < to; model++ {
		start := len(members)
		for ; from < to && p.Candidates[from].model == model; from++ {
			if c := &p.Candidates[from]; c.Excluded == nil {
				c.Rest = r.rest(p, c.Row)
				members = append(members, from)
			}
		}
		members = append(members[:start], p.better(members[start:])...)
	}
	if len(members) == 0 {
		return nil
	}
	sortBy := prefs.Sort
	switch {
	case sortBy != "":
	case p.asked[p.Candidates[members[0]].model].sort != "":
		sortBy = p.asked[p.Candidates[members[0]].model].sort
	case req.ServiceTier == "flex":
		sortBy = "price"
	case catalog.IsServiceTier(req.ServiceTier):
		sortBy = "throughput"
	}
	order := r.rank(ctx, p, sortBy, stats, members)
	if catalog.IsServiceTier(req.ServiceTier) {
		demote(order, func(i int) bool { return p.Candidates[i].Row.ServiceTier == req.ServiceTier })
	}
	if len(prefs.Order) > 0 {
		demote(order, func(i int) bool { return meetsCutoffs(prefs, &stats.Rows[p.Candidates[i].Row.Index]) })
		wanted := func(i int) int {
			if at := matchesAny(prefs.Order, p.Candidates[i].Row); at >= 0 {
				return at
			}
			return math.MaxInt
		}
		sort.SliceStable(order, func(a, b int) bool { return wanted(order[a]) < wanted(order[b]) })
	}
	if len(p.Holds) > 0 {
		p.stick(order)
	}
	return order
}

// better are the candidates of one model without those that lack what others have and what the request would rather not do
// without: flex endpoints where it asks for the tier, and those that know verbosity. Never all of them are left out.
func (p *Plan) better(members []int) []int {
	prefer := func(members []int, has func(*catalog.Row) bool, code, message string) []int {
		kept := make([]int, 0, len(members))
		for _, i := range members {
			if has(p.Candidates[i].Row) {
				kept = append(kept, i)
			}
		}
		if len(kept) == 0 || len(kept) == len(members) {
			return members
		}
		for _, i := range members {
			if c := &p.Candidates[i]; !has(c.Row) {
				c.Excluded = &Exclusion{Stage: StagePreference, Code: code, Message: message}
			}
		}
		return kept
	}
	if p.Request.ServiceTier == "flex" {
		members = prefer(members, func(row *catalog.Row) bool { return row.ServiceTier == "flex" },
			"service_tier", "does not serve the tier flex, which is asked for and which another endpoint serves")
	}
	if slices.Contains(p.Request.Parameters, "verbosity") {
		members = prefer(members, func(row *catalog.Row) bool { return row.Parameters["verbosity"] },
			"parameters", "does not support verbosity, which another endpoint does")
	}
	return members
}

// stick moves the first row to the front that holds the conversation's prompt: of those named in provider.order where that is
// sent, and of the service tier that comes first.
func (p *Plan) stick(order []int) {
	named := len(p.Request.Preferences.Order) > 0 && matchesAny(p.Request.Preferences.Order, p.Candidates[order[0]].Row) >= 0
	for place, i := range order {
		c := &p.Candidates[i]
		if !slices.Contains(p.Holds, c.Row.ID) || c.Row.ServiceTier != p.Candidates[order[0]].Row.ServiceTier ||
			named && matchesAny(p.Request.Preferences.Order, c.Row) < 0 {
			continue
		}
		copy(order[1:place+1], order[:place])
		order[0] = i
		c.Sticky = true
		return
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

// rank orders candidates by the scorers, or by what the request wants them sorted by.
func (r *Router) rank(ctx context.Context, p *Plan, sortBy string, stats *telemetry.View, group []int) []int {
	b := r.batch(p, stats, group)
	scorers, spread := r.weighted(p.Weights), r.Spread
	if name, ok := sortScorers[sortBy]; ok {
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
		p.Candidates[group[k]].group = group[0] + 1
	}
	p.shadow(group, ranking.Shadows)
	return order
}

// batch is what scorers see of one group of candidates.
func (r *Router) batch(p *Plan, stats *telemetry.View, group []int) *scorer.Batch {
	b := &scorer.Batch{
		Catalog: r.Catalog, Stats: stats, Principal: p.Principal, Request: p.Request, Now: p.At, Seed: p.Seed,
		ValueOfTime: r.ValueOfTime, OutputTokens: ExpectedOutput,
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
	return b
}

// Batch is what scorers saw of the candidates that were ranked together with the plan's first; nil where nothing was ranked.
func (r *Router) Batch(p *Plan) *scorer.Batch {
	if len(p.Permits) == 0 {
		return nil
	}
	first := slices.IndexFunc(p.Candidates, func(c Candidate) bool { return c.Place == 1 })
	var group []int
	for i := range p.Candidates {
		if p.Candidates[i].group == p.Candidates[first].group {
			group = append(group, i)
		}
	}
	return r.batch(p, p.Stats, group)
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
