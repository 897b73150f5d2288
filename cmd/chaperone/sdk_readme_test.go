package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone/sdk/project"
)

// TestSDKReadmes goes the five minutes of each SDK's README, command by command: from nothing to a scorer in the router. What it
// leaves out is building the command, and npm install, in place of which it takes the compiler that is there.
func TestSDKReadmes(t *testing.T) {
	compilers, err := filepath.Abs("../../sdk/assemblyscript/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	for _, lang := range project.Languages() {
		t.Run(lang, func(t *testing.T) {
			if lang == "go" && testing.Short() {
				t.Skip("Go's compiler and modules take seconds; this runs without -short")
			}
			text, err := os.ReadFile("../../sdk/" + lang + "/README.md")
			if err != nil {
				t.Fatal(err)
			}
			walk, _, ok := strings.Cut(string(text), "\n## What there is\n")
			if !ok {
				t.Fatal("it does not say what there is")
			}
			t.Chdir(t.TempDir())
			ran, last := 0, ""
			lines := strings.Split(walk, "\n")
			for i := 0; i < len(lines); i++ {
				command, ok := strings.CutPrefix(lines[i], "    ")
				if !ok {
					continue
				}
				ran++
				arguments := strings.Fields(command)
				switch file, here := strings.CutSuffix(strings.TrimPrefix(command, "cat >> "), " <<'EOF'"); {
				case here:
					was, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					for i++; lines[i] != "    EOF"; i++ {
						was = append(was, strings.TrimPrefix(lines[i], "    ")+"\n"...)
					}
					put(t, file, string(was))
				case command == "go build -o bin/chaperone ./cmd/chaperone", command == `export PATH="$PWD/bin:$PATH"`:
				case arguments[0] == "cd":
					t.Chdir(arguments[1])
				case command == "npm install --prefix my-scorer":
					if err := os.Symlink(compilers, "my-scorer/node_modules"); err != nil {
						t.Fatal(err)
					}
				case arguments[0] == "chaperone":
					if arguments[2] == "build" {
						if _, err := project.Toolchain(t.Context(), "my-scorer"); errors.Is(err, project.ErrToolchain) && os.Getenv("CHAPERONE_TEST_REQUIRE") == "" {
							t.Skip(err)
						}
					}
					last = done(t, arguments[1:]...)
				default:
					t.Fatalf("%s is held by no test", command)
				}
			}
			if ran < 9 || !strings.Contains(last, "  carbon-aware  my-scorer\n") || strings.Contains(last, "no opinion") {
				t.Errorf("after %d commands explain says\n%s", ran, last)
			}
		})
	}
}
