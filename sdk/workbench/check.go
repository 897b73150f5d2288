package workbench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"chaperone/engine/wasm"
)

// Verdict says how a plugin did in a check.
type Verdict string

// The verdicts. A note is nothing wrong, but seldom meant.
const (
	Passed Verdict = "ok"
	Noted  Verdict = "note"
	Failed Verdict = "failed"
)

// Outcome is one check of the conformance kit.
type Outcome struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail"`
}

// Conformance is what a plugin is held to.
type Conformance struct {
	Plugin wasm.Config  // Configuration is the golden vectors' where there are some
	Golden *wasm.Golden // may be nil
	Seed   uint64       // of the batches that are made up
}

// Check holds a plugin to what a scorer must and should do, each check on fresh instances. Where it does not load, that is the
// only outcome.
func Check(ctx context.Context, h *wasm.Host, c Conformance) []Outcome {
	config := c.Plugin
	config.Pool = 1
	if c.Golden != nil {
		config.Configuration = c.Golden.Configuration
	}
	k := &kit{ctx: ctx, host: h, config: config, seed: c.Seed, golden: c.Golden}
	held, err := wasm.Load(ctx, h, config)
	if err != nil {
		return []Outcome{{"load", Failed, err.Error()}}
	}
	defer held.Close(ctx) // until the end: compiled code is kept as long as a plugin has it, and each check loads its own
	k.manifest = held.Manifest()
	outcomes := []Outcome{{"load", Passed, fmt.Sprintf("%s %s: %d columns, %d request fields, at most %d rows",
		k.manifest.Name, k.manifest.Version, len(k.manifest.Columns), len(k.manifest.Request), k.manifest.Rows)}}
	for _, check := range []struct {
		name string
		does func() (Verdict, string, error)
	}{
		{"rows", k.rows},
		{"determinism", k.determinism},
		{"forgetting", k.forgetting},
		{"unknown values", k.unknown},
		{"extreme values", k.extremes},
		{"opinions", k.opinions},
		{"fuel", k.fuel},
		{"memory", k.memory},
		{"learning", k.learning},
		{"configuration", k.configuration},
		{"golden vectors", k.vectors},
	} {
		verdict, detail, err := check.does()
		if err != nil {
			verdict, detail = Failed, err.Error()
		}
		outcomes = append(outcomes, Outcome{check.name, verdict, detail})
	}
	return outcomes
}

type kit struct {
	ctx      context.Context
	host     *wasm.Host
	config   wasm.Config
	manifest *wasm.Manifest
	golden   *wasm.Golden
	seed     uint64
}

func (k *kit) random() *rand.Rand { return rand.New(rand.NewPCG(k.seed, 0)) }

// with runs f on a plugin of its own: one that failed in a check says nothing about the next.
func (k *kit) with(f func(p *wasm.Plugin) error) error {
	p, err := wasm.Load(k.ctx, k.host, k.config)
	if err != nil {
		return err
	}
	return errors.Join(f(p), p.Close(k.ctx))
}

// score treats abstaining as what it is: an opinion on no row.
func (k *kit) score(p *wasm.Plugin, t *wasm.Table) ([]float64, error) {
	rows := 1
	if len(t.Columns) > 0 {
		rows = len(t.Columns[0])
	}
	scores, err := p.ScoreTable(k.ctx, t, rows)
	if errors.Is(err, wasm.ErrAbstained) {
		scores, err = make([]float64, rows), nil
		for i := range scores {
			scores[i] = math.NaN()
		}
	}
	return scores, err
}

func (k *kit) rows() (Verdict, string, error) {
	r := k.random()
	sizes := []int{1, min(2, k.manifest.Rows), k.manifest.Rows}
	err := k.with(func(p *wasm.Plugin) error {
		for _, n := range sizes {
			if _, err := k.score(p, plausible(r, k.manifest, n)); err != nil {
				return fmt.Errorf("with %d rows: %w", n, err)
			}
		}
		return nil
	})
	return Passed, fmt.Sprintf("1 to %d rows are scored", k.manifest.Rows), err
}

// batches is how many made-up batches a check takes.
const batches = 50

// determinism holds two fresh instances to the same scores for the same batches in the same order.
func (k *kit) determinism() (Verdict, string, error) {
	var first [][]float64
	for range 2 {
		r := k.random()
		var all [][]float64
		err := k.with(func(p *wasm.Plugin) error {
			for range batches {
				scores, err := k.score(p, plausible(r, k.manifest, 1+r.IntN(min(k.manifest.Rows, 40))))
				if err != nil {
					return err
				}
				all = append(all, scores)
			}
			return nil
		})
		if err != nil {
			return Failed, "", err
		}
		if first == nil {
			first = all
			continue
		}
		for i := range all {
			if row := differ(first[i], all[i]); row >= 0 {
				return Failed, fmt.Sprintf("batch %d (seed %d): row %d scores %v on one fresh instance and %v on another", i, k.seed, row,
					first[i][row], all[i][row]), nil
			}
		}
	}
	return Passed, fmt.Sprintf("%d batches gave the same bits on two fresh instances", batches), nil
}

// forgetting holds a stateless plugin to give a batch the same scores whatever it has scored before.
func (k *kit) forgetting() (Verdict, string, error) {
	if k.manifest.Stateful {
		return Passed, "stateful: it may remember", nil
	}
	r := k.random()
	var detail string
	err := k.with(func(p *wasm.Plugin) error {
		again := plausible(r, k.manifest, min(20, k.manifest.Rows))
		want, err := k.score(p, again)
		if err != nil {
			return err
		}
		for range batches {
			if _, err := k.score(p, plausible(r, k.manifest, 1+r.IntN(k.manifest.Rows))); err != nil {
				return err
			}
		}
		got, err := k.score(p, again)
		if err != nil {
			return err
		}
		if row := differ(want, got); row >= 0 {
			detail = fmt.Sprintf("the same batch scored %v in row %d at first, and %v after %d others (seed %d): a stateless plugin keeps nothing",
				want[row], row, got[row], batches, k.seed)
		}
		return nil
	})
	if detail != "" {
		return Failed, detail, err
	}
	return Passed, fmt.Sprintf("a batch scores the same before and after %d others", batches), err
}

func (k *kit) unknown() (Verdict, string, error) {
	r := k.random()
	err := k.with(func(p *wasm.Plugin) error {
		if _, err := k.score(p, unknown(r, k.manifest, min(20, k.manifest.Rows))); err != nil {
			return fmt.Errorf("where nothing is known: %w", err)
		}
		for i, name := range k.manifest.Columns {
			t := plausible(r, k.manifest, min(20, k.manifest.Rows))
			for row := range t.Columns[i] {
				t.Columns[i][row] = math.NaN()
			}
			if _, err := k.score(p, t); err != nil {
				return fmt.Errorf("where %s is not known: %w", name, err)
			}
		}
		for i, name := range k.manifest.Request {
			t := plausible(r, k.manifest, min(20, k.manifest.Rows))
			t.Request[i] = math.NaN()
			if _, err := k.score(p, t); err != nil {
				return fmt.Errorf("where %s is not known: %w", name, err)
			}
		}
		return nil
	})
	return Passed, "no column or field has to be known", err
}

func (k *kit) extremes() (Verdict, string, error) {
	r := k.random()
	err := k.with(func(p *wasm.Plugin) error {
		for i := range batches {
			if _, err := k.score(p, extreme(r, k.manifest, 1+r.IntN(min(k.manifest.Rows, 40)))); err != nil {
				return fmt.Errorf("batch %d (seed %d): %w", i, k.seed, err)
			}
		}
		return nil
	})
	return Passed, "infinities, zeros, the greatest and the least numbers are taken", err
}

// opinions looks at the scores of plausible batches: are there any, and do they keep to the scale?
func (k *kit) opinions() (Verdict, string, error) {
	r := k.random()
	rows, known, outside := 0, 0, 0
	err := k.with(func(p *wasm.Plugin) error {
		for range batches {
			scores, err := k.score(p, plausible(r, k.manifest, 1+r.IntN(min(k.manifest.Rows, 40))))
			if err != nil {
				return err
			}
			for _, s := range scores {
				rows++
				if !math.IsNaN(s) {
					known++
				}
				if s < 0 || s > 1 {
					outside++
				}
			}
		}
		return nil
	})
	switch detail := fmt.Sprintf("%d of %d rows of made-up batches have a score", known, rows); {
	case known == 0:
		return Noted, detail + ": does it have an opinion on anything?", err
	case k.manifest.Scale == "unit" && outside > 0:
		return Failed, fmt.Sprintf("%d of %d scores are outside 0…1, which scale = \"unit\" promises; \"minmax\" takes any", outside, known), err
	default:
		return Passed, detail, err
	}
}

// fuel has the plugin score as many rows as it says that it accepts, and looks at how near to its budget that comes.
func (k *kit) fuel() (Verdict, string, error) {
	r := k.random()
	var most, granted int64
	err := k.with(func(p *wasm.Plugin) error {
		for range batches {
			if _, err := k.score(p, plausible(r, k.manifest, k.manifest.Rows)); err != nil {
				return err
			}
		}
		most, granted = p.Stats().MostFuel, p.ScoreFuel()
		return nil
	})
	detail := fmt.Sprintf("%d rows take at most %d of %d instructions", k.manifest.Rows, most, granted)
	if err == nil && most > granted/2 {
		return Noted, detail + ", more than half: accept fewer rows, or ask for more under [fuel]", nil
	}
	return Passed, detail, err
}

// The calls of the check for memory: as many as show a leak, but for no longer than a person waits.
const (
	memoryCalls = 20_000
	memoryTime  = 2 * time.Second
)

// memory calls often, and looks whether the second half of the calls has taken more memory than the first.
func (k *kit) memory() (Verdict, string, error) {
	r := k.random()
	calls := 0
	var half, all int64
	err := k.with(func(p *wasm.Plugin) error {
		t := plausible(r, k.manifest, min(20, k.manifest.Rows))
		run := func() (int64, error) {
			for begun := time.Now(); time.Since(begun) < memoryTime/2; {
				for range memoryCalls / 20 {
					if _, err := k.score(p, t); err != nil {
						return 0, fmt.Errorf("call %d: %w: is everything freed that a call allocates?", calls, err)
					}
					calls++
				}
				if calls%(memoryCalls/2) == 0 {
					break
				}
			}
			return p.Stats().Memory, nil
		}
		var err error
		if half, err = run(); err != nil {
			return err
		}
		all, err = run()
		return err
	})
	if err == nil && all > half {
		return Failed, fmt.Sprintf("its memory grew from %d to %d bytes in the second half of %d calls: is everything freed that a call allocates?",
			half, all, calls), nil
	}
	return Passed, fmt.Sprintf("%d bytes after %d calls", all, calls), err
}

// learning tells a stateful plugin of attempts, and holds an instance that restores what it saved to the same scores.
func (k *kit) learning() (verdict Verdict, detail string, err error) {
	if !k.manifest.Stateful {
		return Passed, "stateless: nothing to learn", nil
	}
	folder, err := os.MkdirTemp("", "chaperone-check-")
	if err != nil {
		return Failed, "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	fresh := k.config
	defer func() { k.config = fresh }()
	k.config.State = filepath.Join(folder, "state")

	r := k.random()
	rows := min(20, k.manifest.Rows)
	t := plausible(r, k.manifest, rows)
	var before, after, restored []float64
	if err := k.with(func(p *wasm.Plugin) (err error) {
		if before, err = k.score(p, t); err != nil {
			return err
		}
		for range batches {
			if len(k.manifest.Observe) > 0 {
				if err := p.ObserveTable(k.ctx, attempts(r, k.manifest, t, rows), t.Now); err != nil {
					return fmt.Errorf("told of %d attempts: %w", rows, err)
				}
			}
		}
		if err := p.Flush(k.ctx); err != nil {
			return fmt.Errorf("saving: %w", err)
		}
		after, err = k.score(p, t)
		return err
	}); err != nil {
		return Failed, "", err
	}
	if err := k.with(func(p *wasm.Plugin) (err error) {
		restored, err = k.score(p, t)
		return err
	}); err != nil {
		return Failed, "", fmt.Errorf("restoring: %w", err)
	}
	if _, err := os.Stat(k.config.State + ".refused"); err == nil {
		return Failed, "it does not restore what it saved itself", nil
	}
	if row := differ(after, restored); row >= 0 {
		return Noted, fmt.Sprintf("row %d scores %v, but %v after a restart: it forgets what it does not save", row, after[row], restored[row]), nil
	}
	if differ(before, after) < 0 {
		return Noted, fmt.Sprintf("%d made-up attempts changed no score", batches*rows), nil
	}
	return Passed, fmt.Sprintf("%d attempts changed scores, and a restart nothing", batches*rows), nil
}

// configuration offers a setting that no plugin has: one that takes it would also take a misspelt one.
func (k *kit) configuration() (Verdict, string, error) {
	config := k.config
	config.Configuration = map[string]any{"no_such_setting": 1}
	p, err := wasm.Load(k.ctx, k.host, config)
	if err == nil {
		return Noted, "it accepts a setting named no_such_setting, and so would not notice one that is misspelt", p.Close(k.ctx)
	}
	return Passed, "a setting that it does not know is refused", nil
}

func (k *kit) vectors() (Verdict, string, error) {
	if k.golden == nil {
		return Noted, "there are none: write golden.json beside the module", nil
	}
	err := k.golden.Verify(k.ctx, k.host, k.config)
	return Passed, fmt.Sprintf("%d cases, twice", len(k.golden.Cases)), err
}

// differ is the first row in which two lists of scores are not the same; -1: none.
func differ(a, b []float64) int {
	for i := range a {
		if math.Float64bits(a[i]) != math.Float64bits(b[i]) && !(math.IsNaN(a[i]) && math.IsNaN(b[i])) {
			return i
		}
	}
	return -1
}
