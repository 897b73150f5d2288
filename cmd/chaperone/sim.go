package main

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"chaperone/engine/sim"
)

func simCommand(out *printer) *cobra.Command {
	var path string
	var seed uint64
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run simulated providers",
		Long: `Run simulated providers: real HTTP servers that speak OpenAI's chat completions dialect, with a pace, limits and faults
that a TOML file sets and a seed decides. Their addresses are printed at the start; they run until interrupted.`,
		Example: `  chaperone sim --config engine/sim/demo/providers.toml
  chaperone sim --config providers.toml --seed 7 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			src, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			file, problems := sim.Parse(path, src)
			if err := problems.Err(); err != nil {
				return err
			}
			if cmd.Flags().Changed("seed") {
				file.Seed = seed
			}
			providers, err := file.Start(cmd.Context())
			if err != nil {
				return err
			}
			if err := out.print(simulated(file.Seed, providers)); err != nil {
				return err
			}
			<-cmd.Context().Done()
			for _, p := range providers {
				p.Close()
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "TOML file of the providers (required)")
	cmd.Flags().Uint64Var(&seed, "seed", 0, "seed of all fates and texts, in place of the file's")
	cmd.MarkFlagRequired("config")
	return cmd
}

type simulatedProvider struct {
	Name        string   `json:"name"`
	BaseURL     string   `json:"base_url"`
	Models      []string `json:"models"`
	Credentials []string `json:"credentials"`
}

// simulated is what is printed of running providers. Their credentials are made up and may be shown.
func simulated(seed uint64, providers []*sim.Provider) (any, func(io.Writer)) {
	list := []simulatedProvider{}
	for _, p := range providers {
		s := simulatedProvider{Name: p.Name(), BaseURL: p.URL(), Models: []string{}, Credentials: []string{}}
		profile := p.Profile()
		s.Models = append(s.Models, profile.Models...)
		for _, c := range profile.Credentials {
			s.Credentials = append(s.Credentials, c.Key)
		}
		list = append(list, s)
	}
	v := struct {
		Seed      uint64              `json:"seed"`
		Providers []simulatedProvider `json:"providers"`
	}{seed, list}
	return v, func(w io.Writer) {
		row(w, "PROVIDER", "BASE URL", "MODELS", "KEYS")
		for _, s := range list {
			row(w, s.Name, s.BaseURL, orAny(s.Models), orAny(s.Credentials))
		}
	}
}

func orAny(names []string) string {
	if len(names) == 0 {
		return "any"
	}
	return strings.Join(names, ", ")
}
