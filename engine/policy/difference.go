package policy

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/wire"
)

// maxCompared bounds the requests that Compare tries for one principal.
const maxCompared = 1 << 14

// Comparison is what two versions of the policies say of the same catalog and the same principals.
type Comparison struct {
	// Exhaustive says that every case there can be was tried: where it is true and there is no difference, the versions
	// permit the same. Otherwise Open names the fields of which only telling values were tried.
	Exhaustive  bool         `json:"exhaustive"`
	Open        []FieldCost  `json:"open,omitempty"`
	Cases       int          `json:"cases"` // (principal, request, class of rows) that were judged by both
	Differences []Difference `json:"differences"`
}

// Difference is rows of which the versions speak differently, with a request that shows it.
type Difference struct {
	Organisation string   `json:"organisation"`
	Team         string   `json:"team,omitempty"`
	Key          string   `json:"key,omitempty"`
	Rows         []string `json:"rows"` // ids; empty: the whole request is refused by one version only
	// Request is the witness: the fields of the input that the policies read, by name.
	Request map[string]any `json:"request"`
	Before  Answer         `json:"before"`
	After   Answer         `json:"after"`
}

// Answer is what one version says.
type Answer struct {
	Permitted   bool        `json:"permitted"`
	Reasons     []Reason    `json:"reasons,omitempty"` // rejections of the request or denials of the rows
	Warnings    []Reason    `json:"warnings,omitempty"`
	Obligations Obligations `json:"obligations"`
}

// equal compares what an answer comes to, not its wording.
func (a *Answer) equal(b *Answer) bool {
	return a.Permitted == b.Permitted && a.Obligations == b.Obligations && slices.Equal(rulesOf(a.Reasons), rulesOf(b.Reasons)) && slices.Equal(rulesOf(a.Warnings), rulesOf(b.Warnings))
}

// rulesOf names the reasons without their wording.
func rulesOf(reasons []Reason) []string {
	var names []string
	for _, r := range reasons {
		names = append(names, r.Binding+" "+r.Rule+" "+r.Code+" "+r.Enforcement)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Compare judges the rows that both sets have, as they are at now and without live statistics, for every principal of both
// and for every request that their policies can tell apart; of fields without a small set of values it tries those at which
// some policy can change its mind. Each kind of difference (principal, rows, both answers) is reported once, with a witness.
// ctx ends it early, with an error.
func Compare(ctx context.Context, before, after *Set, now time.Time) (*Comparison, error) {
	c := &comparer{ctx: ctx, now: now, sets: [2]*Set{before, after}, out: &Comparison{Exhaustive: true}, open: map[string]bool{}}
	later := map[string]*catalog.Row{}
	for _, row := range after.rows {
		later[row.ID] = row
	}
	for _, row := range before.rows {
		if other := later[row.ID]; other != nil {
			c.rows = append(c.rows, [2]*catalog.Row{row, other})
		}
	}
	tried := map[string]bool{}
	for _, who := range before.principals {
		if !slices.ContainsFunc(after.principals, func(p *account.Principal) bool { return samePrincipal(p, who) }) {
			continue
		}
		if err := c.compare(who, tried); err != nil {
			return nil, err
		}
	}
	return c.out, nil
}

func samePrincipal(a, b *account.Principal) bool {
	return a.Organisation.ID == b.Organisation.ID && teamID(a) == teamID(b) && a.Key.ID == b.Key.ID
}

func teamID(p *account.Principal) string {
	if p.Team == nil {
		return ""
	}
	return p.Team.ID
}

type comparer struct {
	ctx  context.Context
	now  time.Time
	sets [2]*Set
	rows [][2]*catalog.Row // those that both have
	out  *Comparison
	open map[string]bool
}

// compare tries who; tried is the principals that nothing tells apart from one that was tried.
func (c *comparer) compare(who *account.Principal, tried map[string]bool) error {
	var dockets [2]*docket
	var bindings []*binding
	for i, s := range c.sets {
		dockets[i] = s.docketFor(who)
		bindings = append(bindings, dockets[i].bindings...)
	}
	var reads []read
	var k constants
	demands := false
	for _, b := range bindings {
		for _, q := range b.policy.questions() {
			reads = append(reads, q.reads...)
		}
		demands = demands || b.policy.demands
		k.texts, k.numbers = append(k.texts, b.policy.constants.texts...), append(k.numbers, b.policy.constants.numbers...)
	}
	slices.Sort(k.texts)
	slices.Sort(k.numbers)
	k.texts, k.numbers = slices.Compact(k.texts), slices.Compact(k.numbers)
	set := newReadSet(reads)
	ruled := set
	if demands {
		set = newReadSet(append(slices.Clone(set), obligationReads...))
	}
	ofRow, request := set.under("input.endpoint")
	ofPrincipal, request := request.under("input.principal")

	var base Input
	base.fillRequest(&Query{Principal: who, Request: plainRequest(), Now: c.now})
	id := fmt.Sprintf("%p %p %q", dockets[0], dockets[1], ofPrincipal.appendKey(nil, &base))
	if tried[id] {
		return nil
	}
	tried[id] = true

	var axes []axis
	total := 1
	for _, r := range request {
		a := r.axis(k)
		if r.field.name == "input.request.tool_kinds" { // of which obligations tell apart only whether one runs at the provider
			a.values = append(a.values, each([][]string{{"function"}, {"web_search"}})...)
			a.whole = !slices.Contains(ruled, r)
		}
		if strings.HasPrefix(r.field.name, "input.request.data_class") {
			// A caller can only raise the class that its operators have set.
			a.values = a.values[base.Request.DataClassRank:]
		}
		if !a.whole {
			c.leaveOpen(r, bindings)
		}
		total = min(total*len(a.values), 1<<40)
		axes = append(axes, a)
	}
	if live, _ := ofRow.under("input.endpoint.stats"); len(live) > 0 {
		c.leaveOpen(live[0], bindings)
	}
	d := &domain{axes: axes, size: total}
	classes := c.classes(ofRow, bindings, demands)
	seen := map[string]bool{}
	random := rand.New(rand.NewPCG(1, 1)) // the same cases at every comparison
	for n := range min(total, maxCompared) {
		if total > maxCompared {
			c.out.Exhaustive = false
			n = random.IntN(total)
		}
		if err := c.ctx.Err(); err != nil {
			return fmt.Errorf("the comparison was ended: %w", err)
		}
		in := base
		d.set(&in, n)
		if in.possible(request) {
			c.judge(who, dockets, &in, request, classes, seen)
		}
	}
	return nil
}

func (c *comparer) leaveOpen(r read, bindings []*binding) {
	c.out.Exhaustive = false
	if c.open[r.String()] {
		return
	}
	c.open[r.String()] = true
	for _, b := range bindings {
		if f := b.policy.fieldCost(r); len(f.Places) > 0 {
			f.Live = strings.HasPrefix(r.field.name, "input.endpoint.stats")
			c.out.Open = append(c.out.Open, f)
			return
		}
	}
	c.out.Open = append(c.out.Open, FieldCost{Field: r.String(), Many: r.field.many})
}

// classes groups the rows that neither version can tell apart.
func (c *comparer) classes(reads readSet, bindings []*binding, demands bool) [][][2]*catalog.Row {
	byKey := map[string]int{}
	var groups [][][2]*catalog.Row
	for _, both := range c.rows {
		key := ""
		for _, row := range both {
			var in Input
			in.fillEndpoint(row)
			in.fillTerms(row, c.now)
			in.fillStats(nil, nil, row)
			key += fmt.Sprintf("%q ", reads.appendKey(nil, &in))
			if demands {
				terms := row.DataPolicy.At(c.now)
				key += fmt.Sprintf("%s %t ", terms.ZDR, terms.ZDROption != "")
			}
		}
		for _, b := range bindings {
			for _, w := range b.waivers {
				key += fmt.Sprint(slices.Contains(w.rows, both[0].ID))
			}
		}
		n, ok := byKey[key]
		if !ok {
			n = len(groups)
			byKey[key] = n
			groups = append(groups, nil)
		}
		groups[n] = append(groups[n], both)
	}
	return groups
}

// judge compares one request; seen is the differences that have their witness.
func (c *comparer) judge(who *account.Principal, dockets [2]*docket, in *Input, reads readSet, classes [][][2]*catalog.Row, seen map[string]bool) {
	q := &Query{Principal: who, Request: plainRequest(), Now: c.now}
	r := &in.Request
	q.Request.ToolKinds, q.Request.Background, q.Request.PreviousResponse, q.Request.FileReferences = r.ToolKinds, r.Background, r.PreviousResponse, r.FileReferences
	var whole [2]Answer
	trials := [2]*trial{}
	for i, s := range c.sets {
		t := &trial{ctx: c.ctx, set: s, query: q, docket: dockets[i], input: *in}
		trials[i] = t
		if s.requirePolicy && !t.docket.enforced(c.now) {
			whole[i] = Answer{Reasons: []Reason{noPolicy}}
			continue
		}
		ruled, _ := t.request(nil)
		whole[i] = Answer{Permitted: len(ruled.rejections) == 0, Reasons: ruled.rejections, Warnings: ruled.warnings}
	}
	if !whole[0].equal(&whole[1]) {
		c.differ(who, nil, in, reads, whole[0], whole[1], seen)
	}
	for _, class := range classes {
		var answers [2]Answer
		c.out.Cases++
		for i, t := range trials {
			if answers[i] = whole[i]; !whole[i].Permitted {
				continue
			}
			ruled, _ := t.rule(class[0][i], true)
			answers[i] = Answer{Permitted: len(ruled.denials) == 0, Reasons: ruled.denials, Warnings: ruled.warnings}
			if ruled.conditions != nil && answers[i].Permitted {
				answers[i].Obligations = *ruled.conditions
			}
		}
		if whole[0].Permitted && whole[1].Permitted && !answers[0].equal(&answers[1]) {
			c.differ(who, class, in, reads, answers[0], answers[1], seen)
		}
	}
}

func (c *comparer) differ(who *account.Principal, class [][2]*catalog.Row, in *Input, reads readSet, before, after Answer, seen map[string]bool) {
	d := Difference{Organisation: who.Organisation.ID, Team: teamID(who), Key: who.Key.ID, Request: map[string]any{}, Before: before, After: after}
	for _, both := range class {
		d.Rows = append(d.Rows, both[0].ID)
	}
	id := fmt.Sprint(d.Rows, rulesOf(before.Reasons), rulesOf(before.Warnings), before.Obligations, rulesOf(after.Reasons), rulesOf(after.Warnings), after.Obligations)
	if seen[id] {
		return
	}
	seen[id] = true
	maps.Copy(d.Request, reads.shown(in))
	c.out.Differences = append(c.out.Differences, d)
}

// plainRequest asks for nothing in particular.
func plainRequest() *wire.Request {
	return &wire.Request{N: 1, ResponseFormat: "text", InputModalities: []string{"text"}, OutputModalities: []string{"text"}}
}

// principalsOf is whoever can ask: every key, and for every organisation and team somebody whose key is not made yet.
func principalsOf(accounts *account.Accounts, now time.Time) []*account.Principal {
	var all []*account.Principal
	for _, id := range slices.Sorted(maps.Keys(accounts.Organisations)) {
		org := accounts.Organisations[id]
		all = append(all, newcomer(org, nil))
		for _, name := range slices.Sorted(maps.Keys(org.Teams)) {
			all = append(all, newcomer(org, org.Teams[name]))
		}
	}
	for _, key := range accounts.Keys() {
		if p := accounts.ByKeyID(key.ID, now); p != nil {
			all = append(all, p)
		}
	}
	return all
}

func newcomer(org *account.Organisation, team *account.Team) *account.Principal {
	p := &account.Principal{Organisation: org, Team: team, Key: &account.Key{Organisation: org.ID}, Labels: maps.Clone(org.Labels), DataClass: org.DataClass}
	if team != nil {
		p.Key.Team = team.ID
		p.DataClass = account.HigherDataClass(p.DataClass, team.DataClass)
		for k, v := range team.Labels {
			if p.Labels == nil {
				p.Labels = map[string]string{}
			}
			p.Labels[k] = v
		}
	}
	return p
}
