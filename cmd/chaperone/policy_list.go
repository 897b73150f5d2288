package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"chaperone/engine/policy/author"
	"chaperone/policies"
)

func policyListCommand(out *printer) *cobra.Command {
	return &cobra.Command{
		Use:   "list [DIR]",
		Short: "List the library's policies with their parameters, or those of a folder",
		Long: `List the policies of the library that ships with Chaperone, or those below DIR, as their metadata describes them: what
each does, and the parameters that a binding gives. A parameter is required unless its default is shown or it may be left out.`,
		Example: `  chaperone policy list
  chaperone policy list rego --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var files fs.FS = policies.FS
			shown := "library"
			if len(args) == 1 {
				if info, err := os.Stat(args[0]); err != nil || !info.IsDir() {
					return inputErrorf("%s is no folder; expected one with .rego files, or none for the library", args[0])
				}
				files, shown = os.DirFS(args[0]), args[0]
			}
			all, problems := author.Describe(files, shown)
			if err := problems.Err(); err != nil {
				return err
			}
			return out.print(map[string]any{"policies": all}, func(w io.Writer) {
				row(w, "PACKAGE", "PARAMETER", "WHAT IT IS")
				for _, d := range all {
					row(w, d.Package, "", d.Title)
					for _, p := range d.Parameters {
						row(w, "", p.Name, parameterText(&p))
					}
				}
			})
		},
	}
}

func parameterText(p *author.Parameter) string {
	text := p.Type
	switch {
	case p.Default != nil:
		value, err := json.Marshal(p.Default)
		if err != nil {
			value = []byte(fmt.Sprint(p.Default))
		}
		text += fmt.Sprintf(", %s where left out", value)
	case !p.Required:
		text += ", may be left out"
	}
	if p.Description != "" {
		text += ": " + p.Description
	}
	return text
}
