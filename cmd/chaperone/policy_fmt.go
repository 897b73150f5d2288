package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"chaperone/engine/config"
	"chaperone/engine/policy/author"
)

func policyFormatCommand(out *printer) *cobra.Command {
	var check, write, list bool
	cmd := &cobra.Command{
		Use:   "fmt [PATH...]",
		Short: "Lay Rego files out as opa fmt does",
		Long: `Lay Rego files out as opa fmt does: the named ones, and all below named folders. Without a flag the result is printed;
--write puts it into the files, --list names those that would change, and --check does so with exit code 2 where there are any.`,
		Example: `  chaperone policy fmt rego/acme/vision.rego
  chaperone policy fmt --write rego
  chaperone policy fmt --check rego`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			changed := []string{}
			var problems config.Problems
			var printed bytes.Buffer
			for _, path := range args {
				files, _, err := author.TestFiles(path)
				if err != nil {
					return inputError{err.Error()}
				}
				for _, file := range files {
					text, err := os.ReadFile(file)
					if err != nil {
						return err
					}
					formatted, found := author.Format(file, text)
					if problems = append(problems, found...); len(found) > 0 {
						continue
					}
					printed.Write(formatted)
					if bytes.Equal(text, formatted) {
						continue
					}
					changed = append(changed, file)
					if write {
						if err := overwrite(file, formatted); err != nil {
							return err
						}
					}
				}
			}
			if err := problems.Err(); err != nil {
				return err
			}
			if !check && !write && !list && !out.json {
				_, err := out.w.Write(printed.Bytes())
				return err
			}
			if err := out.print(map[string]any{"changed": changed, "written": write}, func(w io.Writer) {
				for _, file := range changed {
					fmt.Fprintln(w, file)
				}
			}); err != nil {
				return err
			}
			if check && len(changed) > 0 {
				return errInput
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "name the files that would change, and exit with 2 where there are any")
	cmd.Flags().BoolVar(&write, "write", false, "change the files")
	cmd.Flags().BoolVar(&list, "list", false, "name the files that would change")
	cmd.MarkFlagsMutuallyExclusive("check", "write")
	return cmd
}

// overwrite replaces a file's text and keeps its permissions. The new text stands beside it first: a full disk must not
// cost the old one.
func overwrite(path string, text []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	beside := path + ".formatted"
	if err := os.WriteFile(beside, text, info.Mode().Perm()); err != nil {
		os.Remove(beside)
		return err
	}
	return os.Rename(beside, path)
}
