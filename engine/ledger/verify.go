package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"chaperone/engine/catalog"
	"chaperone/engine/journal"
)

// Report is what verification found. The ledger agrees with its journal where Findings is empty.
type Report struct {
	Replica     string    `json:"replica"`     // whose journal it was held to
	Generations int       `json:"generations"` // of the journal, that were held to their rows
	Days        int       `json:"days"`        // whose sums were held to the journal
	Findings    []Finding `json:"findings"`    // the first of them
	More        int       `json:"more"`        // further ones
	Notices     []string  `json:"notices,omitempty"`
}

// mostFindings are told one by one: where there are more, the ledger is to be made again in any case.
const mostFindings = 100

// Finding is where a ledger is not what it should be. Field, Ledger and Journal stand where a value differs, Message where it is
// anything else.
type Finding struct {
	Generation string `json:"generation,omitempty"`
	Table      string `json:"table,omitempty"`
	Row        string `json:"row,omitempty"` // of lines: its number; of days: the day and what it is grouped by
	Field      string `json:"field,omitempty"`
	Ledger     any    `json:"ledger,omitempty"` // what callers say of themselves is in neither of them
	Journal    any    `json:"journal,omitempty"`
	Message    string `json:"message,omitempty"`
}

func (f Finding) String() string {
	var where []string
	if f.Generation != "" {
		where = append(where, f.Generation)
	}
	if f.Table != "" {
		where = append(where, strings.TrimSpace(f.Table+" "+f.Row))
	}
	if f.Message != "" {
		return strings.Join(append(where, f.Message), ": ")
	}
	return fmt.Sprintf("%s: %s is %s, and by the journal %s", strings.Join(where, ": "), f.Field, shown(f.Ledger), shown(f.Journal))
}

func shown(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []byte:
		return "the bytes " + strconv.Quote(string(v))
	case nil:
		return "nothing"
	}
	return fmt.Sprint(v)
}

// Verify has the database check itself and holds what it has of its journal to that, as it was at one moment: a router may go on
// entering. It changes nothing. progress, if it is not nil, is told how many records are compared and of when the last one is. The
// error is of reading; what is wrong is in the report.
func (l *Ledger) Verify(ctx context.Context, progress func(records int, at time.Time)) (*Report, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	v := &verifier{ledger: l, follower: journal.Follow(l.o.Journal), report: &Report{Findings: []Finding{}}, progress: progress,
		days: map[dayKey]*Sums{}}
	o := &sql.TxOptions{ReadOnly: true}
	if l.remote {
		o.Isolation = sql.LevelRepeatableRead // one moment for all of it, which SQLite has by itself
	}
	var err error
	if v.report.Replica, err = v.follower.Replica(); err != nil {
		return nil, err
	}
	if v.tx, err = l.db.BeginTx(ctx, o); err != nil {
		return nil, err
	}
	defer v.tx.Rollback()
	err = v.verify(ctx)
	if errors.Is(err, sqlite3.CORRUPT) || errors.Is(err, sqlite3.NOTADB) {
		v.find(Finding{Message: fmt.Sprintf("the database cannot be read on from here: %v", err)})
		err = nil
	}
	return v.report, err
}

type verifier struct {
	ledger   *Ledger
	tx       *sql.Tx
	follower *journal.Follower
	report   *Report
	progress func(int, time.Time)

	forgotten map[memory]bool
	rolled    map[int64]bool // days of which there are sums
	days      map[dayKey]*Sums
	found     int64 // generations that are in both
	sealed    int   // records whose claims cannot be read any more
	unread    bool  // part of the journal cannot be read
}

// dayKey is what a row of days is of.
type dayKey struct {
	at int64
	of [6]string // by dayDimensions
}

func (k dayKey) String() string {
	return time.UnixMicro(k.at).UTC().Format(time.DateOnly) + " " + strings.Join(k.of[:], ", ")
}

func (v *verifier) find(f Finding) {
	if len(v.report.Findings) == mostFindings {
		v.report.More++
		return
	}
	v.report.Findings = append(v.report.Findings, f)
}

func (v *verifier) notice(format string, args ...any) {
	v.report.Notices = append(v.report.Notices, fmt.Sprintf(format, args...))
}

func (v *verifier) verify(ctx context.Context) (err error) {
	if err := v.itself(ctx); err != nil {
		return err
	}
	if v.forgotten, err = erased(ctx, v.tx); err != nil {
		return err
	}
	v.rolled = map[int64]bool{}
	if err := v.each(ctx, "SELECT DISTINCT at FROM days", nil, func(row []any) {
		if at, ok := row[0].(int64); ok {
			v.rolled[at] = true
		}
	}); err != nil {
		return err
	}
	if err := v.generations(ctx); err != nil {
		return err
	}
	if err := v.strays(ctx); err != nil {
		return err
	}
	if v.sealed > 0 {
		v.notice("what the callers of %d requests said of themselves cannot be read in the journal any more, and is not compared", v.sealed)
	}
	return nil
}

// itself has the database say what it finds wrong with itself.
func (v *verifier) itself(ctx context.Context) error {
	if v.ledger.remote {
		var sums string
		if err := v.tx.QueryRowContext(ctx, "SHOW data_checksums").Scan(&sums); err != nil {
			return err
		}
		if sums != "on" {
			v.notice("this PostgreSQL keeps no checksums of its pages (initdb --data-checksums): what it may have read wrong shows only where it differs from the journal")
		}
	} else if err := v.each(ctx, fmt.Sprintf("PRAGMA integrity_check(%d)", mostFindings), nil, func(row []any) {
		if row[0] != "ok" {
			v.find(Finding{Message: fmt.Sprintf("the database's own check finds: %v", row[0])})
		}
	}); err != nil {
		return err
	}
	var versions []any
	if err := v.each(ctx, "SELECT version FROM chaperone_ledger ORDER BY version", nil, func(row []any) { versions = append(versions, row[0]) }); err != nil {
		return err
	}
	for i := range max(len(versions), len(migrations)) {
		if i >= len(versions) || versions[i] != int64(i+1) {
			v.find(Finding{Table: "chaperone_ledger", Message: fmt.Sprintf("holds the versions %v; expected 1 to %d, once each", versions, len(migrations))})
			break
		}
	}
	return nil
}

// generations holds every record that was entered to its rows.
func (v *verifier) generations(ctx context.Context) error {
	var end journal.Position
	var segment int64
	err := v.tx.QueryRowContext(ctx, "SELECT segment, position FROM progress WHERE replica = $1", v.report.Replica).Scan(&segment, &end.Offset)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	end.Segment = uint64(segment)
	var at journal.Position
	read := 0
	for {
		records, next, unread := v.follower.Until(at, end, batchRecords)
		if unread != nil && !errors.Is(unread, fs.ErrNotExist) { // else its retention has ended since it was listed
			v.unread = true
			v.find(Finding{Message: fmt.Sprintf("part of the journal cannot be read, and nothing is held to it (chaperone journal verify says more): %v", unread)})
		}
		if err := v.batch(ctx, records); err != nil {
			return err
		}
		if read += len(records); v.progress != nil && len(records) > 0 {
			v.progress(read, records[len(records)-1].At)
		}
		if next == at {
			break
		}
		at = next
	}
	first, since, err := v.follower.Reach() // now, as segments may have been removed meanwhile
	if err != nil {
		return err
	}
	if at != end && end.Segment >= first && !v.unread {
		v.find(Finding{Table: "progress", Row: v.report.Replica,
			Message: fmt.Sprintf("names byte %d of segment %d, where no record of the journal ends", end.Offset, end.Segment)})
	}
	if v.unread {
		return nil // what follows needs all of it
	}
	if first == 1 {
		since = time.Time{}
		if err := v.surplus(ctx); err != nil {
			return err
		}
	} else {
		v.notice("segments of the journal before %d are gone: nothing is held to what was in them, up to %s", first, since.UTC().Format(time.RFC3339))
	}
	return v.sums(ctx, since)
}

// surplus finds out whether there are generations that the journal, which goes back to its beginning, has not.
func (v *verifier) surplus(ctx context.Context) error {
	var n int64
	if err := v.tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM generations WHERE replica = $1", v.report.Replica).Scan(&n); err != nil {
		return err
	}
	if n > v.found {
		v.find(Finding{Table: "generations", Message: fmt.Sprintf("has %d rows of this journal, which knows %d of them", n, v.found)})
	}
	return nil
}

// batch holds some records to their rows.
func (v *verifier) batch(ctx context.Context, records []*journal.Record) error {
	s := statement{remote: v.ledger.remote}
	wanted := map[string]*entered{}
	var ids []string
	for _, r := range records {
		g := Of(r)
		if g == nil || wanted[g.ID] != nil {
			continue
		}
		wanted[g.ID] = &entered{Generation: g, sealed: r.Sealed != nil}
		ids = append(ids, g.ID)
	}
	if len(ids) == 0 {
		return nil
	}
	in := " IN (" + s.list(ids) + ")"
	of := func(row []any) *entered {
		id, _ := row[0].(string)
		return wanted[id]
	}
	if err := v.each(ctx, "SELECT "+generationColumns+" FROM generations WHERE id"+in, s.args, func(row []any) {
		if e := of(row); e != nil {
			e.row = row
		}
	}); err != nil {
		return err
	}
	if err := v.each(ctx, "SELECT "+lineColumns+" FROM lines WHERE generation"+in, s.args, func(row []any) {
		if e := of(row); e != nil {
			e.rows = append(e.rows, row)
		}
	}); err != nil {
		return err
	}
	if err := v.each(ctx, "SELECT "+claimColumns+" FROM claims WHERE generation"+in, s.args, func(row []any) {
		if e := of(row); e != nil {
			e.said = append(e.said, row)
		}
	}); err != nil {
		return err
	}
	for _, id := range ids {
		v.hold(wanted[id])
	}
	return nil
}

// entered is a generation by the journal, with the rows that the ledger has of it.
type entered struct {
	*Generation
	sealed bool // its claims cannot be read
	row    []any
	rows   [][]any
	said   [][]any
}

var (
	generationFields = strings.Split(generationColumns, ", ")
	lineFields       = strings.Split(lineColumns, ", ")
)

// laterFields are those that generations of version 0 and their lines may not have; laterClaims likewise.
var (
	laterFields = map[string]bool{"api": true, "preset": true, "images": true, "native_reason": true, "service_tier": true, "cached_from": true, "discount": true,
		"version": true, "upstream_id": true}
	laterClaims = map[string]bool{claimSession: true, claimSite: true, claimAgent: true, claimOrigin: true}
)

func (v *verifier) hold(e *entered) {
	v.report.Generations++
	if e.row == nil && len(e.rows) == 0 && len(e.said) == 0 && v.rolled[e.At.Truncate(day).UnixMicro()] {
		v.sum(e.Generation)
		return
	}
	if e.row == nil {
		v.find(Finding{Generation: e.ID, Table: "generations", Message: "is in the journal, and not here"})
		return
	}
	v.found++
	old := e.row[len(e.row)-1] == int64(0)
	v.compare(Finding{Generation: e.ID, Table: "generations"}, generationFields, e.row, e.values(v.report.Replica), old)
	lines := e.lines()
	for n, want := range lines {
		where := Finding{Generation: e.ID, Table: "lines", Row: strconv.Itoa(n)}
		i := slices.IndexFunc(e.rows, func(row []any) bool { return row[1] == int64(n) })
		if i < 0 {
			where.Message = "is in the journal, and not here"
			v.find(where)
			continue
		}
		v.compare(where, lineFields, e.rows[i], want, old)
	}
	if len(e.rows) > len(lines) {
		v.find(Finding{Generation: e.ID, Table: "lines", Message: fmt.Sprintf("has %d rows; the journal knows %d", len(e.rows), len(lines))})
	}
	v.claims(e, old)
}

// compare tells of values that are not what the journal says.
func (v *verifier) compare(where Finding, fields []string, got, want []any, old bool) {
	for i, field := range fields {
		expected := want[i]
		if n, ok := expected.(int); ok {
			expected = int64(n)
		}
		if old && laterFields[field] || same(got[i], expected) {
			continue
		}
		where.Field, where.Ledger, where.Journal = field, got[i], expected
		v.find(where)
	}
}

// same is == for what can be compared; bytes are never what is expected.
func same(got, want any) bool {
	if _, bytes := got.([]byte); bytes {
		return false
	}
	return got == want
}

// claims holds what a caller said of itself to the journal, without repeating it.
func (v *verifier) claims(e *entered, old bool) {
	want := e.claims()
	if v.forgotten[memory{e.Organisation, e.month()}] {
		want = nil
	} else if e.sealed {
		v.sealed++
		return
	}
	for _, row := range e.said {
		kind, _ := row[1].(string)
		i := slices.IndexFunc(want, func(w []any) bool { return slices.EqualFunc(row, w, same) })
		if i >= 0 {
			want = slices.Delete(want, i, i+1)
		} else {
			v.find(Finding{Generation: e.ID, Table: "claims", Field: kind, Message: kind + " is not what the caller said, or is to be forgotten"})
		}
	}
	for _, w := range want {
		if kind := w[1].(string); !old || !laterClaims[kind] {
			v.find(Finding{Generation: e.ID, Table: "claims", Field: kind, Message: kind + " is in the journal, and not here"})
		}
	}
}

// sum adds a generation of which only the sums are kept.
func (v *verifier) sum(g *Generation) {
	for _, line := range g.lines() {
		k := dayKey{at: g.At.Truncate(day).UnixMicro()}
		for i, name := range dayDimensions {
			k.of[i] = line[slices.Index(lineFields, name)].(string)
		}
		if v.days[k] == nil {
			v.days[k] = &Sums{}
		}
		v.days[k].add(lineSum(line))
	}
}

// sums holds days to the journal that are all in it: it has what was recorded after since.
func (v *verifier) sums(ctx context.Context, since time.Time) error {
	var journals, beyond int
	if err := v.tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM progress").Scan(&journals); err != nil {
		return err
	}
	if journals > 1 {
		v.notice("%d routers' journals are entered here: generations are held to this one, sums of days, which are of all, to none", journals)
		return nil
	}
	whole := func(at int64) bool { return since.IsZero() || time.UnixMicro(at).After(since) }
	fields := strings.Split(sums, ", ")
	if err := v.each(ctx, "SELECT at, "+strings.Join(dayDimensions[:], ", ")+", "+sums+" FROM days", nil, func(row []any) {
		var k dayKey
		k.at, _ = row[0].(int64)
		for i := range k.of {
			k.of[i], _ = row[1+i].(string)
		}
		if !whole(k.at) {
			beyond++
			return
		}
		want := v.days[k]
		if want == nil {
			v.find(Finding{Table: "days", Row: k.String(), Message: "is not in the journal"})
			return
		}
		delete(v.days, k)
		v.report.Days++
		v.compare(Finding{Table: "days", Row: k.String()}, fields, row[1+len(k.of):], want.values(), false)
	}); err != nil {
		return err
	}
	for _, k := range slices.SortedFunc(maps.Keys(v.days), func(a, b dayKey) int { return strings.Compare(a.String(), b.String()) }) {
		if whole(k.at) {
			v.find(Finding{Table: "days", Row: k.String(), Message: "is in the journal, and not here"})
		}
	}
	if beyond > 0 {
		v.notice("%d sums of days are of before the journal begins, and held to nothing", beyond)
	}
	return nil
}

// strays are rows that belong to no generation.
func (v *verifier) strays(ctx context.Context) error {
	for _, table := range []string{"lines", "claims"} {
		query := fmt.Sprintf("SELECT DISTINCT generation FROM %s t WHERE NOT EXISTS (SELECT 1 FROM generations g WHERE g.id = t.generation) LIMIT %d", table, mostFindings)
		if err := v.each(ctx, query, nil, func(row []any) {
			v.find(Finding{Generation: fmt.Sprint(row[0]), Table: table, Message: "has rows of a generation that is not here"})
		}); err != nil {
			return err
		}
	}
	return nil
}

// each calls visit with the values of every row of an answer.
func (v *verifier) each(ctx context.Context, query string, args []any, visit func(row []any)) error {
	rows, err := v.tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		visit(row)
	}
	return rows.Err()
}

// lineSum is what a line adds to its day, as lineSums has it.
func lineSum(line []any) *Sums {
	n := func(field string) int64 {
		switch v := line[slices.Index(lineFields, field)].(type) {
		case int:
			return int64(v)
		case int64:
			return v
		}
		panic("ledger: " + field + " of a line is no number")
	}
	return &Sums{
		Requests: n("requests"), Failed: n("failed"), Attempts: n("attempts"), Shown: n("shown"), Prompt: n("prompt"), Completion: n("completion"),
		Reasoning: n("reasoning"), Cached: n("cached"), CacheWrite: n("cache_write"), Cost: catalog.Total{}.Add(catalog.Picodollars(n("cost"))),
		latency: n("latency_us"), ttft: n("ttft_us"), ttftCount: n("ttft_count"), spoken: n("spoken"), spokenTime: n("spoken_us"),
	}
}
