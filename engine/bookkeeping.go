package engine

import (
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"chaperone/engine/config"
	"chaperone/engine/ledger"
)

// leastRetention of a ledger is longer than what could be read again of a journal, so that nothing comes back that was summed up.
const leastRetention = 7 * 24 * time.Hour

func (l *Ledger) check(doc *config.Document, journal string) (all config.Problems) {
	if journal == "" && *l != (Ledger{}) {
		all = append(all, doc.Problem("ledger", "there is no journal on disk to make a ledger from; set journal.dir"))
	}
	if l.Database != "" && l.DatabaseEnv != "" {
		all = append(all, doc.Problem("ledger.database_env", "stands beside database; expected one of the two"))
	}
	if l.Retention != 0 && l.Retention < leastRetention {
		all = append(all, doc.Problem("ledger.retention", "found %s; expected at least %s, or 0 for no limit", l.Retention, leastRetention))
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

// Books is where the journal and the ledger of a configuration are kept.
type Books struct {
	Journal   string // folder
	Ledger    string // SQLite file or address of a database; it may hold a password
	Retention time.Duration
}

// Books says where journal and ledger are; the zero value is returned where there is no journal on disk. path is the configuration's.
func (s *Settings) Books(path string, env func(string) (string, bool)) (Books, error) {
	if s.Journal.Dir == "" {
		return Books{}, nil
	}
	b := Books{Journal: beside(path, s.Journal.Dir), Ledger: s.Ledger.Database, Retention: s.Ledger.Retention}
	if name := s.Ledger.DatabaseEnv; name != "" {
		if b.Ledger, _ = env(name); b.Ledger == "" {
			return b, fmt.Errorf("%s: ledger.database_env: the variable %s is empty or not set; expected the address of the ledger's database", path, name)
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

const ledgerFile = "ledger.sqlite"

// openLedger begins to keep the ledger of a journal on disk.
func (e *Engine) openLedger(s *Settings) error {
	if !e.journal.OnDisk() {
		return nil
	}
	b, err := s.Books(e.options.ConfigPath, e.options.Env)
	if err != nil {
		return err
	}
	if e.ledger, err = ledger.Open(ledger.Options{Database: b.Ledger, Journal: b.Journal, Retention: b.Retention, Log: e.options.Log}); err == nil {
		e.ledger.Follow()
	}
	return err
}
