package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openUnarchived opens a journal whose second generation cannot be archived: a file stands where the folder of artefacts should, and that
// is beside it, with ".away" behind its name.
func openUnarchived(t *testing.T, o Options) (j *Journal, archive string) {
	t.Helper()
	j = open(t, o)
	configure := func(generation uint64) {
		t.Helper()
		if err := j.Configure(Artefacts{Generation: generation}, map[string][]byte{"policy.rego": {byte(generation)}}); err != nil {
			t.Fatal(err)
		}
	}
	configure(1)
	archive = filepath.Join(o.Dir, "artefacts")
	if err := errors.Join(os.Rename(archive, archive+".away"), os.WriteFile(archive, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	configure(2)
	return j, archive
}

// While what decides cannot be archived, the journal does not grow by itself; it goes on as soon as it can be.
func TestAnArchiveThatCannotBeWrittenIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	j, archive := openUnarchived(t, Options{Dir: dir})
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

// What was never archived is told when the journal is closed, and by verification.
func TestAnArchiveThatIsNeverWrittenIsTold(t *testing.T) {
	dir := t.TempDir()
	j, archive := openUnarchived(t, Options{Dir: dir, OnFull: Drop})
	if err := j.Ready(); err != nil {
		t.Errorf("drop refuses requests: %v", err)
	}
	rec := sample(idOf(1), time.Now(), 1)
	rec.Generation = 2
	j.Append(rec, nil)
	if err := j.Close(); err == nil || !strings.Contains(err.Error(), "part of what has decided could not be archived: those decisions cannot be made again") {
		t.Errorf("closing it says %v", err)
	}
	if err := os.Remove(archive); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(archive+".away", archive); err != nil {
		t.Fatal(err)
	}
	list, content := rec.Configuration, digestOf([]byte{2})
	var told []string
	for _, p := range verified(t, dir, Trust{}).Problems {
		told = append(told, p.String())
	}
	all := strings.Join(told, "\n")
	if len(told) != 2 || !strings.Contains(all, list+": the list of artefacts: open ") || !strings.Contains(all, content+": policy.rego: open ") {
		t.Errorf("verification says %s; expected that %s and %s are not there", all, list, content)
	}
	if found := read(t, dir); len(found) != 1 {
		t.Errorf("%d records are read", len(found))
	}
}
