package ledger_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"chaperone/engine/ledger"
)

// A file that is damaged says what can be done about it, and that gives the same answers.
func TestADamagedLedgerIsMadeAgain(t *testing.T) {
	d, dir, path := newDice(t), t.TempDir(), filepath.Join(t.TempDir(), "ledger.sqlite")
	fill(t, d, openJournal(t, dir), 60)
	q := ledger.Query{By: []ledger.Dimension{ledger.Organisation, ledger.User, ledger.Day}}
	answer := func() (*ledger.Usage, error) {
		l, err := ledger.Open(ledger.Options{Database: path, Journal: dir, Log: quiet})
		if err != nil {
			return nil, err
		}
		defer l.Close()
		if err := l.CatchUp(t.Context()); err != nil {
			return nil, err
		}
		return l.Usage(t.Context(), q)
	}
	want, err := answer()
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"no database":    []byte(strings.Repeat("no database ", 1000)),
		"pages of zeros": append(bytes.Clone(good[:4096]), make([]byte, len(good)-4096)...),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := answer(); err == nil || !strings.Contains(err.Error(), "is damaged; once it is moved away") {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if got, err := answer(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("made again after %s: %+v, %v; want %+v", name, got, err, want)
		}
	}
}
