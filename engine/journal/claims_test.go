package journal

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// claiming appends a record of acme's with claims, and closes the journal.
func claiming(t *testing.T, dir string, n int, at time.Time) {
	t.Helper()
	j := open(t, Options{Dir: dir})
	rec := sample(idOf(n), at, 1)
	rec.Claims = &Claims{User: "somebody"}
	j.Append(rec, nil)
	closeJournal(t, j)
}

func keyFile(dir string, at time.Time) string {
	return newClaimKeys(dir).path(claimKey{at.UTC().Format(monthForm), "acme"})
}

// After an erasure the same month gets another key. What the first has sealed is erased, and nothing else is lost.
func TestARunningMonthCanBeErased(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	claiming(t, dir, 1, now)
	if err := Erase(dir, "acme", now.UTC().Format(monthForm)); err != nil {
		t.Fatal(err)
	}
	claiming(t, dir, 2, now)
	sound(t, dir, Trust{})
	all := read(t, dir)
	if first := all[idOf(1)]; first == nil || first.Claims != nil || first.Sealed == nil {
		t.Errorf("the first is %+v", first)
	}
	if second := all[idOf(2)]; second == nil || second.Claims == nil || second.Claims.User != "somebody" {
		t.Errorf("the second is %+v", second)
	}
	if rec, err := Find(dir, idOf(1)); rec == nil || err != nil {
		t.Errorf("it is not found any more: %v", err)
	}
}

// A damaged key costs what it has sealed, and no record.
func TestADamagedClaimKeyCostsClaimsAlone(t *testing.T) {
	dir, now := filepath.Join(t.TempDir(), "[a] *"), time.Now() // a name that would be a pattern
	claiming(t, dir, 1, now)
	good, err := os.ReadFile(keyFile(dir, now))
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(keyFile(dir, now), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if rec := read(t, dir)[idOf(1)]; rec == nil || rec.Claims != nil || rec.Sealed == nil {
			t.Fatalf("bit %d: the record is %+v", bit, rec)
		}
		if ids, errs, _ := follow(t, Follow(dir), Position{}, 10); len(ids) != 1 || errs != nil {
			t.Fatalf("bit %d: followed to %v, %v", bit, ids, errs)
		}
		if r := verified(t, dir, Trust{}); len(r.Problems) != 1 || !strings.Contains(r.Problems[0].String(), "does not have its checksum") {
			t.Fatalf("bit %d: %v", bit, r.Problems)
		}
	}
	// Nothing is sealed under it either: it could not be read again.
	claiming(t, dir, 2, now)
	if rec := read(t, dir)[idOf(2)]; rec == nil || rec.Claims != nil || rec.Sealed == nil {
		t.Errorf("the second is %+v", rec)
	}
	if err := os.WriteFile(keyFile(dir, now), good, 0o600); err != nil {
		t.Fatal(err)
	}
	if rec := read(t, dir)[idOf(1)]; rec.Claims == nil {
		t.Error("claims are not read with the right key")
	}
}

// testdata/first was written by the first version, whose keys to claims have no checksum and whose records do not name them: it holds,
// what it has sealed is read, and its month is gone on with under the same key.
func TestTheFirstVersionsClaimsAreRead(t *testing.T) {
	const first = "testdata/first"
	if r := sound(t, first, Trust{}); r.Records != 1 {
		t.Errorf("%d records", r.Records)
	}
	if rec := read(t, first)[idOf(1)]; rec == nil || rec.Claims == nil || rec.Claims.User != "somebody" {
		t.Errorf("the record is %+v", rec)
	}
	dir, at := t.TempDir(), time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	if err := os.CopyFS(filepath.Join(dir, "claim-keys"), os.DirFS(filepath.Join(first, "claim-keys"))); err != nil {
		t.Fatal(err)
	}
	claiming(t, dir, 2, at)
	if r := sound(t, dir, Trust{}); len(r.Notices) > 0 {
		t.Error(r.Notices)
	}
	if rec := read(t, dir)[idOf(2)]; rec == nil || rec.Claims == nil || rec.Sealed != nil {
		t.Errorf("what was sealed under its key is %+v", rec)
	}
	was, err := os.ReadFile(keyFile(first, at))
	if now, err2 := os.ReadFile(keyFile(dir, at)); err != nil || err2 != nil || !bytes.Equal(now, was) {
		t.Error("the key was replaced", err, err2)
	}
}

// Claims that cannot be sealed are told to have been there, and do not stand in the clear.
func TestClaimsThatCannotBeSealedAreToldToBeLost(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "claim-keys"), nil, 0o600); err != nil { // where a folder should be made
		t.Fatal(err)
	}
	var log strings.Builder
	j := open(t, Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	rec := sample(idOf(1), time.Now(), 1)
	rec.Claims = &Claims{User: "somebody"}
	j.Append(rec, nil)
	closeJournal(t, j)
	if !strings.Contains(log.String(), idOf(1)) {
		t.Errorf("the log says %s", log.String())
	}
	if got := read(t, dir)[idOf(1)]; got == nil || got.Claims != nil || got.Sealed == nil {
		t.Errorf("%+v", got)
	}
	if r := sound(t, dir, Trust{}); !strings.Contains(strings.Join(r.Notices, "\n"), "of 1 requests") {
		t.Errorf("%v", r.Notices)
	}
}
