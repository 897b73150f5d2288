package sdk_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine/scorer"
	"chaperone/engine/wasm"
)

// TestReadmesScorerRuns builds the scorer that the README shows, in a module of its own as an author has it.
func TestReadmesScorerRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for wasip1")
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	manifest := codeAfter(t, string(readme), "`manifest.toml`, what the scorer wants to see:")
	for name, text := range map[string]string{
		"manifest.toml": manifest,
		"main.go":       codeAfter(t, string(readme), "`main.go`:"),
		"go.mod":        "module walk\n\ngo 1.26.0\n\nrequire chaperone v0.0.0\n\nreplace chaperone => " + root + "\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", "plugin.wasm", ".")
	build.Dir = folder
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOWORK=off", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	module, err := os.ReadFile(filepath.Join(folder, "plugin.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	packed, err := wasm.Pack(module, []byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	h, err := wasm.NewHost("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	golden := wasm.Golden{Cases: []wasm.GoldenCase{{
		Name:    "the quicker one, at a dollar an hour",
		Columns: map[string][]wasm.Number{"price.expected": {0.001, 0.00125}, "stats.ttft_expected_ms": {3600, 0}},
		Request: map[string]wasm.Number{"value_of_time": 1},
		Scores:  []wasm.Number{-0.002, -0.00125},
	}}}
	limits := wasm.Limits{Wait: 20 * time.Second}
	if err := golden.Verify(context.Background(), h, wasm.Config{Bytes: packed, Limits: limits}); err != nil {
		t.Error(err)
	}
	if err := h.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// codeAfter is the indented block that follows a line of Markdown.
func codeAfter(t *testing.T, markdown, line string) string {
	t.Helper()
	_, rest, ok := strings.Cut(markdown, "\n"+line+"\n\n")
	if !ok {
		t.Fatalf("the README has no line %q", line)
	}
	var code strings.Builder
	for l := range strings.Lines(rest) {
		if text, ok := strings.CutPrefix(l, "    "); ok {
			code.WriteString(text)
		} else if l != "\n" {
			break
		} else {
			code.WriteString(l)
		}
	}
	return code.String()
}

func TestReadmeListsTheWholeVocabulary(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, listed, _ := strings.Cut(string(readme), "\n## Vocabulary\n")
	columns, request, _ := strings.Cut(listed, "\n### Request\n")
	want := map[string]*strings.Builder{"columns": {}, "request": {}}
	for _, e := range scorer.Vocabulary() {
		nan := e.NaN
		if nan == "" {
			nan = "never"
		}
		fmt.Fprintf(want[e.List], "| `%s` | %s | %s | %s |\n", e.Name, e.Unit, e.Meaning, nan)
	}
	for section, text := range map[string]string{"columns": columns, "request": request} {
		if !strings.HasSuffix(text, "|---|---|---|---|\n"+want[section].String()) &&
			!strings.HasSuffix(text, "|---|---|---|---|\n"+want[section].String()+"\n") {
			t.Errorf("the table of %s should be:\n%s", section, want[section])
		}
	}
}
