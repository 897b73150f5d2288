package policy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"chaperone/engine/account"
)

// Judge answers q. It fails closed: whatever goes wrong denies the row or refuses the request, with a reason.
func (s *Set) Judge(ctx context.Context, q *Query) *Judgement {
	j := &Judgement{}
	s.JudgeInto(ctx, q, j)
	return j
}

// JudgeInto is Judge into j, whose slices are used again.
func (s *Set) JudgeInto(ctx context.Context, q *Query, j *Judgement) {
	j.reset(len(q.Rows))
	t := trials.Get().(*trial)
	defer func() {
		if r := recover(); r != nil {
			j.reset(len(q.Rows))
			j.refuse(Reason{Binding: "policy", Rule: ruleError, Message: fmt.Sprintf("judging failed: %v", r), Enforcement: enforceDeny})
			return // t may be half filled: it is not used again
		}
		t.release()
	}()
	t.ctx, t.set, t.query, t.judgement = ctx, s, q, j
	t.judge()
}

func (j *Judgement) reset(rows int) {
	j.Rejections, j.Warnings, j.Ignored, j.Weights = j.Rejections[:0], j.Warnings[:0], j.Ignored[:0], nil
	j.Verdicts = slices.Grow(j.Verdicts[:0], rows)[:rows]
	for i := range j.Verdicts {
		v := &j.Verdicts[i]
		v.Permit, v.Denials, v.Warnings = Permit{}, v.Denials[:0], v.Warnings[:0]
	}
}

// refuse rejects the whole request: no verdict holds a permit.
func (j *Judgement) refuse(reasons ...Reason) {
	j.Rejections = append(j.Rejections, reasons...)
	for i := range j.Verdicts {
		v := &j.Verdicts[i]
		v.Permit = Permit{}
		v.Denials = append(v.Denials, reasons...)
	}
}

// trial is the state of one Judge.
type trial struct {
	ctx       context.Context
	set       *Set
	query     *Query
	judgement *Judgement
	input     Input
	bindings  []*binding
	stuck     map[*policy]*outcome // an evaluation that overran, so that its policy is not asked again for every row
}

var trials = sync.Pool{New: func() any { return new(trial) }}

func (t *trial) release() {
	clear(t.bindings)
	*t = trial{bindings: t.bindings[:0]}
	trials.Put(t)
}

func (t *trial) judge() {
	q, j := t.query, t.judgement
	if q.Principal == nil || q.Principal.Organisation == nil || q.Principal.Key == nil || q.Request == nil {
		j.refuse(Reason{Binding: "policy", Rule: ruleError, Message: "there is no principal or no request to judge", Enforcement: enforceDeny})
		return
	}
	t.collect(q.Principal)
	if t.set.requirePolicy && !slices.ContainsFunc(t.bindings, func(b *binding) bool { return b.enforcementAt(q.Now) == enforceDeny }) {
		j.refuse(Reason{
			Binding: "require_policy", Rule: ruleReject, Code: "no_policy", Enforcement: enforceDeny,
			Message: "no policy applies to this key, and require_policy refuses such keys",
		})
		return
	}
	t.input.fillRequest(q)
	t.request()
	if len(j.Rejections) > 0 {
		t.refused()
		return
	}
	t.rows()
	t.weigh()
}

func (t *trial) collect(who *account.Principal) {
	t.bindings = append(t.bindings, t.set.everyone...)
	t.bindings = append(t.bindings, t.set.byOrg[who.Organisation.ID]...)
	if who.Team != nil {
		t.bindings = append(t.bindings, t.set.byTeam[team{who.Organisation.ID, who.Team.ID}]...)
	}
	t.bindings = append(t.bindings, t.set.byKey[who.Key.ID]...)
}

// enforcementAt is the binding's own until its end, and deny after it: what was tried out then holds.
func (b *binding) enforcementAt(now time.Time) string {
	if b.enforcement != enforceDeny && !now.UTC().Before(b.until.AddDate(0, 0, 1)) {
		return enforceDeny
	}
	return b.enforcement
}

// bound are the reasons as the binding's own.
func (b *binding) bound(dst []Reason, reasons []Reason, enforcement string) []Reason {
	for _, r := range reasons {
		r.Binding, r.Package, r.Enforcement = b.name, b.pkg, enforcement
		dst = append(dst, r)
	}
	return dst
}

func (t *trial) request() {
	for _, b := range t.bindings {
		if b.policy.request == nil {
			continue
		}
		o := b.policy.judgeRequest(t.ctx, &t.input)
		if e := b.enforcementAt(t.query.Now); e == enforceDeny {
			t.judgement.Rejections = b.bound(t.judgement.Rejections, o.reasons, e)
		} else {
			t.judgement.Warnings = b.bound(t.judgement.Warnings, o.reasons, e)
		}
	}
}

func (t *trial) refused() {
	j := t.judgement
	for i := range j.Verdicts {
		j.Verdicts[i].Denials = append(j.Verdicts[i].Denials, j.Rejections...)
	}
}

func (t *trial) rows() {
	q := t.query
	for i, row := range q.Rows {
		v := &t.judgement.Verdicts[i]
		if row == nil {
			v.Denials = append(v.Denials, Reason{Binding: "policy", Rule: ruleError, Message: "there is no row to judge", Enforcement: enforceDeny})
			continue
		}
		t.input.fillEndpoint(row)
		t.input.fillDataPolicy(row, q.Now)
		t.input.fillStats(q, row)
		var demanded Obligations
		for _, b := range t.bindings {
			if b.policy.row == nil {
				continue
			}
			o := t.judgeRow(b.policy)
			if e := b.enforcementAt(q.Now); e == enforceDeny {
				v.Denials = b.bound(v.Denials, o.reasons, e)
				demanded.unite(&o.obligations)
			} else {
				v.Warnings = b.bound(v.Warnings, o.reasons, e)
			}
		}
		if why := demanded.unmet(q, row, t.set.honoured); why != "" {
			v.Denials = append(v.Denials, Reason{Binding: "obligations", Rule: ruleRequire, Message: why, Enforcement: enforceDeny})
		}
		if len(v.Denials) == 0 {
			v.Permit = Permit{row: row, digest: q.Request.Digest, key: q.Principal.Key.ID, generation: t.set.generation, conditions: demanded}
		}
	}
}

// judgeRow asks p about the row that the input holds. A policy that has overrun is not asked again in this judgement: a
// thousand rows must not wait a thousand timeouts.
func (t *trial) judgeRow(p *policy) *outcome {
	if o := t.stuck[p]; o != nil {
		return o
	}
	o := p.judgeRow(t.ctx, &t.input)
	if o.transient {
		if t.stuck == nil {
			t.stuck = map[*policy]*outcome{}
		}
		t.stuck[p] = o
	}
	return o
}

func (t *trial) weigh() {
	j := t.judgement
	from := map[string]*binding{}
	for _, b := range t.bindings {
		if b.policy.prefer == nil || b.enforcementAt(t.query.Now) != enforceDeny {
			continue
		}
		o := b.policy.weigh(t.ctx, &t.input)
		j.Ignored = b.bound(j.Ignored, o.reasons, enforceDeny)
		for _, scorer := range slices.Sorted(maps.Keys(o.weights)) {
			w := o.weights[scorer]
			if before, ok := from[scorer]; ok && j.Weights[scorer] != w {
				j.Ignored = b.bound(j.Ignored, []Reason{{
					Rule:    rulePrefer,
					Message: fmt.Sprintf("prefer[%q] is %v here and %v in %s; the configured weights stand", scorer, w, j.Weights[scorer], before.name),
				}}, enforceDeny)
				continue
			}
			if j.Weights == nil {
				j.Weights = map[string]float64{}
			}
			j.Weights[scorer], from[scorer] = w, b
		}
	}
	if len(j.Ignored) > 0 {
		j.Weights = nil
	}
}
