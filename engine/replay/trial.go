package replay

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"chaperone/engine"
	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// trial is one record that is decided again.
type trial struct {
	record     *journal.Record
	candidates map[string]*journal.Candidate // of the record, by row
	unknown    string                        // why the order of endpoints is not known; "": it is
}

// order says that who comes first is not known.
func (t *trial) order(why string) {
	if t.unknown == "" {
		t.unknown = why
	}
}

// Why decisions cannot be made again.
const (
	whyErased     = "what the caller said of itself has been erased, and a policy reads it"
	whyStatistics = "the statistics of that moment are not in the journal, and they count"
	whyOverran    = "a policy took too long then, which says nothing of its verdict"
	whyOverruns   = "a policy takes too long now, which says nothing of its verdict"
	whyNewRow     = "an endpoint that was not among the candidates then: nobody knows whether it had a credential and was healthy"
	whyDialect    = "an endpoint that was not capable then: nobody knows whether its dialect has words for the request"
)

// again decides a record again and compares.
func (c *court) again(ctx context.Context, e *journal.Entry) error {
	rec, r, most := e.Record, c.result, c.options.Examples
	g := r.group(rec)
	g.Requests++
	w, err := c.world(ctx, rec.Configuration)
	if err != nil {
		return err
	}
	undecided := func(what, why string) {
		g.Undecidable++
		r.undecided(rec, what, why, most)
	}
	if w.missing != "" {
		undecided(Verdict, w.missing)
		return nil
	}
	t := c.trial
	t.open(rec)
	who := rec.Who(w.Accounts.Organisations[rec.Organisation])
	policies := w.Router.Policies
	switch {
	case rec.Claims == nil && rec.Sealed != nil && !rec.Sealed.Undeciding && policies.Reads(who, "input.claims"):
		undecided(Verdict, whyErased)
		return nil
	case slices.ContainsFunc(rec.Candidates, overran) || slices.ContainsFunc(rec.Rejections, isOverrun):
		undecided(Verdict, whyOverran)
		return nil
	case e.Figures == nil && rec.Tick != 0 && policies.ReadsStatistics(who):
		undecided(Verdict, whyStatistics)
		return nil
	}
	if beforePolicy(rec) {
		return nil // nothing that is decided here has a say
	}
	v := w.at(e)
	p := w.Router.Plan(ctx, who, rec.Asked(), route.Moment{ID: rec.ID, Now: rec.At, Seed: rec.Seed, Holds: t.holds, Made: rec.Made, Past: &route.Past{
		Stats: v.stats, Rest: t.rest, Usable: t.usable, Cannot: t.cannot,
	}})
	if why := t.undecidable(p, v, policies.ReadsStatistics(who)); why != "" {
		undecided(Verdict, why)
		return nil
	}
	d := difference{r: r, g: g, rec: rec, plan: p, most: most, same: c.options.Change == (engine.Change{})}
	d.verdicts(t)
	if len(p.Permits) > 0 && t.unknown != "" {
		undecided(Order, t.unknown)
		return nil
	}
	d.requests(t)
	d.first(t, w, v)
	return nil
}

// beforePolicy says that a request was refused by what comes first: a budget, a rate limit, an account.
func beforePolicy(rec *journal.Record) bool {
	if len(rec.Candidates) > 0 || len(rec.Rejections) > 0 {
		return false
	}
	return rec.Outcome.Status != http.StatusBadRequest && rec.Outcome.Status != http.StatusNotFound
}

func (t *trial) open(rec *journal.Record) {
	t.record, t.unknown = rec, ""
	clear(t.candidates)
	for i := range rec.Candidates {
		c := &rec.Candidates[i]
		t.candidates[c.Row] = c
	}
}

// rest is how the row was, as far as it was looked at.
func (t *trial) rest(row *catalog.Row) telemetry.Rest {
	c := t.candidates[row.ID]
	if c == nil || !looked(c) {
		t.order(whyNewRow)
		return telemetry.Rest{}
	}
	if c.Rest == "" {
		return telemetry.Rest{}
	}
	rest := telemetry.Rest{Why: c.Rest}
	if c.RestMs != 0 {
		rest.Until = t.record.At.Add(time.Duration(c.RestMs * float64(time.Millisecond)))
	}
	return rest
}

// looked says whether health was asked about a candidate.
func looked(c *journal.Candidate) bool {
	return c.Excluded == nil || c.Excluded.Stage == route.StagePolicy || c.Excluded.Code == route.CodeFallbacks
}

func (t *trial) usable(row *catalog.Row) bool {
	c := t.candidates[row.ID]
	if c == nil {
		t.order(whyNewRow)
		return true
	}
	return !c.Unusable
}

// cannot is what of the request the row's dialect had no words for, as far as it was asked.
func (t *trial) cannot(row *catalog.Row) string {
	c := t.candidates[row.ID]
	switch {
	case c == nil:
		t.order(whyNewRow)
	case c.Excluded == nil || c.Excluded.Stage != route.StageCapability:
	case c.Excluded.Code == "dialect":
		return c.Excluded.Message
	default:
		t.order(whyDialect)
	}
	return ""
}

// holds is the row whose provider held the conversation's prompt with that model.
func (t *trial) holds(model string) string {
	for _, row := range t.record.Holds {
		if strings.HasPrefix(row, model+"@") {
			return row
		}
	}
	return ""
}

func overran(c journal.Candidate) bool {
	return c.Excluded != nil && slices.ContainsFunc(c.Excluded.Denials, isOverrun) || slices.ContainsFunc(c.Warnings, isOverrun)
}

func isOverrun(r policy.Reason) bool { return r.Code == policy.CodeOverrun && r.Rule == "error" }

// undecidable says why the plan's verdicts are none; "" where they are. What keeps only the order from being known goes into t.
func (t *trial) undecidable(p *route.Plan, v *view, live bool) string {
	if slices.ContainsFunc(p.Rejections, isOverrun) {
		return whyOverruns
	}
	statistics := slices.ContainsFunc(p.Scorers, func(name string) bool { return name != "price" }) || p.Request.Preferences.MinThroughput != nil ||
		p.Request.Preferences.MaxLatency != nil
	for i := range p.Candidates {
		c := &p.Candidates[i]
		judged := c.Excluded == nil || c.Excluded.Stage == route.StagePolicy || c.Excluded.Stage == route.StageAccount
		switch {
		case c.Excluded != nil && slices.ContainsFunc(c.Excluded.Denials, isOverrun), slices.ContainsFunc(c.Warnings, isOverrun):
			return whyOverruns
		case judged && live && !v.holds[c.Row.Index]:
			return whyStatistics
		case c.Place > 0 && statistics && !v.holds[c.Row.Index]:
			t.order(whyStatistics)
		}
	}
	return ""
}

// difference compares a record with what is decided now.
type difference struct {
	r    *Result
	g    *Group
	rec  *journal.Record
	plan *route.Plan
	most int  // examples
	same bool // nothing should be different
}

func (d *difference) example(kind, endpoint string, texts func() (before, after string)) {
	d.r.example(d.rec, d.most, kind, endpoint, texts)
}

// verdicts compares policy's word on every endpoint.
func (d *difference) verdicts(t *trial) {
	terms, reasons := false, !sameReasons(d.rec.Rejections, d.plan.Rejections) || !sameReasons(d.rec.Warnings, d.plan.Warnings)
	for i := range d.plan.Candidates {
		now := &d.plan.Candidates[i]
		was := t.candidates[now.Row.ID]
		if was == nil {
			continue // it is new, which is no change of verdict
		}
		before, judgedBefore := verdict(was.Excluded)
		after, judgedAfter := verdict(now.Excluded)
		if !judgedBefore || !judgedAfter {
			continue
		}
		d.r.Verdicts++
		texts := func() (string, string) { return said(was.Excluded), said(now.Excluded) }
		switch {
		case before && !after:
			d.r.Denied++
			d.g.Denied++
			d.example("denied", now.Row.ID, texts)
		case !before && after:
			d.r.Permitted++
			d.g.Permitted++
			d.example("permitted", now.Row.ID, texts)
		default:
			reasons = reasons || !sameReasons(was.Warnings, now.Warnings) || !before && !sameReasons(was.Excluded.Denials, now.Excluded.Denials)
		}
		if was.Place > 0 && now.Place > 0 {
			var old policy.Obligations
			if was.Obligations != nil {
				old = *was.Obligations
			}
			if new := d.plan.Permits[now.Place-1].Obligations(); new != old {
				terms = true
				d.example("other_obligations", now.Row.ID, func() (string, string) { return obligations(old), obligations(new) })
			}
		}
	}
	if terms {
		d.r.Terms++
	}
	if reasons {
		d.r.Reasons++
		d.example("other_reasons", "", func() (string, string) { return d.words(t) })
	}
}

// verdict says whether policy permits, and whether it was asked.
func verdict(e *route.Exclusion) (permits, asked bool) {
	switch {
	case e == nil, e.Stage == route.StageAccount, e.Code == route.CodeFallbacks:
		return true, true
	case e.Stage == route.StagePolicy:
		return false, true
	}
	return false, false
}

func said(e *route.Exclusion) string {
	if permits, _ := verdict(e); permits {
		return "permitted"
	}
	texts := make([]string, len(e.Denials))
	for i := range e.Denials {
		texts[i] = reasonText(&e.Denials[i])
	}
	return "denied: " + strings.Join(texts, "; ")
}

func reasonText(r *policy.Reason) string {
	text := fmt.Sprintf("%s.%s: %s", r.Package, r.Rule, r.Message)
	if r.Enforcement != "" && r.Enforcement != "deny" {
		text += " (" + r.Enforcement + ")"
	}
	return text
}

func obligations(o policy.Obligations) string {
	text, err := json.Marshal(o)
	if err != nil || o == (policy.Obligations{}) {
		return "none"
	}
	return string(text)
}

// words are all reasons and warnings, for an example.
func (d *difference) words(t *trial) (before, after string) {
	list := func(all ...[]policy.Reason) string {
		var texts []string
		for _, reasons := range all {
			for i := range reasons {
				texts = append(texts, reasonText(&reasons[i]))
			}
		}
		slices.Sort(texts)
		return strings.Join(slices.Compact(texts), "; ")
	}
	was, now := [][]policy.Reason{d.rec.Rejections, d.rec.Warnings}, [][]policy.Reason{d.plan.Rejections, d.plan.Warnings}
	for i := range d.plan.Candidates {
		n := &d.plan.Candidates[i]
		c := t.candidates[n.Row.ID]
		if c == nil {
			continue
		}
		was, now = append(was, c.Warnings), append(now, n.Warnings)
		if c.Excluded != nil {
			was = append(was, c.Excluded.Denials)
		}
		if n.Excluded != nil {
			now = append(now, n.Excluded.Denials)
		}
	}
	return list(was...), list(now...)
}

// sameReasons compares what rules have said, whatever their order, but for the line on which a waiver stands.
func sameReasons(a, b []policy.Reason) bool {
	if len(a) != len(b) {
		return false
	}
	if slices.EqualFunc(a, b, sameReason) {
		return true
	}
	a, b = slices.Clone(a), slices.Clone(b)
	for _, s := range [][]policy.Reason{a, b} {
		slices.SortFunc(s, func(x, y policy.Reason) int {
			return cmp.Or(strings.Compare(x.Binding, y.Binding), strings.Compare(x.Rule, y.Rule), strings.Compare(x.Code, y.Code), strings.Compare(x.Message, y.Message))
		})
	}
	return slices.EqualFunc(a, b, sameReason)
}

func sameReason(a, b policy.Reason) bool {
	return a.Binding == b.Binding && a.Package == b.Package && a.Rule == b.Rule && a.Code == b.Code && a.Message == b.Message &&
		a.File == b.File && a.Line == b.Line && a.Enforcement == b.Enforcement && (a.Waiver == nil) == (b.Waiver == nil)
}

// requests compares whether the request had somewhere to go.
func (d *difference) requests(t *trial) {
	had, has := d.firstBefore() != nil, len(d.plan.Permits) > 0
	texts := func() (string, string) { return d.outcome(had), d.outcomeNow() }
	switch {
	case had && !has:
		d.r.Refused++
		d.g.Refused++
		d.example("refused", "", texts)
	case !had && has:
		d.r.Served++
		d.g.Served++
		d.example("served", "", texts)
	}
}

func (d *difference) outcome(had bool) string {
	if had {
		return "to " + d.firstBefore().Row
	}
	return fmt.Sprintf("refused with %d %s", d.rec.Outcome.Status, d.rec.Outcome.Error)
}

func (d *difference) outcomeNow() string {
	if len(d.plan.Permits) > 0 {
		return "to " + d.plan.Permits[0].Row().ID
	}
	return fmt.Sprintf("refused with %d: %s", d.plan.Refusal.Status, d.plan.Refusal.Message)
}

func (d *difference) firstBefore() *journal.Candidate {
	for i := range d.rec.Candidates {
		if d.rec.Candidates[i].Place == 1 {
			return &d.rec.Candidates[i]
		}
	}
	return nil
}

// first compares where the request would go first, and what that means for money and time.
func (d *difference) first(t *trial, w *world, v *view) {
	was := d.firstBefore()
	if was == nil || len(d.plan.Permits) == 0 {
		return
	}
	d.r.Rankings++
	now := d.plan.Permits[0].Row()
	texts := func() (string, string) { return "first to " + was.Row, "first to " + now.ID }
	switch {
	case was.Provider != now.Provider.ID:
		d.r.Provider++
		d.g.Provider++
		d.example("other_provider", "", texts)
	case !d.sameOrder(t):
		d.r.Order++
		d.example("other_order", "", func() (string, string) { return d.orders() })
	}
	before := w.was.Row(was.Row)
	if before == nil {
		return
	}
	d.g.Compared++
	d.g.CostBefore.Add(d.g.CostBefore, big.NewInt(int64(d.cost(before))))
	d.g.CostAfter.Add(d.g.CostAfter, big.NewInt(int64(d.cost(now))))
	after := v.stats.Rows[now.Index].ExpectedTTFT
	if i := w.Router.Catalog.Row(was.Row); i != nil && after == after && v.holds[i.Index] {
		d.g.TTFTBefore += v.stats.Rows[i.Index].ExpectedTTFT
		d.g.TTFTAfter += after
	}
}

// cost is what the request costs at a row: with the tokens that were counted, else with those that were expected.
func (d *difference) cost(row *catalog.Row) catalog.Picodollars {
	asked := &d.rec.Request
	if u := &d.rec.Outcome.Usage; u.Known {
		return row.Bill(*u, asked.Images, d.rec.At)
	}
	output := int64(route.ExpectedOutput)
	if most := asked.MaxOutputTokens; most > 0 {
		output = min(output, most)
	}
	return row.Bill(wire.Usage{PromptTokens: asked.PromptTokens, CompletionTokens: catalog.Product(output, max(asked.N, 1))}, asked.Images, d.rec.At)
}

// sameOrder says whether the endpoints that had a place and have one follow each other as they did; where nothing was changed, whether
// every endpoint has its place, its utility and its share.
func (d *difference) sameOrder(t *trial) bool {
	places := make([]int, len(d.plan.Permits)) // those that they had, in the order of now; 0: none
	for i := range d.plan.Candidates {
		now := &d.plan.Candidates[i]
		was := t.candidates[now.Row.ID]
		if now.Place > 0 && was != nil {
			places[now.Place-1] = was.Place
		}
		if !d.same {
			continue
		}
		if was == nil || was.Place != now.Place || now.Place > 0 && (!samePart(was.Utility, now.Ranked.Utility) || !samePart(was.Share, now.Ranked.Share)) {
			return false
		}
	}
	return slices.IsSorted(slices.DeleteFunc(places, func(place int) bool { return place == 0 }))
}

func samePart(was *float64, now float64) bool {
	if was == nil {
		return now != now
	}
	return *was == now
}

func (d *difference) orders() (before, after string) {
	was, now := make([]string, len(d.rec.Candidates)), make([]string, len(d.plan.Permits))
	for i := range d.rec.Candidates {
		if c := &d.rec.Candidates[i]; c.Place > 0 {
			was[c.Place-1] = place(c.Row, c.Utility, c.Share)
		}
	}
	for i := range d.plan.Candidates {
		if c := &d.plan.Candidates[i]; c.Place > 0 {
			now[c.Place-1] = place(c.Row.ID, &c.Ranked.Utility, &c.Ranked.Share)
		}
	}
	return strings.Join(slices.DeleteFunc(was, func(s string) bool { return s == "" }), ", "), strings.Join(now, ", ")
}

func place(row string, utility, share *float64) string {
	if utility == nil || share == nil {
		return row
	}
	return fmt.Sprintf("%s (%.4g, %.4g)", row, *utility, *share)
}
