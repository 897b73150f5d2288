package ledger

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"chaperone/engine/journal"
)

// batchRecords are entered in one transaction.
const batchRecords = 500

// batch enters the next records of the journal, and with them, in the same transaction, how far it has come: whatever ends the
// process, a record and its place are both in, or neither. more says that there was something.
func (l *Ledger) batch(ctx context.Context) (more bool, err error) {
	var entered int
	err = l.transaction(ctx, func(tx *sql.Tx) error {
		at, err := l.place(ctx, tx)
		if err != nil {
			return err
		}
		// Read behind the lock on the place: an erasure is either seen here, by the key that is gone, or comes after this
		// transaction and deletes what it has entered.
		records, next, unread := l.follower.Next(at, batchRecords)
		if more = next != at; !more {
			return unread
		}
		if unread != nil {
			l.o.Log.Error("part of the journal cannot be read and is not in the ledger; chaperone journal verify says more", "error", unread)
		}
		forgotten, err := erased(ctx, tx)
		if err != nil {
			return err
		}
		if err := l.enter(ctx, tx, records, forgotten); err != nil {
			return err
		}
		entered = len(records)
		_, err = tx.ExecContext(ctx, "UPDATE progress SET segment = $1, position = $2 WHERE replica = $3", int64(next.Segment), next.Offset, l.replica)
		return err
	})
	if err != nil {
		return false, err
	}
	l.entered.Add(uint64(entered))
	return more, nil
}

// place is how far the journal is entered. Nobody else may enter more of it before the transaction has ended.
func (l *Ledger) place(ctx context.Context, tx *sql.Tx) (at journal.Position, err error) {
	var segment int64
	find := func() error {
		return tx.QueryRowContext(ctx, "SELECT segment, position FROM progress WHERE replica = $1"+l.locked, l.replica).Scan(&segment, &at.Offset)
	}
	if err = find(); errors.Is(err, sql.ErrNoRows) {
		if _, err = tx.ExecContext(ctx, "INSERT INTO progress (replica, segment, position) VALUES ($1, 0, 0) ON CONFLICT DO NOTHING", l.replica); err == nil {
			err = find()
		}
	}
	at.Segment = uint64(segment)
	return at, err
}

// enter adds records. One that is there already stays as it is.
func (l *Ledger) enter(ctx context.Context, tx *sql.Tx, records []*journal.Record, forgotten map[memory]bool) error {
	var generations, lines, claims [][]any
	for _, r := range records {
		g := Of(r)
		if g == nil {
			continue
		}
		generations = append(generations, g.values(l.replica))
		lines = append(lines, g.lines()...)
		if !forgotten[memory{g.Organisation, g.month()}] {
			claims = append(claims, g.claims()...)
		}
	}
	for _, t := range []struct {
		table, columns string
		rows           [][]any
	}{{"generations", generationColumns, generations}, {"lines", lineColumns, lines}, {"claims", claimColumns, claims}} {
		if err := l.insert(ctx, tx, t.table, t.columns, t.rows); err != nil {
			return err
		}
	}
	return nil
}

// insertRows go into one statement: far fewer parameters than either database takes, and few trips to a server.
const insertRows = 100

func (l *Ledger) insert(ctx context.Context, tx *sql.Tx, table, columns string, rows [][]any) error {
	for len(rows) > 0 {
		some := rows[:min(insertRows, len(rows))]
		rows = rows[len(some):]
		s := statement{remote: l.remote}
		s.WriteString("INSERT INTO " + table + " (" + columns + ") VALUES ")
		for i, row := range some {
			if i > 0 {
				s.WriteString(", ")
			}
			names := make([]string, len(row))
			for k, v := range row {
				names[k] = s.arg(v)
			}
			s.WriteString("(" + strings.Join(names, ", ") + ")")
		}
		s.WriteString(" ON CONFLICT DO NOTHING")
		if _, err := tx.ExecContext(ctx, s.String(), s.args...); err != nil {
			return err
		}
	}
	return nil
}
