package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"chaperone/engine/config"
	"chaperone/engine/ledger"
)

// leastRetention is that of a ledger. It is also longer than what may be read again of a journal, which is a segment, so that
// nothing comes back that was summed up.
const leastRetention = 7 * 24 * time.Hour

func (l *Ledger) check(doc *config.Document, journal *Journal) (all config.Problems) {
	if journal.Dir == "" && *l != (Ledger{}) {
		all = append(all, doc.Problem("ledger", "there is no journal on disk to make a ledger from; set journal.dir"))
	}
	if l.Database != "" && l.DatabaseEnv != "" {
		all = append(all, doc.Problem("ledger.database_env", "stands beside database; expected one of the two"))
	}
	switch least := 2 * journal.SegmentAge; {
	case l.Retention == 0:
	case l.Retention < leastRetention:
		all = append(all, doc.Problem("ledger.retention", "found %s; expected at least %s, or 0 for no limit", l.Retention, leastRetention))
	case l.Retention < least:
		all = append(all, doc.Problem("ledger.retention", "found %s; expected at least %s, twice journal.segment_age, or 0 for no limit", l.Retention, least))
	}
	if !ledger.IsURL(l.Database) {
		return all
	}
	switch u, err := url.Parse(l.Database); {
	case err != nil:
		all = append(all, doc.Problem("ledger.database", "is no address; expected one such as postgres://chaperone@db.example.com/chaperone"))
	case u.User != nil:
		if _, secret := u.User.Password(); secret {
			all = append(all, doc.Problem("ledger.database", "holds a password, which does not stand in a file; put the address into a variable and name that as database_env, or use PGPASSFILE"))
		}
	}
	return all
}

// ReadBooks says where journal and ledger of a configuration are, and reads nothing else of it; the zero value is returned where
// there is no journal on disk. The error is config.Problems where the file is at fault.
func ReadBooks(path string, env func(string) (string, bool)) (Books, error) {
	doc, problems := parse(disk{}, path)
	if doc == nil {
		return Books{}, problems.Err()
	}
	s := defaults()
	problems = append(doc.Decode("journal", &s.Journal), doc.Decode("ledger", &s.Ledger)...)
	if problems = append(problems, s.Ledger.check(doc, &s.Journal)...); len(problems) > 0 {
		return Books{}, problems.Err()
	}
	return s.books(path, env)
}

// Books is where the journal and the ledger of a configuration are kept.
type Books struct {
	Journal   string // folder
	Ledger    string // SQLite file or address of a database; it may hold a password
	Retention time.Duration
}

// books says where they are; path is the configuration's.
func (s *Settings) books(path string, env func(string) (string, bool)) (Books, error) {
	if s.Journal.Dir == "" {
		return Books{}, nil
	}
	b := Books{Journal: beside(path, s.Journal.Dir), Ledger: s.Ledger.Database, Retention: s.Ledger.Retention}
	if name := s.Ledger.DatabaseEnv; name != "" {
		if b.Ledger, _ = env(name); b.Ledger == "" {
			return b, config.Problems{{File: path, Key: "ledger.database_env", Message: fmt.Sprintf("the variable %s is empty or not set; expected the address of the ledger's database", name)}}.Err()
		}
	}
	switch {
	case b.Ledger == "":
		b.Ledger = filepath.Join(b.Journal, ledgerFile)
	case !ledger.IsURL(b.Ledger):
		b.Ledger = beside(path, b.Ledger)
	}
	return b, nil
}

const (
	ledgerFile  = "ledger.sqlite"
	ledgerPlace = "ledger.place" // in the journal's folder: where the ledger is, if not there; without a password
)

// BooksIn are those of the journal in a folder: its ledger is beside it, or where the router that had it last has noted.
func BooksIn(dir string) Books {
	b := Books{Journal: dir, Ledger: filepath.Join(dir, ledgerFile)}
	if text, err := os.ReadFile(filepath.Join(dir, ledgerPlace)); err == nil {
		b.Ledger = strings.TrimSpace(string(text))
	}
	return b
}

// ShowLedger is where the ledger is, without a password.
func (b *Books) ShowLedger() string {
	if u, err := url.Parse(b.Ledger); ledger.IsURL(b.Ledger) && err == nil {
		return u.Redacted()
	}
	return b.Ledger
}

// notePlace notes for BooksIn where the ledger is.
func (b *Books) notePlace() error {
	note, place := filepath.Join(b.Journal, ledgerPlace), b.Ledger
	if ledger.IsURL(place) {
		u, err := url.Parse(place)
		if err != nil {
			return err
		}
		if u.User != nil {
			u.User = url.User(u.User.Username())
		}
		place = u.String()
	} else if absolute, err := filepath.Abs(place); err == nil {
		place = absolute
	}
	if b.Ledger == filepath.Join(b.Journal, ledgerFile) {
		if err := os.Remove(note); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return os.WriteFile(note, []byte(place+"\n"), 0o600)
}

// openLedger begins to keep the ledger of a journal on disk.
func (e *Engine) openLedger(s *Settings) error {
	if !e.journal.OnDisk() {
		return nil
	}
	b, err := s.books(e.options.ConfigPath, e.options.Env)
	if err != nil {
		return err
	}
	if err := b.notePlace(); err != nil {
		return err
	}
	if e.ledger, err = ledger.Open(ledger.Options{Database: b.Ledger, Journal: b.Journal, Retention: b.Retention, Log: e.options.Log}); err == nil {
		e.ledger.Follow()
		e.metrics.Ledger(e.ledger.Counts)
	}
	return err
}
