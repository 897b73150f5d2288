package wasm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"chaperone/engine/config"
	"chaperone/engine/wasm"
)

func TestEachBadPluginIsRefusedWithWhatWouldBeRight(t *testing.T) {
	h, _ := newHost(t)
	sum := fixture(t, "sum")
	plain, err := os.ReadFile(filepath.Join(fixtures, "sum.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	functions := binary.AppendUvarint(nil, 60_000)
	functions = append(functions, make([]byte, 60_000)...)
	crowd := append([]byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03"), binary.AppendUvarint(nil, uint64(len(functions)))...)
	crowd = append(crowd, functions...)
	for name, c := range map[string]struct {
		config wasm.Config
		is     error
		says   string
	}{
		"no such file":        {wasm.Config{Path: "nowhere.wasm"}, wasm.ErrRead, "nowhere.wasm: no such file"},
		"another file":        {wasm.Config{Bytes: sum, SHA256: strings.Repeat("ab", 32)}, wasm.ErrPin, "should be abababab"},
		"empty":               {wasm.Config{Bytes: []byte{}}, wasm.ErrModule, "is it a .wasm file?"},
		"text":                {wasm.Config{Bytes: []byte("(module)")}, wasm.ErrModule, "is it a .wasm file?"},
		"a component":         {wasm.Config{Bytes: []byte("\x00asm\x0d\x00\x01\x00")}, wasm.ErrModule, "is a WebAssembly component, should be a core module"},
		"truncated":           {wasm.Config{Bytes: sum[:len(sum)-5]}, wasm.ErrModule, "truncated or damaged"},
		"too large":           {wasm.Config{Bytes: make([]byte, 33<<20)}, wasm.ErrModule, "larger than 33554432 bytes"},
		"many functions":      {wasm.Config{Bytes: withSection(crowd, "chaperone.plugin", plainManifest)}, wasm.ErrModule, "it has 60000 functions, at most 50000 are allowed"},
		"no manifest":         {wasm.Config{Bytes: plain}, wasm.ErrManifest, `0 custom sections "chaperone.plugin", should have exactly one`},
		"two manifests":       {wasm.Config{Bytes: withSection(sum, "chaperone.plugin", plainManifest)}, wasm.ErrManifest, "2 custom sections"},
		"unknown column":      {wasm.Config{Bytes: fixture(t, "sum", `"attr.x"`, `"price.promt"`)}, wasm.ErrManifest, "near it are price.prompt"},
		"unknown field":       {wasm.Config{Bytes: fixture(t, "sum", `"prompt_tokens"`, `"prompt_token"`)}, wasm.ErrManifest, "near it are prompt_tokens"},
		"unknown of attempts": {wasm.Config{Bytes: fixture(t, "sum", "scale ", "stateful = true\nobserve = [\"ttft\"]\nscale ")}, wasm.ErrManifest, "observe: found \"ttft\""},
		"observes nothing":    {wasm.Config{Bytes: fixture(t, "sum", "scale ", "stateful = true\nobserve = [\"ok\"]\nscale ")}, wasm.ErrExport, "does not export chaperone_observe"},
		"keeps nothing":       {wasm.Config{Bytes: sum, State: "somewhere"}, wasm.ErrExport, "there is a file for its state, but it keeps none"},
		"unwanted settings":   {wasm.Config{Bytes: sum, Configuration: map[string]any{"a": 1}}, wasm.ErrExport, "it does not export chaperone_configure"},
		"refused settings":    {wasm.Config{Bytes: fixture(t, "configured"), Configuration: map[string]any{"a": 1}}, wasm.ErrInit, `refused the configuration with status 3; it last said "limit should be a number"`},
		"settings that trap":  {wasm.Config{Bytes: fixture(t, "configured"), Configuration: map[string]any{"a": 1234567}}, wasm.ErrTrap, "chaperone_configure"},
		"init refuses":        {wasm.Config{Bytes: fixture(t, "init_refuses")}, wasm.ErrInit, "chaperone_init refused an arena of 824 bytes"},
		"unaligned arena":     {wasm.Config{Bytes: fixture(t, "init_unaligned")}, wasm.ErrInit, "at address 1028, should be a multiple of 8"},
		"arena outside":       {wasm.Config{Bytes: fixture(t, "init_outside")}, wasm.ErrInit, "should lie within the memory of 65536"},
		"arena far outside":   {wasm.Config{Bytes: fixture(t, "init_negative")}, wasm.ErrInit, "at address 4294967288 of 824 bytes"},
		"init traps":          {wasm.Config{Bytes: fixture(t, "init_traps")}, wasm.ErrTrap, "chaperone_init: the plugin trapped: unreachable"},
		"init spins":          {wasm.Config{Bytes: fixture(t, "init_spins")}, wasm.ErrFuel, "chaperone_init: the plugin ran out of fuel: the host's limit of its budget init is 20000000 instructions"},
		"initialize spins":    {wasm.Config{Bytes: fixture(t, "initialize_spins")}, wasm.ErrFuel, "_initialize: the plugin ran out of fuel: the host's limit of its budget start is"},
		"start spins":         {wasm.Config{Bytes: fixture(t, "start_spins")}, wasm.ErrFuel, "chaperone.start: the plugin ran out of fuel"},
		"a command":           {wasm.Config{Bytes: fixture(t, "start_exported")}, wasm.ErrExport, "_start should not be there: build a reactor"},
		"no score":            {wasm.Config{Bytes: fixture(t, "score_missing")}, wasm.ErrExport, "chaperone_score (i32) -> (i32) is missing; a memory named memory is missing"},
		"score of a type":     {wasm.Config{Bytes: fixture(t, "score_type")}, wasm.ErrExport, "chaperone_score should be (i32) -> (i32), is (i32,i32) -> (i32); chaperone_save should be () -> (i64), is () -> ()"},
		"imports":             {wasm.Config{Bytes: fixture(t, "import_env")}, wasm.ErrImport, "env.now (function), wasi_snapshot_preview1.sock_send (function), env.shared (global)"},
		"import of a type":    {wasm.Config{Bytes: fixture(t, "import_type")}, wasm.ErrImport, "chaperone.log should be (i32,i32,i32) -> (), is (i64) -> (i32)"},
		"memory":              {wasm.Config{Bytes: fixture(t, "memory_huge")}, wasm.ErrModule, "pages of 64 KiB, at most 64 are allowed; memory_bytes under [[scorers]] raises that"},
		"too much code":       {wasm.Config{Bytes: sum, Limits: wasm.Limits{CodeBytes: 10}}, wasm.ErrModule, "at most 10 are allowed; code_bytes under [[scorers]] raises that"},
		"table":               {wasm.Config{Bytes: fixture(t, "table_huge")}, wasm.ErrModule, "a table of 100000000 elements, at most 65536 are allowed"},
	} {
		p, err := wasm.Load(context.Background(), h, c.config)
		switch {
		case err == nil:
			t.Errorf("%s: was loaded", name)
			_ = p.Close(context.Background())
		case !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says):
			t.Errorf("%s: %v\nshould be %v and say %q", name, err, c.is, c.says)
		}
	}
}

func TestEachMistakeInAManifestIsNamedWithItsLine(t *testing.T) {
	module, err := os.ReadFile(filepath.Join(fixtures, "sum.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, says string }{
		{"abi     = 1", "abi     = 2", "manifest:2: abi: is 2, should be 1"},
		{"abi     = 1", "", "abi: is missing"},
		{`"scorer"`, `"label"`, `manifest:3: kind: is "label", which is reserved`},
		{`"scorer"`, `"sorter"`, `kind: is "sorter", should be "scorer"`},
		{`"fixture"`, `"Fix ture"`, `manifest:4: name: is "Fix ture", should be 1 to 64 of`},
		{`"0.1.0"`, `""`, "version: is"},
		{"32", "0", "manifest:8: rows: is 0, should be 1 to 65536"},
		{"32", "65537", "rows: is 65537"},
		{"32", `"32"`, "rows"},
		{`"minmax"`, `"cost"`, `scale: is "cost", should be "minmax" or "unit"`},
		{`"attr.x", "attr.y"`, `"attr.x", "attr.x"`, `columns: names "attr.x" twice`},
		{"scale ", "scales = 1\nscale ", "scales"},
		{"scale ", "observe = [\"ok\"]\nscale ", "observe: names 1 columns, but stateful is false"},
		{"abi ", "abi = = 1\n", "manifest:2"},
	} {
		_, err := wasm.Pack(module, []byte(strings.Replace(plainManifest, c.old, c.new, 1)))
		var problems config.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q for %q: %v, should say %q", c.new, c.old, err, c.says)
		}
	}
}

func TestPackReplacesAManifestAndKeepsTheRest(t *testing.T) {
	once := fixture(t, "sum")
	twice, err := wasm.Pack(once, []byte(plainManifest))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(once, twice) {
		t.Error("packing again changed the module")
	}
}

// TestDamagedModulesNeverHarmTheHost flips bits and cuts ends of real modules: each is refused with an error or runs.
func TestDamagedModulesNeverHarmTheHost(t *testing.T) {
	h, _ := newHost(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	limits := wasm.Limits{Fuel: wasm.Fuel{Start: 100_000, Init: 100_000, Configure: 100_000, Score: 100_000}}
	refused := 0
	const rounds = 1500
	for i := range rounds {
		module := bytes.Clone(fixture(t, []string{"sum", "misbehave", "wasi", "configured"}[i%4]))
		for range 1 + r.IntN(3) {
			module[r.IntN(len(module))] ^= 1 << r.IntN(8)
		}
		if i%5 == 0 {
			module = module[:r.IntN(len(module))]
		}
		p, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: module, Pool: 1, Limits: limits})
		if err != nil {
			refused++
			continue
		}
		rows := min(2, p.Manifest().Rows)
		in := &wasm.Table{Request: make([]float64, len(p.Manifest().Request))}
		for range p.Manifest().Columns {
			in.Columns = append(in.Columns, make([]float64, rows))
		}
		_, _ = p.ScoreTable(context.Background(), in, rows) // whatever it gives, it gives it in time
		if err := p.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d refused", refused, rounds)
	if refused == 0 || refused == rounds {
		t.Errorf("%d of %d damaged modules refused: the test tells nothing", refused, rounds)
	}
	p := load(t, h, wasm.Config{Bytes: fixture(t, "sum"), Pool: 1})
	if got, err := p.ScoreTable(context.Background(), table(1, 2), 1); err != nil || got[0] == 0 {
		t.Errorf("afterwards: %v %v", got, err)
	}
}

func TestCloseWaitsForCallsAndLaterOnesAbstain(t *testing.T) {
	h, gate := newGate(t)
	p, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: fixture(t, "misbehave"), Pool: 2})
	if err != nil {
		t.Fatal(err)
	}
	held := make(chan error, 1)
	go func() {
		_, err := p.ScoreTable(context.Background(), table(14, 1), 1)
		held <- err
	}()
	<-gate.entered
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Close(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("close with an ended context: %v", err)
	}
	close(gate.open)
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	select {
	case err := <-held:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("closed, and the call has not ended")
	}
	if _, err := p.ScoreTable(context.Background(), table(-1, 1), 1); !errors.Is(err, wasm.ErrClosed) {
		t.Errorf("a late call: %v", err)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestReloadsLeaveNothingBehind(t *testing.T) {
	h, err := wasm.NewHost("", slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	modules := [][]byte{fixture(t, "sum"), fixture(t, "misbehave"), fixture(t, "wasi")}
	cycle := func(n int) {
		for i := range n {
			p, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: modules[i%3], Pool: 2, Limits: patient})
			if err != nil {
				t.Fatal(err)
			}
			// Traps in one of them: replacements are under way when it is closed.
			_, _ = p.ScoreTable(context.Background(), table(0, 1, 2, 3, 4, 5), 5)
			if err := p.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	reloads := 1000
	if testing.Short() {
		reloads = 200
	}
	cycle(30)
	goroutines, before := runtime.NumGoroutine(), heap()
	cycle(reloads)
	if grown := int64(heap()) - int64(before); grown > 2<<20 {
		t.Errorf("%d reloads left %d bytes", reloads, grown)
	}
	if err := h.Close(context.Background()); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, there were %d", runtime.NumGoroutine(), goroutines)
		}
	}
}

func TestCompileCacheMustBePrivate(t *testing.T) {
	shared := t.TempDir()
	if err := os.Chmod(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := wasm.NewHost(shared, nil); err == nil || !strings.Contains(err.Error(), "has mode 0755, should be 0700") {
		t.Errorf("a shared directory: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(shared, link); err != nil {
		t.Fatal(err)
	}
	if _, err := wasm.NewHost(link, nil); err == nil || !strings.Contains(err.Error(), "should be a directory") {
		t.Errorf("a symbolic link: %v", err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := os.MkdirAll(filepath.Join(open, "cache"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := wasm.NewHost(filepath.Join(open, "cache"), nil); err == nil || !strings.Contains(err.Error(), "everybody can write to "+open+" above it") {
		t.Errorf("a directory that others can replace: %v", err)
	}
	private := filepath.Join(t.TempDir(), "cache")
	for range 2 {
		h, err := wasm.NewHost(private, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: fixture(t, "sum"), Limits: patient})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.Close(context.Background()), h.Close(context.Background())); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(private)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	kept, err := filepath.Glob(filepath.Join(private, "*", "*"))
	if err != nil || len(kept) == 0 {
		t.Fatalf("nothing was kept: %v", err)
	}
	others := filepath.Join(private, "journal", "signing.key") // a folder is easily given too much to hold
	if err := errors.Join(os.Mkdir(filepath.Dir(others), 0o700), os.WriteFile(others, []byte("key"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, days := range []int{29, 31} {
		for _, path := range []string{kept[0], others} {
			if err := os.Chtimes(path, time.Time{}, time.Now().AddDate(0, 0, -days)); err != nil {
				t.Fatal(err)
			}
		}
		h, err := wasm.NewHost(private, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(kept[0]); (err == nil) != (days < 30) {
			t.Errorf("after %d days: %v", days, err)
		}
		if _, err := os.Stat(others); err != nil {
			t.Errorf("after %d days: %v, which no cache has made", days, err)
		}
	}
}

// TestADamagedCacheIsNotUsed flips and cuts what the cache has kept: the plugin loads all the same, and says so.
func TestADamagedCacheIsNotUsed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	for name, damage := range map[string]func([]byte) []byte{
		"whole":       func(b []byte) []byte { return b },
		"flipped":     func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b },
		"cut":         func(b []byte) []byte { return b[:len(b)/2] },
		"empty":       func([]byte) []byte { return nil },
		"of a format": func(b []byte) []byte { return append([]byte("other "), b...) },
	} {
		t.Run(name, func(t *testing.T) {
			log := &logBuffer{}
			use := func() {
				t.Helper()
				h, err := wasm.NewHost(dir, slog.New(slog.NewTextHandler(log, nil)))
				if err != nil {
					t.Fatal(err)
				}
				p, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: fixture(t, "sum"), Pool: 1, Limits: patient})
				if err != nil {
					t.Fatal(err)
				}
				if got, err := p.ScoreTable(context.Background(), table(1, 2), 1); err != nil || got[0] == 0 {
					t.Errorf("%v %v", got, err)
				}
				if err := errors.Join(p.Close(context.Background()), h.Close(context.Background())); err != nil {
					t.Fatal(err)
				}
			}
			use()
			err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				kept, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				return os.WriteFile(path, damage(kept), 0o600)
			})
			if err != nil {
				t.Fatal(err)
			}
			use()
			if said := strings.Contains(log.String(), "the plugin cache is damaged"); said == (name == "whole") {
				t.Errorf("the log says %s", log)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	for _, name := range []string{"sum", "misbehave", "wasi", "import_env"} {
		f.Add(fixture(f, name))
	}
	h, _ := newHost(f)
	limits := wasm.Limits{Fuel: wasm.Fuel{Start: 100_000, Init: 100_000, Configure: 100_000, Score: 100_000}}
	f.Fuzz(func(t *testing.T, module []byte) {
		p, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: module, Pool: 1, Limits: limits})
		if err != nil {
			return
		}
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
