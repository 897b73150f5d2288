package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/spf13/cobra"

	"chaperone/engine/sim/demo"
)

// The traffic of a run of so many requests; the one that is shown first; and the one that goes on beside a visitor's.
var (
	quickly    = demo.Pace{AtOnce: 16}
	watchably  = demo.Pace{AtOnce: 4, Every: 120 * time.Millisecond}
	background = demo.Pace{AtOnce: 2, Every: 3 * time.Second}
)

// shownFirst is how many requests are shown before the demo can be tried.
const shownFirst = 60

func demoCommand(out *printer) *cobra.Command {
	var o demo.Options
	var requests int
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show it all with simulated providers: no keys, no configuration",
		Long: `Show it all on this machine alone: ten simulated providers, one of which trains on prompts, one does so with its free
keys, one is overseas, one fails, one is slow, one limits its rate, one breaks off in mid-stream, one falls silent there,
and two are good; an organisation that may use them all, and one that wants no training and only the EU; a scorer in
WebAssembly; and traffic. It shows who served what, at which time to first token (TTFT) and cost, and why the others did
not. Then it stays up, with a request of its own now and then, and prints what to try. An interrupt ends it with a
summary.

--requests N sends N requests, prints the summary and ends. The exit code is 1 where a request failed or reached a
provider that its organisation's policies exclude; the latter is counted by the providers, not by the router.

--json prints only the summary, as one JSON object, at the end; addresses and what to try then go to standard error.

A seed decides every request and, for each provider, how it treats that request: whether it fails, its pace, its text.
Which provider is asked follows from measured times and from the order in which answers arrive, so the numbers of a
summary differ a little from run to run.

Nothing is left on disk.`,
		Example: `  chaperone demo
  chaperone demo --listen 127.0.0.1:9000
  chaperone demo --requests 200 --seed 1 --json
  chaperone demo --requests 200 --without-policy`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("requests") && requests < 1 {
				return inputErrorf("--requests is %d; it should be at least 1", requests)
			}
			o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			return runDemo(cmd, out, o, requests)
		},
	}
	cmd.Flags().StringVar(&o.Listen, "listen", "", "`ADDRESS` of the server (default "+demo.DefaultListen+", or a free port where that is taken)")
	cmd.Flags().IntVar(&requests, "requests", 0, "send so many and end; without it, run until interrupted")
	cmd.Flags().Uint64Var(&o.Seed, "seed", 1, "seed of the requests and of what the providers do with them")
	cmd.Flags().BoolVar(&o.WithoutPolicy, "without-policy", false, "leave out the strict organisation's policies: shows that the providers notice")
	return cmd
}

func runDemo(cmd *cobra.Command, out *printer, o demo.Options, requests int) (err error) {
	ctx := cmd.Context()
	d, err := demo.Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close(ctx)) }()
	denials, err := d.Denials(ctx)
	if err != nil {
		return err
	}
	notes := cmd.OutOrStdout()
	if out.json {
		notes = cmd.ErrOrStderr()
	}
	if d.Moved {
		fmt.Fprintf(notes, "%s is taken; this demo is elsewhere.\n", demo.DefaultListen)
	}
	s := newDisplay(out, d, denials)
	if requests > 0 {
		s.during(func() { d.Drive(ctx, requests, quickly) })
	} else {
		fmt.Fprintf(notes, "Listening on %s (metrics and health: %s).\n\n", d.URL(), d.PrivateURL())
		s.during(func() { d.Drive(ctx, shownFirst, watchably) })
		if ctx.Err() == nil {
			printTries(notes, d.URL(), d.Example())
			s.latestOnly()
			s.during(func() { d.Drive(ctx, math.MaxInt, background) })
		}
	}
	if err := s.end(); err != nil {
		return err
	}
	return judge(d)
}

// judge is the error of a demo that has shown the opposite of what it should.
func judge(d *demo.Demo) error {
	s := d.Summary()
	var all []error
	if s.Failed > 0 {
		all = append(all, fmt.Errorf("%d of %d requests failed, in the end like this:\n%w", s.Failed, s.Requests, errors.Join(d.Failures()...)))
	}
	if s.DeniedDispatches > 0 {
		all = append(all, fmt.Errorf("%d requests reached a provider that their organisation's policies exclude", s.DeniedDispatches))
	}
	return errors.Join(all...)
}
