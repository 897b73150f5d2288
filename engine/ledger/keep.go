package ledger

import (
	"context"
	"database/sql"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Keep replaces generations past their retention by their sums, by day. Only whole days go, and each in a transaction of its own.
func (l *Ledger) Keep(ctx context.Context, now time.Time) error {
	if l.o.Retention <= 0 {
		return nil
	}
	if err := l.ready(ctx); err != nil {
		return err
	}
	before := now.Add(-l.o.Retention).UTC().Truncate(day)
	for {
		var first sql.NullInt64
		if err := l.db.QueryRowContext(ctx, "SELECT MIN(at) FROM lines").Scan(&first); err != nil {
			return err
		}
		from := time.UnixMicro(first.Int64).UTC().Truncate(day)
		if !first.Valid || !from.Before(before) {
			return nil
		}
		if err := l.rollUp(ctx, from); err != nil {
			return err
		}
		l.o.Log.Info("generations are past the ledger's retention; their sums by day stay", "day", from.Format(time.DateOnly))
	}
}

// dayDimensions are the columns that sums of days are grouped by.
var dayDimensions = [...]string{"organisation", "team", "key_id", "model", "provider", "endpoint"}

// sums are the columns that lines and days have in common.
const sums = "requests, failed, attempts, shown, prompt, completion, reasoning, cached, cache_write, cost_high, cost_low, latency_us, ttft_us, ttft_count, spoken, spoken_us"

// lineSums are those of one line.
const lineSums = "requests, failed, attempts, shown, prompt, completion, reasoning, cached, cache_write, cost >> 32 AS cost_high, cost & 4294967295 AS cost_low, " +
	"latency_us, ttft_us, ttft_count, spoken, spoken_us"

// rollUp adds a day's lines to days and deletes them, with what belongs to them.
func (l *Ledger) rollUp(ctx context.Context, from time.Time) error {
	dimensions := strings.Join(dayDimensions[:], ", ")
	begin, end := from.UnixMicro(), from.Add(day).UnixMicro()
	return l.transaction(ctx, func(tx *sql.Tx) error {
		if l.alone != "" {
			if _, err := tx.ExecContext(ctx, l.alone); err != nil {
				return err
			}
		}
		rows, err := tx.QueryContext(ctx, "SELECT "+dimensions+", "+summed+" FROM (SELECT "+dimensions+", "+sums+" FROM days WHERE at = $1 UNION ALL SELECT "+
			dimensions+", "+lineSums+" FROM lines WHERE at >= $2 AND at < $3) AS d GROUP BY "+dimensions, begin, begin, end)
		if err != nil {
			return err
		}
		defer rows.Close()
		var days [][]any
		for rows.Next() {
			var of [6]string
			var m Sums
			if err := m.scan(rows.Scan, &of[0], &of[1], &of[2], &of[3], &of[4], &of[5]); err != nil {
				return err
			}
			days = append(days, append([]any{begin, of[0], of[1], of[2], of[3], of[4], of[5]}, m.values()...))
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for _, query := range []string{
			"DELETE FROM days WHERE at >= $1 AND at < $2",
			"DELETE FROM claims WHERE generation IN (SELECT id FROM generations WHERE at >= $1 AND at < $2)",
			"DELETE FROM generations WHERE at >= $1 AND at < $2",
			"DELETE FROM lines WHERE at >= $1 AND at < $2",
		} {
			if _, err := tx.ExecContext(ctx, query, begin, end); err != nil {
				return err
			}
		}
		return l.insert(ctx, tx, "days", "at, "+dimensions+", "+sums, days)
	})
}
