package main

import (
	"fmt"
	"io"
	"math/big"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"chaperone/engine/replay"
)

func replayCommand(out *printer) *cobra.Command {
	var o replay.Options
	var failOn []string
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Decide recorded requests again under another policy, catalog or scorer, and show what would have changed",
		Long: `Decide the requests of the journal again, each with what it was decided with then but for what is named here, and show what
would have been different: endpoints denied or permitted, requests refused or served, other providers, and what that means for
expected cost and time to the first token.

--policy names a folder of Rego or a configuration. Packages of a folder take the place of every source that has one of them; new
ones are bound for everyone, or as --for says, with the parameters that --params has for them. Of a configuration its [policy]
counts. --params is a TOML file with a table for each package, such as ["library.residency"]. --catalog is a catalog file or a
configuration. --scorer is a plugin's .wasm or a native scorer, in place of all.

Without any of them everything has to come out as it is recorded: a check of the journal and of this version.

What a record does not tell is counted as undecidable, never guessed: claims that were erased, statistics of endpoints that are
new, what a plugin had learned. Requests under log = "none" have no record and are not counted at all.

The exit code is 0 where nothing that --fail-on names has come up, else 3.`,
		Example: `  chaperone replay --since 7d --policy rego
  chaperone replay --since 7d --policy next/chaperone.toml --org acme --json
  chaperone replay --since 2026-11-01 --params params.toml --fail-on denied,refused
  chaperone replay --since 24h --catalog catalog.toml
  chaperone replay --since 24h --scorer price`,
		Args: cobra.NoArgs,
	}
	c := addChoice(cmd)
	f := cmd.Flags()
	f.StringVar(&o.Change.Policy, "policy", "", "folder of Rego, or configuration, with the policies to decide with")
	f.StringVar(&o.Change.For, "for", "", `whom packages are bound for that nobody has bound yet, such as org:acme (default "everyone")`)
	f.StringVar(&o.Change.Params, "params", "", "TOML file with the parameters of packages")
	f.StringVar(&o.Change.Catalog, "catalog", "", "catalog file, or configuration, to decide with")
	f.StringVar(&o.Change.Scorer, "scorer", "", "plugin or native scorer to rank with")
	f.IntVar(&o.Examples, "examples", 3, "how many of each kind are shown")
	f.StringSliceVar(&failOn, "fail-on", []string{"any"}, "what the exit code 3 is for: "+strings.Join(failures, ", "))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, what := range failOn {
			if fails[what] == nil {
				return inputErrorf("--fail-on: found %q; expected some of %s", what, strings.Join(failures, ", "))
			}
		}
		var err error
		if o.Dir, err = c.dir.path(); err != nil {
			return err
		}
		if _, err := os.Stat(o.Dir); err != nil {
			return noJournal(o.Dir, err)
		}
		if err := c.times(); err != nil {
			return err
		}
		o.Filter = c.filter
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(400) // records live for a moment, and little else does
		}
		progress, done := showProgress(cmd.ErrOrStderr())
		o.Progress = progress
		r, err := replay.Run(cmd.Context(), o)
		done()
		if err != nil {
			return err
		}
		if err := out.print(r, func(w io.Writer) { writeReplay(w, r) }); err != nil {
			return err
		}
		for _, what := range failOn {
			if fails[what](r) {
				return errRefused
			}
		}
		return nil
	}
	return cmd
}

// failures are what --fail-on takes, in the order in which help names them.
var failures = []string{"any", "denied", "permitted", "refused", "served", "provider", "undecidable", "difference", "none"}

var fails = map[string]func(*replay.Result) bool{
	"any":         func(r *replay.Result) bool { return r.Changed() || len(r.Undecidable) > 0 || len(r.Unread) > 0 },
	"denied":      func(r *replay.Result) bool { return r.Denied > 0 },
	"permitted":   func(r *replay.Result) bool { return r.Permitted > 0 },
	"refused":     func(r *replay.Result) bool { return r.Refused > 0 },
	"served":      func(r *replay.Result) bool { return r.Served > 0 },
	"provider":    func(r *replay.Result) bool { return r.Provider > 0 },
	"undecidable": func(r *replay.Result) bool { return len(r.Undecidable) > 0 },
	"difference":  func(r *replay.Result) bool { return !r.Same() },
	"none":        func(*replay.Result) bool { return false },
}

// showProgress tells of long work where somebody looks on.
func showProgress(w io.Writer) (progress func(int, time.Time), done func()) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, func() {}
	}
	began := time.Now()
	var told time.Time
	return func(records int, at time.Time) {
			if now := time.Now(); now.Sub(told) >= time.Second {
				told = now
				fmt.Fprintf(f, "\r%d requests, up to %s, %.0f a second\x1b[K", records, at.UTC().Format(time.DateTime), float64(records)/now.Sub(began).Seconds())
			}
		}, func() {
			if !told.IsZero() {
				fmt.Fprint(f, "\r\x1b[K")
			}
		}
}

func writeReplay(w io.Writer, r *replay.Result) {
	row(w, "requests", r.Records)
	row(w, "verdicts on endpoints", r.Verdicts)
	row(w, "  now denied", r.Denied)
	row(w, "  now permitted", r.Permitted)
	row(w, "requests now refused", r.Refused)
	row(w, "requests now served", r.Served)
	row(w, "first to another provider", r.Provider)
	row(w, "otherwise in another order", r.Order)
	row(w, "with other obligations", r.Terms)
	row(w, "with other reasons", r.Reasons)
	undecidable := 0
	for _, u := range r.Undecidable {
		undecidable += u.Requests
	}
	row(w, "undecidable", undecidable)
	if len(r.Groups) > 0 {
		fmt.Fprintln(w)
		row(w, "ORGANISATION", "MODEL", "REQUESTS", "DENIED", "PERMITTED", "REFUSED", "SERVED", "OTHER PROVIDER", "COST", "TTFT")
		for _, g := range r.Groups {
			row(w, g.Organisation, g.Model, g.Requests, g.Denied, g.Permitted, g.Refused, g.Served, g.Provider, costChange(g), timeChange(g))
		}
	}
	for _, u := range r.Undecidable {
		fmt.Fprintf(w, "\nundecidable (%s) in %d requests: %s", u.What, u.Requests, u.Why)
		if len(u.Examples) > 0 {
			fmt.Fprintf(w, "\n  such as %s", strings.Join(u.Examples, ", "))
		}
		fmt.Fprintln(w)
	}
	for i := range r.Examples {
		e := &r.Examples[i]
		fmt.Fprintf(w, "\n%s: %s, %s for %s", strings.ReplaceAll(e.Kind, "_", " "), e.Decision, e.Organisation, e.Model)
		if e.Endpoint != "" {
			fmt.Fprintf(w, ", %s", e.Endpoint)
		}
		fmt.Fprintf(w, "\n- %s\n+ %s\n", e.Before, e.After)
	}
	for _, why := range r.Unread {
		fmt.Fprintf(w, "\nnot read: %s\n", why)
	}
}

// costChange is what a group's first choices are expected to cost, then and now.
func costChange(g *replay.Group) string {
	if g.Compared == 0 {
		return "-"
	}
	return exactUSD(g.CostBefore) + " → " + exactUSD(g.CostAfter)
}

func exactUSD(picodollars *big.Int) string {
	return "$" + new(big.Rat).SetFrac(picodollars, big.NewInt(1e12)).FloatString(6)
}

func timeChange(g *replay.Group) string {
	if g.Compared == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f → %.0f ms", g.TTFTBefore, g.TTFTAfter)
}
