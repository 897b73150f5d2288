package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/policy/author"
)

func policyMatrixCommand(out *printer) *cobra.Command {
	var path, at string
	var c author.Coverage
	cmd := &cobra.Command{
		Use:   "matrix",
		Short: "Show what the policies leave every organisation of every model, and which rule removes the rest",
		Long: `Show for every organisation and model how many rows may serve a plain request (embeddings, rerank or chat, as the model is
for), at how many independent providers, and which rules remove the others. Two providers that are reached at one host count
as one. Teams and keys are shown where they are left something else than their organisation.

The exit code is 3 where somebody is left fewer than --min-providers of a model. With --denied-on-purpose a model of which
the policies leave somebody nothing at all does not count; one that has nothing left because of --without does.

Credentials, health and disabled endpoints: a disabled endpoint is no row here, a missing credential and a provider's health are
not looked at. The gauge chaperone_permitted_providers of a running router looks at them.`,
		Example: `  chaperone policy matrix
  chaperone policy matrix --min-providers 2 --denied-on-purpose
  chaperone policy matrix --without openai --org acme --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if c.At, err = requestTime(at); err != nil {
				return err
			}
			world, err := engine.Policies(cmd.Context(), path, os.LookupEnv)
			if err != nil {
				return err
			}
			cells, err := world.Matrix(cmd.Context(), c)
			if err != nil {
				return inputErrorf("%s: %v", path, err)
			}
			short := 0
			for i := range cells {
				if cells[i].Short {
					short++
				}
			}
			v := struct {
				MinProviders int           `json:"min_providers"`
				Without      []string      `json:"without"`
				Short        int           `json:"short"`
				Cells        []author.Cell `json:"cells"`
			}{c.MinProviders, append([]string{}, c.Without...), short, append([]author.Cell{}, cells...)}
			if err := out.print(v, func(w io.Writer) { writeMatrix(w, cells, &c, short) }); err != nil {
				return err
			}
			if short > 0 {
				return errRefused
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&path, "config", defaultConfig, "configuration file")
	f.StringVar(&c.Organisation, "org", "", "only this organisation, with its teams and keys")
	f.StringVar(&c.Model, "model", "", "only this model")
	f.IntVar(&c.MinProviders, "min-providers", 1, "independent providers that everybody should be left of every model; 0 only shows")
	f.StringSliceVar(&c.Without, "without", nil, "ids of providers that are taken to be down, with commas between")
	f.BoolVar(&c.DeniedOnPurpose, "denied-on-purpose", false, "a model of which the policies leave somebody nothing is meant to be")
	f.StringVar(&at, "at", "", "time of the requests, such as 2027-01-31T09:00:00Z (default: now)")
	return cmd
}

func writeMatrix(w io.Writer, cells []author.Cell, c *author.Coverage, short int) {
	row(w, "WHO", "MODEL", "ROWS", "LEFT", "PROVIDERS", "", "REMOVED BY")
	for i := range cells {
		cell := &cells[i]
		mark := ""
		if cell.Short {
			mark = "short"
		}
		row(w, cell.Who, cell.Model, cell.Rows, len(cell.Left), cell.Providers, mark, removals(cell.Removed))
	}
	if short > 0 {
		fmt.Fprintf(w, "\n%d of %d fall short of %d\n", short, len(cells), c.MinProviders)
	}
}

func removals(all []author.Removal) string {
	texts := make([]string, len(all))
	for i, r := range all {
		texts[i] = fmt.Sprintf("%d× %s", r.Rows, r.Binding)
		if r.Place != r.Package && r.Place != r.Binding {
			texts[i] += " (" + r.Place + ")"
		}
	}
	return strings.Join(texts, "; ")
}
