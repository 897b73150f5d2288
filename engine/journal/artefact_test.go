package journal

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// While what decides cannot be archived, the journal does not grow by itself; it goes on as soon as it can be.
func TestAnArchiveThatCannotBeWrittenIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	configure := func(generation uint64) {
		t.Helper()
		if err := j.Configure(Artefacts{Generation: generation}, map[string][]byte{"a": {byte(generation)}}); err != nil {
			t.Fatal(err)
		}
	}
	configure(1)
	archive := filepath.Join(dir, "artefacts")
	if err := os.Rename(archive, archive+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(archive, nil, 0o600); err != nil { // where the folder should be
		t.Fatal(err)
	}
	configure(2)
	before := verified(t, dir, Trust{}).Checkpoints
	for range 3 {
		j.second(time.Now())
	}
	if after := verified(t, dir, Trust{}).Checkpoints; after != before || j.Ready() == nil {
		t.Errorf("%d checkpoints were %d before, and it is ready: %v", after, before, j.Ready())
	}
	if err := os.Remove(archive); err != nil {
		t.Fatal(err)
	}
	j.second(time.Now())
	if err := j.Ready(); err != nil {
		t.Error(err)
	}
	if err := os.CopyFS(archive, os.DirFS(archive+".away")); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	sound(t, dir, Trust{})
}
