package policy

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// leaving is the context of a request that goes away just after it has been asked so often whether it is still there.
type leaving struct {
	context.Context
	looks atomic.Int64
	at    int64
	gone  chan struct{}
}

func leavingAt(look int64) *leaving {
	return &leaving{Context: context.Background(), at: look, gone: make(chan struct{})}
}

func (c *leaving) Done() <-chan struct{} { return c.gone }

func (c *leaving) Err() error {
	switch n := c.looks.Add(1); {
	case n == c.at:
		close(c.gone)
	case n > c.at:
		return context.Canceled
	}
	return nil
}

// A denial takes a second evaluation, which finds the rules that gave it, and with them what may be waived.
func TestWhatARequestThatGoesAwayLeavesUnknownIsNotRemembered(t *testing.T) {
	set := waiving(waiverOf("org.p.deny/retention", "everyone", "acme/large@american", "2026-11-30")).mustLoad(t)
	q := query()
	q.Rows = set.rows
	want := comparable(set.plainly().Judge(context.Background(), q))
	for look := int64(1); ; look++ {
		fresh, ctx := set.on(set.rows), leavingAt(look)
		fresh.Judge(ctx, q)
		if got := comparable(fresh.Judge(context.Background(), q)); !reflect.DeepEqual(got, want) {
			t.Errorf("after a request that went away at its look %d, the next is told\n%v\nwant\n%v", look, got, want)
		}
		if ctx.looks.Load() < look {
			return
		}
	}
}

func TestWhatARequestThatGoesAwayLeavesUnknownIsNotWaived(t *testing.T) {
	f := one(`# METADATA
# custom: { waivable: true }
package org.p

deny contains "both" if input.endpoint.provider == "trainer"

# METADATA
# custom: { waivable: false }
deny contains "both" if {
	input.endpoint.provider == "trainer"
	all := numbers.range(1, 60)
	count([a | some a in all; some b in all; a + b < 0]) == 0
}
`)
	f["chaperone.toml"] += waiverOf("org.p.deny", "everyone", "acme/large@trainer", "2026-11-30")
	set := f.mustLoad(t)
	q := query()
	q.Rows = set.rows
	for look := int64(1); ; look++ {
		fresh, ctx := set.on(set.rows), leavingAt(look)
		for _, ctx := range []context.Context{ctx, context.Background()} {
			if got := permitted(fresh.Judge(ctx, q)); strings.Contains(got, "trainer") {
				t.Errorf("to a request that goes away at its look %d, or to the next, %s are permitted", look, got)
			}
		}
		if ctx.looks.Load() < look {
			return
		}
	}
}

func TestOneGlobIsNotTakenForAnother(t *testing.T) {
	const rules = `deny contains "a" if {
	input.request.n == 1
	glob.match("large*", ["-", "/"], input.request.model)
}

deny contains "b" if {
	input.request.n == 2
	glob.match("large*-", ["/"], input.request.model)
}
`
	for _, order := range [][]int64{{1, 2}, {2, 1}} {
		set := one(rules).mustLoad(t)
		for _, n := range order {
			q := query()
			q.Request.Model, q.Request.N = "large", n
			if denied := len(set.Judge(context.Background(), q).Verdicts[0].Denials) > 0; denied != (n == 1) {
				t.Errorf("asked in the order %v, large is denied by rule %d: %t", order, n, denied)
			}
		}
	}
}

func TestPatternsThatCallersMakeAreNotKeptWithoutBound(t *testing.T) {
	set := one("deny contains \"x\" if regex.match(sprintf(\"^%s$\", [input.claims.user]), input.request.model)\n\n" +
		"deny contains \"y\" if glob.match(input.claims.user, [\".\"], input.request.model)\n").mustLoad(t)
	kept := func() (n int) {
		patterns := set.everyone[0].policy.patterns
		for i := range 4 * maxPatterns {
			user := fmt.Sprintf("user%d", i)
			if _, ok := patterns.Get(ast.String("^" + user + "$")); ok {
				n++
			}
			if _, ok := (globs{patterns, len(user)}).Get(ast.String(user + "-.")); ok {
				n++
			}
		}
		return n
	}
	for i := range 4 * maxPatterns {
		q := query()
		q.Request.Claims.User = fmt.Sprintf("user%d", i)
		if got := permitted(set.Judge(context.Background(), q)); got == "" {
			t.Fatal("the policy denies everything")
		}
	}
	if n := kept(); n == 0 || n > maxPatterns {
		t.Errorf("%d patterns are kept; want some, and at most %d", n, maxPatterns)
	}
}
