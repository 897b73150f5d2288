package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/config"
	"chaperone/engine/sim/chaos"
)

func chaosCommand(out *printer) *cobra.Command {
	var q question
	var o chaos.Options
	var list bool
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Show what clients would see while a provider misbehaves",
		Long: `Rehearse outages with a configuration: every provider is replaced by a simulated one on this machine, and whichever a
request asks first misbehaves in the way that a fault names, while the others are well (with --everyone: all misbehave).
Policies, ranking, timeouts, retries and rescues are the configuration's own. No real provider is asked and no provider
key is needed; nothing is written to the journal or the ledger.

Each fault is tried with a streamed text, a text in one piece and, where the model's endpoints take tools, a streamed tool
call. Time passes --speed times faster than the configuration says; SECONDS are as they would be without that.

The client sees the whole answer; a refusal, which is the provider's word that the request itself is wrong; an error; an
answer that is broken off, with the error event; or, which must never be, one that is truncated and passes for whole.

The exit code is 3 where a request was lost that another provider could have answered.`,
		Example: `  chaperone chaos --config chaperone.toml --org acme --model openai/gpt-4o-mini
  chaperone chaos --fault cut --fault stall --model openai/gpt-4o-mini
  chaperone chaos --everyone --model openai/gpt-4o-mini --json
  chaperone chaos --list`,
		Args: onlyFlags("--fault"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				return out.print(struct {
					Faults []chaos.Fault `json:"faults"`
				}{chaos.Faults}, tableOfFaults)
			}
			for _, name := range o.Faults {
				if !slices.Contains(chaos.Names(), name) {
					return inputErrorf("--fault: %s", config.NotOneOf(name, chaos.Names()))
				}
			}
			if o.Speed < 1 || o.Speed > 1000 {
				return inputErrorf("--speed: found %d; expected 1 to 1000", o.Speed)
			}
			if err := prepare(&q, &o); err != nil {
				return err
			}
			o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelError}))
			report, err := chaos.Run(cmd.Context(), o)
			var not *chaos.NotAsked
			if errors.As(err, &not) {
				return inputErrorf("%s cannot be asked: %v", o.Model, not)
			}
			if err != nil {
				return err
			}
			if err := out.print(report, func(w io.Writer) { tableOfChaos(w, report) }); err != nil {
				return err
			}
			if report.Needless > 0 {
				return errRefused
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.config, "config", defaultConfig, "configuration file")
	f.StringVar(&q.organisation, "org", "", "organisation that asks (the only one, if there is only one)")
	f.StringVar(&q.team, "team", "", "team that asks")
	f.StringVar(&q.key, "key", "", "id of the key that asks, in place of --org and --team")
	f.StringVar(&o.Model, "model", "", "model that is asked for (the only one, if there is only one)")
	f.StringArrayVar(&o.Faults, "fault", nil, "`NAME` of a fault, as often as there are several (default all)")
	f.BoolVar(&o.Everyone, "everyone", false, "all providers misbehave, not only the one that is asked first")
	f.IntVar(&o.Speed, "speed", 60, "how many times faster time passes")
	f.BoolVar(&list, "list", false, "list the faults and end")
	cmd.MarkFlagsMutuallyExclusive("key", "org")
	cmd.MarkFlagsMutuallyExclusive("key", "team")
	return cmd
}

// prepare finds out who asks for which model.
func prepare(q *question, o *chaos.Options) (err error) {
	o.ConfigPath = q.config
	if o.Key, err = q.asker(); err != nil {
		return err
	}
	if o.Model != "" {
		return nil
	}
	cat, err := engine.Catalog(q.config, nil)
	if err != nil {
		return err
	}
	names := cat.ModelIDs()
	if len(names) != 1 {
		return inputErrorf("which model? Name one with --model: %s has %s", q.config, orNone(names))
	}
	o.Model = names[0]
	return nil
}

func tableOfFaults(w io.Writer) {
	row(w, "FAULT", "WHAT THE PROVIDER DOES")
	for _, f := range chaos.Faults {
		row(w, f.Name, f.About)
	}
}

func tableOfChaos(w io.Writer, r *chaos.Report) {
	row(w, "FAULT", "REQUEST", "THE CLIENT SEES", "SECONDS", "ATTEMPTS")
	for i := range r.Results {
		x := &r.Results[i]
		row(w, x.Fault, x.Request, sight(x), seconds(x.Seconds, r.Speed), attemptsOf(x))
	}
	fmt.Fprintf(w, "\n%d requests for %s: %d answered, %d refused for what they ask, %d lost, %d of these needlessly\n",
		len(r.Results), r.Model, r.Answered, r.Refused, r.Lost, r.Needless)
	said := map[string]bool{}
	for _, x := range r.Results {
		line := fmt.Sprintf("%s (%s): %s", x.Fault, x.Request, x.Why)
		if x.Needless {
			line = "needlessly: " + line
		}
		if x.Why != "" && !said[line] && (x.Needless || len(said) < 10) {
			said[line] = true
			fmt.Fprintln(w, "lost "+line)
		}
	}
}

func sight(x *chaos.Result) string {
	switch x.Saw {
	case chaos.SawAnswer:
		if x.Rescued != "" {
			return "the answer (" + x.Rescued + ")"
		}
		return "the answer"
	case chaos.SawRefusal, chaos.SawError:
		return fmt.Sprintf("%s %d", x.Saw, x.Status)
	case chaos.SawBrokenOff:
		return "broken off, error event"
	}
	return "TRUNCATED, as if whole"
}

// seconds are what is measured, as far as hurrying has not made noise of it.
func seconds(s float64, speed int) string {
	if s < 0.2*float64(speed) {
		return "-"
	}
	return fmt.Sprintf("%.0f", s)
}

func attemptsOf(x *chaos.Result) string {
	var parts []string
	for _, a := range x.Attempts {
		parts = append(parts, a.Provider+" "+a.Outcome)
	}
	return strings.Join(parts, ", ")
}
