package ledger_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/journal"
	"chaperone/engine/ledger"
	"chaperone/engine/wire"
)

var quiet = slog.New(slog.DiscardHandler)

// databases are what every test of this package runs on; each call of one is a fresh, empty database.
func databases(t *testing.T, test func(t *testing.T, fresh func(t testing.TB) string)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, func(t testing.TB) string { return filepath.Join(t.TempDir(), "ledger.sqlite") })
	})
	t.Run("postgres", func(t *testing.T) {
		server := postgres(t)
		test(t, func(t testing.TB) string { return newDatabase(t, server) })
	})
}

// postgres is the address of a server to make databases on.
func postgres(t testing.TB) string {
	address := os.Getenv("CHAPERONE_TEST_POSTGRES")
	switch {
	case address != "":
	case os.Getenv("CHAPERONE_TEST_REQUIRE") != "":
		t.Fatal("CHAPERONE_TEST_POSTGRES is not set, and CHAPERONE_TEST_REQUIRE is")
	default:
		t.Skip("no PostgreSQL: install Debian's package postgresql and set CHAPERONE_TEST_POSTGRES to what \".ci/postgres start DIR\" prints")
	}
	return address
}

// newDatabase makes an empty database, which goes with the test.
func newDatabase(t testing.TB, server string) string {
	t.Helper()
	db, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("ledger_%x", rand.Uint64())
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
		db.Close()
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func open(t testing.TB, o ledger.Options) *ledger.Ledger {
	t.Helper()
	o.Log = quiet
	l, err := ledger.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func catchUp(t testing.TB, l *ledger.Ledger) {
	t.Helper()
	if err := l.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func openJournal(t testing.TB, dir string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(journal.Options{Dir: dir, Keep: 1, SegmentBytes: 64 << 10, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// dice makes records at random.
type dice struct{ *rand.Rand }

func newDice(t testing.TB) dice {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return dice{rand.New(rand.NewPCG(seed, 0))}
}

func (d dice) one(of ...string) string { return of[d.IntN(len(of))] }

func (d dice) id() string { return fmt.Sprintf("gen-%016x%08x", d.Uint64(), d.Uint32()) }

// record is a request with up to four attempts in the 60 days before until, or something else that the journal keeps.
func (d dice) record(until time.Time) *journal.Record {
	at := until.Add(-time.Duration(d.Int64N(int64(60 * 24 * time.Hour))))
	r := &journal.Record{
		ID: d.id(), At: at, Organisation: d.one("acme", "open", "acme"), Team: d.one("", "search", "fraud"), Key: d.one("key_1", "key_2", "key_3"),
		Request: journal.Request{API: d.one("chat", "messages", "embeddings"), Model: d.one("m/one", "m/two"), Stream: d.IntN(2) == 0, N: 1,
			Preset: d.one("", "careful"), ServiceTier: d.one("", "priority"), Images: d.Int64N(3)}, Dispatched: d.IntN(10) > 0,
	}
	if d.IntN(3) > 0 {
		r.Claims = &journal.Claims{User: d.one("", "ann", "bob", "nul\x00", "Ä'\"$1;--"), DataClass: d.one("", "internal"), Session: d.one("", "s1")}
		for range d.IntN(4) {
			r.Claims.Tags = append(r.Claims.Tags, d.one("red", "green", "blue", ""))
		}
		if d.IntN(2) == 0 {
			r.Claims.App = &journal.App{Title: d.one("", "Editor"), URL: d.one("", "https://editor.example"), UserAgent: d.one("", "curl/8.5"), Origin: d.one("", "https://editor.example")}
		}
		if d.IntN(2) == 0 {
			r.Claims.Metadata = map[string]string{"a": "b"}
		}
	}
	if !r.Dispatched {
		r.Question = d.IntN(3) == 0
		if !r.Question {
			r.Outcome = journal.Outcome{Status: 404, Error: "not_found"}
		} else if d.IntN(2) == 0 {
			r.Outcome = journal.Outcome{Status: 403, Error: "permission_denied"}
		}
		return r
	}
	elapsed := 0.0
	n := 1 + d.IntN(4)
	for i := range n {
		provider := d.one("p1", "p2", "p3")
		a := journal.Attempt{
			Row: r.Request.Model + "@" + provider + "#own", Provider: "The " + provider, ProviderID: provider, Model: r.Request.Model, Purpose: d.one(journal.ForAnswer, journal.ForFallback, journal.ForHedge),
			StartedMs: elapsed, DurationMs: d.Float64() * 3000, BodySent: d.one("none", "part", "all"), Outcome: d.one("provider_unavailable", "timeout", "cancelled"), Status: 500,
		}
		if i == n-1 {
			a.Outcome, a.Status, a.BodySent, a.TTFTMs = "ok", 200, "all", a.DurationMs*d.Float64()
			a.UpstreamID = d.one("", "chatcmpl-7", "msg_7")
		}
		if i == n-1 || d.IntN(4) == 0 {
			a.Usage = wire.Usage{Known: true, PromptTokens: d.Int64N(100_000), CompletionTokens: d.Int64N(5000)}
			a.Usage.CachedTokens, a.Usage.CacheWriteTokens = d.Int64N(a.Usage.PromptTokens/2+1), d.Int64N(a.Usage.PromptTokens/2+1)
			a.Usage.ReasoningTokens = d.Int64N(a.Usage.CompletionTokens + 1)
			a.Cost, a.ServiceTier = catalog.Picodollars(d.Int64N(1<<62)), d.one("", "default", "flex")
		}
		elapsed += a.DurationMs
		r.Attempts = append(r.Attempts, a)
		r.Outcome.Cost += min(a.Cost, 1<<61) // what the record itself says is not what is tested
	}
	o := &r.Outcome
	o.DurationMs = elapsed
	if d.IntN(8) == 0 {
		last := &r.Attempts[n-1]
		last.Outcome, last.Status, last.TTFTMs = "provider_unavailable", 503, 0
		o.Status, o.Error = 503, "provider_unavailable"
		return r
	}
	last := r.Attempts[n-1]
	o.NativeReason, o.CacheDiscount, o.CachedFrom = d.one("", "end_turn"), catalog.Picodollars(d.Int64N(1<<40)-1<<39), d.one("", "", d.id())
	o.Status, o.Provider, o.Model, o.Row, o.FinishReason, o.Usage, o.TTFTMs = 200, last.Provider, last.Model, last.Row, "stop", last.Usage, elapsed-last.DurationMs+last.TTFTMs
	return r
}
