package engine

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/policy/author"
	"chaperone/engine/telemetry"
)

// coverageAge is for how long it is taken that policies permit the same rows: those that read the time or statistics may
// change their mind without a reload. Health is looked at every time.
const coverageAge = time.Minute

// coverage counts the providers that organisations are left of models.
type coverage struct {
	engine *Engine

	mu         sync.Mutex
	generation uint64
	until      time.Time
	pairs      []covered
}

// covered is one organisation and model.
type covered struct {
	organisation, model string
	rows                []*catalog.Row // permitted
	providers           int            // of rows
}

func (c *coverage) read() []telemetry.Coverage {
	s := c.engine.current.Load()
	if s == nil {
		return nil
	}
	now := c.engine.options.Now()
	var out []telemetry.Coverage
	for _, p := range c.permitted(s, now) {
		well := slices.DeleteFunc(slices.Clone(p.rows), func(r *catalog.Row) bool {
			rest := s.router.Health.Row(r, 0, now).Why
			return !r.Group.Usable() || rest != "" && rest != telemetry.RestFull // busy is not ill
		})
		healthy := p.providers
		if len(well) < len(p.rows) {
			healthy = author.Independent(well)
		}
		out = append(out, telemetry.Coverage{Organisation: p.organisation, Model: p.model, Permitted: p.providers, Healthy: healthy})
	}
	return out
}

// permitted judges every model for every organisation, where what is known is too old or of an older snapshot. It does not
// hold the snapshot: policies, unlike plugins, are not closed.
func (c *coverage) permitted(s *snapshot, now time.Time) []covered {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation == s.generation && now.Before(c.until) {
		return c.pairs
	}
	c.generation, c.until, c.pairs = s.generation, now.Add(coverageAge), nil
	for _, id := range slices.Sorted(maps.Keys(s.accounts.Organisations)) {
		who := account.Imagine(s.accounts.Organisations[id], nil)
		for _, model := range s.catalog.ModelIDs() {
			p := covered{organisation: id, model: model}
			for _, e := range s.router.Endpoints(context.Background(), who, s.catalog.Models[model], now) {
				if len(e.Denials) == 0 && !e.Row.Disabled {
					p.rows = append(p.rows, e.Row)
				}
			}
			p.providers = author.Independent(p.rows)
			c.pairs = append(c.pairs, p)
		}
	}
	return c.pairs
}
