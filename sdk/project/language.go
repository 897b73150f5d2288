package project

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// language is how projects of one language are made and built.
type language struct {
	marks   string            // a pattern that only its projects' files match
	files   map[string]string // folders and files of sdk.Files, and where they go in a project
	edits   []string          // pairs of what an example says and what a project says; NAME is the project's name
	ignores string            // .gitignore
	setup   string            // what is to be done before the first build, as its README has it
	compile func(ctx context.Context, folder, scratch string) (module string, err error)
	version func(ctx context.Context, folder string) (string, error)
}

// languages is by the names that New takes.
var languages = map[string]language{
	"go": {
		marks:   "*.go",
		files:   map[string]string{"go/example": ".", "go/scorer": "scorer"},
		edits:   []string{`"chaperone/sdk/go/scorer"`, `"chaperone-NAME/scorer"`, "Command example", "Command NAME"},
		compile: compileGo, version: goVersion,
	},
	"rust": {
		marks:   "Cargo.toml",
		files:   map[string]string{"rust/example": ".", "rust/Cargo.toml": "chaperone/Cargo.toml", "rust/src": "chaperone/src"},
		edits:   []string{`path = ".."`, `path = "chaperone"`},
		compile: compileRust, version: rustVersion,
	},
	"assemblyscript": {
		marks:   "asconfig.json",
		files:   map[string]string{"assemblyscript/example": ".", "assemblyscript/chaperone": "chaperone"},
		edits:   []string{`"../../chaperone`, `"../chaperone`, `"../chaperone/manifest.mjs"`, `"./chaperone/manifest.mjs"`},
		ignores: "node_modules/\nbuild/\n", setup: "    npm install                       # the compiler, once\n",
		compile: compileAssemblyScript, version: ascVersion,
	},
	"c": {
		marks:   "*.c",
		files:   map[string]string{"c/example": ".", "c/chaperone.h": "chaperone.h"},
		edits:   []string{`"../chaperone.h"`, `"chaperone.h"`},
		compile: compileC, version: clangVersion,
	},
}

// Languages is the names of the languages that there is an SDK for.
func Languages() []string { return slices.Sorted(maps.Keys(languages)) }

// Detect says which language the project in folder is written in.
func Detect(folder string) (string, error) {
	var found []string
	for _, name := range Languages() {
		marks, err := matching(folder, languages[name].marks)
		if err != nil {
			return "", err
		}
		if len(marks) > 0 {
			found = append(found, name)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	var marks []string
	for _, name := range Languages() {
		marks = append(marks, languages[name].marks+" ("+name+")")
	}
	return "", fmt.Errorf("%w: it should have one of %s beside %s, has those of %d languages", ErrProject,
		strings.Join(marks, ", "), Manifest, len(found))
}

// Toolchain names the compiler that Build would use in folder, with its version: the same one makes the same bytes of the same
// source.
func Toolchain(ctx context.Context, folder string) (string, error) {
	lang, err := Detect(folder)
	if err != nil {
		return "", fmt.Errorf("%s: %w", folder, err)
	}
	return languages[lang].version(ctx, folder)
}

// matching is the names in a folder that match a pattern.
func matching(folder, pattern string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if ok, err := filepath.Match(pattern, e.Name()); err != nil {
			return nil, err
		} else if ok {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
