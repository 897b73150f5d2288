package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chaperone/engine/config"
)

func catalogShowCommand(out *printer, path *string) *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show all that is known of a provider, a model with its endpoints, or an endpoint, and where it can be read",
		Example: "  chaperone catalog show groq\n  chaperone catalog show gpt-4o\n  chaperone catalog show openai/gpt-4o@openai --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := readCatalog(*path)
			if err != nil {
				return err
			}
			facts := factsOf(entriesOf(c))
			name := args[0]
			if m, ok := c.Model(name); ok {
				name = m.ID
			}
			found, names := map[string]string{}, map[string]bool{}
			for key, value := range facts {
				kind, rest, _ := strings.Cut(key, " ")
				id, _, _ := strings.Cut(rest, " ")
				names[id] = kind != "alias"
				endpoint, _, _ := strings.Cut(id, "#")
				model, _, _ := strings.Cut(id, "@")
				if id == name || endpoint == name || kind == "endpoint" && model == name || kind == "alias" && value == name {
					found[key] = value
				}
			}
			if len(found) == 0 {
				return inputErrorf("%s", config.UnknownName("entry", name, slices.Collect(maps.Keys(names))))
			}
			return out.print(map[string]any{"facts": found}, func(w io.Writer) {
				for _, key := range slices.Sorted(maps.Keys(found)) {
					row(w, key, found[key])
				}
			})
		},
	}
}

func catalogDiffCommand(out *printer) *cobra.Command {
	return &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Compare two catalogs, each a configuration, a catalog file, or shipped",
		Long: `Compare two catalogs entry by entry: each a configuration, a catalog file, or the word shipped for the one that ships.
The exit code is 0 where there is no difference, else 3.`,
		Example: "  chaperone catalog diff shipped chaperone.toml\n  chaperone catalog diff old/catalog.toml catalog.toml --json",
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			var facts [2]map[string]string
			for i, path := range args {
				c, err := readCatalog(path)
				if err != nil {
					return err
				}
				facts[i] = factsOf(entriesOf(c))
			}
			differences := compareFacts(facts[0], facts[1])
			if err := out.print(map[string]any{"differences": differences}, func(w io.Writer) {
				for _, d := range differences {
					row(w, d.Fact, dash(d.Old), dash(d.New))
				}
			}); err != nil {
				return err
			}
			if len(differences) > 0 {
				return errRefused
			}
			return nil
		},
	}
}

type factDifference struct {
	Fact string `json:"fact"`
	Old  string `json:"old"` // "": not there
	New  string `json:"new"`
}

func compareFacts(old, latest map[string]string) []factDifference {
	all := maps.Clone(old)
	maps.Copy(all, latest)
	differences := []factDifference{}
	for _, fact := range slices.Sorted(maps.Keys(all)) {
		if old[fact] != latest[fact] {
			differences = append(differences, factDifference{fact, old[fact], latest[fact]})
		}
	}
	return differences
}

// factsOf are the fields of all entries by "kind id field".
func factsOf(e entries) map[string]string {
	facts := map[string]string{}
	add := func(kind, id string, entry any) {
		text, err := json.Marshal(entry)
		if err != nil {
			panic(err) // entries hold nothing that JSON has no words for
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			panic(err)
		}
		delete(fields, "id")
		flatten(facts, kind+" "+id+" ", fields)
	}
	for _, p := range e.Providers {
		add("provider", p.ID, p)
	}
	for _, m := range e.Models {
		add("model", m.ID, m)
	}
	for _, p := range e.Endpoints {
		add("endpoint", p.ID, p)
	}
	for name, model := range e.Aliases {
		facts["alias "+name] = model
	}
	return facts
}

func flatten(facts map[string]string, prefix string, fields map[string]any) {
	for name, value := range fields {
		switch v := value.(type) {
		case map[string]any:
			flatten(facts, prefix+name+".", v)
		case []any:
			texts := make([]string, len(v))
			for i, e := range v {
				texts[i] = fmt.Sprint(e)
			}
			facts[prefix+name] = strings.Join(texts, ", ")
		case float64:
			facts[prefix+name] = fmt.Sprintf("%.0f", v)
		default:
			facts[prefix+name] = fmt.Sprint(v)
		}
	}
}
