package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/config"
	"chaperone/engine/policy"
)

func policyCostCommand(out *printer) *cobra.Command {
	var path, at string
	var fields bool
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Report what judging costs under every binding, and which line makes it dearer",
		Long: `Report what judging costs under every binding. Answers are remembered by the fields that a policy reads: rows that agree on
those of the row (CLASSES) share an evaluation, once for every combination of values of the others (COMBINATIONS; "unbounded"
where a field can have any value). A binding whose answers were all worked out at load is a TABLE, and costs no evaluation at all.
WORST is the field that keeps it from that or makes it dearest, with the first line that reads it. A binding that is worth a
warning has one below the table.`,
		Example: `  chaperone policy cost
  chaperone policy cost --fields --config /etc/chaperone/chaperone.toml
  chaperone policy cost --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now, err := requestTime(at)
			if err != nil {
				return err
			}
			world, err := engine.Policies(cmd.Context(), path, os.LookupEnv)
			if err != nil {
				return err
			}
			v := struct {
				Bindings []policy.BindingCost `json:"bindings"`
				Warnings config.Problems      `json:"warnings"`
			}{append([]policy.BindingCost{}, world.Policies.Cost(now)...), append(config.Problems{}, world.Policies.Warnings(now)...)}
			return out.print(v, func(w io.Writer) {
				row(w, "BINDING", "TABLE", "ROWS", "CLASSES", "COMBINATIONS", "WORST")
				for i := range v.Bindings {
					writeCost(w, &v.Bindings[i], fields)
				}
				for _, warning := range v.Warnings {
					fmt.Fprintf(w, "\n%s\n", warning)
				}
			})
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	cmd.Flags().StringVar(&at, "at", "", "day of which the terms are counted, such as 2027-01-31T00:00:00Z (default: now)")
	cmd.Flags().BoolVar(&fields, "fields", false, "show every field that is read, its number of values, and where")
	return cmd
}

func writeCost(w io.Writer, c *policy.BindingCost, fields bool) {
	table, worst := "no", "-"
	if c.Enumerable {
		table = "yes"
	}
	if c.Worst != nil {
		worst = costText(c.Worst)
	}
	row(w, c.Binding, table, c.Rows, c.Classes, bounded(c.Combinations), worst)
	if !fields {
		return
	}
	for _, group := range [][]policy.FieldCost{c.Request, c.Row} {
		for i := range group {
			row(w, "  "+group[i].Field, "", "", "", bounded(group[i].Values), costText(&group[i]))
		}
	}
}

// costText is a field with where it is read and why it is dear.
func costText(f *policy.FieldCost) string {
	text := f.Field
	if len(f.Places) > 0 {
		text += fmt.Sprintf(" (%s:%d)", f.Places[0].File, f.Places[0].Line)
	}
	var notes []string
	if f.Live {
		notes = append(notes, "changes with the statistics")
	}
	if f.Many != "" {
		notes = append(notes, f.Many)
	}
	if len(notes) > 0 {
		text += ": " + strings.Join(notes, ", ")
	}
	return text
}

func bounded(n int) string {
	if n == 0 {
		return "unbounded"
	}
	return fmt.Sprint(n)
}
