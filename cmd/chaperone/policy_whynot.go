package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/policy/author"
)

func policyWhyNotCommand(out *printer) *cobra.Command {
	var a asker
	cmd := &cobra.Command{
		Use:   "why-not ORG MODEL PROVIDER",
		Short: "Say which rules keep a provider from serving, and what would change that",
		Long: `Say which rules, by file and line, keep a provider's rows from serving a model to an organisation, and the smallest changes
that would let them: of the request, of its time, of what the operator has set, or of the provider's terms. PROVIDER is a provider,
one of its tags or a row.

The changes are found by judging again with one field changed, nearest values first; the values are those that the vocabularies
and the catalog know, and that rules and their parameters compare with. Where no single field is enough, fields are changed
together, and what is not needed is taken back. A change of terms says what would have to be true at the provider: to write it
into the catalog while it is not would deceive the policies.

The exit code is 0 where one of the rows may serve, else 3.`,
		Example: `  chaperone policy why-not acme openai/gpt-4o-mini openai
  chaperone policy why-not acme openai/gpt-4o-mini deepinfra/fp8 --team fraud --body request.json --json`,
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.organisation = args[0]
			q, err := a.ask(cmd, args[1])
			if err != nil {
				return err
			}
			var rows []*catalog.Row
			var names []string
			for _, r := range q.model.Rows {
				names = append(names, r.Provider.ID, r.Tag, r.ID)
				if slices.Contains(names[len(names)-3:], args[2]) {
					rows = append(rows, r)
				}
			}
			if len(rows) == 0 {
				slices.Sort(names)
				return inputErrorf("%s: %s", a.config, config.UnknownName("endpoint of "+q.model.ID, args[2], slices.Compact(names)))
			}
			found := q.world.WhyNot(cmd.Context(), q.who, q.req, rows, q.at)
			if err := out.print(map[string]any{"rows": found}, func(w io.Writer) {
				for i := range found {
					writeWhyNot(w, &found[i])
				}
			}); err != nil {
				return err
			}
			if slices.ContainsFunc(found, func(n author.WhyNot) bool { return n.Permitted }) {
				return nil
			}
			return errRefused
		},
	}
	a.flags(cmd, false)
	return cmd
}

// changeKinds are how changes are introduced.
var changeKinds = map[string]string{
	"request": "in the request", "moment": "at another time", "principal": "by the operator", "terms": "at the provider, if it is true",
}

func writeWhyNot(w io.Writer, n *author.WhyNot) {
	if n.Permitted {
		fmt.Fprintf(w, "%s may serve\n", n.Row)
		return
	}
	fmt.Fprintf(w, "%s may not serve:\n", n.Row)
	for i := range n.Denials {
		d := &n.Denials[i]
		fmt.Fprintf(w, "  %s, by %s\n", reasonText(d), d.Binding)
	}
	changes := n.Alone
	switch {
	case len(n.Alone) > 0:
		fmt.Fprintln(w, "any one of these would let it:")
	case len(n.Together) > 0:
		changes = n.Together
		fmt.Fprintln(w, "no single change would let it; these together would:")
	default:
		fmt.Fprintln(w, "no change that this command knows to try would let it")
	}
	for _, c := range changes {
		row(w, "  "+c.Field, c.From+" → "+c.To, changeKinds[c.Kind])
	}
}
