package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// migrations bring a database from one version of the schema to the next, in both dialects. One that has been released is never
// changed; what is needed then is another.
//
// Times are microseconds since 1970 in UTC, costs picodollars. Sums of costs are cost_high·2³² + cost_low.
var migrations = []string{
	// generations: one a request, as its client saw it. lines: one an attempt, as it was billed, and one for a request that nobody
	// has answered; requests is 1 on the line that counts for the request. days: the sums of lines past their retention. claims:
	// what callers said of themselves, apart, so that it can be erased. progress: how far each replica's journal is entered.
	`CREATE TABLE generations (
	id            TEXT PRIMARY KEY,
	at            BIGINT NOT NULL,
	replica       TEXT NOT NULL,
	organisation  TEXT NOT NULL,
	team          TEXT NOT NULL,
	key_id        TEXT NOT NULL,
	asked         TEXT NOT NULL,
	model         TEXT NOT NULL,
	provider      TEXT NOT NULL,
	provider_name TEXT NOT NULL,
	endpoint      TEXT NOT NULL,
	status        BIGINT NOT NULL,
	error         TEXT NOT NULL,
	finish_reason TEXT NOT NULL,
	streamed      BIGINT NOT NULL,
	rescued       TEXT NOT NULL,
	attempts      BIGINT NOT NULL,
	fallbacks     BIGINT NOT NULL,
	counted       BIGINT NOT NULL,
	prompt        BIGINT NOT NULL,
	completion    BIGINT NOT NULL,
	reasoning     BIGINT NOT NULL,
	cached        BIGINT NOT NULL,
	cache_write   BIGINT NOT NULL,
	cost          BIGINT NOT NULL,
	ttft_us       BIGINT NOT NULL,
	duration_us   BIGINT NOT NULL
);
CREATE INDEX generations_at ON generations (at);
CREATE TABLE lines (
	generation    TEXT NOT NULL,
	n             BIGINT NOT NULL,
	at            BIGINT NOT NULL,
	organisation  TEXT NOT NULL,
	team          TEXT NOT NULL,
	key_id        TEXT NOT NULL,
	model         TEXT NOT NULL,
	provider      TEXT NOT NULL,
	provider_name TEXT NOT NULL,
	endpoint      TEXT NOT NULL,
	purpose       TEXT NOT NULL,
	outcome       TEXT NOT NULL,
	status        BIGINT NOT NULL,
	body_sent     TEXT NOT NULL,
	duration_us   BIGINT NOT NULL,
	requests      BIGINT NOT NULL,
	failed        BIGINT NOT NULL,
	attempts      BIGINT NOT NULL,
	shown         BIGINT NOT NULL,
	counted       BIGINT NOT NULL,
	prompt        BIGINT NOT NULL,
	completion    BIGINT NOT NULL,
	reasoning     BIGINT NOT NULL,
	cached        BIGINT NOT NULL,
	cache_write   BIGINT NOT NULL,
	cost          BIGINT NOT NULL,
	latency_us    BIGINT NOT NULL,
	ttft_us       BIGINT NOT NULL,
	ttft_count    BIGINT NOT NULL,
	spoken        BIGINT NOT NULL,
	spoken_us     BIGINT NOT NULL,
	PRIMARY KEY (generation, n)
);
CREATE INDEX lines_organisation_at ON lines (organisation, at);
CREATE INDEX lines_at ON lines (at);
CREATE TABLE days (
	at            BIGINT NOT NULL,
	organisation  TEXT NOT NULL,
	team          TEXT NOT NULL,
	key_id        TEXT NOT NULL,
	model         TEXT NOT NULL,
	provider      TEXT NOT NULL,
	endpoint      TEXT NOT NULL,
	requests      BIGINT NOT NULL,
	failed        BIGINT NOT NULL,
	attempts      BIGINT NOT NULL,
	shown         BIGINT NOT NULL,
	prompt        BIGINT NOT NULL,
	completion    BIGINT NOT NULL,
	reasoning     BIGINT NOT NULL,
	cached        BIGINT NOT NULL,
	cache_write   BIGINT NOT NULL,
	cost_high     BIGINT NOT NULL,
	cost_low      BIGINT NOT NULL,
	latency_us    BIGINT NOT NULL,
	ttft_us       BIGINT NOT NULL,
	ttft_count    BIGINT NOT NULL,
	spoken        BIGINT NOT NULL,
	spoken_us     BIGINT NOT NULL,
	PRIMARY KEY (at, organisation, team, key_id, model, provider, endpoint)
);
CREATE TABLE claims (
	generation    TEXT NOT NULL,
	kind          TEXT NOT NULL,
	value         TEXT NOT NULL,
	organisation  TEXT NOT NULL,
	month         TEXT NOT NULL,
	PRIMARY KEY (generation, kind, value)
);
CREATE INDEX claims_organisation_month ON claims (organisation, month);
CREATE TABLE erased (
	organisation  TEXT NOT NULL,
	month         TEXT NOT NULL,
	PRIMARY KEY (organisation, month)
);
CREATE TABLE progress (
	replica       TEXT PRIMARY KEY,
	segment       BIGINT NOT NULL,
	position      BIGINT NOT NULL
)`,
	// What GET /v1/generation tells beside that. Generations that were entered before do not have it.
	`ALTER TABLE generations ADD COLUMN api TEXT NOT NULL DEFAULT '';
ALTER TABLE generations ADD COLUMN preset TEXT NOT NULL DEFAULT '';
ALTER TABLE generations ADD COLUMN images BIGINT NOT NULL DEFAULT 0;
ALTER TABLE generations ADD COLUMN native_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE generations ADD COLUMN service_tier TEXT NOT NULL DEFAULT '';
ALTER TABLE generations ADD COLUMN cached_from TEXT NOT NULL DEFAULT '';
ALTER TABLE generations ADD COLUMN discount BIGINT NOT NULL DEFAULT 0;
ALTER TABLE lines ADD COLUMN service_tier TEXT NOT NULL DEFAULT ''`,
	// The provider's own id of an answer, and the version of the schema that a generation was entered in: 0 for those of before.
	`ALTER TABLE lines ADD COLUMN upstream_id TEXT NOT NULL DEFAULT '';
ALTER TABLE generations ADD COLUMN version BIGINT NOT NULL DEFAULT 0`,
}

// ErrNewer is returned for a database that a later version of the program has brought up to date.
var ErrNewer = errors.New("the ledger was made by a newer version of this program")

func (l *Ledger) migrate(ctx context.Context) error {
	return l.transaction(ctx, func(tx *sql.Tx) error {
		if l.remote { // replicas start together
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(4848277243)"); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS chaperone_ledger (version BIGINT NOT NULL)"); err != nil {
			return err
		}
		var version int
		if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM chaperone_ledger").Scan(&version); err != nil {
			return err
		}
		if version > len(migrations) {
			return fmt.Errorf("%w: its schema is %d, and this one knows up to %d", ErrNewer, version, len(migrations))
		}
		for ; version < len(migrations); version++ {
			for one := range strings.SplitSeq(migrations[version], ";\n") {
				if _, err := tx.ExecContext(ctx, one); err != nil {
					return fmt.Errorf("the schema cannot be brought to version %d: %w", version+1, err)
				}
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO chaperone_ledger (version) VALUES ($1)", version+1); err != nil {
				return err
			}
		}
		return nil
	})
}

// transaction commits what do has done, or nothing.
func (l *Ledger) transaction(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return tx.Commit()
}

// ignoreDone drops what Rollback says where a cancelled context came before it.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}
