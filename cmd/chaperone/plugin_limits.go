package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/config"
	"chaperone/engine/wasm"
)

// limitFlags say by which router's limits a module is held. Without them the defaults hold.
type limitFlags struct{ config, scorer string }

func (f *limitFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "limits", "", "a router's configuration: the limits that it sets for the module hold (the defaults)")
	cmd.Flags().StringVar(&f.scorer, "scorer", "", "with --limits, the scorer there (the one whose plugin is the module)")
}

func (f *limitFlags) read(module string) (wasm.Limits, error) {
	if f.config == "" {
		if f.scorer != "" {
			return wasm.Limits{}, inputErrorf("--scorer says of whom in a router's configuration; --limits should name that")
		}
		return wasm.Limits{}, nil
	}
	all, err := engine.LimitsOfPlugins(f.config)
	if err != nil {
		return wasm.Limits{}, err
	}
	var names, found []string
	var limits wasm.Limits
	for _, p := range all {
		names = append(names, p.Scorer)
		if p.Scorer == f.scorer || f.scorer == "" && sameFile(p.Path, module) {
			found, limits = append(found, p.Scorer), p.Limits
		}
	}
	switch {
	case len(all) == 0:
		return limits, inputErrorf("%s has no [[scorers]] with a plugin", f.config)
	case len(found) == 1:
		return limits, nil
	case len(found) > 1:
		return limits, inputErrorf("%s has %s for several scorers; name one by --scorer: %s", f.config, module, strings.Join(found, ", "))
	case f.scorer != "":
		return limits, inputErrorf("%s: --scorer: %s", f.config, config.NotOneOf(f.scorer, names))
	default:
		return limits, inputErrorf("%s has no scorer whose plugin is %s; name one by --scorer: %s", f.config, module, strings.Join(names, ", "))
	}
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}
