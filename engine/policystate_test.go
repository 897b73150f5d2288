package engine_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"chaperone/engine/sim"
)

func TestMetricsTellHowPoliciesAreDoing(t *testing.T) {
	w := openSmall(t, `deny contains "no" if input.request.n > 5`, "", slog.DiscardHandler, sim.Profile{})

	// The same rules once more, from a bundle server that is gone after the first answer.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "far.rego"), []byte("package far\n\ndeny contains \"no\" if input.request.n > 6\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "bundle.tar.gz")
	if out, err := exec.Command("go", "tool", "opa", "build", "--bundle", dir, "--output", bundle).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	served := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(bundle))))
	t.Cleanup(served.Close)
	config, err := os.ReadFile(filepath.Join(w.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(config), "[policy]\n", "[policy]\nguard_one_in = 1\n", 1)
	w.write(t, "chaperone.toml", text+"[[policy.sources]]\nname = \"far\"\nbundle = \""+served.URL+"/bundle.tar.gz\"\n[[policy.bindings]]\npackage = \"far\"\nfor = \"everyone\"\n")
	if err := w.engine.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := ask(w.engine, "sk-acme", `{"model":"m/one","messages":[{"role":"user","content":"hi"}]}`); err != nil {
			t.Fatal(err)
		}
	}
	rec := httptest.NewRecorder()
	w.engine.Metrics().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	metrics := rec.Body.String()
	for _, line := range []string{"chaperone_policy_guard_mismatches 0\n", "chaperone_policy_memory_off 0\n",
		"chaperone_policy_bundle_failing{source=\"far\"} 0\n", "chaperone_policy_bundle_age_seconds{source=\"far\"} "} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics lack %q", line)
		}
	}
	if strings.Contains(metrics, "chaperone_policy_guard_checked 0\n") || !strings.Contains(metrics, "chaperone_policy_guard_checked ") {
		t.Error("no remembered verdict was checked, although every one is to be")
	}
}
