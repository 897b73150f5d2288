package ledger_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine/journal"
	"chaperone/engine/ledger"
)

func claimed(d dice, at time.Time, organisation, user string) *journal.Record {
	r := d.record(at)
	for !r.Dispatched {
		r = d.record(at)
	}
	r.At, r.Organisation, r.Claims = at, organisation, &journal.Claims{User: user, Tags: []string{user + "-tag"}}
	return r
}

func TestErasedClaimsAreGoneAndStayGone(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(testing.TB) string) {
		d, dir, database := newDice(t), t.TempDir(), fresh(t)
		j := openJournal(t, dir)
		now := time.Now().UTC()
		month, earlier := now.Format("2006-01"), now.AddDate(0, -1, -now.Day()+1)
		j.Append(claimed(d, now, "acme", "kanarienvogel"), nil)
		j.Append(claimed(d, now, "open", "other-org"), nil)
		j.Append(claimed(d, earlier, "acme", "other-month"), nil)
		l := open(t, ledger.Options{Database: database, Journal: dir})
		catchUp(t, l)
		users := func() string {
			t.Helper()
			u, err := l.Usage(t.Context(), ledger.Query{By: []ledger.Dimension{ledger.User, ledger.Tag}})
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, r := range u.Rows {
				all = append(all, strings.Join(r.Keys, " "))
			}
			return strings.Join(all, ", ")
		}
		if got := users(); got != "kanarienvogel kanarienvogel-tag, other-month other-month-tag, other-org other-org-tag" {
			t.Fatal(got)
		}
		before, err := l.Usage(t.Context(), ledger.Query{})
		if err != nil {
			t.Fatal(err)
		}
		if err := journal.Erase(dir, "acme", month); err != nil {
			t.Fatal(err)
		}
		if n, err := l.Erase(t.Context(), "acme", month); n != 2 || err != nil {
			t.Fatalf("%d were deleted of 2: %v", n, err)
		}
		if got := users(); got != " , other-month other-month-tag, other-org other-org-tag" {
			t.Errorf("there is still %s", got)
		}
		after, err := l.Usage(t.Context(), ledger.Query{})
		if err != nil || figuresOf(&after.Total) != figuresOf(&before.Total) {
			t.Errorf("erasing claims has changed the sums: %v", err)
		}
		// The router still has the month's key in memory, and another replica one of its own.
		j.Append(claimed(d, now, "acme", "kanarienvogel"), nil)
		elsewhere := t.TempDir()
		openJournal(t, elsewhere).Append(claimed(d, now, "acme", "kanarienvogel"), nil)
		catchUp(t, l)
		catchUp(t, open(t, ledger.Options{Database: database, Journal: elsewhere}))
		if got := users(); got != " , other-month other-month-tag, other-org other-org-tag" {
			t.Errorf("it is back: %s", got)
		}
		if ledger.IsURL(database) {
			return
		}
		files, err := filepath.Glob(database + "*")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			content, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(content, []byte("kanarienvogel")) {
				t.Errorf("%s still holds what was erased", filepath.Base(f))
			}
			if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 && !strings.HasSuffix(f, "-shm") {
				t.Errorf("%s is open to others: %v, %v", filepath.Base(f), info.Mode(), err)
			}
		}
	})
}
