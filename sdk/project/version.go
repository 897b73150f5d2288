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
)

// firstLine is what a program says first.
func firstLine(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s %w", name, ErrToolchain)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line), err
}

func goVersion(ctx context.Context, _ string) (string, error) {
	return firstLine(ctx, "go", "env", "GOVERSION")
}

func clangVersion(ctx context.Context, _ string) (string, error) {
	return firstLine(ctx, "clang", "--version")
}

func rustVersion(ctx context.Context, _ string) (string, error) {
	rust, err := findRust(ctx)
	if err != nil {
		return "", err
	}
	return firstLine(ctx, rust.rustc, "--version")
}

func ascVersion(_ context.Context, folder string) (string, error) {
	compiler, err := findASC(folder)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(compiler)), "package.json"))
	if err != nil {
		return "", err
	}
	var about struct{ Version string }
	if err := json.Unmarshal(text, &about); err != nil {
		return "", fmt.Errorf("package.json of %s: %w", compiler, err)
	}
	return "assemblyscript " + about.Version, nil
}
