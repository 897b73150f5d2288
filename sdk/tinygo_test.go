package sdk_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"chaperone/engine/wasm"
	"chaperone/sdk/project"
	"chaperone/sdk/workbench"
)

// tinyGo builds a Go project as sdk/go/README.md says. It skips the test where there is no TinyGo, under CHAPERONE_TEST_REQUIRE too:
// no package of the systems that the tests run on has it, and building it takes LLVM.
func tinyGo(t *testing.T, folder string) []byte {
	t.Helper()
	compiler, err := exec.LookPath("tinygo")
	if err != nil {
		t.Skip("tinygo is not installed: see tinygo.org/getting-started/install")
	}
	build := exec.Command(compiler, "build", "-target=wasip1", "-buildmode=c-shared", "-scheduler=none", "-no-debug", "-o", "plugin.wasm", ".")
	build.Dir = folder
	if out, err := build.CombinedOutput(); strings.Contains(string(out), "requires go version") {
		t.Skipf("tinygo does not know this Go: %s", out)
	} else if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var parts [2][]byte
	for i, name := range []string{"plugin.wasm", project.Manifest} {
		if parts[i], err = os.ReadFile(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	module, err := wasm.Pack(parts[0], parts[1])
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// TestTinyGoBuildsTheGoSDK holds what TinyGo makes of the example and of a learner to what stock Go makes of them.
func TestTinyGoBuildsTheGoSDK(t *testing.T) {
	folder, err := project.New(t.TempDir(), "example", "go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("go/example/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := wasm.ParseGolden(text)
	if err != nil {
		t.Fatal(err)
	}
	example := tinyGo(t, folder)
	t.Logf("the example has %d bytes", len(example))
	for _, o := range workbench.Check(t.Context(), newHost(t), workbench.Conformance{Plugin: wasm.Config{Bytes: example}, Golden: golden, Seed: 1}) {
		if o.Verdict != workbench.Passed {
			t.Errorf("%s: %s: %s", o.Check, o.Verdict, o.Detail)
		}
	}
	_, err = wasm.Load(t.Context(), newHost(t), wasm.Config{Bytes: example, Configuration: map[string]any{"patience": -1}})
	if err == nil || !strings.Contains(err.Error(), "patience should not be negative") {
		t.Errorf("a setting that is refused: %v", err)
	}

	if folder, err = project.New(t.TempDir(), "learner", "go"); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{learners["go"].file: learners["go"].text, project.Manifest: learnerManifest} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	liveTwice(t, tinyGo(t, folder))
}
