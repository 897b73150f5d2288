package engine

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/config"
	"chaperone/engine/policy"
	"chaperone/engine/policy/author"
)

// Policies reads what the policies of a configuration are judged in: the catalog, the accounts, and the policies that are
// bound. Scorers and plugins stay closed. The error is config.Problems.
func Policies(ctx context.Context, path string, env func(string) (string, bool)) (*author.World, error) {
	w, _, problems := readPolicies(ctx, path, env)
	return w, problems.Err()
}

// CheckPolicies reads policies as Policies does, and those packages too that nobody has bound. The error is
// config.Problems, everything that is wrong; warnings say what would be better where nothing is.
func CheckPolicies(ctx context.Context, path string, env func(string) (string, bool)) (warnings config.Problems, err error) {
	w, documents, problems := readPolicies(ctx, path, env)
	known := map[config.Problem]bool{}
	for _, p := range problems {
		known[p] = true
	}
	for _, p := range policy.CheckUnbound(documents) {
		if !known[p] {
			problems = append(problems, p)
		}
	}
	if w != nil {
		warnings = warningsOf(w.Policies, time.Now())
	}
	return warnings, problems.Err()
}

// warningsOf is everything that would be better about policies.
func warningsOf(s *policy.Set, now time.Time) config.Problems {
	return append(s.Warnings(now), s.Unbound()...)
}

// logCost says how many bindings cost a look into a table, and of the first of the others what keeps it from that, and where;
// chaperone policy cost has the rest.
func logCost(log *slog.Logger, costs []policy.BindingCost) {
	if len(costs) == 0 {
		return
	}
	tables, dearest := 0, ""
	for i := range costs {
		c := &costs[i]
		if c.Enumerable {
			tables++
		} else if w := c.Worst; w != nil && dearest == "" && len(w.Places) > 0 {
			dearest = fmt.Sprintf("%s reads %s (%s:%d)", c.Binding, w.Field, w.Places[0].File, w.Places[0].Line)
		}
	}
	log.Info("policies compiled", slog.Int("bindings", len(costs)), slog.Int("tables", tables), slog.String("evaluated", dearest))
}

func readPolicies(ctx context.Context, path string, env func(string) (string, bool)) (*author.World, []*config.Document, config.Problems) {
	src, problems := read(path)
	if src == nil {
		return nil, nil, problems
	}
	documents := append([]*config.Document{src.main}, src.teams...)
	cat, found := src.catalog(env)
	problems = append(problems, found...)
	accounts, found := account.Load([]*config.Document{src.main}, cat)
	problems = append(problems, found...)
	if cat == nil || accounts == nil { // policies cannot be bound to what is not there
		return nil, documents, problems
	}
	w, found := author.NewWorld(ctx, policy.Config{
		Generation: 1, Documents: documents, Accounts: accounts, Catalog: cat, Honoured: honoured, Scorers: src.settings.ranking(),
		Env: env, Log: slog.New(slog.DiscardHandler), // what goes wrong is a problem here
	})
	if problems = append(problems, found...); len(problems) > 0 {
		return nil, documents, problems
	}
	w.Files = append(src.files, policy.Directories(documents)...)
	return w, documents, nil
}
