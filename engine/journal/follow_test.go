package journal

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// follow reads on to the end, at most so many records at a time, and returns ids, errors and the place.
func follow(t *testing.T, f *Follower, at Position, most int) (ids []string, errs []error, end Position) {
	t.Helper()
	for {
		records, next, err := f.Next(at, most)
		if len(records) > most {
			t.Fatalf("%d records, and %d are the most", len(records), most)
		}
		for _, r := range records {
			ids = append(ids, r.ID)
		}
		if err != nil {
			errs = append(errs, err)
		}
		if next == at {
			return ids, errs, at
		}
		at = next
	}
}

// several writes segments, most of which are packed, and returns the ids in their order.
func several(t *testing.T, dir string, n int) (ids []string) {
	t.Helper()
	j := open(t, Options{Dir: dir, Keep: 1, SegmentBytes: 10_000})
	for i := range n {
		ids = append(ids, idOf(i))
		j.Append(sample(idOf(i), time.Now(), 3), nil)
	}
	closeJournal(t, j)
	return ids
}

func TestFollowingGoesOnFromAnyPlace(t *testing.T) {
	dir := t.TempDir()
	want := several(t, dir, 60)
	if packed, err := filepath.Glob(filepath.Join(dir, "*"+packedSuffix)); err != nil || len(packed) < 2 {
		t.Fatal(packed, err)
	}
	for _, most := range []int{1, 7, 1000} {
		got, errs, _ := follow(t, Follow(dir), Position{}, most)
		if !slices.Equal(got, want) || errs != nil {
			t.Errorf("%d at a time: %v, %v", most, got, errs)
		}
	}
	// One after the other, each time with a reader that knows nothing.
	var got []string
	var at Position
	for {
		records, next, err := Follow(dir).Next(at, 1)
		if err != nil {
			t.Fatal(err)
		}
		if next == at {
			break
		}
		for _, r := range records {
			got = append(got, r.ID)
		}
		at = next
	}
	if !slices.Equal(got, want) {
		t.Errorf("piece by piece: %v", got)
	}
	more := open(t, Options{Dir: dir, Keep: 1})
	f := Follow(dir)
	for i := range 5 {
		id := idOf(100 + i)
		more.Append(sample(id, time.Now(), 2), nil)
		var ids []string
		if ids, _, at = follow(t, f, at, 10); !slices.Equal(ids, []string{id}) {
			t.Errorf("after %s was written: %v", id, ids)
		}
	}
	closeJournal(t, more)
}

func TestFollowingWithoutAJournal(t *testing.T) {
	f := Follow(filepath.Join(t.TempDir(), "none"))
	if records, at, err := f.Next(Position{}, 10); records != nil || at != (Position{}) || err != nil {
		t.Error(records, at, err)
	}
	if _, err := f.Replica(); !os.IsNotExist(err) && !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}

// written is a record's frame.
func written(t *testing.T, r *Record) []byte {
	t.Helper()
	dir := t.TempDir()
	j := open(t, Options{Dir: dir, Keep: 1})
	j.Append(r, nil)
	closeJournal(t, j)
	data, err := os.ReadFile(filepath.Join(dir, segmentName(1, plainSuffix)))
	for err == nil {
		var frame []byte
		if frame, err = nextFrame(data); err == nil && frame[frameHead] == kindDecision {
			return frame
		}
		data = data[len(frame):]
	}
	t.Fatal(err)
	return nil
}

// A segment is cut, or written anew from some place on, as after a full disk: what is there afterwards is read, in order, at least once,
// and the reader comes to an end.
func TestFollowingASegmentThatWasWrittenAnew(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 15 {
		dir := t.TempDir()
		j := open(t, Options{Dir: dir, Keep: 1})
		for i := range 10 {
			j.Append(sample(idOf(i), time.Now(), 1+random.IntN(4)), nil)
		}
		closeJournal(t, j)
		f := Follow(dir)
		_, _, at := follow(t, f, Position{}, 100)
		path := filepath.Join(dir, segmentName(1, plainSuffix))
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Whole frames up to a place, then others.
		end, keep := 0, 1+random.IntN(8)
		for range keep {
			frame, err := nextFrame(data[end:])
			if err != nil {
				t.Fatal(err)
			}
			end += len(frame)
		}
		data = slices.Clone(data[:end])
		var want []string
		for i := range 1 + random.IntN(8) {
			id := idOf(50 + i)
			want = append(want, id)
			data = append(data, written(t, sample(id, time.Now(), 1+random.IntN(6)))...)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if int64(len(data)) == at.Offset {
			continue
		}
		ids, errs, now := follow(t, f, at, 3)
		ids = slices.DeleteFunc(ids, func(id string) bool { return !slices.Contains(want, id) })
		// A place that happens to fit is gone on from: what was written before it cannot be missed then.
		if at.Offset < int64(len(data)) && len(ids) < len(want) && !slices.Equal(ids, want[len(want)-len(ids):]) || errs != nil || now.Offset != int64(len(data)) {
			t.Fatalf("read %v of %v, %v; at %d of %d", ids, want, errs, now.Offset, len(data))
		}
	}
}

func TestFollowingGoesPastDamage(t *testing.T) {
	dir := t.TempDir()
	want := several(t, dir, 60)
	all, err := segments(dir)
	if err != nil || len(all) < 4 {
		t.Fatal(len(all), err)
	}
	data, err := os.ReadFile(all[1].path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(all[1].path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	got, errs, _ := follow(t, Follow(dir), Position{}, 5)
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), filepath.Base(all[1].path)) {
		t.Errorf("it is not said what cannot be read: %v", errs)
	}
	lost := 0
	for _, id := range want {
		if !slices.Contains(got, id) {
			lost++
		}
	}
	if lost == 0 || lost > 25 || !slices.Contains(got, want[len(want)-1]) {
		t.Errorf("%d of %d are lost", lost, len(want))
	}
}

// The name of a journal stands in every segment's header, so that one that is damaged costs its segment alone.
func TestADamagedHeaderDoesNotHideTheJournalsName(t *testing.T) {
	dir := t.TempDir()
	several(t, dir, 60)
	want, err := Follow(dir).Replica()
	if err != nil || want == "" {
		t.Fatal(want, err)
	}
	all, err := segments(dir)
	if err != nil || len(all) < 2 {
		t.Fatal(len(all), err)
	}
	for i := range all {
		data, err := os.ReadFile(all[i].path)
		if err != nil {
			t.Fatal(err)
		}
		data[50] ^= 1
		if err := os.WriteFile(all[i].path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Follow(dir).Replica()
		if i+1 < len(all) && (got != want || err != nil) {
			t.Errorf("with %d damaged: %q, %v; want %q", i+1, got, err, want)
		}
		if i+1 == len(all) && (err == nil || !strings.Contains(err.Error(), filepath.Base(all[0].path))) {
			t.Errorf("with all damaged: %q, %v", got, err)
		}
	}
}
