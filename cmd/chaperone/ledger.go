package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/ledger"
)

func ledgerCommand(out *printer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Hold usage and cost to the journal that they are made from",
		Long: `The ledger is an index of the journal, in SQLite or PostgreSQL: what chaperone usage sums up. It is not chained and signed as the
journal is, and can be made again from it.`,
		Example: `  chaperone ledger verify --config chaperone.toml`,
	}
	cmd.AddCommand(ledgerVerifyCommand(out))
	return cmd
}

// ledgerVerification is what is printed as JSON.
type ledgerVerification struct {
	Ledger  string `json:"ledger"`
	Journal string `json:"journal"`
	*ledger.Report
	Rebuild string `json:"rebuild,omitempty"` // what to do where it does not agree
}

func ledgerVerifyCommand(out *printer) *cobra.Command {
	var database string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Find what is not in the ledger as the journal has it",
		Long: `Have the database check itself, and hold every generation, attempt, claim and sum of a day in the ledger to the records of the
journal. Nothing is changed; a router may be running. Whether the journal itself holds, chaperone journal verify says.

The exit code is 1 where something differs.`,
		Example: `  chaperone ledger verify --config chaperone.toml
  chaperone ledger verify --dir journal --json
  chaperone ledger verify --dir journal --database copy/ledger.sqlite`,
		Args: cobra.NoArgs,
	}
	dir := journalFolder(cmd)
	cmd.Flags().StringVar(&database, "database", "", "the ledger, an SQLite file or an address, where it is another than the configuration's, or the one that the router has noted in --dir")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		books, err := dir.books()
		if err != nil {
			return err
		}
		if database != "" {
			books.Ledger = database
		}
		if _, err := os.Stat(books.Journal); err != nil {
			return noJournal(books.Journal, err)
		}
		if _, err := os.Stat(books.Ledger); !ledger.IsURL(books.Ledger) && errors.Is(err, fs.ErrNotExist) {
			return inputErrorf("there is no ledger %s; chaperone usage makes it from the journal, or --database names another", books.Ledger)
		}
		l, err := ledger.Open(ledger.Options{Database: books.Ledger, Journal: books.Journal})
		if err != nil {
			return err
		}
		defer l.Close()
		progress, done := showProgress(cmd.ErrOrStderr())
		report, err := l.Verify(cmd.Context(), progress)
		done()
		if err != nil {
			return err
		}
		v := ledgerVerification{Ledger: books.ShowLedger(), Journal: books.Journal, Report: report}
		if len(report.Findings) > 0 {
			v.Rebuild = rebuilding(&books)
		}
		if err := out.print(v, func(w io.Writer) { writeLedgerVerification(w, &v) }); err != nil {
			return err
		}
		if n := len(report.Findings) + report.More; n > 0 {
			return fmt.Errorf("the ledger is not what the journal says: %d finding(s)", n)
		}
		return nil
	}
	return cmd
}

// rebuilding says how a ledger is made again.
func rebuilding(b *engine.Books) string {
	away := "move " + b.ShowLedger() + " away with its -wal and -shm"
	if ledger.IsURL(b.Ledger) {
		away = "name an empty database in place of " + b.ShowLedger()
	}
	return "stop the router, " + away + ", and start it: the ledger is made again from the journal, as far back as that goes"
}

func writeLedgerVerification(w io.Writer, v *ledgerVerification) {
	row(w, "ledger", v.Ledger)
	row(w, "journal", v.Journal)
	row(w, "replica", v.Replica)
	row(w, "generations compared", v.Generations)
	row(w, "sums of days compared", v.Days)
	for _, n := range v.Notices {
		fmt.Fprintf(w, "\nnote: %s\n", n)
	}
	for _, f := range v.Findings {
		fmt.Fprintf(w, "\nWRONG: %s\n", f)
	}
	switch {
	case v.More > 0:
		fmt.Fprintf(w, "\nand %d more\n\n%s\n", v.More, v.Rebuild)
	case v.Rebuild != "":
		fmt.Fprintf(w, "\n%s\n", v.Rebuild)
	default:
		fmt.Fprintln(w, "\nthe ledger agrees with the journal")
	}
}
