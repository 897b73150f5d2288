package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"chaperone/engine"
)

// notSwitched says why a scorer was not switched.
func notSwitched(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return inputErrorf("%s is not there; --config names another file", path)
	}
	return inputErrorf("%v", err)
}

// switched is what is printed of a scorer that was switched off or on.
type switched struct {
	Scorer   string `json:"scorer"`
	Config   string `json:"config"`
	Disabled bool   `json:"disabled"`
}

func pluginDisableCommand(out *printer) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "disable NAME",
		Short: "Take a scorer out of the configuration, so that a running router stops using it",
		Long: `Write disabled = true into the [[scorers]] of that name. A running router takes the change up by itself, without losing a
request: what is being ranked is ranked with the scorer, what comes later without it. It is then as if the scorer were not
there: its module is not even read, so that one which is broken or gone does not keep a configuration from loading. Where no
other scorer decides, value does. What a stateful plugin has learned stays in its state file.

The rest of the file is left byte for byte. NAME is the scorer's name in the configuration.`,
		Example: `  chaperone plugin disable my-scorer
  chaperone plugin disable my-scorer --config /etc/chaperone/chaperone.toml`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := engine.DisableScorer(path, args[0]); err != nil {
				return notSwitched(path, err)
			}
			v := switched{args[0], path, true}
			return out.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s is disabled in %s; a running router stops using it by itself, within a second or two.\n", v.Scorer, path)
				fmt.Fprintf(w, "chaperone plugin enable %s takes it back.\n", v.Scorer)
			})
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	return cmd
}

func pluginEnableCommand(out *printer) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "enable NAME",
		Short: "Take a scorer back that disable has taken out",
		Long: `Remove disabled = true from the [[scorers]] of that name. The configuration is loaded as a router would load it first: where
the scorer cannot be used nothing is written.`,
		Example: `  chaperone plugin enable my-scorer`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := engine.EnableScorer(cmd.Context(), path, args[0]); err != nil {
				return notSwitched(path, err)
			}
			v := switched{args[0], path, false}
			return out.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s is enabled in %s; a running router takes it up by itself, within a second or two.\n", v.Scorer, path)
			})
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	return cmd
}
