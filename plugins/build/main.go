// Build makes every Go plugin's module from its source: it compiles with the stock toolchain and packs the manifest in.
// It is run in the folder of the plugins, or with the plugins' folders as arguments.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"chaperone/engine/wasm"
)

func main() {
	folders := os.Args[1:]
	if len(folders) == 0 {
		manifests, _ := filepath.Glob("*/manifest.toml") // the pattern is well-formed
		for _, m := range manifests {
			folders = append(folders, filepath.Dir(m))
		}
	}
	for _, folder := range folders {
		name := filepath.Base(folder)
		size, err := build(folder, filepath.Join(folder, name+".wasm"))
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", folder, err)
			os.Exit(1)
		}
		fmt.Printf("%s.wasm: %d bytes\n", name, size)
	}
}

func build(folder, output string) (size int, err error) {
	scratch, err := os.MkdirTemp("", "chaperone-plugin-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(scratch)
	object := filepath.Join(scratch, "plugin.wasm")
	compile := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", object, ".")
	compile.Dir = folder
	compile.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := compile.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, out)
	}
	module, err := os.ReadFile(object)
	if err != nil {
		return 0, err
	}
	manifest, err := os.ReadFile(filepath.Join(folder, "manifest.toml"))
	if err != nil {
		return 0, err
	}
	packed, err := wasm.Pack(module, manifest)
	if err != nil {
		return 0, err
	}
	return len(packed), os.WriteFile(output, packed, 0o644)
}
