package replay

import (
	"context"
	"errors"
	"slices"

	"chaperone/engine"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/scorer"
	"chaperone/engine/telemetry"
)

// court has the worlds in which records are decided again.
type court struct {
	options *Options
	result  *Result
	worlds  map[string]*world // by configuration digest
	trial   *trial            // of the record that is decided
}

// world is that of one configuration, as it was and as the change has it.
type world struct {
	*engine.World
	was     *catalog.Catalog
	missing string // why there is none
	views   map[moment]*view
}

// moment names statistics: ticks count anew with every start, and a start begins a segment.
type moment struct{ segment, tick uint64 }

// view is statistics in the order of a catalog's rows.
type view struct {
	stats *telemetry.View
	shown []policy.StatsInput
	holds []bool // the record has them
}

// mostWorlds bounds how many are kept: each has its policies compiled.
const mostWorlds = 8

func (c *court) world(ctx context.Context, digest string) (*world, error) {
	if w := c.worlds[digest]; w != nil {
		return w, nil
	}
	if len(c.worlds) >= mostWorlds {
		c.close(ctx)
	}
	w := &world{views: map[moment]*view{}}
	c.worlds[digest] = w
	if digest == "" {
		w.missing = "the record does not say what decided"
		return w, nil
	}
	plain, err := engine.Rebuild(ctx, c.options.Dir, digest, engine.Change{})
	if err != nil {
		w.missing = "what decided cannot be made again: " + err.Error()
		return w, nil
	}
	w.World, w.was = plain, plain.Router.Catalog
	if c.options.Change == (engine.Change{}) {
		w.remember(c.trial, false)
		return w, nil
	}
	if err := plain.Close(ctx); err != nil {
		return nil, err
	}
	if w.World, err = engine.Rebuild(ctx, c.options.Dir, digest, c.options.Change); err != nil {
		delete(c.worlds, digest)
		var problems config.Problems
		if errors.As(err, &problems) {
			return nil, problems
		}
		return nil, err
	}
	w.remember(c.trial, c.options.Change.Scorer != "")
	return w, nil
}

func (c *court) close(ctx context.Context) {
	for _, w := range c.worlds {
		if w.World != nil {
			w.World.Close(ctx)
		}
	}
	clear(c.worlds)
}

// remember has plugins answer from the record where only that can tell. Shadows have no part in a decision.
func (w *world) remember(t *trial, others bool) {
	scorers := slices.DeleteFunc(w.Router.Scorers, func(s scorer.Weighted) bool { return s.Shadow })
	for i, s := range scorers {
		if learned, plugin := w.Learned[s.Scorer.Name()]; plugin {
			scorers[i].Scorer = &witness{Scorer: s.Scorer, trial: t, learned: learned, other: others}
		}
	}
	w.Router.Scorers = scorers
}

// at is the statistics that a decision read.
func (w *world) at(e *journal.Entry) *view {
	m := moment{e.Segment, e.Record.Tick}
	v := w.views[m]
	if v == nil {
		if len(w.views) > 64 {
			clear(w.views)
		}
		rows := w.Router.Catalog.Rows
		v = &view{stats: &telemetry.View{Tick: e.Record.Tick, Rows: make([]telemetry.RowStats, len(rows))},
			shown: make([]policy.StatsInput, len(rows)), holds: make([]bool, len(rows))}
		nothing := (&journal.Figures{}).Stats() // all unknown
		for _, row := range rows {
			v.stats.Rows[row.Index] = nothing
			if f := e.Figures[row.ID]; f != nil {
				v.stats.Rows[row.Index], v.shown[row.Index], v.holds[row.Index] = f.Stats(), f.Shown, true
			}
		}
		w.views[m] = v
	}
	w.Router.Policies.Recall(v.stats, v.shown)
	return v
}

// witness is a plugin in a decision that is made again.
type witness struct {
	scorer.Scorer
	learned bool // it depends on what is gone
	other   bool // it is not the one of the record
	trial   *trial
}

// Score is the recorded scores where the same rows were ranked and the plugin had learned, and else what the plugin says.
func (s *witness) Score(ctx context.Context, b *scorer.Batch, scores []float64) error {
	t := s.trial
	if !s.other {
		if why, abstained := t.record.Abstained[s.Name()]; abstained {
			return errors.New(why)
		}
	}
	if !s.learned {
		return s.Scorer.Score(ctx, b, scores)
	}
	models := map[string]bool{}
	for _, row := range b.Rows {
		models[row.Model.ID] = true
	}
	ranked := 0
	for i := range t.record.Candidates {
		c := &t.record.Candidates[i]
		if _, ok := c.Scores.Of(s.Name()); ok && models[c.Model] {
			ranked++
		}
	}
	same := !s.other && ranked == len(b.Rows)
	for i, row := range b.Rows {
		c := t.candidates[row.ID]
		if c == nil {
			same = false
			continue
		}
		score, ok := c.Scores.Of(s.Name())
		scores[i], same = score, same && ok
	}
	if !same {
		t.order("the scorer " + s.Name() + " depends on what it had learned, which the record does not hold")
	}
	return nil
}
