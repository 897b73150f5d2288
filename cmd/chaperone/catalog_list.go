package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

var catalogParts = []string{"providers", "models", "endpoints", "aliases"}

func catalogListCommand(out *printer, path *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list [" + strings.Join(catalogParts, "|") + "]",
		Short: "List providers, models, endpoints or aliases; all of them with --json",
		Long: `List the providers with the terms of each group of credentials, or the models, the endpoints with prices in USD per million
tokens and the day for which they are known, or the aliases.`,
		Example: "  chaperone catalog list\n  chaperone catalog list endpoints --config chaperone.toml\n  chaperone catalog list --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			part := catalogParts[0]
			if len(args) == 1 {
				part = args[0]
			}
			if !slices.Contains(catalogParts, part) {
				return inputErrorf("%s", config.NotOneOf(part, catalogParts))
			}
			c, err := readCatalog(*path)
			if err != nil {
				return err
			}
			e := entriesOf(c)
			return out.print(e, func(w io.Writer) { e.table(w, part) })
		},
	}
}

func (e *entries) table(w io.Writer, part string) {
	switch part {
	case "providers":
		row(w, "PROVIDER", "CREDENTIALS", "IN", "TRAINS", "KEEPS PROMPTS", "ZDR", "AS OF")
		for _, p := range e.Providers {
			for _, name := range slices.Sorted(maps.Keys(p.Credentials)) {
				d := p.Credentials[name]
				row(w, p.ID, name, p.Headquarters, d.Training, d.keeps(), d.ZDR, dash(d.AsOf))
			}
		}
	case "models":
		row(w, "MODEL", "CONTEXT", "OUTPUT", "INPUT", "CREATED")
		for _, m := range e.Models {
			row(w, m.ID, m.ContextLength, m.MaxOutputTokens, strings.Join(m.InputModalities, ","), dash(m.Created))
		}
	case "endpoints":
		row(w, "ENDPOINT", "PROMPT", "COMPLETION", "CACHE READ", "AS OF")
		for _, p := range e.Endpoints {
			row(w, p.ID, p.Price["prompt"], p.Price["completion"], p.Price["cache_read"], dash(p.Sources["price"].AsOf))
		}
	default:
		row(w, "ALIAS", "MODEL")
		for _, name := range slices.Sorted(maps.Keys(e.Aliases)) {
			row(w, name, e.Aliases[name])
		}
	}
}

func (d policyEntry) keeps() string {
	if d.RetainsPrompts == catalog.Yes && d.RetentionDays < catalog.UnknownRetentionDays {
		return fmt.Sprintf("%d days", d.RetentionDays)
	}
	return string(d.RetainsPrompts)
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
