package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"chaperone/engine/config"
	"chaperone/engine/wasm"
	"chaperone/sdk/project"
)

func pluginCommand(out *printer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Write, build, check, measure, sign and switch off scorer plugins",
		Long: `Write, build, check, measure, sign and switch off scorer plugins: WebAssembly modules that rank the endpoints that policy has permitted.
Where a command takes a MODULE it takes the folder of a project too, and means the module that build put there.`,
		Example: `  chaperone plugin new --lang rust my-scorer
  chaperone plugin build my-scorer
  chaperone plugin check my-scorer
  chaperone plugin run my-scorer
  chaperone plugin keygen release
  chaperone plugin sign my-scorer --key release.key
  chaperone plugin disable my-scorer`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(pluginNewCommand(out), pluginBuildCommand(out), pluginPackCommand(out), pluginCheckCommand(out),
		pluginRunCommand(out), pluginBenchCommand(out), pluginInspectCommand(out), pluginKeygenCommand(out), pluginSignCommand(out),
		pluginDisableCommand(out), pluginEnableCommand(out))
	return cmd
}

func pluginNewCommand(out *printer) *cobra.Command {
	var lang string
	cmd := &cobra.Command{
		Use:   "new --lang LANGUAGE NAME",
		Short: "Make a project that builds, with the language's SDK inside it",
		Example: `  chaperone plugin new --lang go my-scorer
  chaperone plugin new --lang assemblyscript my-scorer && npm install --prefix my-scorer`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			folder, err := project.New(".", args[0], lang)
			switch {
			case errors.Is(err, os.ErrExist):
				return inputErrorf("%s is there already; choose another name", args[0])
			case err != nil && folder == "":
				return inputErrorf("%v", err)
			case err != nil:
				return err
			}
			v := struct {
				Folder   string `json:"folder"`
				Language string `json:"language"`
			}{folder, lang}
			return out.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s is made; its README.md says what to do with it. First:\n\n", folder)
				if lang == "assemblyscript" {
					fmt.Fprintf(w, "    npm install --prefix %s\n", folder)
				}
				fmt.Fprintf(w, "    chaperone plugin build %s\n", folder)
			})
		},
	}
	cmd.Flags().StringVar(&lang, "lang", "", strings.Join(project.Languages(), ", ")+" (required)")
	cmd.MarkFlagRequired("lang")
	return cmd
}

// builtModule is what is printed of a module that was written.
type builtModule struct {
	Module string `json:"module"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func (m builtModule) table(w io.Writer) {
	row(w, "MODULE", "BYTES", "SHA-256")
	row(w, m.Module, m.Bytes, m.SHA256)
}

// writeModule writes a module and says what it is. A router that watches the file finds the old one or the new one.
func writeModule(out *printer, path string, module []byte) error {
	beside := path + ".new"
	if err := os.WriteFile(beside, module, 0o666); err != nil {
		return err
	}
	if err := os.Rename(beside, path); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	sum := sha256.Sum256(module)
	v := builtModule{path, len(module), hex.EncodeToString(sum[:])}
	return out.print(v, v.table)
}

func pluginBuildCommand(out *printer) *cobra.Command {
	return &cobra.Command{
		Use:   "build [FOLDER]",
		Short: "Compile a project and put its manifest into the module",
		Long: `Compile the project in FOLDER, or in this one, with its language's own compiler, and put its manifest.toml into the module,
which becomes FOLDER/NAME.wasm with the folder's name. The bytes depend on the source and the compiler's version alone.`,
		Example: `  chaperone plugin build
  chaperone plugin build plugins/ttft-target`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := "."
			if len(args) == 1 {
				folder = args[0]
			}
			path, err := project.Module(folder)
			if err != nil {
				return err
			}
			module, err := project.Build(cmd.Context(), folder)
			var problems config.Problems
			if errors.As(err, &problems) {
				return problems
			}
			if errors.Is(err, project.ErrProject) || errors.Is(err, project.ErrCompile) {
				return inputErrorf("%v", err)
			}
			if err != nil {
				return err
			}
			return writeModule(out, path, module)
		},
	}
}

func pluginPackCommand(out *printer) *cobra.Command {
	var manifest, output string
	cmd := &cobra.Command{
		Use:   "pack MODULE",
		Short: "Put a manifest into a module that another tool has built",
		Example: `  chaperone plugin pack scorer.wasm
  chaperone plugin pack target/scorer.wasm --manifest manifest.toml --output scorer.wasm`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			module, err := readModule(args[0])
			if err != nil {
				return err
			}
			text, err := os.ReadFile(manifest)
			if err != nil {
				return err
			}
			if err := wasm.CheckManifest(manifest, text); err != nil {
				return err
			}
			packed, err := wasm.Pack(module, text)
			if err != nil {
				return inputErrorf("%s: %v", args[0], err)
			}
			if output == "" {
				output = args[0]
			}
			return writeModule(out, output, packed)
		},
	}
	cmd.Flags().StringVar(&manifest, "manifest", project.Manifest, "TOML file of the manifest")
	cmd.Flags().StringVar(&output, "output", "", "where the module goes (in place)")
	return cmd
}

// modulePath is the module that an argument means: a file, or a project's folder.
func modulePath(argument string) (string, error) {
	info, err := os.Stat(argument)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return argument, nil
	}
	path, err := project.Module(argument)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "", inputErrorf("%s is not there; chaperone plugin build %s makes it", path, argument)
	}
	return path, nil
}

// readModule reads a module's bytes.
func readModule(path string) ([]byte, error) {
	module, err := wasm.ReadModule(path)
	var ofFile *fs.PathError
	switch {
	case errors.As(err, &ofFile):
		return nil, ofFile
	case err != nil:
		return nil, inputErrorf("%s %v", path, err)
	}
	return module, nil
}

// beside is a file in a module's folder.
func beside(module, name string) string { return filepath.Join(filepath.Dir(module), name) }

// pluginHost makes a host whose plugins log to standard error.
func pluginHost(ctx context.Context, stderr io.Writer) (h *wasm.Host, done func() error, err error) {
	h, err = wasm.NewHost("", slog.New(slog.NewTextHandler(stderr, nil)))
	if err != nil {
		return nil, nil, err
	}
	return h, func() error { return h.Close(context.WithoutCancel(ctx)) }, nil
}
