package workbench_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone/engine/wasm"
	"chaperone/sdk/project"
	"chaperone/sdk/workbench"
)

const manifest = `
abi     = 1
kind    = "scorer"
name    = "fixture"
version = "0.1.0"
columns = ["attr.x", "attr.y"]
request = ["prompt_tokens"]
rows    = 32
scale   = "minmax"
`

func check(t *testing.T, fixture string, golden *wasm.Golden, replace ...string) map[string]workbench.Outcome {
	t.Helper()
	module, err := os.ReadFile("../../testdata/wasm/" + fixture + ".wasm")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := wasm.Pack(module, []byte(strings.NewReplacer(replace...).Replace(manifest)))
	if err != nil {
		t.Fatal(err)
	}
	return checked(t, packed, golden)
}

// checked is the outcomes of a module's checks by their names.
func checked(t *testing.T, module []byte, golden *wasm.Golden) map[string]workbench.Outcome {
	t.Helper()
	h, err := wasm.NewHost("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]workbench.Outcome{}
	for _, o := range workbench.Check(t.Context(), h, workbench.Conformance{Plugin: wasm.Config{Bytes: module}, Golden: golden, Seed: 1}) {
		outcomes[o.Check] = o
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	return outcomes
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	wrong := &wasm.Golden{Cases: []wasm.GoldenCase{{Name: "wrong", Columns: map[string][]wasm.Number{"attr.x": {1}, "attr.y": {2}},
		Request: map[string]wasm.Number{"prompt_tokens": 0}, Scores: []wasm.Number{-1}}}}
	for _, c := range []struct {
		fixture, check string
		replace        []string
		golden         *wasm.Golden
		verdict        workbench.Verdict
		says           string
	}{
		{"score_missing", "load", nil, nil, workbench.Failed, "chaperone_score (i32) -> (i32) is missing"},
		{"init_traps", "load", nil, nil, workbench.Failed, "unreachable"},
		{"misbehave", "extreme values", nil, nil, workbench.Failed, "(seed 1): the plugin "},
		{"sum", "rows", nil, nil, workbench.Passed, "1 to 32 rows"},
		{"sum", "determinism", nil, nil, workbench.Passed, "same bits"},
		{"sum", "opinions", []string{"minmax", "unit"}, nil, workbench.Failed, `outside 0…1, which scale = "unit" promises`},
		{"sum", "golden vectors", nil, nil, workbench.Noted, "there are none"},
		{"sum", "golden vectors", nil, wrong, workbench.Failed, "should be -1"},
	} {
		o := check(t, c.fixture, c.golden, c.replace...)[c.check]
		if o.Verdict != c.verdict || !strings.Contains(o.Detail, c.says) {
			t.Errorf("%s: %s: %s %q, should be %s and say %q", c.fixture, c.check, o.Verdict, o.Detail, c.verdict, c.says)
		}
	}
}

// TestCheckFindsWhatAPluginKeeps builds plugins that remember and that leak.
func TestCheckFindsWhatAPluginKeeps(t *testing.T) {
	const source = `#include "chaperone.h"
static double calls;
static int score(const chaperone_batch *b) {
    calls++;
    for (uint32_t i = 0; i < b->rows; i++) b->scores[i] = %s;
    return CHAPERONE_OK;
}
CHAPERONE_PLUGIN(.score = score);
`
	for _, c := range []struct{ check, scores, says string }{
		{"forgetting", "calls", "a stateless plugin keeps nothing"},
		{"memory", "(uint64_t)calls % 2000 || i ? 0 : __builtin_wasm_memory_grow(0, 1)", "its memory grew"},
		{"memory", "__builtin_wasm_memory_grow(0, 1) == (size_t)-1 ? *(double *)-8 : 1", "is everything freed that a call allocates?"},
	} {
		folder, err := project.New(t.TempDir(), "keeper", "c")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "scorer.c"), fmt.Appendf(nil, source, c.scores), 0o600); err != nil {
			t.Fatal(err)
		}
		module, err := project.Build(t.Context(), folder)
		if errors.Is(err, project.ErrToolchain) && os.Getenv("CHAPERONE_TEST_REQUIRE") == "" {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if o := checked(t, module, nil)[c.check]; o.Verdict != workbench.Failed || !strings.Contains(o.Detail, c.says) {
			t.Errorf("%s: %s %q, should be failed and say %q", c.scores, o.Verdict, o.Detail, c.says)
		}
	}
}
