// Package project makes plugin projects from the SDKs and builds them with the languages' own compilers.
package project

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"chaperone/engine/wasm"
)

// Manifest is the name of a project's manifest.
const Manifest = "manifest.toml"

// Errors of a project or the machine, wrapped with what would be right.
var (
	ErrProject   = errors.New("is not a plugin project")
	ErrToolchain = errors.New("is not installed")
	ErrCompile   = errors.New("does not compile")
)

// Module is where Build puts the module of the project in folder: NAME/NAME.wasm.
func Module(folder string) (string, error) {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	return filepath.Join(folder, filepath.Base(absolute)+".wasm"), nil
}

// Build compiles the project in folder and packs its manifest into the module, which is returned and not written.
func Build(ctx context.Context, folder string) ([]byte, error) {
	module, err := build(ctx, folder)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	return module, nil
}

func build(ctx context.Context, folder string) ([]byte, error) {
	manifest, err := os.ReadFile(filepath.Join(folder, Manifest))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProject, err)
	}
	language, err := Detect(folder)
	if err != nil {
		return nil, err
	}
	if err := wasm.CheckManifest(filepath.Join(folder, Manifest), manifest); err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "chaperone-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	compiled, err := languages[language].compile(ctx, folder, scratch)
	if err != nil {
		return nil, err
	}
	module, err := os.ReadFile(compiled)
	if err != nil {
		return nil, err
	}
	return wasm.Pack(module, manifest)
}

// run runs a compiler in a folder. What it says is in the error.
func run(ctx context.Context, folder string, environment []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), environment...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s: %w\n%s", ErrCompile, filepath.Base(name), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// tool finds a program, or says how to get it.
func tool(name, how string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s %w: %s", name, ErrToolchain, how)
	}
	return path, nil
}

func compileGo(ctx context.Context, folder, scratch string) (string, error) {
	compiler, err := tool("go", "see go.dev/doc/install")
	if err != nil {
		return "", err
	}
	out := filepath.Join(scratch, "plugin.wasm")
	return out, run(ctx, folder, []string{"GOOS=wasip1", "GOARCH=wasm"}, compiler, "build", "-buildmode=c-shared",
		"-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, ".")
}

func compileC(ctx context.Context, folder, scratch string) (string, error) {
	const how = "install clang and lld (Debian: apt-get install clang lld)"
	compiler, err := tool("clang", how)
	if err != nil {
		return "", err
	}
	if _, err := tool("wasm-ld", how); err != nil {
		return "", err
	}
	sources, err := matching(folder, "*.c")
	if err != nil {
		return "", err
	}
	out := filepath.Join(scratch, "plugin.wasm")
	args := []string{"--target=wasm32", "-std=c11", "-O2", "-Wall", "-Wextra", "-ffreestanding", "-nostdlib", "-mbulk-memory",
		"-Wl,--no-entry", "-Wl,--strip-debug", "-o", out}
	return out, run(ctx, folder, nil, compiler, append(args, sources...)...)
}

func compileRust(ctx context.Context, folder, scratch string) (string, error) {
	rust, err := findRust(ctx)
	if err != nil {
		return "", err
	}
	environment := []string{"RUSTC=" + rust.rustc}
	flags, err := rust.remap(ctx, folder)
	if err != nil {
		return "", err
	}
	// Flags of a user's environment would be in the way of others' building the same bytes.
	environment = append(environment, "CARGO_ENCODED_RUSTFLAGS="+strings.Join(flags, "\x1f"), "CARGO_TARGET_DIR="+scratch)
	if err := run(ctx, folder, environment, rust.cargo, "build", "--quiet", "--release", "--target", rustTarget); err != nil {
		return "", err
	}
	built := filepath.Join(scratch, rustTarget, "release")
	modules, err := matching(built, "*.wasm")
	if err != nil {
		return "", err
	}
	if len(modules) != 1 {
		return "", fmt.Errorf("%w: Cargo.toml makes %d modules, should make one: [lib] with crate-type = [\"cdylib\"]", ErrProject, len(modules))
	}
	return filepath.Join(built, modules[0]), nil
}

const rustTarget = "wasm32-unknown-unknown"

type rustToolchain struct{ cargo, rustc string }

// findRust finds the first cargo on the path whose rustc has WebAssembly's standard library: a machine may have several.
func findRust(ctx context.Context) (rustToolchain, error) {
	for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
		t := rustToolchain{filepath.Join(folder, "cargo"), filepath.Join(folder, "rustc")}
		if _, err := exec.LookPath(t.cargo); err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, t.rustc, "--print", "target-libdir", "--target", rustTarget).Output()
		if err != nil {
			continue
		}
		if core, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "libcore-*.rlib")); len(core) > 0 {
			return t, nil
		}
	}
	return rustToolchain{}, fmt.Errorf("rust for %s %w: rustup target add %s (Debian: apt-get install cargo rustc libstd-rust-dev-wasm32)",
		rustTarget, ErrToolchain, rustTarget)
}

// remap makes the flags that keep this machine's paths out of the module: the same source gives the same bytes anywhere.
func (t rustToolchain) remap(ctx context.Context, folder string) ([]string, error) {
	cmd := exec.CommandContext(ctx, t.cargo, "metadata", "--format-version", "1")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "RUSTC="+t.rustc)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil, fmt.Errorf("%w: cargo metadata: %s", ErrProject, strings.TrimSpace(string(exit.Stderr)))
		}
		return nil, err
	}
	var metadata struct {
		Packages []struct {
			Name string `json:"name"`
			Path string `json:"manifest_path"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(out, &metadata); err != nil {
		return nil, fmt.Errorf("cargo metadata: %w", err)
	}
	var flags []string
	for _, p := range metadata.Packages {
		flags = append(flags, "--remap-path-prefix="+filepath.Dir(p.Path)+"="+p.Name)
	}
	return flags, nil
}

func compileAssemblyScript(ctx context.Context, folder, scratch string) (string, error) {
	node, err := tool("node", "see nodejs.org (Debian: apt-get install nodejs npm)")
	if err != nil {
		return "", err
	}
	compiler, err := findASC(folder)
	if err != nil {
		return "", err
	}
	// With a relative path the compiler would look for the transform among node's modules.
	settings, err := filepath.Abs(filepath.Join(folder, "asconfig.json"))
	if err != nil {
		return "", err
	}
	out := filepath.Join(scratch, "plugin.wasm")
	return out, run(ctx, folder, nil, node, compiler, "--config", settings, "--outFile", out)
}

// findASC finds the compiler as node would, in the project or above it, or else on the path.
func findASC(folder string) (string, error) {
	at, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	for {
		compiler := filepath.Join(at, "node_modules", "assemblyscript", "bin", "asc.js")
		if _, err := os.Stat(compiler); err == nil {
			return compiler, nil
		}
		up := filepath.Dir(at)
		if up == at {
			break
		}
		at = up
	}
	if link, err := exec.LookPath("asc"); err == nil {
		return filepath.EvalSymlinks(link)
	}
	return "", fmt.Errorf("the AssemblyScript compiler %w: run npm install where the project's package.json is (%s, or above it)", ErrToolchain, folder)
}
