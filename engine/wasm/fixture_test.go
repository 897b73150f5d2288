package wasm_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine/wasm"
	"chaperone/engine/wasm/binary"
)

const fixtures = "../../testdata/wasm"

const plainManifest = `
abi     = 1
kind    = "scorer"
name    = "fixture"
version = "0.1.0"
columns = ["attr.x", "attr.y"]
request = ["prompt_tokens"]
rows    = 32
scale   = "minmax"
`

// patient waits longer for an instance than a busy machine takes by accident.
var patient = wasm.Limits{Wait: 20 * time.Second}

// fixture is a module of testdata with the plain manifest, in which replace's pairs are replaced.
func fixture(t testing.TB, name string, replace ...string) []byte {
	t.Helper()
	module, err := os.ReadFile(filepath.Join(fixtures, name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	packed, err := wasm.Pack(module, []byte(strings.NewReplacer(replace...).Replace(plainManifest)))
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// withSection adds a custom section as any tool would.
func withSection(module []byte, name, content string) []byte {
	return binary.AppendCustom(bytes.Clone(module), name, []byte(content))
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func newHost(t testing.TB) (*wasm.Host, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	h, err := wasm.NewHost("", slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h, log
}

// gate is a log that holds up the call that writes to it.
type gate struct{ entered, open chan struct{} }

func (g *gate) Write(p []byte) (int, error) {
	select {
	case g.entered <- struct{}{}:
	default:
	}
	<-g.open
	return len(p), nil
}

// newGate is a host whose log is a gate; a call in mode 14 of misbehave runs into it.
func newGate(t *testing.T) (*wasm.Host, *gate) {
	t.Helper()
	g := &gate{entered: make(chan struct{}, 1), open: make(chan struct{})}
	h, err := wasm.NewHost("", slog.New(slog.NewTextHandler(g, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return h, g
}

// load loads a plugin for the length of the test.
func load(t testing.TB, h *wasm.Host, c wasm.Config) *wasm.Plugin {
	t.Helper()
	if c.Limits.Wait == 0 {
		c.Limits.Wait = patient.Wait
	}
	p, err := wasm.Load(context.Background(), h, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// tool finds a program that a test needs, or says how to get it.
func tool(t *testing.T, name, how string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CHAPERONE_TEST_REQUIRE") != "" {
			t.Fatalf("%s is not installed: %s", name, how)
		}
		t.Skipf("%s is not installed: %s", name, how)
	}
	return path
}

func TestFixturesAreWhatTheirSourceSays(t *testing.T) {
	wat2wasm := tool(t, "wat2wasm", "apt-get install wabt")
	sources, err := filepath.Glob(filepath.Join(fixtures, "*.wat"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, source := range sources {
		built := filepath.Join(t.TempDir(), "built.wasm")
		if out, err := exec.Command(wat2wasm, source, "-o", built).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", source, err, out)
		}
		want, err := os.ReadFile(built)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(strings.TrimSuffix(source, ".wat") + ".wasm")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what wat2wasm makes of it", source)
		}
	}
}
