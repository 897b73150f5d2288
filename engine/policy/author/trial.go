package author

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/policy"
	"chaperone/engine/wire"
)

// Trial is a policy that nobody has bound yet, tried out beside those that are.
type Trial struct {
	World   *World
	Package string // as a binding would name it

	set *policy.Set
}

// NewTrial compiles the module text of file with the others in its folder, as a source that is bound to everyone with
// these parameters: TOML, such as { max_days = 30 }, "" where there are none.
func NewTrial(ctx context.Context, w *World, file string, text []byte, params string) (*Trial, config.Problems) {
	m, problems := policy.ParseModule(file, text)
	switch {
	case len(problems) > 0:
		return nil, problems
	case m == nil:
		return nil, config.Problems{{File: file, Message: "the file holds no Rego; expected a package and its rules"}}
	}
	t := &Trial{World: w, Package: strings.TrimPrefix(m.Package.Path.String(), "data.")}
	var b strings.Builder
	fmt.Fprintf(&b, "[[policy.sources]]\nname = \"trial\"\npath = %s\n[[policy.bindings]]\npackage = %s\nfor = \"everyone\"\n", config.Quote(filepath.Dir(file)), config.Quote(t.Package))
	if params != "" {
		fmt.Fprintf(&b, "params = %s\n", params)
	}
	doc, problems := config.Parse("--params", []byte(b.String()))
	if doc == nil {
		for i := range problems {
			problems[i].Line = 0
			problems[i].Message += `; expected TOML such as { max_days = 30 }`
		}
		return nil, problems
	}
	c := w.Config
	c.Documents = []*config.Document{doc}
	if t.set, problems = policy.Load(ctx, c); len(problems) > 0 {
		for i := range problems {
			if problems[i].File == "--params" {
				problems[i].Line = 0
				problems[i].Key = strings.TrimPrefix(strings.TrimPrefix(problems[i].Key, "policy.bindings[0]."), "params.")
			}
		}
		return nil, problems
	}
	return t, nil
}

// Tried is what policies say of one row: those that are bound, and the trial's.
type Tried struct {
	Bound Ruling
	Trial Ruling
}

// Permitted says whether the row could serve if the trial's policy were bound.
func (t *Tried) Permitted() bool { return t.Bound.Permitted && t.Trial.Permitted }

// Warnings say what of the tried policy would be better, as policy.Set.Warnings has it.
func (t *Trial) Warnings(at time.Time) config.Problems { return t.set.Warnings(at) }

// Judge asks both about rows. Policies only ever take rows away, so that what neither denies is permitted by both together.
func (t *Trial) Judge(ctx context.Context, who *account.Principal, req *wire.Request, rows []*catalog.Row, at time.Time) []Tried {
	bound := t.World.Judge(ctx, who, req, rows, at)
	trial := t.World.rulings(ctx, t.set, &policy.Query{Principal: who, Request: req, Rows: rows, Stats: t.World.stats.View(at), Now: at})
	out := make([]Tried, len(rows))
	for i := range rows {
		out[i] = Tried{bound[i], trial[i]}
	}
	return out
}
