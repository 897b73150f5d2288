package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/policy"
)

func policyDiffCommand(out *printer) *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Compare what two configurations permit, with a request that shows each difference",
		Long: `Compare what the policies of two configurations permit, for the organisations, teams, keys and rows that both have. Every
request is tried that the policies can tell apart; of fields that can have any value, those values at which a policy can change its
mind. Where every case there is was tried, the answer is exhaustive: no difference then means that both permit the same. Otherwise
the fields are named that keep it from being so. Nothing measured is looked at.

Each difference is shown once, with the rows that it concerns and what a request must be like to meet it.

The exit code is 0 where there is no difference, else 3.`,
		Example: `  chaperone policy diff old/chaperone.toml chaperone.toml
  chaperone policy diff old/chaperone.toml chaperone.toml --at 2027-02-01T09:00:00Z --json`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			now, err := requestTime(at)
			if err != nil {
				return err
			}
			var sets [2]*policy.Set
			for i, path := range args {
				world, err := engine.Policies(cmd.Context(), path, os.LookupEnv)
				if err != nil {
					return err
				}
				sets[i] = world.Policies
			}
			c, err := policy.Compare(cmd.Context(), sets[0], sets[1], now)
			if err != nil {
				return err
			}
			c.Differences = append([]policy.Difference{}, c.Differences...)
			if err := out.print(c, func(w io.Writer) { writeComparison(w, c) }); err != nil {
				return err
			}
			if len(c.Differences) > 0 {
				return errRefused
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "time of the requests, such as 2027-01-31T09:00:00Z (default: now)")
	return cmd
}

func writeComparison(w io.Writer, c *policy.Comparison) {
	for i := range c.Differences {
		d := &c.Differences[i]
		who := owner(d.Organisation, d.Team)
		if d.Key != "" {
			who = "key " + d.Key + " of " + who
		}
		rows := "the whole request"
		if len(d.Rows) > 0 {
			rows = strings.Join(d.Rows, ", ")
		}
		fmt.Fprintf(w, "%s, %s", who, rows)
		if len(d.Request) > 0 {
			witness, err := json.Marshal(d.Request)
			if err != nil {
				witness = []byte(err.Error())
			}
			fmt.Fprintf(w, ", where %s", witness)
		}
		fmt.Fprintf(w, "\n- %s\n+ %s\n\n", answerText(&d.Before), answerText(&d.After))
	}
	kinds := "no difference"
	if n := len(c.Differences); n > 0 {
		kinds = fmt.Sprintf("%d kinds of difference", n)
		if n == 1 {
			kinds = "1 kind of difference"
		}
	}
	fmt.Fprintf(w, "%s in %d cases", kinds, c.Cases)
	if c.Exhaustive {
		fmt.Fprintln(w, ", which are all that there can be")
		return
	}
	fmt.Fprintln(w, ", not all that there can be:")
	for i := range c.Open {
		fmt.Fprintln(w, "  "+costText(&c.Open[i]))
	}
}

// answerText is what one version says.
func answerText(a *policy.Answer) string {
	text := "denied: " + reasonTexts(a.Reasons)
	if a.Permitted {
		text = "permitted"
		if obligations, err := json.Marshal(a.Obligations); err == nil && string(obligations) != "{}" {
			text += " under " + string(obligations)
		}
	}
	if len(a.Warnings) > 0 {
		text += "; " + reasonTexts(a.Warnings)
	}
	return text
}
