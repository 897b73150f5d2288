package engine_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers is the import table, leaf first: a folder may import those before it, never those after.
var layers = []string{
	"engine/config", "engine/wire", "engine/admission", "engine/catalog", "engine/account", "engine/telemetry", "policies", "engine/policy", "engine/scorer",
	"engine/wasm", "sdk/go", "plugins", "engine/route", "engine/listing", "engine/provider", "engine/journal", "engine/ledger", "engine/dispatch", "engine", "engine/replay", "engine/report",
	"engine/server", "engine/sim", "sdk", "cmd/chaperone",
}

func TestImportsPointTowardsTheLeaves(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		from := layer(p.ImportPath)
		if from < 0 {
			continue
		}
		for _, imported := range p.Imports {
			to := layer(imported)
			if to < 0 {
				continue
			}
			checked++
			if to > from {
				t.Errorf("%s imports %s, which stands after it in the table of layers", p.ImportPath, imported)
			}
		}
	}
	if checked < 40 {
		t.Fatalf("only %d imports were checked: the table no longer matches the folders", checked)
	}
}

// layer is the place of the longest entry that path is or lies in; -1: none.
func layer(path string) int {
	rel, ours := strings.CutPrefix(path, "chaperone/")
	if !ours {
		return -1
	}
	best := -1
	for i, l := range layers {
		if (rel == l || strings.HasPrefix(rel, l+"/")) && (best < 0 || len(l) > len(layers[best])) {
			best = i
		}
	}
	if best >= 0 && layers[best] == "engine" && rel != "engine" {
		return -1
	}
	return best
}

func TestTheTopLevelIsFixed(t *testing.T) {
	allowed := []string{"cmd", "engine", "policies", "plugins", "sdk", "testdata", "go.mod", "go.sum", "README.md",
		"LICENSE", "RATIONALE.md", "CHANGELOG.md", "Makefile"}
	out, err := exec.Command("git", "-C", "..", "ls-tree", "--name-only", "HEAD").Output()
	if err != nil {
		t.Skip("this is no git checkout: ", err)
	}
	for _, name := range strings.Fields(string(out)) {
		if !strings.HasPrefix(name, ".") && !slices.Contains(allowed, name) {
			t.Errorf("%s is at the top level; a new one needs a reason in RATIONALE.md and a line here", name)
		}
	}
}
