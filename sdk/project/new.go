package project

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"chaperone/sdk"
)

var projectName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

// exampleName is what the examples' manifests call themselves.
const exampleName = "cheap-and-quick"

const readme = `# NAME

A scorer for the Chaperone router. What it wants to see stands in manifest.toml, what it must give for it in golden.json. In this
folder:

SETUP    chaperone plugin build            # NAME.wasm, with the manifest in it
    chaperone plugin check NAME.wasm  # does it keep to the rules, and does it give the golden scores?
    chaperone plugin run NAME.wasm    # scores rows.json
    chaperone plugin bench NAME.wasm

To have it rank, write into the chaperone.toml that lies beside this folder (the module's path is relative to that file):

    [[scorers]]
    name   = "NAME"
    plugin = "NAME/NAME.wasm"
    config = { patience = 1 }
`

// New makes a project of that name in a folder of that name within parent: an SDK's example with the SDK beside it. It returns
// the folder, which must not exist before.
func New(parent, name, lang string) (string, error) {
	l, ok := languages[lang]
	if !ok {
		return "", fmt.Errorf("there is no SDK for %q; there are %s", lang, strings.Join(Languages(), ", "))
	}
	if !projectName.MatchString(name) {
		return "", fmt.Errorf("the name is %q, should be 1 to 64 of a-z, 0-9 and '-', beginning with a letter", name)
	}
	folder := filepath.Join(parent, name)
	if err := os.Mkdir(folder, 0o777); err != nil {
		return "", err
	}
	edits := []string{exampleName, name}
	for _, e := range l.edits {
		edits = append(edits, strings.ReplaceAll(e, "NAME", name))
	}
	edit := strings.NewReplacer(edits...)
	var errs []error
	for from, to := range l.files {
		errs = append(errs, lay(from, filepath.Join(folder, filepath.FromSlash(to)), edit))
	}
	texts := map[string]string{"README.md": strings.NewReplacer("NAME", name, "SETUP", l.setup).Replace(readme), ".gitignore": l.ignores}
	if lang == "go" {
		texts["go.mod"] = "module chaperone-" + name + "\n\ngo 1.24\n"
	}
	for file, text := range texts {
		if text != "" {
			errs = append(errs, os.WriteFile(filepath.Join(folder, file), []byte(text), 0o666))
		}
	}
	return folder, errors.Join(errs...)
}

// lay copies a folder or file of sdk.Files.
func lay(from, to string, edit *strings.Replacer) error {
	return fs.WalkDir(sdk.Files, from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, filepath.FromSlash(strings.TrimPrefix(path, from)))
		if d.IsDir() {
			return os.MkdirAll(target, 0o777)
		}
		text, err := fs.ReadFile(sdk.Files, path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
			return err
		}
		return os.WriteFile(target, []byte(edit.Replace(string(text))), 0o666)
	})
}
