package sim

import (
	"fmt"
	"math"
	"time"
)

// Drift is how a provider changes slowly: within Requests from the first on, each of the others is multiplied by a factor that
// goes from 1 to what is set, evenly on a logarithmic scale, and stays there. 0 is 1: no change.
type Drift struct {
	Requests int     `toml:"requests"`
	TTFT     float64 `toml:"ttft"`
	TPS      float64 `toml:"tps"`
	Faults   float64 `toml:"faults"` // of every share
}

func (d *Drift) factor(end float64, place uint64) float64 {
	if d.Requests == 0 || end == 0 {
		return 1
	}
	return math.Pow(end, min(1, float64(place)/float64(d.Requests)))
}

func (d *Drift) mistake() string {
	for _, f := range []float64{d.TTFT, d.TPS, d.Faults} {
		if !(f >= 0) || math.IsInf(f, 0) {
			return fmt.Sprintf("has the factor %v; should be above 0 and finite", f)
		}
	}
	if d.Requests < 0 || d.Requests == 0 && *d != (Drift{}) {
		return fmt.Sprintf("requests is %d; should be how many of them the change takes", d.Requests)
	}
	return ""
}

// Flap is outages by the clock: up for so long, then down, again and again. While it is down every connection is reset.
type Flap struct {
	Up   time.Duration `toml:"up"`
	Down time.Duration `toml:"down"` // 0: never
}

func (f *Flap) down(age time.Duration) bool { return f.Down > 0 && age%(f.Up+f.Down) >= f.Up }

func (f *Flap) mistake() string {
	if f.Up < 0 || f.Down < 0 || f.Up > 0 && f.Down == 0 {
		return fmt.Sprintf("up is %v and down %v; both should be above 0, such as \"40s\" and \"20s\"", f.Up, f.Down)
	}
	return ""
}
