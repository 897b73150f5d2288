package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// onlyFlags refuses arguments, and says which flag whoever wrote one had in mind.
func onlyFlags(flag string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return fmt.Errorf("%s takes no argument; did you mean %s %s?", cmd.CommandPath(), flag, args[0])
	}
}
