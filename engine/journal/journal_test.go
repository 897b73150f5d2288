package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/telemetry"
)

func idOf(n int) string { return fmt.Sprintf("gen-%024x", n) }

// quiet is for journals whose complaints are expected.
var quiet = slog.New(slog.DiscardHandler)

func open(t testing.TB, o Options) *Journal {
	t.Helper()
	if o.Log == nil {
		o.Log = quiet
	}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func closeJournal(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func verified(t testing.TB, dir string, trust Trust) *Report {
	t.Helper()
	r, err := Verify(dir, trust)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sound(t testing.TB, dir string, trust Trust) *Report {
	t.Helper()
	r := verified(t, dir, trust)
	for _, p := range r.Problems {
		t.Error(p)
	}
	return r
}

// read is the journal's records by id; it fails where one is there twice.
func read(t testing.TB, dir string) map[string]*Record {
	t.Helper()
	all := map[string]*Record{}
	for e, err := range Records(dir, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		if all[e.Record.ID] != nil {
			t.Errorf("%s is there twice", e.Record.ID)
		}
		all[e.Record.ID] = e.Record
	}
	return all
}

func TestWhatIsAppendedIsReadBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, Options{Dir: dir, Keep: 3})
	if err := j.Configure(Artefacts{Generation: 1, Policy: "p", Catalog: "c", Program: "test"},
		map[string][]byte{"chaperone.toml": []byte("[server]\n")}); err != nil {
		t.Fatal(err)
	}
	want := map[string]*Record{}
	for i := range 10 {
		rec := sample(idOf(i), time.Now().UTC(), i)
		if i%2 == 0 {
			rec.Claims = &Claims{User: fmt.Sprint("user ", i), Metadata: map[string]string{"a": "b"}, Tags: []string{"x"}}
		}
		j.Append(rec, nil)
		want[rec.ID] = rec
		if rec.Configuration == "" {
			t.Error("the record does not say what decided")
		}
	}
	for id, rec := range want { // 3 are in memory, the others on disk
		got, err := j.Get(id)
		if err != nil || got == nil {
			t.Fatalf("%s: %v, %v", id, got, err)
		}
		compareJSON(t, got.appendJSON(nil), json.RawMessage(rec.appendJSON(nil)))
	}
	if got, err := j.Get(idOf(99)); got != nil || err != nil {
		t.Errorf("found %v, %v", got, err)
	}
	closeJournal(t, j)
	for id, got := range read(t, dir) {
		compareJSON(t, got.appendJSON(nil), json.RawMessage(want[id].appendJSON(nil)))
		if list, err := Artefact(dir, got.Configuration); err != nil || !bytes.Contains(list, []byte("chaperone.toml")) {
			t.Errorf("what decided is not archived: %s, %v", list, err)
		}
	}
	r := sound(t, dir, Trust{})
	if r.Records != 10 || r.Unprotected != 0 || r.Segments != 1 {
		t.Errorf("%+v", r)
	}
}

func TestNothingIsOnDiskInTheClear(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	rec := sample(idOf(1), time.Now(), 2)
	rec.Claims = &Claims{User: "canary-user", Metadata: map[string]string{"k": "canary-metadata"}, Tags: []string{"canary-tag"}}
	j.Append(rec, nil)
	closeJournal(t, j)
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 && path != dir {
			t.Errorf("%s has mode %s: others may read it", path, info.Mode())
		}
		if !e.IsDir() {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(text, []byte("canary")) {
				t.Errorf("%s holds a claim in the clear", path)
			}
		}
		return nil
	})
	if got := read(t, dir)[rec.ID]; got.Claims == nil || got.Claims.User != "canary-user" {
		t.Errorf("claims are read back as %+v", got.Claims)
	}
	if err := Erase(dir, "acme", rec.At.UTC().Format(monthForm)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir)[rec.ID]; got.Claims != nil || got.Sealed == nil {
		t.Errorf("claims are read after their key is gone: %+v", got.Claims)
	}
	sound(t, dir, Trust{})
	if err := Erase(dir, "acme", "2020-01"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("erasing what is not there: %v", err)
	}
	if err := Erase(dir, "acme", "../../x"); err == nil {
		t.Error("a month that is none was taken")
	}
}

func TestClaimsCannotBeMovedToAnotherRecord(t *testing.T) {
	keys := newClaimKeys(t.TempDir())
	a, b := sample(idOf(1), time.Now(), 0), sample(idOf(2), time.Now(), 0)
	a.Claims = &Claims{User: "somebody"}
	var in room
	var sealed Sealed
	if err := errors.Join(keys.seal(a, &in), json.Unmarshal(in.sealed, &sealed)); err != nil {
		t.Fatal(err)
	}
	b.Sealed = &sealed
	if err := keys.unseal(b); err == nil {
		t.Error("they were opened in a record that they do not belong to")
	}
	b.Sealed = &Sealed{Month: "../../2026", Box: sealed.Box}
	if err := keys.unseal(b); err == nil || errors.Is(err, ErrErased) {
		t.Errorf("a month that is a path: %v", err)
	}
}

func TestSegmentsRotateArePackedAndExpire(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, SegmentBytes: 64 << 10, Keep: 1})
	const n = 400
	for i := range n {
		j.Append(sample(idOf(i), time.Now(), 5), nil)
	}
	closeJournal(t, j)
	r := sound(t, dir, Trust{})
	if r.Segments < 5 || r.Records != n {
		t.Errorf("%d segments, %d records", r.Segments, r.Records)
	}
	all, err := segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		if s.packed != (i+1 < len(all)) {
			t.Errorf("segment %d is packed: %t", s.number, s.packed)
		}
	}
	for i := range n {
		if rec, err := Find(dir, idOf(i)); err != nil || rec == nil || rec.ID != idOf(i) {
			t.Fatalf("%s: %v, %v", idOf(i), rec, err)
		}
	}
	if len(read(t, dir)) != n {
		t.Error("not all records are read back")
	}
	time.Sleep(2 * time.Millisecond) // so that the segments are older than the retention
	j = open(t, Options{Dir: dir, Retention: time.Millisecond})
	j.Append(sample(idOf(n), time.Now(), 1), nil)
	closeJournal(t, j)
	r = sound(t, dir, Trust{})
	if len(r.Notices) == 0 || r.Records >= n {
		t.Errorf("nothing expired: %+v", r)
	}
	// The same without the journal's own word is a finding.
	j = open(t, Options{Dir: t.TempDir(), SegmentBytes: 64 << 10})
	for i := range n {
		j.Append(sample(idOf(i), time.Now(), 5), nil)
	}
	closeJournal(t, j)
	if all, err = segments(j.o.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(all[0].path); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, j.o.Dir, Trust{}); len(r.Problems) == 0 {
		t.Error("a missing first segment was not found")
	}
}

func TestStatisticsAreThoseThatEachDecisionRead(t *testing.T) {
	dir := t.TempDir()
	rows := []*catalog.Row{{ID: "a", Index: 0}, {ID: "b", Index: 1}, {ID: "c", Index: 2}}
	view := func(tick uint64, values ...float64) *Seen {
		s := &Seen{Stats: &telemetry.View{Tick: tick, At: time.Now()}, Rows: rows[:len(values)]}
		for _, v := range values {
			s.Stats.Rows = append(s.Stats.Rows, telemetry.RowStats{Samples: int64(v), Uptime: v, Success: math.NaN(), TTFT: telemetry.Percentiles{P50: v / 3}})
			s.Shown = append(s.Shown, policy.StatsInput{Samples: int64(v)})
		}
		return s
	}
	seen := []*Seen{view(1, 1, 2, 3), view(2, 1, 5, 3), view(3, 1, 5), view(4, 7, 5, 9)}
	order := []int{0, 1, 0, 2, 3, 1, 2, 0, 3} // long requests end after newer ones
	write := func(from int) {
		j := open(t, Options{Dir: dir})
		for k, i := range order {
			rec := sample(idOf(from+k), time.Now(), 0)
			rec.Tick = seen[i].Stats.Tick
			j.Append(rec, seen[i])
		}
		closeJournal(t, j)
	}
	write(0)
	write(100)
	n := 0
	for e, err := range Records(dir, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		want := seen[e.Record.Tick-1]
		if len(e.Figures) != len(want.Rows) {
			t.Fatalf("tick %d has %d rows, not %d", e.Record.Tick, len(e.Figures), len(want.Rows))
		}
		for i, row := range want.Rows {
			f := e.Figures[row.ID]
			got := f.Stats()
			if !same(&got, &want.Stats.Rows[i]) || f.Shown != want.Shown[i] {
				t.Errorf("tick %d, row %s: %+v, not %+v", e.Record.Tick, row.ID, got, want.Stats.Rows[i])
			}
		}
	}
	if n != 2*len(order) {
		t.Errorf("%d records", n)
	}
}

// Each has what its own caller has said, which is sealed and written in room that others have used.
func TestManyAppendAtOnce(t *testing.T) {
	said := func(id string, i int) *Claims {
		if i%3 == 0 {
			return nil
		}
		return &Claims{User: strings.Repeat(id, i%7), App: &App{UserAgent: id, Origin: strings.Repeat("o", i)}}
	}
	for _, fsync := range []Fsync{Never, Interval, Always} {
		t.Run(string(fsync), func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, Options{Dir: dir, Fsync: fsync, SegmentBytes: 64 << 10, Keep: 1})
			const writers, each = 8, 40
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := range each {
						id := idOf(w*each + i)
						rec := sample(id, time.Now(), 3)
						rec.Organisation, rec.Claims = []string{"acme", "beta"}[i%2], said(id, i)
						j.Append(rec, nil)
						if rec, err := j.Get(id); err != nil || rec == nil {
							t.Errorf("%s is not there after it was appended: %v", id, err)
						}
					}
				})
			}
			wg.Wait()
			if c := j.Counts(); c.Written != writers*each || c.Dropped != 0 || c.Failing {
				t.Errorf("%+v", c)
			}
			closeJournal(t, j)
			sound(t, dir, Trust{})
			all := read(t, dir)
			if n := len(all); n != writers*each {
				t.Errorf("%d records are read back, not %d", n, writers*each)
			}
			for i := range writers * each {
				id := idOf(i)
				if rec := all[id]; rec != nil && !reflect.DeepEqual(rec.Claims, said(id, i%each)) {
					t.Errorf("%s claims %+v", id, rec.Claims)
				}
			}
		})
	}
}

func TestOneProcessAFolder(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	if _, err := Open(Options{Dir: dir, Log: quiet}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second journal in the folder: %v", err)
	}
	closeJournal(t, j)
	closeJournal(t, open(t, Options{Dir: dir}))
}

func TestFilterChooses(t *testing.T) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	rec := sample(idOf(1), at, 4)
	for name, c := range map[string]struct {
		filter Filter
		want   bool
	}{
		"everything":             {Filter{}, true},
		"its organisation":       {Filter{Organisation: "acme"}, true},
		"another organisation":   {Filter{Organisation: "other"}, false},
		"its model":              {Filter{Model: "m/one"}, true},
		"another model":          {Filter{Model: "m/two"}, false},
		"a provider shown it":    {Filter{Provider: "p0"}, true},
		"a provider not shown":   {Filter{Provider: "p1"}, false},
		"since then":             {Filter{Since: at}, true},
		"since later":            {Filter{Since: at.Add(1)}, false},
		"until then":             {Filter{Until: at}, false},
		"until later":            {Filter{Until: at.Add(1)}, true},
		"the package":            {Filter{DeniedBy: "library.training"}, true},
		"the rule":               {Filter{DeniedBy: "library.training.deny"}, true},
		"the rule with its code": {Filter{DeniedBy: "library.training.deny/training"}, true},
		"another code":           {Filter{DeniedBy: "library.training.deny/x"}, false},
		"another package":        {Filter{DeniedBy: "library"}, false},
	} {
		if got := c.filter.Match(rec); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestMemoryAlone(t *testing.T) {
	j := open(t, Options{Keep: 2})
	rec := sample(idOf(1), time.Now(), 1)
	j.Append(rec, nil)
	if got, err := j.Get(rec.ID); err != nil || !reflect.DeepEqual(got, rec) {
		t.Errorf("%v, %v", got, err)
	}
	if err := errors.Join(j.Configure(Artefacts{}, nil), j.Ready()); err != nil || j.OnDisk() {
		t.Error(err)
	}
	closeJournal(t, j)
}
