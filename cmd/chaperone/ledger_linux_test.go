package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestALedgerIsHeldToItsJournal(t *testing.T) {
	w := recording(t, "", "")
	w.start(t)
	ended := map[string]bool{}
	for range 3 {
		id, err := w.answered(true)
		if err != nil {
			t.Fatal(err)
		}
		ended[id] = true
	}
	verify := func(code int, want string, args ...string) string {
		t.Helper()
		got, stdout, stderr := chaperone(t, append([]string{"ledger", "verify"}, args...)...)
		if got != code || !strings.Contains(stdout+stderr, want) {
			t.Errorf("ledger verify %s: exit code %d, not %d, or no %q in:\n%s%s", strings.Join(args, " "), got, code, want, stdout, stderr)
		}
		return stdout
	}
	// It may have entered none of them yet.
	verify(exitDone, "the ledger agrees with the journal", "--config", w.config) // while the router runs
	w.stop(t)
	if records := w.hold(t, ended); records != 3 { // which enters what is left
		t.Fatalf("%d records", records)
	}
	verify(exitDone, "generations compared   3\n", "--dir", w.dir)

	var id string
	db, err := sql.Open("sqlite3", "file:"+w.database)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.QueryRow("UPDATE lines SET cost = cost + 1 WHERE generation = (SELECT MIN(id) FROM generations) RETURNING generation").Scan(&id), db.Close()); err != nil {
		t.Fatal(err)
	}
	told := verify(exitFailed, "the ledger is not what the journal says: 1 finding(s)", "--config", w.config)
	if !strings.Contains(told, "WRONG: "+id+": lines 0: cost is ") || !strings.Contains(told, "stop the router, move "+w.database+" away") {
		t.Error(told)
	}
	var v struct {
		Ledger, Journal, Rebuild string
		Generations              int
		Findings                 []struct {
			Generation, Table, Field string
			Ledger, Journal          int64
		}
	}
	if err := json.Unmarshal([]byte(verify(exitFailed, "", "--dir", w.dir, "--json")), &v); err != nil {
		t.Fatal(err)
	}
	if f := v.Findings; v.Ledger != w.database || v.Journal != w.dir || v.Generations != 3 || v.Rebuild == "" || len(f) != 1 || f[0].Generation != id || f[0].Table != "lines" ||
		f[0].Field != "cost" || f[0].Ledger != f[0].Journal+1 {
		t.Errorf("%+v", v)
	}
	other := filepath.Join(t.TempDir(), "other.sqlite")
	verify(exitInput, "there is no ledger "+other, "--dir", w.dir, "--database", other)
	verify(exitInput, "there is no folder", "--dir", filepath.Join(w.dir, "nowhere"))

	// As it says:
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(w.database+suffix, other+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	w.start(t)
	until(t, "the ledger is made again", func() bool {
		_, metrics := get(t, w.private+"/metrics")
		return strings.Contains(metrics, "\nchaperone_ledger_records_total 3\n")
	})
	verify(exitDone, "generations compared   3\n", "--config", w.config)
	w.stop(t)
	verify(exitFailed, id, "--dir", w.dir, "--database", other)
	if err := os.WriteFile(other, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	verify(exitFailed, "is damaged; once it is moved away", "--dir", w.dir, "--database", other)
}
