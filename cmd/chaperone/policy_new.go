package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"chaperone/engine/policy/author"
)

func policyNewCommand(out *printer) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a commented policy with its test, to go on from",
		Long: `Write a commented policy with its test, to go on from. NAME is its package, such as acme.vision. Both pass policy check
and policy test as they are. Files that exist stay as they are, and are an error.`,
		Example: `  chaperone policy new acme.vision
  chaperone policy new acme.vision --dir /etc/chaperone/rego`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			files, binding, err := author.New(args[0], dir)
			if err != nil {
				return inputError{err.Error()}
			}
			for _, f := range files {
				if _, err := os.Lstat(f.Path); err == nil {
					return inputErrorf("%s exists already; choose another name, or another folder with --dir", f.Path)
				}
			}
			paths := []string{}
			for _, f := range files {
				if err := create(f); err != nil {
					return err
				}
				paths = append(paths, f.Path)
			}
			v := struct {
				Files   []string `json:"files"`
				Binding string   `json:"binding"`
			}{paths, binding}
			return out.print(v, func(w io.Writer) {
				for _, path := range paths {
					fmt.Fprintln(w, "wrote "+path)
				}
				fmt.Fprintf(w, "\nWhat puts it in force, in chaperone.toml (path is from the folder of that file):\n\n%s", binding)
			})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "rego", "folder of your policies")
	return cmd
}

func create(f author.File) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := file.WriteString(f.Text); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
