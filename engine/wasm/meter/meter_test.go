package meter_test

import (
	"os"
	"path/filepath"
	"testing"

	"chaperone/engine/wasm/meter"
)

// TestGrowth holds what rewriting adds to the plugins that ship.
func TestGrowth(t *testing.T) {
	files, err := filepath.Glob("../../../plugins/*/*.wasm")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		module, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out, err := meter.Rewrite(module, meter.Default)
		if err != nil {
			t.Fatal(err)
		}
		growth := 100 * (float64(len(out))/float64(len(module)) - 1)
		t.Logf("%s: %d bytes, %+.1f %%", filepath.Base(file), len(module), growth)
		if growth > 10 && len(module) > 4096 {
			t.Errorf("%s grows by %.1f %%, should grow by less than 10", file, growth)
		}
	}
}
