package telemetry_test

import (
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine/admission"
	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
)

var breaker = telemetry.Breaker{Consecutive: 3, Rate: 0.5, Least: 10, Window: 10 * time.Second, CoolDown: 6 * time.Second}

func after(d time.Duration) time.Time { return noon.Add(d) }

// keyed is a row with credentials of those names.
func keyed(names ...string) *catalog.Row {
	row := &catalog.Row{ID: "m@p#paid", Tag: "p", Model: &catalog.Model{ID: "m"}, Provider: &catalog.Provider{ID: "p"}, Group: &catalog.CredentialGroup{Name: "paid"}}
	for _, n := range names {
		row.Group.Credentials = append(row.Group.Credentials, catalog.Credential{Name: n, Weight: 1})
	}
	return row
}

// begin begins a trial that must be admitted.
func begin(t *testing.T, h *telemetry.Health, row *catalog.Row, name string, now time.Time, force bool) *telemetry.Trial {
	t.Helper()
	trial, rest := h.Begin(row, name, "acme", 10, now, force, admission.Pass{})
	if trial == nil {
		t.Fatalf("%s is not admitted at %v: %+v", name, now.Sub(noon), rest)
	}
	return trial
}

func why(t *testing.T, h *telemetry.Health, row *catalog.Row, now time.Time, want string) telemetry.Rest {
	t.Helper()
	rest := h.Row(row, 10, now)
	if rest.Why != want {
		t.Errorf("at %v it rests for %q, want %q", now.Sub(noon), rest.Why, want)
	}
	return rest
}

func TestABreakerOpensOnConsecutiveFailuresAndLetsSingleProbesThrough(t *testing.T) {
	h, row := telemetry.NewHealth(breaker), keyed("a")
	for range 2 {
		begin(t, h, row, "a", noon, false).Failed(noon, "timeout", 0)
	}
	begin(t, h, row, "a", noon, false).Succeeded(noon)
	for range 2 {
		begin(t, h, row, "a", noon, false).Failed(noon, "timeout", 0)
	}
	why(t, h, row, noon, "")
	begin(t, h, row, "a", noon, false).Failed(noon, "timeout", 0)
	if rest := why(t, h, row, noon, telemetry.RestBreaker); !rest.Until.Equal(after(6 * time.Second)) {
		t.Errorf("open until %v", rest.Until)
	}
	// Where nothing else is left it is tried all the same; a failure extends the cool-down, and an earlier one that ends late
	// does not shorten it.
	begin(t, h, row, "a", after(4*time.Second), true).Failed(after(4*time.Second), "timeout", 0)
	begin(t, h, row, "a", after(4*time.Second), true).Failed(after(time.Second), "timeout", 0)
	why(t, h, row, after(9*time.Second), telemetry.RestBreaker)
	why(t, h, row, after(10*time.Second), "")
	probe := begin(t, h, row, "a", after(10*time.Second), false)
	why(t, h, row, after(11*time.Second), telemetry.RestProbing)
	if second, _ := h.Begin(row, "a", "acme", 10, after(11*time.Second), false, admission.Pass{}); second != nil {
		t.Error("two probes at once")
	}
	probe.Failed(after(12*time.Second), "timeout", 0)
	why(t, h, row, after(17*time.Second), telemetry.RestBreaker)
	probe = begin(t, h, row, "a", after(18*time.Second), false)
	probe.Released() // its client went away: it says nothing
	probe = begin(t, h, row, "a", after(18*time.Second), false)
	probe.Committed(after(18 * time.Second))
	why(t, h, row, after(18*time.Second), "")
	probe.Succeeded(after(19 * time.Second))
	begin(t, h, row, "a", after(20*time.Second), false).Failed(after(20*time.Second), "timeout", 0)
	why(t, h, row, after(20*time.Second), "")
}

func TestABreakerOpensOnTheFailureRateOfItsWindow(t *testing.T) {
	for of, fails := range map[string]func(*telemetry.Trial, time.Time){
		"an endpoint":  func(t *telemetry.Trial, now time.Time) { t.Failed(now, "timeout", 0) },
		"a credential": func(t *telemetry.Trial, now time.Time) { t.Refused(now, "credential") },
	} {
		t.Run(of, func(t *testing.T) {
			h, row := telemetry.NewHealth(breaker), keyed("a")
			attempts := func(n int, apart time.Duration) {
				for i := range n {
					now := after(time.Duration(i) * apart)
					if trial := begin(t, h, row, "a", now, false); i%2 == 0 {
						fails(trial, now)
					} else {
						trial.Succeeded(now)
					}
				}
			}
			attempts(9, 100*time.Millisecond)
			why(t, h, row, after(time.Second), "")
			fails(begin(t, h, row, "a", after(time.Second), false), after(time.Second))
			why(t, h, row, after(time.Second), telemetry.RestBreaker)

			// The same, spread over more than the window.
			h = telemetry.NewHealth(breaker)
			attempts(20, 3*time.Second)
			why(t, h, row, after(time.Minute), "")
		})
	}
}

func TestAnswersThatBeginAndNeverEndOpenTheBreakerAgain(t *testing.T) {
	h, row := telemetry.NewHealth(breaker), keyed("a")
	for range 3 {
		trial := begin(t, h, row, "a", noon, false)
		trial.Committed(after(18 * time.Second))
		trial.Failed(noon, "timeout", 0)
	}
	why(t, h, row, noon, telemetry.RestBreaker)
}

func TestCredentialsRestApart(t *testing.T) {
	h, row := telemetry.NewHealth(breaker), keyed("a", "b")
	begin(t, h, row, "a", noon, false).Limited(noon, "rate_limited", 20*time.Second)
	if rest := h.Try(row, "a", 10, noon); !rest.Firm() || !rest.Until.Equal(after(20*time.Second)) {
		t.Errorf("a rests %+v", rest)
	}
	if trial, _ := h.Begin(row, "a", "acme", 10, noon, true, admission.Pass{}); trial != nil {
		t.Error("force breaks an announced wait")
	}
	why(t, h, row, noon, "")
	for range 3 {
		begin(t, h, row, "b", noon, true).Refused(noon, "credential")
	}
	why(t, h, row, noon, telemetry.RestBreaker) // b may be tried, a must not
	begin(t, h, row, "b", noon, true).Limited(noon, "rate_limited", 30*time.Second)
	if rest := why(t, h, row, noon, telemetry.RestLimited); !rest.Until.Equal(after(20 * time.Second)) {
		t.Errorf("the row rests until %v; a is the first to be free", rest.Until.Sub(noon))
	}
	// A wait is extended, never shortened; one that the endpoint announced holds for all its credentials.
	h = telemetry.NewHealth(breaker)
	first, second := begin(t, h, row, "a", noon, false), begin(t, h, row, "b", noon, false)
	first.Failed(noon, "timeout", 9*time.Second)
	second.Failed(noon, "timeout", 2*time.Second)
	if rest := why(t, h, row, noon, telemetry.RestAnnounced); !rest.Until.Equal(after(9 * time.Second)) {
		t.Errorf("until %v", rest.Until.Sub(noon))
	}
}

func TestHeadroomThatIsKnownToBeSpentMakesACredentialRest(t *testing.T) {
	h, row := telemetry.NewHealth(breaker), keyed("a")
	quota := func(left int64) telemetry.Quota {
		return telemetry.Quota{Known: true, Left: left, Reset: after(30 * time.Second)}
	}
	begin(t, h, row, "a", noon, false).Learn(telemetry.Headroom{Requests: quota(3), Tokens: quota(25)}, noon)
	why(t, h, row, noon, "")
	begin(t, h, row, "a", noon, false) // 10 of 25 tokens
	begin(t, h, row, "a", noon, false)
	why(t, h, row, noon, telemetry.RestHeadroom)
	late := begin(t, h, row, "a", noon, true) // soft: it is tried where nothing else is left
	late.Learn(telemetry.Headroom{Tokens: quota(25)}, noon)
	why(t, h, row, noon, telemetry.RestHeadroom) // an answer that was overtaken does not give tokens back
	why(t, h, row, after(30*time.Second), "")
	late.Learn(telemetry.Headroom{Tokens: telemetry.Quota{Known: true, Left: 1000, Reset: after(60 * time.Second)}}, noon)
	why(t, h, row, noon, telemetry.RestHeadroom) // requests: 3 − 3
}

func TestHealthIsKeptOverReloadsAndShownInMetrics(t *testing.T) {
	h, row := telemetry.NewHealth(breaker), keyed("a")
	for range 3 {
		begin(t, h, row, "a", noon, true).Failed(time.Now(), "timeout", 0)
	}
	m := telemetry.NewMetrics()
	m.Watch(h)
	scrape := func() string {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	h.Configure(telemetry.HealthSettings{Breaker: breaker}, &catalog.Catalog{Rows: []*catalog.Row{row}})
	for _, line := range []string{
		`chaperone_breaker_state{credential="",endpoint="m@p"} 2`, `chaperone_breaker_state{credential="a",endpoint="m@p#paid"} 0`,
		`chaperone_breaker_openings_total{credential="",endpoint="m@p"} 1`, `chaperone_resting{credential="",endpoint="m@p",reason="breaker_open"} 1`,
	} {
		if !strings.Contains(scrape(), line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	h.Configure(telemetry.HealthSettings{Breaker: breaker}, &catalog.Catalog{})
	if text := scrape(); strings.Contains(text, "m@p") {
		t.Error("an endpoint that no catalog has is still in the metrics")
	}
}

func TestOneProbeOfManyAtOnce(t *testing.T) {
	h, row := telemetry.NewHealth(breaker), keyed("a")
	for range 3 {
		begin(t, h, row, "a", noon, true).Failed(noon, "timeout", 0)
	}
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 500 {
				if trial, _ := h.Begin(row, "a", "acme", 1, after(time.Minute), false, admission.Pass{}); trial != nil {
					if admitted.Add(1) > 1 {
						t.Error("two probes at once")
					}
					h.Row(row, 1, noon)
					admitted.Add(-1)
					trial.Released()
				}
			}
		})
	}
	wg.Wait()
}
