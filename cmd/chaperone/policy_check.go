package main

import (
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/config"
	"chaperone/engine/policy"
)

func policyCheckCommand(out *printer) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "check [DIR]",
		Short: "Report every mistake of the policies",
		Long: `Compile the policies of a configuration as serve would, with the catalog, the accounts and the parameters that they are bound
with, and report every mistake with file and line. Packages that nobody has bound are held to the same rules. With DIR, only the
.rego files below it are compiled, as one source, without any configuration. Warnings say which rules and parameters name a
provider, a model or another id that nothing has, what would make judging cheaper, and which exceptions have ended; they are no
mistakes. Stock opa check --strict passes whatever this
passes; the reverse does not hold.`,
		Example: `  chaperone policy check
  chaperone policy check --config /etc/chaperone/chaperone.toml --json
  chaperone policy check rego`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			what := path
			var warnings config.Problems
			var err error
			if len(args) == 1 {
				if cmd.Flags().Changed("config") {
					return inputErrorf("give --config or a folder, not both")
				}
				what = args[0]
				err = policy.CheckDirectory(what).Err()
			} else {
				warnings, err = engine.CheckPolicies(cmd.Context(), path, os.LookupEnv)
			}
			return printProblems(out, what, warnings, err)
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	return cmd
}

// printProblems says that what is right, and what would be better, or what is wrong with it: err, which is config.Problems or
// a failure.
func printProblems(out *printer, what string, warnings config.Problems, err error) error {
	problems := config.Problems{}
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	if len(problems) > 0 && !out.json {
		return problems
	}
	v := struct {
		OK       bool            `json:"ok"`
		Checked  string          `json:"checked"`
		Problems config.Problems `json:"problems"`
		Warnings config.Problems `json:"warnings"`
	}{len(problems) == 0, what, problems, append(config.Problems{}, warnings...)}
	if err := out.print(v, func(w io.Writer) {
		row(w, "the policies of "+what+" are right")
		for _, warning := range warnings {
			row(w, "warning: "+warning.String())
		}
	}); err != nil {
		return err
	}
	if len(problems) > 0 {
		return errInput
	}
	return nil
}
