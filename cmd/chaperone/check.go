package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/config"
)

func checkCommand(out *printer) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate configuration, catalog, policies and plugins",
		Long: `Load a configuration and everything that it names as serve would, and report every mistake with its file, line and key.
The exit code is 0 where there is none and 2 where there is one. Warnings say what of the policies would be better, such as a rule
about a provider that the catalog does not have; they are no mistakes.`,
		Example: `  chaperone check
  chaperone check --config /etc/chaperone/chaperone.toml --json`,
		Args: onlyFlags("--config"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			warnings, err := engine.Check(cmd.Context(), engine.Options{ConfigPath: path})
			problems := config.Problems{}
			if err != nil && !errors.As(err, &problems) {
				return err
			}
			if len(problems) > 0 && !out.json {
				return problems
			}
			v := struct {
				OK       bool            `json:"ok"`
				Config   string          `json:"config"`
				Problems config.Problems `json:"problems"`
				Warnings config.Problems `json:"warnings"`
			}{len(problems) == 0, path, problems, append(config.Problems{}, warnings...)}
			if err := out.print(v, func(w io.Writer) {
				row(w, path+" is right")
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
		},
	}
	cmd.Flags().StringVar(&path, "config", "chaperone.toml", "configuration file")
	return cmd
}
