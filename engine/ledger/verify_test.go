package ledger_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone/engine/journal"
	"chaperone/engine/ledger"
)

// verified is what verification finds; where the database cannot even be opened, that is the finding.
func verified(t testing.TB, database, journal string) *ledger.Report {
	t.Helper()
	l, err := ledger.Open(ledger.Options{Database: database, Journal: journal, Log: quiet})
	if err != nil {
		return &ledger.Report{Findings: []ledger.Finding{{Message: err.Error()}}}
	}
	defer l.Close()
	r, err := l.Verify(t.Context(), nil)
	if err != nil {
		return &ledger.Report{Findings: []ledger.Finding{{Message: err.Error()}}}
	}
	return r
}

func agrees(t testing.TB, database, journal string) *ledger.Report {
	t.Helper()
	r := verified(t, database, journal)
	if len(r.Findings) > 0 {
		t.Fatalf("it should agree: %v", r.Findings)
	}
	return r
}

// kept is a ledger of a journal, with the earlier half of its days summed up.
func kept(t testing.TB, database, dir string, n int) []*ledger.Generation {
	t.Helper()
	all := fill(t, newDice(t), openJournal(t, dir), n)
	l := open(t, ledger.Options{Database: database, Journal: dir, Retention: 30 * 24 * time.Hour})
	catchUp(t, l)
	if err := l.Keep(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

// tables are those that are held to the journal, with their keys.
var tables = map[string][]string{
	"generations": {"id"}, "lines": {"generation", "n"}, "claims": {"generation", "kind", "value"}, "progress": {"replica"},
	"days": {"at", "organisation", "team", "key_id", "model", "provider", "endpoint"},
}

// first is a table's first row: its columns and what is in them.
func first(t *testing.T, db *sql.DB, table string) (columns []string, row []any) {
	t.Helper()
	rows, err := db.Query("SELECT * FROM " + table + " ORDER BY " + strings.Join(tables[table], ", ") + " LIMIT 1")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if columns, err = rows.Columns(); err != nil || !rows.Next() {
		t.Fatalf("%s is empty: %v", table, err)
	}
	row = make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range row {
		into[i] = &row[i]
	}
	if err := rows.Scan(into...); err != nil {
		t.Fatal(err)
	}
	return columns, row
}

// Whatever value is another than what was entered is found, and named.
func TestVerifyFindsEveryValueThatIsAnother(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(testing.TB) string) {
		dir, database := t.TempDir(), fresh(t)
		all := kept(t, database, dir, 40)
		if r := agrees(t, database, dir); r.Generations != len(all) || r.Days == 0 {
			t.Fatalf("%d generations of %d and %d sums are compared", r.Generations, len(all), r.Days)
		}
		db := raw(t, database)
		for table, key := range tables {
			columns, row := first(t, db, table)
			for i, column := range columns {
				var was, is any = row[i], "another"
				if n, ok := row[i].(int64); ok {
					is = n + 1<<20 // which nothing is near
				}
				// Row by row: its key may be what changes.
				put := func(v, old any) {
					t.Helper()
					query, args := "UPDATE "+table+" SET "+column+" = $1 WHERE "+column+" = $2", []any{v, old}
					for _, k := range key {
						if k != column {
							args = append(args, row[slices.Index(columns, k)])
							query += fmt.Sprintf(" AND %s = $%d", k, len(args))
						}
					}
					if result, err := db.Exec(query, args...); err != nil {
						t.Fatal(err)
					} else if n, _ := result.RowsAffected(); n != 1 {
						t.Fatalf("%s: %d rows", query, n)
					}
				}
				put(is, was)
				found := verified(t, database, dir).Findings
				put(was, is)
				if !slices.ContainsFunc(found, func(f ledger.Finding) bool {
					named := f.Field == column && (f.Ledger == is || f.Ledger == nil) && f.Table == table
					whose := f.Generation == row[0] || f.Generation == "" && (table == "days" || table == "progress")
					return slices.Contains(key, column) || table == "progress" || table == "claims" && whose || named && whose
				}) {
					t.Errorf("%s.%s is %v in place of %v, and is found as %v", table, column, is, was, found)
				}
			}
		}
		agrees(t, database, dir)
	})
}

// Rows that are not there, or too many, are found.
func TestVerifyFindsRowsThatAreMissingOrTooMany(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(testing.TB) string) {
		for _, change := range []string{
			"DELETE FROM generations WHERE id = (SELECT MIN(id) FROM generations)",
			"DELETE FROM lines WHERE generation = (SELECT MIN(id) FROM generations)",
			"DELETE FROM claims WHERE kind = 'tag'",
			"DELETE FROM days WHERE endpoint = (SELECT MIN(endpoint) FROM days)",
			"INSERT INTO generations SELECT 'gen-000000000000000000000000', at, replica, organisation, team, key_id, asked, model, provider, provider_name, endpoint, status, error, " +
				"finish_reason, streamed, rescued, attempts, fallbacks, counted, prompt, completion, reasoning, cached, cache_write, cost, ttft_us, duration_us, api, preset, images, " +
				"native_reason, service_tier, cached_from, discount, version FROM generations WHERE id = (SELECT MIN(id) FROM generations)",
			"INSERT INTO claims VALUES ('gen-000000000000000000000000', 'user', 'eve', 'acme', '2026-11')",
			"INSERT INTO claims SELECT id, 'tag', 'eve', 'acme', '2026-11' FROM generations WHERE id = (SELECT MIN(id) FROM generations)",
			"INSERT INTO days SELECT at, 'eve', team, key_id, model, provider, endpoint, requests, failed, attempts, shown, prompt, completion, reasoning, cached, cache_write, " +
				"cost_high, cost_low, latency_us, ttft_us, ttft_count, spoken, spoken_us FROM days WHERE at = (SELECT MIN(at) FROM days)",
			"DELETE FROM chaperone_ledger WHERE version = 1",
		} {
			dir, database := t.TempDir(), fresh(t)
			kept(t, database, dir, 30)
			result, err := raw(t, database).Exec(change)
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := result.RowsAffected(); n == 0 {
				t.Logf("the dice have made nothing that this changes: %.100s", change)
				continue
			}
			r := verified(t, database, dir)
			if len(r.Findings) == 0 {
				t.Errorf("it is not found: %.100s", change)
			}
			for _, f := range r.Findings {
				if strings.Contains(f.String(), "eve") && f.Table == "claims" {
					t.Errorf("it repeats what a caller said: %s", f)
				}
			}
		}
	})
}

// What is not entered yet, entered by an older version, forgotten, or of another journal, is no finding.
func TestVerifyKnowsWhatMayBeMissing(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(testing.TB) string) {
		dir, database := t.TempDir(), fresh(t)
		d, j := newDice(t), openJournal(t, dir)
		fill(t, d, j, 40)
		l := open(t, ledger.Options{Database: database, Journal: dir, Retention: 30 * 24 * time.Hour})
		if r := agrees(t, database, dir); r.Generations != 0 {
			t.Errorf("%d generations are compared before any is entered", r.Generations)
		}
		catchUp(t, l)
		before := agrees(t, database, dir).Generations
		fill(t, d, j, 550) // several batches and segments
		if r := agrees(t, database, dir); r.Generations != before {
			t.Errorf("%d generations are compared, and %d entered", r.Generations, before)
		}
		catchUp(t, l)
		if r := agrees(t, database, dir); r.Generations <= before {
			t.Errorf("%d generations are compared", r.Generations)
		}
		run := func(statements ...string) {
			t.Helper()
			for _, s := range statements {
				if _, err := raw(t, database).Exec(s); err != nil {
					t.Fatal(err)
				}
			}
		}
		run("UPDATE generations SET version = 0, api = '', preset = '', images = 0, native_reason = '', service_tier = '', cached_from = '', discount = 0",
			"UPDATE lines SET service_tier = '', upstream_id = ''", "DELETE FROM claims WHERE kind IN ('session', 'site', 'user_agent', 'origin')")
		agrees(t, database, dir)

		elsewhere := t.TempDir()
		fill(t, d, openJournal(t, elsewhere), 50)
		other := open(t, ledger.Options{Database: database, Journal: elsewhere})
		catchUp(t, other)
		if err := l.Keep(t.Context(), end); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{dir, elsewhere} {
			if r := agrees(t, database, dir); r.Days != 0 || !strings.Contains(strings.Join(r.Notices, "\n"), "2 routers' journals") {
				t.Errorf("%d sums of days, and %q", r.Days, r.Notices)
			}
		}

		month := end.AddDate(0, 0, -10).Format("2006-01")
		if err := journal.Erase(dir, "acme", month); err != nil {
			t.Fatal(err)
		}
		if r := agrees(t, database, dir); !strings.Contains(strings.Join(r.Notices, "\n"), "cannot be read in the journal any more") {
			t.Errorf("%q", r.Notices)
		}
		if _, err := l.Erase(t.Context(), "acme", month); err != nil {
			t.Fatal(err)
		}
		agrees(t, database, dir)
		begin := time.Date(end.Year(), end.Month(), 1, 0, 0, 0, 0, time.UTC).UnixMicro()
		run(fmt.Sprintf("INSERT INTO claims SELECT id, 'user', 'ann', 'acme', '%s' FROM generations WHERE organisation = 'acme' AND at >= %d", month, begin))
		if r := verified(t, database, dir); len(r.Findings) == 0 {
			t.Error("claims that were to be forgotten are not found")
		}
	})
}

// closed is a journal that nobody writes or packs any more, with its segments and a ledger that has all of it.
func closed(t *testing.T, n int) (dir, database string, segments []string) {
	t.Helper()
	dir, database = t.TempDir(), filepath.Join(t.TempDir(), "ledger.sqlite")
	j, err := journal.Open(journal.Options{Dir: dir, Keep: 1, SegmentBytes: 64 << 10, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, newDice(t), j, n)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	catchUp(t, open(t, ledger.Options{Database: database, Journal: dir}))
	if segments, err = filepath.Glob(filepath.Join(dir, "*.segment*")); err != nil || len(segments) < 3 {
		t.Fatal(segments, err)
	}
	return dir, database, segments
}

// A journal that cannot be read is told, and so is one that does not go back to its beginning.
func TestVerifyTellsOfAJournalThatHasGaps(t *testing.T) {
	dir, database, segments := closed(t, 400)
	text, err := os.ReadFile(segments[1])
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(text)
	damaged[len(damaged)/2] ^= 1
	if err := os.WriteFile(segments[1], damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, database, dir); len(r.Findings) != 1 || !strings.Contains(r.Findings[0].String(), "part of the journal cannot be read") {
		t.Errorf("%v", r.Findings)
	}
	if err := os.WriteFile(segments[1], text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(segments[0]); err != nil {
		t.Fatal(err)
	}
	if r := agrees(t, database, dir); !strings.Contains(strings.Join(r.Notices, "\n"), "segments of the journal before 2 are gone") {
		t.Errorf("%q", r.Notices)
	}
}

// Segments whose retention ends while they are verified are no finding.
func TestVerifyWhileSegmentsAreRemoved(t *testing.T) {
	dir, database, segments := closed(t, 700) // more than are read at a time
	r, err := open(t, ledger.Options{Database: database, Journal: dir}).Verify(t.Context(), func(int, time.Time) {
		for _, s := range segments[:len(segments)-1] {
			os.Remove(s)
		}
	})
	if err != nil || len(r.Findings) > 0 || !strings.Contains(strings.Join(r.Notices, "\n"), fmt.Sprintf("segments of the journal before %d are gone", len(segments))) {
		t.Errorf("%v, %v, %v", r.Findings, r.Notices, err)
	}
}

// contents are all values of an SQLite file, read from the tables themselves; the error is of reading.
func contents(path string) (text string, err error) {
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		return "", err
	}
	defer db.Close()
	var all strings.Builder
	for _, table := range []string{"* FROM generations", "* FROM lines", "* FROM claims", "* FROM days", "* FROM erased", "* FROM chaperone_ledger",
		"replica, segment FROM progress"} { // where the place in it goes back to the end of another record, these are entered again, which changes nothing
		rows, err := db.Query("SELECT " + table + " NOT INDEXED")
		if err != nil {
			return "", err
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			return "", err
		}
		for rows.Next() {
			row, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range row {
				into[i] = &row[i]
			}
			if err := rows.Scan(into...); err != nil {
				return "", err
			}
			for _, v := range row {
				fmt.Fprintf(&all, "%T %v\n", v, v)
			}
		}
		if err := rows.Err(); err != nil {
			return "", err
		}
	}
	return all.String(), nil
}

// A bit that a disk has flipped in the file is found wherever it has made another value of one.
func TestVerifyFindsFlippedBits(t *testing.T) {
	d, dir, path := newDice(t), t.TempDir(), filepath.Join(t.TempDir(), "ledger.sqlite")
	kept(t, path, dir, 60)
	l := open(t, ledger.Options{Database: path, Journal: dir})
	if _, err := l.Erase(t.Context(), "nobody", "2026-01"); err != nil { // which leaves nothing in the log beside the file
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := contents(path)
	if err != nil {
		t.Fatal(err)
	}
	flips, changed := 500, 0
	if testing.Short() {
		flips = 120
	}
	copied := filepath.Join(t.TempDir(), "ledger.sqlite")
	for range flips {
		bit := d.IntN(8 * len(good))
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		for _, beside := range []string{"", "-wal", "-shm"} {
			os.Remove(copied + beside)
		}
		if err := os.WriteFile(copied, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := contents(copied)
		if err == nil && got == want {
			continue // of free space, or of an index
		}
		changed++
		if r := verified(t, copied, dir); len(r.Findings) == 0 {
			t.Errorf("bit %d of byte %d (page %d) is not found: %v, %s", bit%8, bit/8, bit/8/4096+1, err, difference(want, got))
		}
	}
	t.Logf("%d of %d bits have changed a value, all of %d pages", changed, flips, len(good)/4096)
	if changed == 0 {
		t.Error("no bit has changed a value: this shows nothing")
	}
}

func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%q in place of %q", b[i], a[i])
		}
	}
	return fmt.Sprintf("%d values in place of %d", len(b), len(a))
}
