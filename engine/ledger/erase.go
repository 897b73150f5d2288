package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// memory is what an organisation's callers said of themselves in a month.
type memory struct{ organisation, month string }

// Erase deletes what an organisation's callers said of themselves in a month, 2006-01, keeps it from being entered again, and says how
// many entries that were. What was used stays. The key in the journal has to be destroyed before: see journal.Erase.
func (l *Ledger) Erase(ctx context.Context, organisation, month string) (deleted int64, err error) {
	if _, err := time.Parse("2006-01", month); err != nil {
		return 0, fmt.Errorf("found the month %q; expected one such as 2026-11", month)
	}
	if err := l.ready(ctx); err != nil {
		return 0, err
	}
	err = l.transaction(ctx, func(tx *sql.Tx) error {
		if l.alone != "" {
			if _, err := tx.ExecContext(ctx, l.alone); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO erased (organisation, month) VALUES ($1, $2) ON CONFLICT DO NOTHING", organisation, month); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, "DELETE FROM claims WHERE organisation = $1 AND month = $2", organisation, month)
		if err == nil {
			deleted, err = result.RowsAffected()
		}
		return err
	})
	if err != nil || l.remote {
		return deleted, err
	}
	// The log beside the file still has the pages as they were.
	var busy, frames, moved int
	err = l.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved)
	if err == nil && busy != 0 {
		err = fmt.Errorf("what callers said is deleted, but somebody reads the ledger as it was: erase again to have it overwritten")
	}
	return deleted, err
}

// Claims is how many entries Erase would delete.
func (l *Ledger) Claims(ctx context.Context, organisation, month string) (n int64, err error) {
	if err := l.ready(ctx); err != nil {
		return 0, err
	}
	err = l.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM claims WHERE organisation = $1 AND month = $2", text(organisation), text(month)).Scan(&n)
	return n, err
}

func erased(ctx context.Context, tx *sql.Tx) (map[memory]bool, error) {
	all := map[memory]bool{}
	rows, err := tx.QueryContext(ctx, "SELECT organisation, month FROM erased")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m memory
		if err := rows.Scan(&m.organisation, &m.month); err != nil {
			return nil, err
		}
		all[m] = true
	}
	return all, rows.Err()
}
