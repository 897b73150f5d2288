package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/journal"
	"chaperone/engine/ledger"
)

func journalCommand(out *printer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "journal",
		Short: "Verify, show, search and export the record of every request",
		Long: `The journal is what journal.dir of the configuration names: a record a request, chained and signed. These commands read it
while a router writes it; they need its folder and nothing else.`,
	}
	cmd.Example = `  chaperone journal verify --dir journal
  chaperone journal query --dir journal --org acme`
	cmd.AddCommand(journalVerifyCommand(out), journalShowCommand(out), journalQueryCommand(out), journalExportCommand(out), journalEraseCommand(out))
	return cmd
}

// folder is where the journal lies.
type folder struct{ dir, config string }

// journalFolder adds the flags that every one of them has.
func journalFolder(cmd *cobra.Command) *folder {
	f := &folder{}
	cmd.Flags().StringVar(&f.dir, "dir", "", "folder of the journal (default: journal.dir of --config)")
	cmd.Flags().StringVar(&f.config, "config", defaultConfig, "configuration that names the journal, where --dir does not")
	return f
}

func (f *folder) path() (string, error) {
	books, err := f.books()
	return books.Journal, err
}

// books are the journal and its ledger.
func (f *folder) books() (engine.Books, error) {
	if f.dir != "" {
		return engine.BooksIn(f.dir), nil
	}
	books, err := engine.ReadBooks(f.config, os.LookupEnv)
	if err != nil {
		return books, fmt.Errorf("without --dir the journal is that of a configuration: %w", err)
	}
	if books.Journal == "" {
		return books, inputErrorf("%s names no journal.dir: its router keeps decisions in memory only; name a journal with --dir", f.config)
	}
	return books, nil
}

func journalVerifyCommand(out *printer) *cobra.Command {
	var given trusted
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Find what was altered, removed, put in, exchanged or cut off",
		Long: `Read the whole journal and check every frame, the chain, every signature and every archived artefact.

What is signed with a key that lies beside the journal proves nothing against whoever can read that key. Name checkpoints that
were kept elsewhere with --checkpoints: the journal has to agree with each of them and reach the last. Checkpoints that an authority has
stamped prove as much, for as long as they lie beside the journal: --timestamp-ca names whom to trust.

The exit code is 1 where something is wrong.`,
		Example: `  chaperone journal verify --dir journal
  chaperone journal verify --dir journal --checkpoints anchored.jsonl`,
		Args: cobra.NoArgs,
	}
	dir := journalFolder(cmd)
	given.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		trust, err := given.read()
		if err != nil {
			return err
		}
		path, err := dir.path()
		if err != nil {
			return err
		}
		report, err := journal.Verify(path, trust)
		if err != nil {
			return noJournal(path, err)
		}
		if err := out.print(report, func(w io.Writer) { writeVerification(w, report, given.checkpoints != "") }); err != nil {
			return err
		}
		if n := len(report.Problems); n > 0 {
			return fmt.Errorf("the journal does not hold: %d finding(s)", n)
		}
		return nil
	}
	return cmd
}

// trusted is what is known from elsewhere, as flags say it.
type trusted struct{ checkpoints, key, authorities string }

func (t *trusted) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.checkpoints, "checkpoints", "", "file of checkpoints as anchoring handed them out, JSON one after the other")
	f.StringVar(&t.key, "key", "", "public key that has signed, in hexadecimal, as known from elsewhere")
	f.StringVar(&t.authorities, "timestamp-ca", "", "PEM file of certificates, to which those of time stamps have to lead")
}

func (t *trusted) read() (trust journal.Trust, err error) {
	trust.Key = t.key
	if t.authorities != "" {
		text, err := os.ReadFile(t.authorities)
		if err != nil {
			return trust, inputErrorf("--timestamp-ca: %v", err)
		}
		trust.Authorities = x509.NewCertPool()
		if !trust.Authorities.AppendCertsFromPEM(text) {
			return trust, inputErrorf("--timestamp-ca: %s holds no certificate; expected PEM", t.authorities)
		}
	}
	if t.checkpoints == "" {
		return trust, nil
	}
	f, err := os.Open(t.checkpoints)
	if err != nil {
		return trust, inputErrorf("--checkpoints: %v", err)
	}
	defer f.Close()
	if trust.Checkpoints, err = journal.ReadCheckpoints(f); err != nil {
		return trust, inputErrorf("--checkpoints: %s: %v", t.checkpoints, err)
	}
	return trust, nil
}

func writeVerification(w io.Writer, r *journal.Report, anchored bool) {
	row(w, "replica", r.Replica)
	row(w, "key", r.Key)
	row(w, "segments", r.Segments)
	row(w, "records", r.Records)
	row(w, "checkpoints", r.Checkpoints)
	if c := r.LastCheckpoint; c != nil {
		row(w, "last checkpoint", c.At.Format(time.RFC3339))
	}
	row(w, "records behind it", r.Unprotected)
	if anchored {
		row(w, "confirmed from outside", r.Confirmed)
	}
	if r.StampedAt != nil {
		row(w, "stamped by an authority", fmt.Sprintf("%d, last at %s", r.Stamped, r.StampedAt.Format(time.RFC3339)))
	}
	if r.Unchecked > 0 {
		row(w, "stamps of nobody that is trusted", fmt.Sprintf("%d; --timestamp-ca names whom to trust", r.Unchecked))
	}
	for _, n := range r.Notices {
		fmt.Fprintf(w, "\nnote: %s\n", n)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(w, "\nWRONG: %s\n", p)
	}
	if len(r.Problems) == 0 {
		fmt.Fprintln(w, "\nthe journal holds")
	}
}

// noJournal says what is wrong with a folder.
func noJournal(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return inputErrorf("--dir: there is no folder %s; expected that of journal.dir", dir)
	}
	return err
}

func journalShowCommand(out *printer) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show DECISION",
		Short:   "Show one record: what was considered, why others were not chosen, and what became of it",
		Example: `  chaperone journal show gen-0123456789abcdef01234567 --dir journal`,
		Args:    cobra.ExactArgs(1),
	}
	dir := journalFolder(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := dir.path()
		if err != nil {
			return err
		}
		rec, err := journal.Find(path, args[0])
		if err != nil {
			return noJournal(path, err)
		}
		if rec == nil {
			return inputErrorf("%s: the journal in %s has no such decision; an answer's id is in its X-Generation-Id header", args[0], path)
		}
		if out.json {
			return json.NewEncoder(out.w).Encode(rec)
		}
		writeDecision(out.w, rec)
		return nil
	}
	return cmd
}

// choice are the flags that choose records.
type choice struct {
	dir          *folder
	filter       journal.Filter
	since, until string
}

func addChoice(cmd *cobra.Command) *choice {
	c := &choice{dir: journalFolder(cmd)}
	f := cmd.Flags()
	f.StringVar(&c.filter.Organisation, "org", "", "organisation that asked")
	f.StringVar(&c.filter.Model, "model", "", "model that was asked for or has answered")
	f.StringVar(&c.filter.Provider, "provider", "", "id of a provider that was shown the request")
	f.StringVar(&c.filter.DeniedBy, "denied-by", "", "package, PACKAGE.RULE or PACKAGE.RULE/CODE that denied some endpoint or the request")
	f.StringVar(&c.since, "since", "", "from then on: 2026-11-01, 2026-11-01T12:00:00Z, or a time ago such as 24h or 7d")
	f.StringVar(&c.until, "until", "", "before then, likewise")
	return c
}

// each calls visit with every record that is chosen. Segments that cannot be read are told at the end.
func (c *choice) each(visit func(*journal.Record) error) error {
	path, err := c.dir.path()
	if err != nil {
		return err
	}
	if err := c.times(); err != nil {
		return err
	}
	var unread []error
	for e, err := range journal.Records(path, c.filter.Since) {
		if err != nil {
			unread = append(unread, noJournal(path, err))
			continue
		}
		if c.filter.Match(e.Record) {
			if err := visit(e.Record); err != nil {
				return err
			}
		}
	}
	return errors.Join(unread...)
}

func (c *choice) times() (err error) {
	if c.filter.Since, err = instant("--since", c.since); err == nil {
		c.filter.Until, err = instant("--until", c.until)
	}
	return err
}

func instant(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Now().AddDate(0, 0, -int(n)), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, inputErrorf("%s: found %q; expected a day, 2026-11-01, a moment, 2026-11-01T12:00:00Z, or a time ago, 24h or 7d", flag, text)
}

func journalQueryCommand(out *printer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "query",
		Short: "List requests, the latest last",
		Example: `  chaperone journal query --dir journal --org acme --since 24h
  chaperone journal query --dir journal --provider openai --denied-by library.training`,
		Args: cobra.NoArgs,
	}
	c := addChoice(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		records := []*journal.Record{}
		err := c.each(func(r *journal.Record) error {
			records = append(records, r)
			return nil
		})
		return errors.Join(err, out.print(map[string]any{"records": records}, func(w io.Writer) {
			if len(records) == 0 {
				fmt.Fprintln(w, "no such request is in the journal")
				return
			}
			row(w, "AT", "DECISION", "ORGANISATION", "MODEL", "STATUS", "PROVIDER", "ATTEMPTS", "TOKENS", "COST")
			for _, r := range records {
				row(w, r.At.UTC().Format(time.RFC3339), r.ID, r.Organisation, r.Request.Model, r.Outcome.Status, r.Outcome.Provider, len(r.Attempts),
					fmt.Sprintf("%d+%d", r.Outcome.Usage.PromptTokens, r.Outcome.Usage.CompletionTokens), fmt.Sprintf("$%.6f", r.Outcome.Cost.USD()))
			}
		}))
	}
	return cmd
}

func journalExportCommand(out *printer) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "export",
		Short:   "Write records as JSON, one a line",
		Long:    "Write records as JSON, one a line, with what callers said of themselves in the clear as far as the keys to it are there.",
		Example: `  chaperone journal export --dir journal --org acme --since 2026-11-01 > acme.jsonl`,
		Args:    cobra.NoArgs,
	}
	c := addChoice(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		e := json.NewEncoder(out.w)
		return c.each(func(r *journal.Record) error { return e.Encode(r) })
	}
	return cmd
}

func journalEraseCommand(out *printer) *cobra.Command {
	var dir, path, organisation, month string
	cmd := &cobra.Command{
		Use:   "erase",
		Short: "Make what an organisation's callers said of themselves in a month unreadable for ever",
		Long: `Destroy the key under which user, metadata, tags and the like of a month's requests are sealed, and delete them from the
ledger. The records stay, and so do their proof and what they cost. Copies of the key and of the ledger, in backups, have to be
destroyed as well; where several routers share a ledger, each journal has a key of its own.

--dir finds the ledger beside the journal. Where the address of its database is in the environment, name the configuration.`,
		Example: `  chaperone journal erase --dir journal --org acme --month 2026-11
  chaperone journal erase --config chaperone.toml --org acme --month 2026-11`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "", "folder of the journal")
	f.StringVar(&path, "config", "", "configuration that names journal and ledger, in place of --dir")
	f.StringVar(&organisation, "org", "", "organisation")
	f.StringVar(&month, "month", "", "month in UTC, such as 2026-11")
	cmd.MarkFlagsOneRequired("dir", "config")
	cmd.MarkFlagsMutuallyExclusive("dir", "config")
	cmd.MarkFlagRequired("org")
	cmd.MarkFlagRequired("month")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		books := engine.BooksIn(dir)
		if path != "" {
			var err error
			if books, err = engine.ReadBooks(path, os.LookupEnv); err != nil {
				return err
			}
			if books.Journal == "" {
				return inputErrorf("%s keeps no journal on disk: there is nothing to erase", path)
			}
		}
		err := journal.Erase(books.Journal, organisation, month) // first: from here on, no ledger takes it in again
		sealed := !errors.Is(err, fs.ErrNotExist)
		if sealed && err != nil {
			return err
		}
		deleted, err := eraseLedger(cmd.Context(), books.Ledger, organisation, month, sealed)
		if err != nil {
			return fmt.Errorf("the ledger at %s still has what callers of %s said of themselves in %s (the journal has it no more); mend that, and erase again: %w",
				books.ShowLedger(), organisation, month, err)
		}
		if !sealed && deleted == 0 {
			return inputErrorf("the journal in %s has no key for %s in %s, and its ledger no claims: there were none, or they are erased already", books.Journal, organisation, month)
		}
		return out.print(map[string]any{"erased": organisation, "month": month, "deleted_from_ledger": deleted}, func(w io.Writer) {
			fmt.Fprintf(w, "what callers of %s said of themselves in %s cannot be read any more\n", organisation, month)
		})
	}
	return cmd
}

// eraseLedger deletes claims from a ledger, and says how many there were. One that was never made has none. Where nothing was sealed
// and there are none, it is left alone: whoever mistyped a name should not keep it from being counted.
func eraseLedger(ctx context.Context, database, organisation, month string, sealed bool) (int64, error) {
	if _, err := os.Stat(database); !ledger.IsURL(database) && errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	l, err := ledger.Open(ledger.Options{Database: database})
	if err != nil {
		return 0, err
	}
	defer l.Close()
	if !sealed {
		if n, err := l.Claims(ctx, organisation, month); err != nil || n == 0 {
			return 0, err
		}
	}
	return l.Erase(ctx, organisation, month)
}
