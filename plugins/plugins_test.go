package plugins_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine/wasm"
	"chaperone/plugins"
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

func verify(t *testing.T, h *wasm.Host, module []byte) {
	t.Helper()
	text, err := os.ReadFile("carbon-aware/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := wasm.ParseGolden(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := golden.Verify(context.Background(), h, wasm.Config{Bytes: module, Limits: patient}); err != nil {
		t.Error(err)
	}
}

func TestCommittedModulesReproduceTheirGoldenVectors(t *testing.T) {
	verify(t, host(t), plugins.CarbonAware)
}

func TestModulesAreWhatTheirSourceBuilds(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for wasip1")
	}
	folder := filepath.Join(t.TempDir(), "carbon-aware")
	object := filepath.Join(folder, "plugin.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", object, "./carbon-aware")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	module, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile("carbon-aware/manifest.toml")
	if err != nil {
		t.Fatal(err)
	}
	built, err := wasm.Pack(module, manifest)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(built, plugins.CarbonAware) {
		version, err := exec.Command("go", "env", "GOVERSION").Output()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(plugins.CarbonAware, bytes.TrimSpace(version)) {
			t.Errorf("the committed module is by this Go (%s) but of another source: run go generate ./plugins", bytes.TrimSpace(version))
		}
		t.Logf("the committed module is of another Go than %s; comparing scores", bytes.TrimSpace(version))
		verify(t, host(t), built)
	}
}

func TestCarbonAwareRefusesAConfigurationThatItDoesNotUnderstand(t *testing.T) {
	h := host(t)
	for _, c := range []struct {
		configuration map[string]any
		says          string
	}{
		{map[string]any{"usd_per_ton": 5}, `there is no setting \"usd_per_ton\"; there are kwh_per_million_output_tokens`},
		{map[string]any{"usd_per_tonne_co2": -1}, "usd_per_tonne_co2 should not be negative"},
		{map[string]any{"usd_per_tonne_co2": "100"}, `usd_per_tonne_co2 should be a number, is \"100\"`},
	} {
		p, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: plugins.CarbonAware, Configuration: c.configuration, Pool: 1, Limits: patient})
		if err == nil {
			t.Errorf("%v was accepted", c.configuration)
			_ = p.Close(context.Background())
		} else if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, should say %s", c.configuration, err, c.says)
		}
	}
}
