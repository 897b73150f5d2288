package telemetry_test

import (
	"slices"
	"testing"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
)

// Two routers with clocks that differ by an hour: what one has met, the other keeps to; of a failure and a success the later counts,
// and an old tale does not shut out what is well.
func TestReplicasKeepToWhatOthersHaveMet(t *testing.T) {
	const apart = time.Hour
	there := func(d time.Duration) time.Time { return after(d).Add(apart) }
	row := keyed("a")
	cat := &catalog.Catalog{Rows: []*catalog.Row{row}}
	breaker := telemetry.Breaker{Consecutive: 1, Rate: 1, Least: 100, Window: time.Minute, CoolDown: 10 * time.Second}
	here, other := telemetry.NewHealth(breaker), telemetry.NewHealth(breaker)
	feed, back := here.Subscribe("t"), other.Subscribe("t")
	for _, h := range []*telemetry.Health{here, other} {
		h.Configure(telemetry.HealthSettings{Breaker: breaker}, cat)
	}
	begin(t, here, row, "a", after(0), false).Failed(after(0), "server_error", 0)
	news := feed.Take(after(time.Second))
	other.Hear(news, there(2*time.Second)) // a second on the way
	if rest := other.Row(row, 0, there(10*time.Second)); rest.Why != telemetry.RestBreaker || !rest.Until.Equal(there(11*time.Second)) {
		t.Errorf("the other rests: %+v", rest)
	}
	if more := back.Take(there(3 * time.Second)); len(more) > 0 {
		t.Errorf("what was heard is told as news: %+v", more)
	}
	if all := back.All(there(3 * time.Second)); len(all) != 1 || all[0].Fault != "server_error" {
		t.Errorf("everything that rests: %+v", all)
	}
	begin(t, other, row, "a", there(12*time.Second), false).Succeeded(there(13 * time.Second))
	here.Hear(back.Take(there(13*time.Second)), after(13*time.Second))
	if rest := here.Row(row, 0, after(13*time.Second)); rest.Why != "" {
		t.Errorf("after a success at the other: %+v", rest)
	}
	news[0].Failed += 13_000
	here.Hear(news, after(14*time.Second))
	if rest := here.Row(row, 0, after(14*time.Second)); rest.Why != "" {
		t.Errorf("after an old tale: %+v", rest)
	}

	begin(t, here, row, "a", after(20*time.Second), false).Limited(after(20*time.Second), "rate_limited", 30*time.Second)
	limited := feed.Take(after(20 * time.Second))
	other.Hear(limited, there(20*time.Second))
	if rest := other.Row(row, 0, there(50*time.Second)); rest.Why != telemetry.RestLimited {
		t.Errorf("inside a wait that was announced to another: %+v", rest)
	}
	if rest := other.Row(row, 0, there(51*time.Second)); rest.Why != "" {
		t.Errorf("after it: %+v", rest)
	}
	begin(t, here, row, "a", after(60*time.Second), false).Learn(telemetry.Headroom{Requests: telemetry.Quota{Known: true, Left: 0, Reset: after(90 * time.Second)}}, after(60*time.Second))
	other.Hear(feed.Take(after(61*time.Second)), there(61*time.Second))
	if rest := other.Row(row, 0, there(70*time.Second)); rest.Why != telemetry.RestHeadroom {
		t.Errorf("nothing is left: %+v", rest)
	}

	// Nobody shuts anything out for good, or fills the memory.
	most := limited[slices.IndexFunc(limited, func(n telemetry.News) bool { return n.Credential == "a" })]
	most.Wait = 1 << 60
	other.Hear([]telemetry.News{most, {Row: row.ID, Credential: "b", Wait: 1}, {Model: "x", Tag: "y", Open: 1}}, there(100*time.Second))
	if rest := other.Row(row, 0, there(100*time.Second)); rest.Until.After(there(100*time.Second + time.Hour)) {
		t.Errorf("it rests until %v", rest.Until)
	}
	if n := len(other.Reports(there(100 * time.Second))); n != 2 {
		t.Errorf("%d conditions are kept", n)
	}
}

// Ten routers tell each other every five seconds what rests, and it takes them more than half a second each time: what rests does so
// hardly longer for that.
func TestReplicasKeepNoRestAlive(t *testing.T) {
	row := keyed("a")
	cat := &catalog.Catalog{Rows: []*catalog.Row{row}}
	breaker := telemetry.Breaker{Consecutive: 1, Rate: 1, Least: 100, Window: time.Minute, CoolDown: 20 * time.Second}
	var all []*telemetry.Health
	var feeds []*telemetry.Feed
	for range 10 {
		h := telemetry.NewHealth(breaker)
		feeds = append(feeds, h.Subscribe("t"))
		h.Configure(telemetry.HealthSettings{Breaker: breaker}, cat)
		all = append(all, h)
	}
	begin(t, all[0], row, "a", after(0), false).Failed(after(0), "server_error", 0)
	limited := begin(t, all[0], row, "a", after(0), true)
	limited.Learn(telemetry.Headroom{Requests: telemetry.Quota{Known: true, Reset: after(20 * time.Second)}}, after(0))
	limited.Limited(after(0), "rate_limited", 20*time.Second)
	const way = 600 * time.Millisecond
	for at := time.Duration(0); at < 40*time.Second; at += 5 * time.Second {
		for i, teller := range feeds {
			said := at + time.Duration(i)*way
			news := teller.All(after(said))
			for j, h := range all {
				if j != i {
					h.Hear(news, after(said+way))
				}
			}
		}
	}
	for i, h := range all {
		for _, r := range h.Reports(after(0)) {
			if r.Rest.Until.Before(after(20*time.Second)) || r.Rest.Until.After(after(21*time.Second)) {
				t.Errorf("router %d: %s rests for %s until %v", i, r.Endpoint, r.Rest.Why, r.Rest.Until.Sub(after(0)))
			}
		}
		if rest := h.Row(row, 0, after(21*time.Second)); rest.Why != "" {
			t.Errorf("router %d: it rests after that for %s until %v", i, rest.Why, rest.Until.Sub(after(0)))
		}
	}
}

// What a router has only heard of is said to be so until it meets a failure itself, and again where it hears of it anew.
func TestWhatIsOnlyHeardOfIsSaidToBe(t *testing.T) {
	row := keyed("a")
	breaker := telemetry.Breaker{Consecutive: 1, Rate: 1, Least: 100, Window: time.Minute, CoolDown: 10 * time.Second}
	here, other := telemetry.NewHealth(breaker), telemetry.NewHealth(breaker)
	feed := here.Subscribe("t")
	other.Subscribe("t")
	for _, h := range []*telemetry.Health{here, other} {
		h.Configure(telemetry.HealthSettings{Breaker: breaker}, &catalog.Catalog{Rows: []*catalog.Row{row}})
	}
	rests := func(h *telemetry.Health, at time.Time, heard bool) {
		t.Helper()
		if rest := h.Row(row, 0, at); rest.Why != telemetry.RestBreaker || rest.Heard != heard {
			t.Errorf("it rests: %+v, only heard of: %t is right", rest, heard)
		}
	}
	begin(t, here, row, "a", after(0), false).Failed(after(0), "timeout", 0)
	rests(here, after(time.Second), false)
	other.Hear(feed.Take(after(time.Second)), after(time.Second))
	rests(other, after(time.Second), true)
	begin(t, other, row, "a", after(2*time.Second), true).Refused(after(2*time.Second), "credential") // which is of the credential
	rests(other, after(2*time.Second), false)
	begin(t, other, row, "a", after(3*time.Second), true).Succeeded(after(3 * time.Second))
	begin(t, here, row, "a", after(20*time.Second), false).Failed(after(20*time.Second), "timeout", 0)
	other.Hear(feed.Take(after(20*time.Second)), after(20*time.Second))
	rests(other, after(20*time.Second), true)
	begin(t, other, row, "a", after(21*time.Second), true).Failed(after(21*time.Second), "timeout", 0)
	rests(other, after(21*time.Second), false)
	other.Hear(feed.All(after(22*time.Second)), after(22*time.Second))
	rests(other, after(22*time.Second), false)
}

// What has the same name and is another server, or another key, is not what another router has met; nor is what its own network
// may be to blame for.
func TestReplicasTellServersAndKeysApart(t *testing.T) {
	at := func(address, key string) *catalog.Row {
		row := keyed("a")
		row.BaseURL, row.Group.Credentials[0].Secret = address, catalog.NewSecret(key)
		return row
	}
	breaker := telemetry.Breaker{Consecutive: 1, Rate: 1, Least: 100, Window: time.Minute, CoolDown: 10 * time.Second}
	for name, c := range map[string]struct {
		other *catalog.Row
		fault string
		hears bool
	}{
		"the same":        {at("http://one", "k"), "server_error", true},
		"another server":  {at("http://two", "k"), "server_error", false},
		"another network": {at("http://one", "k"), "connect", false},
	} {
		t.Run(name, func(t *testing.T) {
			row := at("http://one", "k")
			here, other := telemetry.NewHealth(breaker), telemetry.NewHealth(breaker)
			feed := here.Subscribe("t")
			other.Subscribe("t")
			here.Configure(telemetry.HealthSettings{Breaker: breaker}, &catalog.Catalog{Rows: []*catalog.Row{row}})
			other.Configure(telemetry.HealthSettings{Breaker: breaker}, &catalog.Catalog{Rows: []*catalog.Row{c.other}})
			begin(t, here, row, "a", after(0), false).Failed(after(0), c.fault, 0)
			if rest := here.Row(row, 0, after(time.Second)); rest.Why != telemetry.RestBreaker {
				t.Fatalf("it does not rest where it failed: %+v", rest)
			}
			other.Hear(feed.Take(after(time.Second)), after(time.Second))
			if rests := other.Row(c.other, 0, after(time.Second)).Why == telemetry.RestBreaker; rests != c.hears {
				t.Errorf("rests: %v", rests)
			}
		})
	}
	row, key := at("http://one", "k"), at("http://one", "another")
	for name, to := range map[string]*catalog.Row{"the same key": row, "another key": key} {
		here, other := telemetry.NewHealth(breaker), telemetry.NewHealth(breaker)
		feed := here.Subscribe("t")
		other.Subscribe("t")
		here.Configure(telemetry.HealthSettings{Breaker: breaker}, &catalog.Catalog{Rows: []*catalog.Row{row}})
		other.Configure(telemetry.HealthSettings{Breaker: breaker}, &catalog.Catalog{Rows: []*catalog.Row{to}})
		begin(t, here, row, "a", after(0), false).Limited(after(0), "rate_limited", 30*time.Second)
		feed.Take(after(time.Second))
		feed.Missed()
		other.Hear(feed.Take(after(time.Second)), after(time.Second))
		if rest := other.Row(to, 0, after(2*time.Second)); (rest.Why == telemetry.RestLimited) != (to == row) {
			t.Errorf("%s: %+v", name, rest)
		}
	}
}
