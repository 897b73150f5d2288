package engine_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone/engine"
	"chaperone/engine/sim"
)

// small is a router in front of simulated providers p0, p1 …, all of which serve m/one for the organisation acme (key
// sk-acme) under one policy, package own.
type small struct {
	dir    string
	engine *engine.Engine
	sims   []*sim.Provider
}

// openSmall opens it. rego is the body of package own; extra is appended to every endpoint's table.
func openSmall(t *testing.T, rego, extra string, log slog.Handler, profiles ...sim.Profile) *small {
	t.Helper()
	w := &small{dir: t.TempDir()}
	var b strings.Builder
	fmt.Fprintf(&b, `[organisations.acme]
[[keys]]
organisation = "acme"
sha256 = "%x"
[policy]
evaluation_timeout = "10s"
[[policy.sources]]
name = "own"
path = "rego"
[[policy.bindings]]
package = "own"
for = "everyone"
[models."m/one"]
name = "One"
context_length = 32000
`, sha256.Sum256([]byte("sk-acme")))
	for i, profile := range profiles {
		profile.Name, profile.KeepRequests = fmt.Sprintf("p%d", i), true
		p, err := sim.Start(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		w.sims = append(w.sims, p)
		fmt.Fprintf(&b, `[providers.p%d]
name = "P%d"
dialect = "openai"
base_url = %q
[providers.p%d.credentials.own]
auth = "none"
[[endpoints]]
model = "m/one"
provider = "p%d"
upstream_model = "one"
price = { prompt = %d, completion = 1 }
%s
`, i, i, p.URL(), i, i, 1+i, extra)
	}
	w.write(t, "chaperone.toml", b.String())
	w.write(t, "rego/own.rego", "package own\n\n"+rego)
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: filepath.Join(w.dir, "chaperone.toml"), Log: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	w.engine = e
	return w
}

// write replaces a file by renaming another over it, as editors and deployment tools do.
func (w *small) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
