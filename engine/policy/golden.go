package policy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/wire"
)

// OPA finds the rules that can hold through an index over their conditions. In past releases the index has left out rules
// which did hold: a silently wrong answer. So every load evaluates each question with the index and without it, on inputs
// derived from the catalog's rows and from the values that the policy itself compares with, and a difference refuses the
// policy.

// Bounds of the inputs for one question.
const (
	goldenRows     = 6
	goldenVariants = 24
)

// golden are inputs on which the policy's rules should part ways.
func (s *Set) golden(p *policy, q *question, now time.Time) []Input {
	var base Input
	base.fillRequest(&Query{
		Principal: &account.Principal{Organisation: &account.Organisation{}, Key: &account.Key{}, DataClass: account.DataClasses[0]},
		Request:   &wire.Request{N: 1, ResponseFormat: "text", InputModalities: []string{"text"}, OutputModalities: []string{"text"}},
		Now:       now,
	})
	var inputs []Input
	if row, _ := q.reads.under("input.endpoint"); len(row) == 0 || len(s.rows) == 0 {
		base.fillEndpoint(&catalog.Row{})
		base.fillTerms(&catalog.Row{}, now)
		base.fillStats(nil, nil, &catalog.Row{})
		inputs = []Input{base}
	} else {
		seen := map[string]bool{}
		for i, r := range s.rows {
			in := base
			in.Endpoint = s.endpoints[i]
			in.fillTerms(r, now)
			in.fillStats(nil, nil, r)
			key := string(row.appendKey(nil, &in))
			if !seen[key] {
				seen[key] = true
				inputs = append(inputs, in)
			}
			if len(inputs) == goldenRows {
				break
			}
		}
	}
	var axes []axis
	for _, r := range q.reads {
		axes = append(axes, r.axis(p.constants))
	}
	random := rand.New(rand.NewPCG(1, 1)) // the same at every load
	for _, in := range inputs[:len(inputs):len(inputs)] {
		for range goldenVariants {
			varied := in
			for range 1 + random.IntN(3) {
				if len(axes) > 0 {
					a := &axes[random.IntN(len(axes))]
					a.set(&varied, random.IntN(len(a.values)))
				}
			}
			inputs = append(inputs, varied)
		}
	}
	return inputs
}

// checkIndex refuses policies of which OPA's rule index changes an answer. A policy that overruns is tried no further.
func (s *Set) checkIndex(ctx context.Context, now time.Time) (problems, warnings config.Problems) {
	seen := map[*policy]bool{}
	for _, b := range s.all() {
		p := b.policy
		if seen[p] {
			continue
		}
		seen[p] = true
		for _, q := range p.questions() {
			why, overrun := s.compareIndex(ctx, p, q, now)
			file := ""
			if len(p.places) > 0 {
				file = p.places[0].loc.File
			}
			if why != "" {
				problems = append(problems, config.Problem{File: file, Message: fmt.Sprintf("package %s: %s", b.pkg, why)})
			}
			if overrun != nil {
				warnings = append(warnings, config.Problem{File: file, Message: fmt.Sprintf("package %s: %v, on an input made for trying policies out; such requests are denied", b.pkg, overrun)})
				break
			}
		}
	}
	return problems, warnings
}

func (s *Set) compareIndex(ctx context.Context, p *policy, q *question, now time.Time) (why string, overrun error) {
	unindexed := *q
	unindexed.unindexed = true
	for _, in := range s.golden(p, q, now) {
		input := q.reads.value(&in)
		with, err1 := p.ask(ctx, q, input, nil)
		if errors.As(err1, new(*errOverrun)) {
			return "", err1
		}
		without, err2 := p.ask(ctx, &unindexed, input, nil)
		if errors.As(err2, new(*errOverrun)) {
			return "", err2
		}
		// An error on one side only is none of the index's: it saves evaluating a rule up to the part that fails.
		if err1 == nil && err2 == nil && with.Compare(without) != 0 {
			return fmt.Sprintf("OPA's rule index changes the answer on %s: with it %s, without it %s. This is a defect of OPA; write the condition otherwise", short(input.String()), short(with.String()), short(without.String())), nil
		}
	}
	return "", nil
}

func short(s string) string {
	if len(s) > 400 {
		return strings.ToValidUTF8(s[:400], "") + "…"
	}
	return s
}
