package engine_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/sim"
	"chaperone/engine/wasm"
)

// A version of the configuration is one number, written into the catalog (a label of every endpoint), into the policy (which
// denies every endpoint with another label, and besides these p0 in odd and p1 in even versions) and into the plugin's
// manifest. A request that was planned with parts of two versions has no endpoint left.
func writeVersion(t *testing.T, dir string, version int, urls []string, breakIt bool) {
	t.Helper()
	// Files are replaced by renaming, as editors and deployment tools do.
	file := func(name, text string) {
		path := filepath.Join(dir, name)
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
	broken := ""
	if breakIt {
		broken = []string{"deny contains \"x\" if input.endpoint.no_such_field", "deny contains if {", "allow := 7"}[version/3%3]
	}
	file("rego/versioned.rego", fmt.Sprintf(`package versioned

deny contains "another version" if object.get(input.endpoint.labels, "version", "") != "v%d"

deny contains "parity" if input.endpoint.provider == "p%d"

%s
`, version, (version+1)%2, broken))
	key := sha256.Sum256([]byte("sk-acme"))
	var conf strings.Builder
	fmt.Fprintf(&conf, `catalog = ["catalog.toml"]
[journal]
keep = 200000
[organisations.acme]
[[keys]]
organisation = "acme"
sha256 = "%x"
[[policy.sources]]
name = "own"
path = "rego"
[[policy.bindings]]
package = "versioned"
for = "everyone"
[[scorers]]
name = "value"
[[scorers]]
name = "sum"
weight = 0.1
plugin = "sum.wasm"
`, key)
	file("chaperone.toml", conf.String())
	var cat strings.Builder
	fmt.Fprintln(&cat, "[models.\"m/one\"]\nname = \"One\"\ncontext_length = 32000")
	for i, url := range urls {
		fmt.Fprintf(&cat, `[providers.p%d]
name = "P%d"
dialect = "openai"
base_url = %q
[providers.p%d.credentials.own]
auth = "none"
[[endpoints]]
model = "m/one"
provider = "p%d"
upstream_model = "one"
price = { prompt = %d, completion = 4 }
labels = { version = "v%d" }
`, i, i, url, i, i, 1+i, version)
	}
	file("catalog.toml", cat.String())
	module, err := os.ReadFile("../testdata/wasm/sum.wasm")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := wasm.Pack(module, fmt.Appendf(nil, "abi = 1\nkind = \"scorer\"\nname = \"sum\"\nversion = \"0.0.%d\"\ncolumns = [\"price.prompt\"]\nrows = 64\nscale = \"minmax\"\n", version))
	if err != nil {
		t.Fatal(err)
	}
	file("sum.wasm", string(packed))
}

func TestReloadUnderLoad(t *testing.T) {
	inFlight, reloads := 1000, 100
	if testing.Short() {
		inFlight, reloads = 100, 15
	}
	var urls []string
	for i := range 4 {
		profile := sim.Profile{Name: fmt.Sprintf("p%d", i), TTFT: sim.Distribution{P50: 80, P95: 300}, TPS: sim.Distribution{P50: 200},
			OutputTokens: sim.Distribution{P50: 20}, Faults: []sim.Fault{{Kind: sim.ErrorEvent, Share: 0.2}}} // found out about only after the TTFT
		if i == 3 {
			profile.Faults = nil // one that always works: nothing may fail
		}
		p, err := sim.Start(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		urls = append(urls, p.URL())
	}
	dir := t.TempDir()
	writeVersion(t, dir, 0, urls, false)
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: filepath.Join(dir, "chaperone.toml"),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())

	type swap struct {
		generation uint64
		version    int
		done       time.Time
	}
	swaps := []swap{{1, 0, time.Now()}}
	stop := make(chan struct{})
	var running sync.WaitGroup
	var mu sync.Mutex
	var ids []string
	var answered atomic.Int64
	for c := range inFlight {
		running.Add(1)
		go func() {
			defer running.Done()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				body := fmt.Sprintf(`{"model":"m/one","stream":%t,"messages":[{"role":"user","content":"%d %d"}]}`, c%2 == 0, c, n)
				resp, err := e.Do(context.Background(), engine.Call{Key: "sk-acme", Body: []byte(body)})
				if err != nil {
					t.Errorf("a request failed: %v", err)
					return
				}
				if resp.Stream != nil {
					text, _ := io.ReadAll(resp.Stream)
					if !strings.HasSuffix(string(text), "data: [DONE]\n\n") {
						t.Errorf("a stream broke: %s", text)
						return
					}
				}
				answered.Add(1)
				mu.Lock()
				ids = append(ids, resp.Plan.ID)
				mu.Unlock()
			}
		}()
	}
	refused := 0
	for version := 1; version <= reloads; version++ {
		breakIt := version%3 == 0
		writeVersion(t, dir, version, urls, breakIt)
		err := e.Reload(t.Context())
		switch {
		case breakIt && err == nil:
			t.Errorf("version %d is broken and was accepted", version)
		case !breakIt && err != nil:
			t.Errorf("version %d: %v", version, err)
		case breakIt:
			refused++
			if !strings.Contains(err.Error(), "versioned.rego:") {
				t.Errorf("the message does not name the file and line: %v", err)
			}
		default:
			swaps = append(swaps, swap{e.Generation(), version, time.Now()})
		}
	}
	close(stop)
	running.Wait()

	versionOf := map[uint64]int{}
	for _, s := range swaps {
		versionOf[s.generation] = s.version
	}
	attempts, retries, across := 0, 0, 0
	for _, id := range ids {
		rec := e.Record(id)
		if rec == nil {
			continue // displaced: more than the journal keeps
		}
		for n, a := range rec.Attempts {
			attempts++
			version, known := versionOf[a.Generation]
			if !known {
				t.Fatalf("an attempt was permitted by generation %d, which never was", a.Generation)
			}
			if denied := fmt.Sprintf("p%d", (version+1)%2); a.ProviderID == denied {
				t.Errorf("version %d denies %s, and an attempt was made there", version, denied)
			}
			began := rec.At.Add(time.Duration(a.StartedMs * float64(time.Millisecond)))
			for _, s := range swaps {
				if s.generation > a.Generation && s.done.Before(began) {
					t.Errorf("attempt %d began %v after generation %d was in force and was permitted by %d only", n+1, began.Sub(s.done), s.generation, a.Generation)
				}
			}
			if n > 0 {
				retries++
				if a.Generation != rec.Generation {
					across++
				}
			}
		}
	}
	t.Logf("%d answered, %d attempts checked, %d of them retries, %d across a reload; %d reloads took, %d were refused",
		answered.Load(), attempts, retries, across, len(swaps)-1, refused)
	if !t.Failed() && !testing.Short() && (answered.Load() < 1000 || across == 0) {
		t.Error("the load was too light to say anything")
	}
}
