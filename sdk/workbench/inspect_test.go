package workbench_test

import (
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"chaperone/engine/wasm"
	"chaperone/engine/wasm/binary"
	"chaperone/sdk/workbench"
)

func host(t *testing.T) *wasm.Host {
	t.Helper()
	h, err := wasm.NewHost("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// TestInspectDoesNotBelieveADamagedNameSection describes a module whose names are said to be two billion.
func TestInspectDoesNotBelieveADamagedNameSection(t *testing.T) {
	plain, err := os.ReadFile("../../testdata/wasm/sum.wasm")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := wasm.Pack(binary.AppendCustom(plain, "name", []byte("\x01\x06\xff\xff\xff\xff\x07\x00")), []byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	d, err := workbench.Inspect(t.Context(), host(t), packed, wasm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.Exports, []string{"chaperone_init", "chaperone_score"}) {
		t.Errorf("it exports %v", d.Exports)
	}
}

// TestInspectQuotesNamesThatATerminalWouldObey describes a module that exports its function under a name of commands.
func TestInspectQuotesNamesThatATerminalWouldObey(t *testing.T) {
	plain, err := os.ReadFile("../../testdata/wasm/sum.wasm")
	if err != nil {
		t.Fatal(err)
	}
	sections, err := binary.Sections(plain)
	if err != nil {
		t.Fatal(err)
	}
	module := []byte(binary.Preamble)
	for _, s := range sections {
		if s.ID == binary.Export {
			content := append([]byte{s.Content[0] + 1}, s.Content[1:]...)
			s.Raw = binary.AppendSection(nil, binary.Export, append(binary.AppendName(content, "\x1b[2J"), binary.KindFunction, 0))
		}
		module = append(module, s.Raw...)
	}
	packed, err := wasm.Pack(module, []byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	d, err := workbench.Inspect(t.Context(), host(t), packed, wasm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(d.Exports, `"\x1b[2J"`) {
		t.Errorf("it exports %q", d.Exports)
	}
}

// TestBenchMeasuresAScorerThatHasNoOpinion measures batches on some of which the scorer abstains.
func TestBenchMeasuresAScorerThatHasNoOpinion(t *testing.T) {
	module, err := os.ReadFile("../../plugins/ttft-target/ttft-target.wasm")
	if err != nil {
		t.Fatal(err)
	}
	p, err := wasm.Load(t.Context(), host(t), wasm.Config{Bytes: module, Pool: 1})
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(30) {
		if _, err := workbench.Bench(t.Context(), p, time.Microsecond, seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	if p.Stats().Abstentions == 0 {
		t.Error("it has an opinion on everything: the test tells nothing")
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
