package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"chaperone/engine/config"
	"chaperone/engine/report"
)

func reportCommand(out *printer) *cobra.Command {
	var o report.Options
	var path, from, to, format string
	var given trusted
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Say who was shown an organisation's data, under which controls, and how far that is proven",
		Long: `Say, from the journal, which controls were in force when (by digest), how often each has excluded whom, every provider and
region that was shown data (failed attempts, hedges and rescues too), exceptions and policies on trial, evidence that had aged,
what verification has found, and what all of that does not prove.

Where several routers share the traffic, name the journal of each with --dir. With --checkpoints, which were kept elsewhere, the
report proves more: see chaperone journal verify --help.

The exit code is 1 where a journal does not hold; the report is written all the same, and says so.`,
		Example: `  chaperone report --org acme --format html > acme.html
  chaperone report --org acme --from 2026-10-01 --to 2026-11-01 --checkpoints anchored.jsonl > october.md
  chaperone report --org acme --dir eu/journal --dir us/journal --json`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&o.Organisation, "org", "", "organisation")
	cmd.MarkFlagRequired("org")
	f.StringVar(&from, "from", "", "from then on: 2026-11-01, 2026-11-01T12:00:00Z, or a time ago such as 24h or 7d (default: the first of this month, UTC)")
	f.StringVar(&to, "to", "", "before then, likewise (default: now)")
	f.StringVar(&format, "format", "markdown", "markdown, html or json")
	f.StringArrayVar(&o.Dirs, "dir", nil, "folder of a journal; one for each router (default: journal.dir of --config)")
	f.StringVar(&path, "config", defaultConfig, "configuration that names the journal, where --dir does not")
	given.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if out.json {
			format = "json"
		}
		if format != "markdown" && format != "html" && format != "json" {
			return inputErrorf("--format: found %q; expected markdown, html or json", format)
		}
		if len(o.Dirs) == 0 {
			dir, err := (&folder{config: path}).path()
			if err != nil {
				return err
			}
			o.Dirs = []string{dir}
		}
		for _, dir := range o.Dirs {
			if _, err := os.Stat(dir); err != nil {
				return noJournal(dir, err)
			}
		}
		if given.key != "" && len(o.Dirs) > 1 {
			return inputErrorf("--key is that of one journal, and --dir names %d; leave it out, or report on each", len(o.Dirs))
		}
		var err error
		if o.Trust, err = given.read(); err != nil {
			return err
		}
		o.Now = time.Now()
		now := o.Now.UTC()
		o.From, o.To = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC), o.Now
		for _, span := range []struct {
			flag, text string
			at         *time.Time
		}{{"--from", from, &o.From}, {"--to", to, &o.To}} {
			if span.text == "" {
				continue
			}
			if *span.at, err = instant(span.flag, span.text); err != nil {
				return err
			}
		}
		if !o.From.Before(o.To) {
			return inputErrorf("--to: found %s, which is not after --from, %s", o.To.UTC().Format(time.RFC3339), o.From.UTC().Format(time.RFC3339))
		}
		r, err := report.Make(cmd.Context(), o)
		if err != nil {
			return err
		}
		if others := r.Strange(); others != nil {
			return inputErrorf("--org: %s", config.UnknownName("organisation", o.Organisation, others))
		}
		switch format {
		case "json":
			e := json.NewEncoder(out.w)
			e.SetEscapeHTML(false)
			err = e.Encode(r)
		case "html":
			err = r.HTML(out.w)
		default:
			err = r.Markdown(out.w)
		}
		if err != nil {
			return err
		}
		if !r.Holds() {
			return fmt.Errorf("a journal does not hold: the report says what is wrong under Verification")
		}
		return nil
	}
	return cmd
}
