package ledger_test

import (
	"database/sql"
	"os"
	"strings"
	"testing"
	"time"

	"chaperone/engine/ledger"
)

// raw opens a database as it is.
func raw(t *testing.T, database string) *sql.DB {
	t.Helper()
	driver, name := "sqlite3", "file:"+database
	if ledger.IsURL(database) {
		driver, name = "pgx", database
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// A ledger of the first schema is brought up to date with all that is in it, and goes on.
func TestAnOlderLedgerIsBroughtUpToDate(t *testing.T) {
	schema, err := os.ReadFile("testdata/schema-1.sql")
	if err != nil {
		t.Fatal(err)
	}
	databases(t, func(t *testing.T, fresh func(testing.TB) string) {
		database := fresh(t)
		db := raw(t, database)
		run := func(statement string) {
			t.Helper()
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		for statement := range strings.SplitSeq(string(schema), ";\n") {
			if strings.TrimSpace(statement) != "" {
				run(statement)
			}
		}
		run(`INSERT INTO generations VALUES ('gen-000000000000000000000001', 1780000000000000, 'r', 'acme', 'search', 'key_1', 'm/one', 'm/one', 'p', 'P', 'm/one@p#own',
			200, '', 'stop', 1, '', 1, 0, 1, 10, 5, 1, 2, 3, 9223372036854775807, 1000, 2000)`)
		run(`INSERT INTO lines VALUES ('gen-000000000000000000000001', 0, 1780000000000000, 'acme', 'search', 'key_1', 'm/one', 'p', 'P', 'm/one@p#own', 'answer', 'ok',
			200, 'all', 2000, 1, 0, 1, 1, 1, 10, 5, 1, 2, 3, 9223372036854775807, 2000, 1000, 1, 5, 1000)`)
		run(`INSERT INTO claims VALUES ('gen-000000000000000000000001', 'user', 'ann', 'acme', '2026-05')`)
		run(`INSERT INTO days VALUES (1700000000000000, 'acme', '', 'key_1', 'm/one', 'p', 'm/one@p#own', 3, 1, 4, 4, 30, 15, 0, 0, 0, 2147483648, 1, 10, 0, 0, 0, 0)`)
		run(`INSERT INTO erased VALUES ('acme', '2026-04')`)
		run(`INSERT INTO progress VALUES ('r', 7, 99)`)

		d, dir := newDice(t), t.TempDir()
		all := fill(t, d, openJournal(t, dir), 50)
		l := open(t, ledger.Options{Database: database, Journal: dir})
		catchUp(t, l)
		old, err := l.Generation(t.Context(), "gen-000000000000000000000001")
		if err != nil || old == nil || old.User != "ann" || old.Cost != 9223372036854775807 || old.API != "" || len(old.Attempts) != 1 || old.TTFT != time.Millisecond {
			t.Errorf("what was there is %+v, %v", old, err)
		}
		u, err := l.Usage(t.Context(), ledger.Query{Until: time.UnixMicro(1780000000000001), Where: map[ledger.Dimension][]string{ledger.Endpoint: {"m/one@p#own"}}})
		// 2³¹·2³² + 1 and 2⁶³ − 1 picodollars
		if err != nil || u.Total.Requests != 4 || u.Total.Cost.Big().String() != "18446744073709551616" {
			t.Errorf("what was there sums up to %+v, %v", u.Total, err)
		}
		for _, g := range all {
			if got, err := l.Generation(t.Context(), g.ID); err != nil || got == nil || got.API != g.API || got.Session != g.Session || got.Discount != g.Discount {
				t.Errorf("%s is %+v, %v", g.ID, got, err)
			}
		}
		var segment int
		if err := db.QueryRow("SELECT segment FROM progress WHERE replica = 'r'").Scan(&segment); err != nil || segment != 7 {
			t.Errorf("how far the other journal was entered is %d, %v", segment, err)
		}
	})
}
