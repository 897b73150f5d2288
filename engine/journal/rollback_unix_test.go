//go:build unix

package journal

import (
	"syscall"
	"testing"
	"time"
)

// exhaust keeps the process from opening any more files, until restore: what is open can still be written.
func exhaust(t *testing.T) (restore func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	none := was
	none.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	restore = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(restore)
	return restore
}

// With "stop", going back to what is archived ends the refusals that came with what could not be. That is still tried for: it may
// have decided.
func TestGoingBackToWhatIsArchivedEndsRefusals(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	configure := func(generation uint64, content string) {
		t.Helper()
		if err := j.Configure(Artefacts{Generation: generation}, map[string][]byte{"a": []byte(content)}); err != nil {
			t.Fatal(err)
		}
	}
	configure(1, "good")
	restore := exhaust(t)
	configure(2, "new")
	if j.Ready() == nil {
		t.Error("it is ready, and what is in force is not archived")
	}
	configure(3, "good")
	if err := j.Ready(); err != nil {
		t.Errorf("what is in force is archived, and it refuses: %v", err)
	}
	frames := func() uint64 {
		j.token <- struct{}{}
		defer func() { <-j.token }()
		return j.tape.at.count
	}
	before := frames()
	for range 3 {
		j.second(time.Now())
	}
	if frames() != before {
		t.Error("the journal grows by itself while something cannot be archived that is not in force")
	}
	configure(4, "new")
	if j.Ready() == nil {
		t.Error("it is ready, and what is in force again is not archived")
	}
	configure(5, "good")
	rec := sample(idOf(1), time.Now(), 1)
	rec.Generation = 5
	j.Append(rec, nil)
	if err := j.Ready(); err != nil {
		t.Error(err)
	}
	restore()
	j.second(time.Now())
	closeJournal(t, j)
	sound(t, dir, Trust{})
}
