package plugins_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"chaperone/engine/wasm"
	"chaperone/sdk/project"
	"chaperone/sdk/workbench"
)

// patient waits longer for an instance than a busy machine takes by accident.
var patient = wasm.Limits{Wait: 20 * time.Second}

func host(t *testing.T) *wasm.Host {
	t.Helper()
	h, err := wasm.NewHost("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

func load(t *testing.T, h *wasm.Host, c wasm.Config) *wasm.Plugin {
	t.Helper()
	c.Pool, c.Limits = 1, patient
	p, err := wasm.Load(t.Context(), h, c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// closed closes a plugin whose turn is over.
func closed(t *testing.T, p *wasm.Plugin) {
	t.Helper()
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// module is the committed module of a plugin.
func module(t *testing.T, name string) []byte { return read(t, filepath.Join(name, name+".wasm")) }

func golden(t *testing.T, name string) *wasm.Golden {
	t.Helper()
	g, err := wasm.ParseGolden(read(t, filepath.Join(name, "golden.json")))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// each runs a test for every plugin.
func each(t *testing.T, f func(t *testing.T, name string)) {
	manifests, err := filepath.Glob("*/" + project.Manifest)
	if err != nil || len(manifests) < 6 {
		t.Fatalf("%d plugins: %v", len(manifests), err)
	}
	for _, m := range manifests {
		t.Run(filepath.Dir(m), func(t *testing.T) { f(t, filepath.Dir(m)) })
	}
}

func TestCommittedModulesPassEveryCheck(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		c := workbench.Conformance{Plugin: wasm.Config{Bytes: module(t, name), Limits: patient}, Golden: golden(t, name), Seed: 1}
		for _, o := range workbench.Check(t.Context(), host(t), c) {
			if o.Verdict == workbench.Failed {
				t.Errorf("%s: %s", o.Check, o.Detail)
			}
		}
	})
}

func TestModulesAreWhatTheirSourceBuilds(t *testing.T) {
	var recorded map[string]string
	if err := toml.Unmarshal(read(t, "toolchains.toml"), &recorded); err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, name string) {
		lang, err := project.Detect(name)
		if err != nil {
			t.Fatal(err)
		}
		built, err := project.Build(t.Context(), name)
		if errors.Is(err, project.ErrToolchain) && os.Getenv("CHAPERONE_TEST_REQUIRE") == "" {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(built, module(t, name)) {
			return
		}
		version, err := project.Toolchain(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(version, recorded[lang]) {
			t.Fatalf("the committed module is by this compiler (%s) but of another source: run go generate ./plugins", version)
		}
		t.Logf("the committed module is by %s, this is %s: comparing scores", recorded[lang], version)
		if err := golden(t, name).Verify(t.Context(), host(t), wasm.Config{Bytes: built, Limits: patient}); err != nil {
			t.Error(err)
		}
	})
}

// TestReadmesShowWhatTheSampleScores holds each README's table to what its module makes of rows.json.
func TestReadmesShowWhatTheSampleScores(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		table, err := workbench.ParseTable(read(t, filepath.Join(name, "rows.json")))
		if err != nil {
			t.Fatal(err)
		}
		p := load(t, host(t), wasm.Config{Bytes: module(t, name), Configuration: table.Configuration})
		defer closed(t, p)
		scored, err := workbench.Score(t.Context(), p, table)
		if err != nil {
			t.Fatal(err)
		}
		_, shown, ok := strings.Cut(string(read(t, filepath.Join(name, "README.md"))), "\n    ROW ")
		shown, _, _ = strings.Cut(shown, "\n\n")
		lines := strings.Split(strings.TrimSpace(shown), "\n")[1:]
		if !ok || len(lines) != len(scored) {
			t.Fatalf("README.md should show the %d rows of chaperone plugin run, shows %d", len(scored), len(lines))
		}
		for i, s := range scored {
			score := strconv.FormatFloat(float64(s.Score), 'g', -1, 64)
			if got, want := strings.Fields(lines[i]), append(strings.Fields(s.ID), score); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("README.md has %q, should have %q", got, want)
			}
		}
	})
}

func TestConfigurationsThatAreNotUnderstoodAreRefusedWithTheReason(t *testing.T) {
	h := host(t)
	for _, c := range []struct {
		plugin        string
		configuration map[string]any
		says          string
	}{
		{"carbon-aware", map[string]any{"usd_per_ton": 5}, `there is no setting \"usd_per_ton\"; there are usd_per_tonne_co2`},
		{"carbon-aware", map[string]any{"usd_per_tonne_co2": -1}, "usd_per_tonne_co2 should not be negative"},
		{"carbon-aware", map[string]any{"usd_per_tonne_co2": "100"}, `usd_per_tonne_co2 should be a number, is \"100\"`},
		{"ttft-target", map[string]any{"target_ms": 0}, "target_ms should be greater than 0"},
		{"ttft-target", map[string]any{"percentile": 95}, "percentile should be 50 or 90"},
		{"ttft-target", map[string]any{"whole_answers": 2}, "whole_answers should be 0 or 1"},
		{"cache-affine", map[string]any{"cached_share": 1.1}, "cached_share should be 0 to 1"},
		{"cache-affine", map[string]any{"price_slack": 0.9}, "price_slack should be 1 or greater"},
		{"cache-affine", map[string]any{"prefill_ms_per_1000_tokens": -1}, "should not be negative"},
		{"cost-latency", map[string]any{"usd_per_hour": -1}, "usd_per_hour should not be negative"},
		{"cost-latency", map[string]any{"greatest_usd_per_hour": -1}, "greatest_usd_per_hour should not be negative"},
		{"cost-latency", map[string]any{"reading_tokens_per_second": 0}, "reading_tokens_per_second should be greater than 0"},
		{"committed-spend", map[string]any{"paid_share": 2}, "paid_share should be 0 to 1"},
		{"committed-spend", map[string]any{"first_day": 31}, "first_day should be 1 to 28"},
		{"thompson", map[string]any{"half_life_hours": 0}, "half_life_hours should be greater than 0"},
		{"thompson", map[string]any{"prior_attempts": 0.5}, "prior_attempts should be 1 or greater"},
	} {
		p, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: module(t, c.plugin), Configuration: c.configuration, Pool: 1, Limits: patient})
		if err == nil {
			t.Errorf("%s: %v was accepted", c.plugin, c.configuration)
			closed(t, p)
		} else if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v: %v, should say %s", c.plugin, c.configuration, err, c.says)
		}
	}
}
