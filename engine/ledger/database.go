package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/ncruces/go-sqlite3"
	_ "github.com/ncruces/go-sqlite3/driver" // as "sqlite3"
)

// dialect is where the two databases differ. Both read $1 as a parameter.
type dialect struct {
	remote bool   // PostgreSQL
	locked string // ends a SELECT whose row nobody else may take before this transaction has ended
	alone  string // has the transaction wait until no other enters records; "" where a transaction is alone anyway
}

// IsURL says whether a database is named by an address, and not by a path.
func IsURL(database string) bool {
	return strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://")
}

func connect(database string) (*sql.DB, dialect, error) {
	if IsURL(database) {
		config, err := pgx.ParseConfig(database)
		if err != nil {
			return nil, dialect{}, err // it leaves the password out
		}
		db := stdlib.OpenDB(*config)
		db.SetMaxOpenConns(8)
		db.SetConnMaxIdleTime(5 * time.Minute)
		return db, dialect{remote: true, locked: " FOR UPDATE", alone: "LOCK TABLE progress IN EXCLUSIVE MODE"}, nil
	}
	path, err := filepath.Abs(database)
	if err != nil {
		return nil, dialect{}, err
	}
	// Made here, for its owner alone; modeof gives the log beside it the same mode. (What is readable to others, -shm, holds page
	// numbers.)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, dialect{}, err
	}
	if err := f.Close(); err != nil {
		return nil, dialect{}, err
	}
	// What is deleted is overwritten: erasing claims must erase them. In WAL mode, NORMAL can lose the last transactions with the
	// machine's power, never part of one; they are entered again.
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_txlock=immediate&modeof=" + url.QueryEscape(path) +
		"&_pragma=busy_timeout(30000)&_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=secure_delete(on)"
	db, err := sql.Open("sqlite3", name)
	if err != nil {
		return nil, dialect{}, err
	}
	db.SetMaxOpenConns(4)
	return db, dialect{}, nil
}

// explain says of an error by a file that is damaged what can be done about it.
func (l *Ledger) explain(err *error) {
	if errors.Is(*err, sqlite3.CORRUPT) || errors.Is(*err, sqlite3.NOTADB) {
		*err = fmt.Errorf("%s is damaged; once it is moved away, the ledger is made again from the journal, as far back as that goes: %w", l.o.Database, *err)
	}
}

// statement is SQL with its arguments, each of which stands once and in their order.
type statement struct {
	strings.Builder
	args   []any
	remote bool
}

// arg is the parameter that stands for v.
func (s *statement) arg(v any) string {
	s.args = append(s.args, v)
	if !s.remote {
		return "?" // SQLite looks every $n up among all that came before it
	}
	return "$" + strconv.Itoa(len(s.args))
}

// list is the parameters that stand for all of vs.
func (s *statement) list(vs []string) string {
	names := make([]string, len(vs))
	for i, v := range vs {
		names[i] = s.arg(text(v))
	}
	return strings.Join(names, ", ")
}
