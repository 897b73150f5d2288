package telemetry

// What a row is expected to do is a mean of what it was seen to do and of what it was thought to do before, so that a new
// endpoint starts as a typical peer, neither banned for its first failure nor flooded for its first quick answer:
//
//	expected = (n · own + k · prior) / (n + k)                      k = 10 samples
//
//	prior    = the row's own figure in the catalog, if it states one; otherwise
//	           (N · peers + k · base) / (N + k)
//	peers    = Σ wⱼ · ownⱼ / Σ wⱼ over the model's other rows, wⱼ = nⱼ / (nⱼ + k): a busy peer says no more than another
//	           that is well known, and one that is hardly known says little
//	N        = Σ nⱼ over the model's other rows
//	base     = the mean of the figures that the catalog states for the model's other rows; without any, the default below
//
// n counts the row's samples in the window and own is their mean. Of TTFT and TPS these are means of logarithms (geometric
// means), of success and lost time plain ones; lost time is a mean over failures, and only TTFT and TPS have figures in the
// catalog. Every expected value lies between own and prior, and nears own with each sample.
const priorSamples = 10

// What an endpoint is thought to do where neither traffic nor the catalog says anything of its model.
const (
	DefaultTTFTMillis = 1000
	DefaultTPS        = 50
	DefaultSuccess    = 0.98
	DefaultLostMillis = 2000
)

// leastSuccess keeps the cost of trying a dead endpoint finite.
const leastSuccess = 0.01

// evidence is what is known of one quantity of a row.
type evidence struct {
	n      float64 // samples
	mean   float64 // of them; 0 where there is none
	figure float64 // the catalog's
	stated bool    // whether the catalog has one
}

// shrink fills expected with what each row of one model is expected to do; unknown is the base where no figure is stated.
func shrink(rows []evidence, unknown float64, expected []float64) {
	var figures, stated float64
	for i := range rows {
		if rows[i].stated {
			figures += rows[i].figure
			stated++
		}
	}
	base := unknown
	if stated > 0 {
		base = figures / stated
	}
	// All rows but one are those before it and those after it. Don't subtract the one from the sum over all instead: where
	// its weight outdoes the others', what is left would be rounding error.
	others := make([]peers, len(rows))
	var sum peers
	for i := range rows {
		others[i] = sum
		sum.add(&rows[i])
	}
	sum = peers{}
	for i := len(rows) - 1; i >= 0; i-- {
		row := &rows[i]
		prior := row.figure
		if !row.stated {
			prior = others[i].plus(sum).prior(base)
		}
		expected[i] = mean(row.n, row.mean, priorSamples, prior)
		sum.add(row)
	}
}

// peers sums up rows.
type peers struct {
	samples  float64
	weight   float64
	weighted float64
}

func (p *peers) add(row *evidence) {
	weight := row.n / (row.n + priorSamples)
	p.samples += row.n
	p.weight += weight
	p.weighted += weight * row.mean
}

func (p peers) plus(q peers) peers {
	return peers{p.samples + q.samples, p.weight + q.weight, p.weighted + q.weighted}
}

func (p peers) prior(base float64) float64 {
	if p.weight == 0 {
		return base
	}
	return mean(p.samples, p.weighted/p.weight, priorSamples, base)
}

// mean is that of two values by weight; exactly y where m is 0.
func mean(m, x, n, y float64) float64 {
	return y + (x-y)*m/(m+n)
}
