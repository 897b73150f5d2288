package policy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

// Judge answers q. It fails closed: whatever goes wrong denies the row or refuses the request, with a reason.
func (s *Set) Judge(ctx context.Context, q *Query) *Judgement {
	j := &Judgement{}
	s.JudgeInto(ctx, q, j)
	return j
}

// JudgeInto is Judge into j, whose array of verdicts is used again.
func (s *Set) JudgeInto(ctx context.Context, q *Query, j *Judgement) {
	*j = Judgement{Verdicts: slices.Grow(j.Verdicts[:0], len(q.Rows))[:len(q.Rows)]}
	t := trials.Get().(*trial)
	defer func() {
		if r := recover(); r != nil {
			*j = Judgement{Verdicts: j.Verdicts}
			j.refuse([]Reason{{Binding: "policy", Rule: ruleError, Message: fmt.Sprintf("judging failed: %v", r), Enforcement: enforceDeny}})
			return // t may be half filled: it is not used again
		}
		t.release()
	}()
	t.ctx, t.set, t.query, t.judgement = ctx, s, q, j
	t.plain = s.plain || s.guard.tripped.Load()
	t.judge()
	if t.remembered() && s.guard.due() && !t.verify() {
		*j = Judgement{Verdicts: j.Verdicts}
		clear(t.asked)
		*t = trial{ctx: ctx, set: s, query: q, judgement: j, asked: t.asked[:0], key: t.key[:0], plain: true}
		t.judge()
	}
}

// remembered says whether policies were asked, and every answer was known.
func (t *trial) remembered() bool {
	return !t.plain && !t.evaluated && t.docket != nil && len(t.docket.bindings) > 0
}

// refuse rejects the whole request: no verdict holds a permit.
func (j *Judgement) refuse(reasons []Reason) {
	j.Rejections = reasons
	for i := range j.Verdicts {
		j.Verdicts[i] = Verdict{Denials: reasons}
	}
}

// trial is the state of one Judge.
type trial struct {
	ctx       context.Context
	set       *Set
	query     *Query
	judgement *Judgement
	docket    *docket
	plain     bool      // nothing is remembered
	wide      bool      // evaluated on the whole input, not on what the policy reads
	whole     ast.Value // where wide: the input of the row that is filled
	evaluated bool      // something was not known yet
	input     Input
	key       []byte
	asked     []asked              // about rows, from the first row that has no ruling yet
	stuck     map[*policy]*outcome // an evaluation that was stopped, so that its policy is not asked again for every row
	filled    *catalog.Row         // whose figures the input holds
}

// asked is a binding's question about rows, with what is known of the answers.
type asked struct {
	binding     *binding
	enforcement string
	classes     *assignment
	answers     *slots[outcome]
}

var trials = sync.Pool{New: func() any { return new(trial) }}

func (t *trial) release() {
	clear(t.asked)
	*t = trial{asked: t.asked[:0], key: t.key[:0]}
	trials.Put(t)
}

func (t *trial) judge() {
	q, j := t.query, t.judgement
	if q.Principal == nil || q.Principal.Organisation == nil || q.Principal.Key == nil || q.Request == nil {
		t.stop(Reason{Rule: ruleError, Message: "there is no principal or no request to judge"})
		return
	}
	if err := t.ctx.Err(); err != nil {
		t.stop(Reason{Rule: ruleError, Message: "the request ended before it was judged: " + err.Error()})
		return
	}
	t.docket = t.set.docketFor(q.Principal)
	if t.set.requirePolicy && !t.docket.enforced(q.Now) {
		t.stop(noPolicy)
		return
	}
	for _, b := range t.docket.fetched {
		if why := b.remote.stale(q.Now); why != "" {
			t.judgement.refuse([]Reason{{Binding: b.name, Package: b.pkg, Rule: ruleError, Code: "policy_stale", Message: why, Enforcement: enforceDeny}})
			return
		}
	}
	t.input.fillRequest(q)
	var sh *sheet
	if !t.plain {
		t.key = t.docket.request.appendKey(t.key[:0], &t.input)
		sh = t.docket.session(q, len(t.set.rows)).sheets.at(t.key)
	}
	r, _ := t.request(sh)
	j.Warnings, j.Ignored, j.Weights = r.warnings, r.ignored, r.weights
	if len(r.rejections) > 0 {
		j.refuse(r.rejections)
		return
	}
	t.rows(sh)
}

var noPolicy = Reason{Rule: ruleReject, Code: "no_policy", Message: "no policy applies to this key, and require_policy refuses such keys"}

func (t *trial) stop(r Reason) {
	r.Binding, r.Enforcement = "policy", enforceDeny
	t.judgement.refuse([]Reason{r})
}

// enforcementAt is the binding's own until its end, and deny after it: what was tried out then holds.
func (b *binding) enforcementAt(now time.Time) string {
	if b.enforcement != enforceDeny && day(now) > day(b.until) {
		return enforceDeny
	}
	return b.enforcement
}

// bound appends the reasons as the binding's own.
func (b *binding) bound(dst []Reason, reasons []Reason, enforcement string) []Reason {
	for _, r := range reasons {
		r.Binding, r.Package, r.Enforcement = b.name, b.pkg, enforcement
		dst = append(dst, r)
	}
	return dst
}

// request rules on the whole request; sh is nil where nothing is remembered.
func (t *trial) request(sh *sheet) (r *requestRuling, transient bool) {
	if sh != nil {
		if r := sh.request.Load(); r != nil {
			return r, false
		}
	}
	t.evaluated = true
	r = &requestRuling{}
	for _, b := range t.docket.bindings {
		if b.policy.request == nil {
			continue
		}
		o := t.once(b.policy.request, b.policy.judgeRequest)
		transient = transient || o.transient
		if e := b.enforcementAt(t.query.Now); e == enforceDeny {
			r.rejections = b.bound(r.rejections, o.reasons, e)
		} else {
			r.warnings = b.bound(r.warnings, o.reasons, e)
		}
	}
	if len(r.rejections) == 0 {
		transient = t.weigh(r) || transient
	}
	if sh != nil && !transient {
		sh.request.Store(r)
	}
	return r, transient
}

// weigh unites what bindings prefer; it reports whether something overran.
func (t *trial) weigh(r *requestRuling) (transient bool) {
	from := map[string]*binding{}
	for _, b := range t.docket.bindings {
		if b.policy.prefer == nil || b.enforcementAt(t.query.Now) != enforceDeny {
			continue
		}
		o := t.once(b.policy.prefer, b.policy.weigh)
		transient = transient || o.transient
		r.ignored = b.bound(r.ignored, o.reasons, enforceDeny)
		for _, scorer := range slices.Sorted(maps.Keys(o.weights)) {
			w := o.weights[scorer]
			if t.set.scorers != nil && !slices.Contains(t.set.scorers, scorer) {
				r.ignored = b.bound(r.ignored, []Reason{{
					Rule:    rulePrefer,
					Message: fmt.Sprintf("prefer[%q]: %s; the configured weights stand", scorer, config.NotOneOf(scorer, t.set.scorers)),
				}}, enforceDeny)
				continue
			}
			if before, ok := from[scorer]; ok && r.weights[scorer] != w {
				r.ignored = b.bound(r.ignored, []Reason{{
					Rule:    rulePrefer,
					Message: fmt.Sprintf("prefer[%q] is %v here and %v in %s; the configured weights stand", scorer, w, r.weights[scorer], before.name),
				}}, enforceDeny)
				continue
			}
			if r.weights == nil {
				r.weights = map[string]float64{}
			}
			r.weights[scorer], from[scorer] = w, b
		}
	}
	if len(r.ignored) > 0 {
		r.weights = nil
	}
	return transient
}

// once answers a question about the whole request, which has one class.
func (t *trial) once(q *question, evaluate evaluation) *outcome {
	if t.plain {
		return evaluate(t.ctx, t.document(q))
	}
	answers := t.answers(q, q.memo.assign(t.set, t.query))
	o := answers.get(0)
	if o == nil {
		if o = evaluate(t.ctx, t.document(q)); !o.transient {
			answers.put(0, 1, o)
		}
	}
	return o
}

func (t *trial) answers(q *question, a *assignment) *slots[outcome] {
	if q.memo.domain != nil {
		if n, ok := q.memo.domain.index(&t.input); ok {
			return &a.cells[n]
		}
	}
	t.key = q.memo.request.appendKey(t.key[:0], &t.input)
	return a.answers.at(t.key)
}

func (t *trial) rows(sh *sheet) {
	q := t.query
	for i, row := range q.Rows {
		v := &t.judgement.Verdicts[i]
		if row == nil {
			*v = Verdict{Denials: []Reason{{Binding: "policy", Rule: ruleError, Message: "there is no row to judge", Enforcement: enforceDeny}}}
			continue
		}
		var r *ruling
		known := sh != nil && t.set.has(row)
		if known {
			r = sh.rows.get(row.Index)
		}
		if r == nil {
			var transient bool
			if r, transient = t.rule(row, known); known && !transient {
				sh.rows.put(row.Index, len(t.set.rows), r)
			}
		}
		v.Denials, v.Warnings = r.denials, r.warnings
		if len(r.denials) > 0 {
			v.Permit = Permit{}
			continue
		}
		v.Permit = Permit{row: row, digest: q.Request.Digest, key: q.Principal.Key.ID, generation: t.set.generation, conditions: r.conditions}
	}
}

// rule asks every binding about row; known says whether the row has a class.
func (t *trial) rule(row *catalog.Row, known bool) (r *ruling, transient bool) {
	t.evaluated = true
	if len(t.asked) == 0 {
		t.ask()
	}
	r = &ruling{}
	var demanded Obligations
	for i := range t.asked {
		a := &t.asked[i]
		var o *outcome
		if known {
			o = a.answers.get(int(a.classes.of[row.Index]))
		}
		if o == nil {
			t.fill(row)
			if o = t.judgeRow(a.binding.policy); known && !o.transient {
				a.answers.put(int(a.classes.of[row.Index]), len(a.classes.of)/8, o)
			}
		}
		transient = transient || o.transient
		if a.enforcement == enforceDeny {
			r.deny(a.binding, o.reasons, t.query, row)
			demanded.unite(&o.obligations)
		} else {
			r.warnings = a.binding.bound(r.warnings, o.reasons, a.enforcement)
		}
	}
	if demanded != (Obligations{}) {
		conditions := demanded
		r.conditions = &conditions
		if why := demanded.unmet(t.query, row, t.set.honoured); why != "" {
			r.denials = append(r.denials, Reason{Binding: "obligations", Rule: ruleRequire, Message: why, Enforcement: enforceDeny})
		}
	}
	if len(r.denials) == 0 && len(r.warnings) == 0 && r.conditions == nil {
		r = permit
	}
	return r, transient
}

// deny takes in what b says against row, but for what is waived.
func (r *ruling) deny(b *binding, reasons []Reason, q *Query, row *catalog.Row) {
	if len(b.waivers) == 0 {
		r.denials = b.bound(r.denials, reasons, enforceDeny)
		return
	}
	for i := range reasons {
		if w := b.waived(&reasons[i], q, row); w != nil {
			r.warnings = b.bound(r.warnings, reasons[i:i+1], enforceWaived)
			r.warnings[len(r.warnings)-1].Waiver = w
		} else {
			r.denials = b.bound(r.denials, reasons[i:i+1], enforceDeny)
		}
	}
}

// ask prepares every binding's question about rows.
func (t *trial) ask() {
	for _, b := range t.docket.bindings {
		if b.policy.row == nil {
			continue
		}
		a := asked{binding: b, enforcement: b.enforcementAt(t.query.Now)}
		if !t.plain {
			a.classes = b.policy.row.memo.assign(t.set, t.query)
			a.answers = t.answers(b.policy.row, a.classes)
		}
		t.asked = append(t.asked, a)
	}
}

// fill makes the input that of row.
func (t *trial) fill(row *catalog.Row) {
	if t.filled == row {
		return
	}
	t.input.fillEndpoint(row)
	t.input.fillTerms(row, t.query.Now)
	t.input.fillStats(t.set.stats, t.query.Stats, row)
	t.filled, t.whole = row, nil
}

// document is the input as q is to see it.
func (t *trial) document(q *question) ast.Value {
	if !t.wide {
		return q.reads.value(&t.input)
	}
	if t.whole == nil {
		t.whole = everything.value(&t.input)
	}
	return t.whole
}

// judgeRow asks p about the row that the input holds. A policy that was stopped is not asked again in this judgement: a
// thousand rows must not wait a thousand timeouts. What it said of the one row is then no statement about the others.
func (t *trial) judgeRow(p *policy) *outcome {
	if o := t.stuck[p]; o != nil {
		return o
	}
	o := p.judgeRow(t.ctx, t.document(p.row))
	if o.overran {
		if t.stuck == nil {
			t.stuck = map[*policy]*outcome{}
		}
		t.stuck[p] = &outcome{reasons: o.reasons, overran: true, transient: true}
	}
	return o
}
