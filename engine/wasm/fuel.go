package wasm

import "fmt"

// Fuel is budgets in instructions, one for each kind of call. Instructions are counted by engine/wasm/meter; one takes from
// a third of a nanosecond to a few.
type Fuel struct {
	Start     int64 `toml:"start"`     // the start section and _initialize, together
	Init      int64 `toml:"init"`      // chaperone_init
	Configure int64 `toml:"configure"` // chaperone_configure
	Score     int64 `toml:"score"`     // one chaperone_score
	Observe   int64 `toml:"observe"`   // one chaperone_observe
	Save      int64 `toml:"save"`      // one chaperone_save, and likewise one chaperone_restore
}

// DefaultFuel is what a host allows where nothing else is said. It suits stock Go, whose code is one large loop and is
// charged accordingly, and bounds a call to milliseconds: until it ends, Go's garbage collector waits for it.
var DefaultFuel = Fuel{Start: 60_000_000, Init: 20_000_000, Configure: 20_000_000, Score: 10_000_000, Observe: 10_000_000,
	Save: 10_000_000}

// budget names one of Fuel's.
type budget int

const (
	startFuel budget = iota
	initFuel
	configureFuel
	scoreFuel
	observeFuel
	saveFuel
	budgets
)

func (b budget) String() string {
	return [...]string{"start", "init", "configure", "score", "observe", "save"}[b]
}

func (f *Fuel) of(b budget) *int64 {
	return [...]*int64{&f.Start, &f.Init, &f.Configure, &f.Score, &f.Observe, &f.Save}[b]
}

// fuelFor says how much a plugin gets: what it wants, but never more than the host's limit.
func fuelFor(wants, limits Fuel) (granted [budgets]int64) {
	for b := range budgets {
		granted[b] = *limits.of(b)
		if wanted := *wants.of(b); wanted > 0 {
			granted[b] = min(granted[b], wanted)
		}
	}
	return granted
}

// outOfFuel says which budget ran out and what would raise it.
func (p *Plugin) outOfFuel(b budget) error {
	granted, limit := p.fuel[b], *p.limits.Fuel.of(b)
	if granted < limit {
		return fmt.Errorf("%w: its budget %s is %d instructions; raise %s under [fuel] in its manifest, the host allows %d",
			ErrFuel, b, granted, b, limit)
	}
	return fmt.Errorf("%w: the host's limit of its budget %s is %d instructions; fuel = { %s = N } under [[scorers]] raises it",
		ErrFuel, b, granted, b)
}
