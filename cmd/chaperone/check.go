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
The exit code is 0 where there is none and 2 where there is one.`,
		Example: `  chaperone check
  chaperone check --config /etc/chaperone/chaperone.toml --json`,
		Args: onlyFlags("--config"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := engine.Check(cmd.Context(), engine.Options{ConfigPath: path})
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
			}{len(problems) == 0, path, problems}
			if err := out.print(v, func(w io.Writer) { row(w, path+" is right") }); err != nil {
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
