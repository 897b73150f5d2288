package journal

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What was made while the clock was ahead is found by its time, and is not taken for old, though what came after is earlier.
func TestAClockThatGoesBack(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	ahead := now.Add(2 * time.Hour)
	j := open(t, Options{Dir: dir})
	j.Append(sample(idOf(1), ahead, 1), nil)
	j.second(ahead)
	closeJournal(t, j)
	small(t, dir, 10, 2) // with the clock as it is
	small(t, dir, 20, 2)
	r := sound(t, dir, Trust{})
	if !strings.Contains(strings.Join(r.Notices, "\n"), "the clock went back by") {
		t.Errorf("it is not told: %v", r.Notices)
	}
	found := map[string]bool{}
	for e, err := range Records(dir, now.Add(time.Hour)) {
		if err != nil {
			t.Fatal(err)
		}
		found[e.Record.ID] = true
	}
	if len(found) != 1 || !found[idOf(1)] {
		t.Errorf("from an hour from now on there is %v", found)
	}
	for after, want := range map[time.Duration]int{time.Hour: 0, 3 * time.Hour: 2} {
		past, err := expired(dir, time.Minute, now.Add(after))
		if err != nil || len(past) != want {
			t.Errorf("%s from now %d segments are past a retention of a minute, not %d: %v", after, len(past), want, err)
		}
	}
}

// begin starts a segment behind what is in the folder, as a run does whose clock shows at.
func begin(t *testing.T, dir string, at time.Time) *tape {
	t.Helper()
	s, err := openSigner(dir)
	if err != nil {
		t.Fatal(err)
	}
	end, err := findEnd(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	run := &tape{dir: dir, signer: s, at: end.at, number: end.last, latest: end.latest, linker: newLinker()}
	if err := run.start(at); err != nil {
		t.Fatal(err)
	}
	return run
}

// A clock that begins anew at every start, as on a machine without a battery, makes nothing old.
func TestAClockThatBeginsInThePast(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	small(t, dir, 0, 2)
	if err := begin(t, dir, time.Unix(0, 0)).file.Close(); err != nil {
		t.Fatal(err)
	}
	small(t, dir, 10, 2)
	sound(t, dir, Trust{})
	if old, err := expired(dir, time.Hour, now); err != nil || len(old) != 0 {
		t.Errorf("%d segments are taken for old: %v", len(old), err)
	}
	if n := len(read(t, dir)); n != 4 {
		t.Errorf("%d records", n)
	}
	n := 0
	for _, err := range Records(dir, now.Add(-time.Minute)) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 4 {
		t.Errorf("%d records since a minute ago, not 4", n)
	}
}

// A clock that is far ahead at the start makes nothing old: it may be wrong. It is told, and believed from the next start on.
func TestAClockThatIsFarAhead(t *testing.T) {
	dir := t.TempDir()
	made := func(at time.Time) {
		t.Helper()
		run := begin(t, dir, at)
		run.checkpoint(at)
		if err := errors.Join(run.flush(), run.file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	const retention = 24 * time.Hour
	count := func() int {
		t.Helper()
		all, err := segments(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	// As if this moment were years later than any before it.
	made(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
	made(time.Date(2020, 1, 10, 0, 0, 0, 0, time.UTC))
	var said strings.Builder
	closeJournal(t, open(t, Options{Dir: dir, Retention: retention, Log: slog.New(slog.NewTextHandler(&said, nil))}))
	if n := count(); n != 2 || strings.Count(said.String(), "THE CLOCK IS AHEAD") != 1 {
		t.Errorf("%d segments are left, of which only the first is old by what the clock had shown before: %s", n, said.String())
	}
	said.Reset()
	closeJournal(t, open(t, Options{Dir: dir, Retention: retention, Log: slog.New(slog.NewTextHandler(&said, nil))}))
	if n := count(); n != 2 || strings.Contains(said.String(), "AHEAD") {
		t.Errorf("%d segments are left, of which those of this run and the one before are new: %s", n, said.String())
	}
	sound(t, dir, Trust{})
}

// While a machine sleeps, only the clock that nobody sets stands still: nights that add up to more than the retention are no clock that
// is ahead. One that was set back and is put right is none either.
func TestAClockThatIsAheadByManyNights(t *testing.T) {
	now := time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)
	var said strings.Builder
	j := &Journal{o: Options{Retention: 48 * time.Hour, Log: slog.New(slog.NewTextHandler(&said, nil))}, left: now, leftAt: now}
	believes := func(want time.Time) {
		t.Helper()
		if got := j.believed(now); !got.Equal(want) || strings.Contains(said.String(), "AHEAD") != !want.Equal(now) {
			t.Errorf("at %s it goes by %s: %s", now, got, said.String())
		}
	}
	for range 10 {
		now = now.Add(24 * time.Hour)
		j.leftAt = j.leftAt.Add(16 * time.Hour) // as if it had counted the day's eight hours
		believes(now)
	}
	now = now.AddDate(-10, 0, 0)
	j.leftAt = now.Add(-time.Hour)
	believes(now)
	now = now.AddDate(10, 0, 0)
	j.leftAt = now.Add(-2 * time.Hour)
	believes(now)
	now = now.AddDate(10, 0, 0)
	j.leftAt = now
	believes(now.AddDate(-10, 0, 0))
}
