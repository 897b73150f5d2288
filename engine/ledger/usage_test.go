package ledger_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"chaperone/engine/journal"
	"chaperone/engine/ledger"
)

var end = time.Date(2026, 11, 26, 10, 30, 0, 0, time.UTC)

// figures are computed from the generations themselves, by another way than the ledger's.
type figures struct {
	requests, failed, attempts, shown, prompt, completion, reasoning, cached, cacheWrite int64
	cost                                                                                 big.Int
}

func (f *figures) String() string {
	return fmt.Sprint(f.requests, f.failed, f.attempts, f.shown, f.prompt, f.completion, f.reasoning, f.cached, f.cacheWrite, &f.cost)
}

func figuresOf(s *ledger.Sums) string {
	f := figures{s.Requests, s.Failed, s.Attempts, s.Shown, s.Prompt, s.Completion, s.Reasoning, s.Cached, s.CacheWrite, *s.Cost.Big()}
	return f.String()
}

// keysOf are the groups that an attempt of a generation belongs to; i is beyond the last for a request that nobody answered.
func keysOf(g *ledger.Generation, i int, by []ledger.Dimension) [][]string {
	all := [][]string{nil}
	for _, d := range by {
		var values []string
		t := g.At.UTC()
		model, provider, endpoint := g.Model, "", ""
		if i < len(g.Attempts) {
			model, provider, endpoint = g.Attempts[i].Model, g.Attempts[i].Provider, g.Attempts[i].Endpoint
		}
		switch d {
		case ledger.Organisation:
			values = []string{g.Organisation}
		case ledger.Team:
			values = []string{g.Team}
		case ledger.Key:
			values = []string{g.Key}
		case ledger.User:
			values = []string{g.User}
		case ledger.App:
			values = []string{g.App}
		case ledger.Tag:
			if values = g.Tags; len(values) == 0 {
				values = []string{""}
			}
		case ledger.Model:
			values = []string{model}
		case ledger.Provider:
			values = []string{provider}
		case ledger.Endpoint:
			values = []string{endpoint}
		case ledger.Minute:
			values = []string{t.Format("2006-01-02T15:04:00Z")}
		case ledger.Hour:
			values = []string{t.Format("2006-01-02T15:00:00Z")}
		case ledger.Day:
			values = []string{t.Format("2006-01-02")}
		case ledger.Week:
			for t.Weekday() != time.Monday {
				t = t.AddDate(0, 0, -1)
			}
			values = []string{t.Format("2006-01-02")}
		case ledger.Month:
			values = []string{t.Format("2006-01")}
		}
		var next [][]string
		for _, k := range all {
			for _, v := range values {
				next = append(next, append(slices.Clone(k), v))
			}
		}
		all = next
	}
	return all
}

func chosen(g *ledger.Generation, i int, q *ledger.Query) bool {
	if !q.Since.IsZero() && g.At.Before(q.Since) || !q.Until.IsZero() && !g.At.Before(q.Until) {
		return false
	}
	among := func(d ledger.Dimension, values []string) bool {
		return slices.ContainsFunc(keysOf(g, i, []ledger.Dimension{d}), func(k []string) bool { return k[0] != "" && slices.Contains(values, k[0]) })
	}
	for d, values := range q.Where {
		if !among(d, values) {
			return false
		}
	}
	for d, values := range q.Except {
		if among(d, values) {
			return false
		}
	}
	return true
}

// expect answers a question from the generations.
func expect(all []*ledger.Generation, q *ledger.Query) map[string]string {
	sums := map[string]*figures{}
	add := func(g *ledger.Generation, i int, answered bool) {
		if !chosen(g, i, q) {
			return
		}
		for _, keys := range keysOf(g, i, q.By) {
			id := strings.Join(keys, "|")
			f := sums[id]
			if f == nil {
				f = &figures{}
				sums[id] = f
			}
			if answered {
				f.requests++
				if g.Status >= 400 {
					f.failed++
				}
			}
			if i == len(g.Attempts) {
				continue
			}
			a := &g.Attempts[i]
			f.attempts++
			if a.BodySent != "none" {
				f.shown++
			}
			f.prompt += a.Usage.PromptTokens
			f.completion += a.Usage.CompletionTokens
			f.reasoning += a.Usage.ReasoningTokens
			f.cached += a.Usage.CachedTokens
			f.cacheWrite += a.Usage.CacheWriteTokens
			f.cost.Add(&f.cost, big.NewInt(int64(a.Cost)))
		}
	}
	for _, g := range all {
		counted := -1
		if g.Endpoint != "" {
			counted = len(g.Attempts) - 1 // as the records here are made
		}
		for i := range g.Attempts {
			add(g, i, i == counted)
		}
		if counted < 0 {
			add(g, len(g.Attempts), true)
		}
	}
	out := map[string]string{}
	for id, f := range sums {
		out[id] = f.String()
	}
	return out
}

// fill appends n records and returns the generations among them.
func fill(t testing.TB, d dice, j *journal.Journal, n int) []*ledger.Generation {
	var all []*ledger.Generation
	for range n {
		r := d.record(end)
		if g := ledger.Of(r); g != nil {
			all = append(all, g)
		}
		j.Append(r, nil)
	}
	return all
}

func (d dice) query() ledger.Query {
	var q ledger.Query
	for range d.IntN(4) {
		if dim := ledger.Dimensions[d.IntN(len(ledger.Dimensions))]; !slices.Contains(q.By, dim) {
			q.By = append(q.By, dim)
		}
	}
	if d.IntN(2) == 0 {
		q.Since = end.Add(-time.Duration(d.Int64N(int64(60 * 24 * time.Hour)))).Truncate(time.Microsecond)
	}
	if d.IntN(2) == 0 {
		q.Until = end.Add(-time.Duration(d.Int64N(int64(30 * 24 * time.Hour)))).Truncate(time.Microsecond)
	}
	q.Where, q.Except = map[ledger.Dimension][]string{}, map[ledger.Dimension][]string{}
	for _, c := range []struct {
		d      ledger.Dimension
		values []string
	}{{ledger.Organisation, []string{"acme", "nobody"}}, {ledger.Key, []string{"key_1", "key_3"}}, {ledger.User, []string{"ann", "Ä'\"$1;--"}}, {ledger.Tag, []string{"red", "blue"}},
		{ledger.Provider, []string{"p2"}}, {ledger.Model, []string{"m/two"}}, {ledger.Team, []string{}}} {
		switch d.IntN(12) {
		case 0, 1:
			q.Where[c.d] = c.values
		case 2:
			q.Except[c.d] = c.values
		}
	}
	return q
}

func TestUsageIsWhatTheRecordsSay(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(testing.TB) string) {
		d, dir := newDice(t), t.TempDir()
		j := openJournal(t, dir)
		all := fill(t, d, j, 600)
		l := open(t, ledger.Options{Database: fresh(t), Journal: dir})
		catchUp(t, l)
		for range 150 {
			q := d.query()
			u, err := l.Usage(t.Context(), q)
			if err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
			want := expect(all, &q)
			got := map[string]string{}
			for _, r := range u.Rows {
				got[strings.Join(r.Keys, "|")] = figuresOf(&r.Sums)
			}
			if !maps.Equal(got, want) {
				t.Fatalf("%+v:\ngot  %v\nwant %v", q, got, want)
			}
			total := q
			total.By = nil
			one := expect(all, &total)[""]
			if one == "" {
				one = (&figures{}).String()
			}
			if figuresOf(&u.Total) != one {
				t.Fatalf("%+v: the total is %s, want %s", q, figuresOf(&u.Total), one)
			}
			if !slices.IsSortedFunc(u.Rows, func(a, b ledger.Row) int { return slices.Compare(a.Keys, b.Keys) }) {
				t.Fatalf("%+v: the rows are not in order", q)
			}
		}
	})
}

func TestBothDatabasesGiveTheSameAnswers(t *testing.T) {
	d, dir := newDice(t), t.TempDir()
	j := openJournal(t, dir)
	here := open(t, ledger.Options{Database: filepath.Join(t.TempDir(), "ledger.sqlite"), Journal: dir, Retention: 30 * 24 * time.Hour})
	there := open(t, ledger.Options{Database: newDatabase(t, postgres(t)), Journal: dir, Retention: 30 * 24 * time.Hour})
	fill(t, d, j, 500)
	for _, l := range []*ledger.Ledger{here, there} {
		catchUp(t, l)
		if err := l.Keep(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	for range 150 {
		q := d.query()
		a, err := here.Usage(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		b, err := there.Usage(t.Context(), q)
		if err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v: %v\nSQLite     %+v\nPostgreSQL %+v", q, err, a, b)
		}
	}
}

func TestAServerThatIsAwayIsAskedAgain(t *testing.T) {
	dir := t.TempDir()
	openJournal(t, dir)
	l := open(t, ledger.Options{Database: "postgres://chaperone:kanarienvogel@127.0.0.1:1/ledger", Journal: dir})
	for range 2 {
		err := l.CatchUp(t.Context())
		if err == nil || strings.Contains(err.Error(), "kanarienvogel") {
			t.Error(err)
		}
	}
}

// way is a way to a PostgreSQL server that can be cut.
type way struct {
	listener net.Listener
	mu       sync.Mutex
	open     []net.Conn
	cut      bool
}

// newWay is one, with the address of the database through it.
func newWay(t *testing.T, database string) (*way, string) {
	t.Helper()
	config, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	network, address := "tcp", net.JoinHostPort(config.Host, fmt.Sprint(config.Port))
	if filepath.IsAbs(config.Host) {
		network, address = "unix", filepath.Join(config.Host, fmt.Sprintf(".s.PGSQL.%d", config.Port))
	}
	w := &way{}
	if w.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.listener.Close() })
	go func() {
		for {
			in, err := w.listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial(network, address)
			if err != nil {
				in.Close()
				continue
			}
			w.mu.Lock()
			if w.open = append(w.open, in, out); w.cut {
				w.hangUp()
			} else {
				go io.Copy(in, out)
				go io.Copy(out, in)
			}
			w.mu.Unlock()
		}
	}()
	return w, fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", config.User, config.Password, w.listener.Addr(), config.Database)
}

// set cuts the way, with all that is on it, or opens it again.
func (w *way) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	w.hangUp()
}

func (w *way) hangUp() {
	for _, c := range w.open {
		c.Close()
	}
	w.open = nil
}

// A server that goes away while the ledger follows costs nothing: it is told of once, and what came meanwhile is entered afterwards.
func TestAServerThatGoesAwayIsCaughtUpWith(t *testing.T) {
	w, database := newWay(t, newDatabase(t, postgres(t)))
	d, dir := newDice(t), t.TempDir()
	j := openJournal(t, dir)
	var log lockedBuffer
	l, err := ledger.Open(ledger.Options{Database: database, Journal: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Follow()
	until := func(what string, so func(entered uint64, failing bool) bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !so(l.Counts()); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not in 30 s: %s: %s", what, log.String())
			}
		}
	}
	all := fill(t, d, j, 50)
	until("the first are entered", func(entered uint64, _ bool) bool { return entered == 50 })
	w.set(true)
	all = append(all, fill(t, d, j, 50)...)
	until("it fails", func(_ uint64, failing bool) bool { return failing })
	if _, err := l.Usage(t.Context(), ledger.Query{}); err == nil {
		t.Error("it answers without its server")
	}
	w.set(false)
	until("it is caught up with", func(entered uint64, failing bool) bool { return entered == 100 && !failing })
	u, err := l.Usage(t.Context(), ledger.Query{})
	if want := expect(all, &ledger.Query{})[""]; err != nil || figuresOf(&u.Total) != want {
		t.Errorf("%s, %v; want %s", figuresOf(&u.Total), err, want)
	}
	if n := strings.Count(log.String(), "cannot be kept up to date"); n != 1 {
		t.Errorf("the log says %d times that it fails: %s", n, log.String())
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestANewerLedgerIsLeftAlone(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(testing.TB) string) {
		database := fresh(t)
		if err := open(t, ledger.Options{Database: database}).Close(); err != nil {
			t.Fatal(err)
		}
		driver, name := "sqlite3", "file:"+database
		if ledger.IsURL(database) {
			driver, name = "pgx", database
			l := open(t, ledger.Options{Database: database})
			if _, err := l.Usage(t.Context(), ledger.Query{}); err != nil { // makes the schema
				t.Fatal(err)
			}
		}
		db, err := sql.Open(driver, name)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("INSERT INTO chaperone_ledger (version) VALUES (1000)"); err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Open(ledger.Options{Database: database, Log: quiet})
		if l != nil {
			defer l.Close()
			_, err = l.Usage(t.Context(), ledger.Query{})
		}
		if !errors.Is(err, ledger.ErrNewer) {
			t.Error(err)
		}
	})
}

func TestAGenerationIsFoundAsItWas(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(testing.TB) string) {
		d, dir := newDice(t), t.TempDir()
		all := fill(t, d, openJournal(t, dir), 200)
		l := open(t, ledger.Options{Database: fresh(t), Journal: dir})
		catchUp(t, l)
		for _, want := range all {
			got, err := l.Generation(t.Context(), want.ID)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%v\ngot  %+v\nwant %+v", err, got, want)
			}
		}
		for _, id := range []string{"", "gen-0", "nul\x00", "\xff"} {
			if got, err := l.Generation(t.Context(), id); got != nil || err != nil {
				t.Errorf("%q: %v, %v", id, got, err)
			}
		}
	})
}

func TestRetentionChangesNoSum(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(testing.TB) string) {
		d, dir := newDice(t), t.TempDir()
		j := openJournal(t, dir)
		all := fill(t, d, j, 300)
		l := open(t, ledger.Options{Database: fresh(t), Journal: dir, Retention: 20 * 24 * time.Hour})
		catchUp(t, l)
		keep := func() {
			t.Helper()
			if err := l.Keep(t.Context(), end); err != nil {
				t.Fatal(err)
			}
		}
		keep()
		all = append(all, fill(t, d, j, 100)...) // among them some for days that are rolled up already
		catchUp(t, l)
		keep()
		keep()
		edge := end.Add(-20 * 24 * time.Hour).Truncate(24 * time.Hour)
		kept := 0
		for _, g := range all {
			got, err := l.Generation(t.Context(), g.ID)
			if err != nil || (got == nil) != g.At.Before(edge) {
				t.Fatalf("%s of %s: %v, %v", g.ID, g.At, got, err)
			}
			if got != nil {
				kept++
			}
		}
		if kept == 0 || kept == len(all) {
			t.Fatalf("%d of %d are kept: nothing is shown", kept, len(all))
		}
		for _, by := range [][]ledger.Dimension{nil, {ledger.Organisation}, {ledger.Team, ledger.Key}, {ledger.Provider, ledger.Month}, {ledger.Day}, {ledger.Week, ledger.Endpoint, ledger.Model}} {
			q := ledger.Query{By: by}
			u, err := l.Usage(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, r := range u.Rows {
				got[strings.Join(r.Keys, "|")] = figuresOf(&r.Sums)
			}
			if want := expect(all, &q); !maps.Equal(got, want) {
				t.Errorf("by %v:\ngot  %v\nwant %v", by, got, want)
			}
		}
		u, err := l.Usage(t.Context(), ledger.Query{By: []ledger.Dimension{ledger.User}})
		if err != nil || !slices.ContainsFunc(u.Rows, func(r ledger.Row) bool { return r.Keys[0] == ledger.RolledUp }) || u.Omitted {
			t.Errorf("what is rolled up has no line of its own: %+v, %v", u, err)
		}
		u, err = l.Usage(t.Context(), ledger.Query{Where: map[ledger.Dimension][]string{ledger.User: {"ann"}}})
		if err != nil || !u.Omitted {
			t.Errorf("it is not said that days are left out: %+v, %v", u, err)
		}
		u, err = l.Usage(t.Context(), ledger.Query{Where: map[ledger.Dimension][]string{ledger.User: {"ann"}}, Since: edge})
		if err != nil || u.Omitted {
			t.Errorf("it is said that days are left out, and none are: %+v, %v", u, err)
		}
	})
}

func TestNothingIsEnteredTwice(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(testing.TB) string) {
		d, dir, database := newDice(t), t.TempDir(), fresh(t)
		j := openJournal(t, dir)
		var all []*ledger.Generation
		for round := range 8 {
			all = append(all, fill(t, d, j, d.IntN(300))...)
			done := make(chan error)
			for range 3 { // as a router and two commands do at once
				l := open(t, ledger.Options{Database: database, Journal: dir})
				ctx, cancel := context.WithCancel(t.Context())
				if round%2 == 1 {
					time.AfterFunc(time.Duration(d.IntN(30))*time.Millisecond, cancel)
				}
				go func() {
					defer cancel()
					done <- l.CatchUp(ctx)
				}()
			}
			for range 3 {
				if err := <-done; err != nil && round%2 == 0 {
					t.Fatal(err)
				}
			}
		}
		l := open(t, ledger.Options{Database: database, Journal: dir})
		catchUp(t, l)
		u, err := l.Usage(t.Context(), ledger.Query{})
		if want := expect(all, &ledger.Query{})[""]; err != nil || figuresOf(&u.Total) != want {
			t.Errorf("%s, %v; want %s", figuresOf(&u.Total), err, want)
		}
	})
}

func TestNoAnswerHasMoreGroupsThanWereAllowed(t *testing.T) {
	d, dir := newDice(t), t.TempDir()
	fill(t, d, openJournal(t, dir), 100)
	l := open(t, ledger.Options{Database: t.TempDir() + "/ledger.sqlite", Journal: dir})
	catchUp(t, l)
	q := ledger.Query{By: []ledger.Dimension{ledger.Model, ledger.Minute}}
	all, err := l.Usage(t.Context(), q)
	if err != nil || len(all.Rows) < 2 {
		t.Fatal(len(all.Rows), err)
	}
	q.Most = len(all.Rows)
	if u, err := l.Usage(t.Context(), q); err != nil || len(u.Rows) != q.Most {
		t.Errorf("just as many: %v", err)
	}
	q.Most--
	if _, err := l.Usage(t.Context(), q); !errors.Is(err, ledger.ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
}

func TestQuestionsThatCannotBeAnswered(t *testing.T) {
	l := open(t, ledger.Options{Database: t.TempDir() + "/ledger.sqlite"})
	for _, c := range []struct {
		q    ledger.Query
		want string
	}{
		{ledger.Query{By: []ledger.Dimension{"colour"}}, `found "colour" to group by; expected one of organisation, team, key, user, app, tag, model, provider, endpoint, minute, hour, day, week, month`},
		{ledger.Query{By: []ledger.Dimension{"day", "day"}}, `"day" is named twice to group by`},
		{ledger.Query{Where: map[ledger.Dimension][]string{"day": {"x"}}}, `found "day" to choose by; expected one of organisation, team, key, user, app, tag, model, provider, endpoint`},
	} {
		if _, err := l.Usage(t.Context(), c.q); err == nil || err.Error() != c.want {
			t.Errorf("%+v: %v, want %s", c.q, err, c.want)
		}
	}
}

// Routers that share a database enter their journals, sum up old days and answer at the same time, and every sum stays exact.
func TestRoutersShareALedger(t *testing.T) {
	databases(t, func(t *testing.T, fresh func(testing.TB) string) {
		d, database := newDice(t), fresh(t)
		var all []*ledger.Generation
		var routers []*ledger.Ledger
		var journals []*journal.Journal
		for range 3 {
			dir := t.TempDir()
			journals = append(journals, openJournal(t, dir))
			routers = append(routers, open(t, ledger.Options{Database: database, Journal: dir, Retention: 20 * 24 * time.Hour}))
		}
		for range 4 {
			for _, j := range journals {
				all = append(all, fill(t, d, j, 60)...)
			}
			failed := make(chan error)
			for _, l := range routers {
				go func() {
					err := l.CatchUp(t.Context())
					if err == nil {
						err = l.Keep(t.Context(), end)
					}
					if err == nil {
						_, err = l.Usage(t.Context(), ledger.Query{By: []ledger.Dimension{ledger.Provider}})
					}
					failed <- err
				}()
			}
			for range routers {
				if err := <-failed; err != nil {
					t.Fatal(err)
				}
			}
			for _, by := range [][]ledger.Dimension{nil, {ledger.Provider, ledger.Organisation}, {ledger.Month, ledger.Key}} {
				q := ledger.Query{By: by}
				u, err := routers[0].Usage(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				got := map[string]string{}
				for _, r := range u.Rows {
					got[strings.Join(r.Keys, "|")] = figuresOf(&r.Sums)
				}
				if want := expect(all, &q); !maps.Equal(got, want) {
					t.Fatalf("by %v:\ngot  %v\nwant %v", by, got, want)
				}
			}
		}
	})
}
