package telemetry_test

import (
	"math"
	"testing"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
)

func TestExpectationsWithoutTraffic(t *testing.T) {
	cat := catalogOf("m", "m", "m", "n")
	cat.Rows[0].Expected = catalog.Expected{TTFTMillis: 200, TPS: 100}
	cat.Rows[1].Expected = catalog.Expected{TTFTMillis: 800, TPS: -1}
	v := telemetry.NewStore(0, 0).Bind(cat).View(noon)
	for i, want := range []struct{ ttft, tps float64 }{
		{200, 100},
		{800, 100}, // a speed that makes no sense is none: the other row's
		{400, 100}, // the geometric mean of 200 and 800
		{telemetry.DefaultTTFTMillis, telemetry.DefaultTPS},
	} {
		st := v.Rows[i]
		if !near(st.ExpectedTTFT, want.ttft, 1e-9) || !near(st.ExpectedTPS, want.tps, 1e-9) ||
			st.Success != telemetry.DefaultSuccess || st.LostMillis != telemetry.DefaultLostMillis {
			t.Errorf("row %d expects %v ms, %v tokens a second, %v, %v ms; want %+v and defaults", i, st.ExpectedTTFT, st.ExpectedTPS,
				st.Success, st.LostMillis, want)
		}
	}
}

// The formula of shrink.go, by hand.
func TestExpectationsByHand(t *testing.T) {
	cat := catalogOf("m", "m", "m")
	board := telemetry.NewStore(0, 0).Bind(cat)
	for range 30 { // n = 30, w = 0.75
		board.Observe(cat.Rows[0], answered(noon, 500*time.Millisecond, 50))
	}
	for range 10 { // n = 10, w = 0.5
		board.Observe(cat.Rows[1], answered(noon, 2*time.Second, 50))
	}
	v := board.View(noon)
	// c: peers = exp((0.75·ln 500 + 0.5·ln 2000)/1.25) = 500·4^0.4 = 870.55; N = 40; (40·ln 870.55 + 10·ln 1000)/50
	c := math.Exp((40*math.Log(500*math.Pow(4, 0.4)) + 10*math.Log(1000)) / 50)
	// a: peers = 2000, N = 10: prior = √(2000·1000); (30·ln 500 + 10·ln prior)/40
	a := math.Exp((30*math.Log(500) + 10*math.Log(math.Sqrt(2e6))) / 40)
	if !near(c, 895.06, 1e-4) || !near(a, 648.42, 1e-4) {
		t.Fatalf("the figures of the documentation are %v and %v", c, a)
	}
	if !near(v.Rows[2].ExpectedTTFT, c, 1e-9) || !near(v.Rows[0].ExpectedTTFT, a, 1e-9) {
		t.Errorf("expected TTFT is %v and %v, want %v and %v", v.Rows[2].ExpectedTTFT, v.Rows[0].ExpectedTTFT, c, a)
	}
	// a: 30 of 30; b's 10 of 10 and the default make a prior of (10·1 + 10·0.98)/20 = 0.99: (30 + 9.9)/40
	if !near(v.Rows[0].Success, 0.9975, 1e-12) {
		t.Errorf("success is %v, want 0.9975", v.Rows[0].Success)
	}
}

func TestANewEndpointStartsAsATypicalPeer(t *testing.T) {
	cat := catalogOf("m", "m", "m", "m")
	board := telemetry.NewStore(0, 0).Bind(cat)
	for range 1000 {
		for _, row := range cat.Rows[:3] {
			board.Observe(row, answered(noon, 300*time.Millisecond, 120))
		}
	}
	st := board.View(noon).Rows[3]
	if !near(st.ExpectedTTFT, 300, 0.01) || !near(st.ExpectedTPS, 120, 0.01) || st.Success < 0.999 {
		t.Errorf("peers have 300 ms, 120 tokens a second and no failure; the new row expects %v, %v, %v", st.ExpectedTTFT, st.ExpectedTPS, st.Success)
	}
}

func TestADeadEndpointKeepsALittleHope(t *testing.T) {
	cat := catalogOf("m")
	board := telemetry.NewStore(0, 0).Bind(cat)
	for range 100_000 {
		board.Observe(cat.Rows[0], failed(noon, time.Second))
	}
	if got := board.View(noon).Rows[0].Success; got != 0.01 {
		t.Errorf("success is %v, want 0.01", got)
	}
}

// Whatever is known of the others: what is expected of a row starts at its prior, lies between that and what it does, and
// nears the latter with every sample.
func TestExpectationsMoveFromPriorToOwn(t *testing.T) {
	rng := seeded(t)
	for range 200 {
		cat := catalogOf("m", "m", "m", "m", "n")
		for _, row := range cat.Rows {
			if rng.IntN(2) == 0 {
				row.Expected = catalog.Expected{TTFTMillis: math.Exp(4 + 4*rng.Float64()), TPS: math.Exp(2 + 4*rng.Float64())}
			}
		}
		board := telemetry.NewStore(0, time.Millisecond).Bind(cat)
		for range rng.IntN(100) {
			row := cat.Rows[1+rng.IntN(4)]
			if rng.IntN(3) == 0 {
				board.Observe(row, failed(noon, time.Duration(rng.IntN(9000))*time.Millisecond))
			} else {
				board.Observe(row, answered(noon, time.Duration(1+rng.IntN(5000))*time.Millisecond, math.Exp(5*rng.Float64())))
			}
		}
		own := answered(noon, time.Duration(1+rng.IntN(5000))*time.Millisecond, math.Exp(5*rng.Float64()))
		ownTPS := 100 / own.Generation.Seconds()
		now := noon
		prior := board.View(now).Rows[0]
		last := prior
		if prior.Samples != 0 {
			t.Fatal("the row should have no sample yet")
		}
		for n := range 60 {
			board.Observe(cat.Rows[0], own)
			now = now.Add(time.Millisecond)
			st := board.View(now).Rows[0]
			for _, c := range []struct {
				what                   string
				prior, last, next, own float64
			}{
				{"TTFT", prior.ExpectedTTFT, last.ExpectedTTFT, st.ExpectedTTFT, float64(own.TTFT) / 1e6},
				{"TPS", prior.ExpectedTPS, last.ExpectedTPS, st.ExpectedTPS, ownTPS},
				{"success", prior.Success, last.Success, st.Success, 1},
			} {
				const ulps = 1e-12
				low, high := min(c.prior, c.own)*(1-ulps), max(c.prior, c.own)*(1+ulps)
				if c.next < low || c.next > high {
					t.Fatalf("%s after %d samples is %v, not between prior %v and own %v", c.what, n+1, c.next, c.prior, c.own)
				}
				if math.Abs(c.next-c.own) > math.Abs(c.last-c.own)+ulps*c.own {
					t.Fatalf("%s after %d samples went from %v to %v, away from %v", c.what, n+1, c.last, c.next, c.own)
				}
			}
			last = st
		}
		if !near(last.ExpectedTTFT, math.Exp((60*math.Log(float64(own.TTFT)/1e6)+10*math.Log(prior.ExpectedTTFT))/70), 1e-9) {
			t.Fatalf("after 60 samples TTFT is %v", last.ExpectedTTFT)
		}
	}
}
