package meter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"chaperone/engine/wasm/meter"
)

// ample is more than any test of the specification uses.
const ample = math.MaxInt64 / 2

// wide are limits that the specification's tests keep, which try what is allowed at all.
var wide = meter.Limits{Bytes: 1 << 30, Functions: 1 << 20, Elements: 1 << 27, CodeBytes: 1 << 30, FunctionBytes: 1 << 27, Nesting: 1 << 20,
	Locals: 1 << 20, AllLocals: 1 << 27, Values: 1 << 27, Charges: 1 << 27, Work: math.MaxInt, MemoryPages: 65536, Tables: 1 << 20,
	TableElements: math.MaxUint32}

func specTests(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest")
}

// The commands of a test, as wast2json of wabt writes them.
type command struct {
	Type       string   `json:"type"`
	Line       int      `json:"line"`
	Name       string   `json:"name"`
	Filename   string   `json:"filename"`
	As         string   `json:"as"`
	ModuleType string   `json:"module_type"`
	Text       string   `json:"text"`
	Action     action   `json:"action"`
	Expected   []values `json:"expected"`
}

type action struct {
	Type   string   `json:"type"`
	Field  string   `json:"field"`
	Module string   `json:"module"`
	Args   []values `json:"args"`
}

type values struct {
	Type  string `json:"type"`
	Lane  string `json:"lane_type"`
	Value any    `json:"value"`
}

// lanes are a value's lanes with the width of each in bits: one, but for vectors.
func (v values) lanes() (texts []string, width int) {
	kind := v.Type
	if kind == "v128" {
		kind = v.Lane
		for _, lane := range v.Value.([]any) {
			texts = append(texts, lane.(string))
		}
	} else if text, ok := v.Value.(string); ok {
		texts = []string{text}
	} else {
		texts = []string{"null"}
	}
	width, _ = strconv.Atoi(strings.TrimLeft(kind, "if"))
	if width == 0 {
		width = 64 // a reference
	}
	return texts, width
}

// words are a value as the host passes it.
func (v values) words(t *testing.T) []uint64 {
	texts, width := v.lanes()
	words := make([]uint64, (len(texts)*width+63)/64)
	for i, text := range texts {
		var bits uint64
		if text != "null" {
			n, err := strconv.ParseUint(strings.TrimPrefix(text, "-"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if bits = n; text[0] == '-' {
				bits = -n & (1<<width - 1)
			}
			if v.Type == "externref" {
				bits++ // to the host 0 is null
			}
		}
		words[i*width/64] |= bits << (i * width % 64)
	}
	return words
}

// holds says whether words are what is expected; for a NaN it may say no more than its kind.
func (v values) holds(t *testing.T, words []uint64) bool {
	if v.Value == nil && strings.HasSuffix(v.Type, "ref") {
		return true
	}
	texts, width := v.lanes()
	for i, text := range texts {
		bits := words[i*width/64] >> (i * width % 64)
		if width < 64 {
			bits &= 1<<width - 1
		}
		if strings.HasPrefix(text, "nan:") {
			if width == 32 && math.Float32frombits(uint32(bits)) == math.Float32frombits(uint32(bits)) ||
				width == 64 && math.Float64frombits(bits) == math.Float64frombits(bits) {
				return false
			}
			continue
		}
		lane := values{Type: v.Type, Value: text}
		if v.Type == "v128" {
			lane.Type = v.Lane
		}
		if want := lane.words(t)[0]; bits != want {
			return false
		}
	}
	return true
}

// form is what became of a module: it is as it is, or rewritten with its regions charged in line, or by calls.
type form int

const (
	asItIs form = iota
	inLine
	byCalls
)

func (f form) String() string { return []string{"as it is", "charged in line", "charged by calls"}[f] }

// world is the modules of one test in one form.
type world struct {
	runtime wazero.Runtime
	form    form
	named   map[string]api.Module
	last    api.Module
	all     []api.Module
}

func newWorld(t *testing.T, features api.CoreFeatures, f form, host []byte) *world {
	config := wazero.NewRuntimeConfig().WithCoreFeatures(features)
	w := &world{runtime: wazero.NewRuntimeWithConfig(context.Background(), config), form: f, named: map[string]api.Module{}}
	t.Cleanup(func() {
		if err := w.runtime.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := w.instantiate(host, "spectest", ""); err != nil {
		t.Fatal(err)
	}
	return w
}

// instantiate instantiates a module and runs its start function.
func (w *world) instantiate(module []byte, registered, name string) error {
	ctx := context.Background()
	if w.form != asItIs {
		var err error
		if module, err = meter.Rewrite(module, wide, w.often(module)...); err != nil {
			return err
		}
	}
	m, err := w.runtime.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithName(registered).WithStartFunctions())
	if err != nil {
		return err
	}
	w.all = append(w.all, m)
	if w.form != asItIs {
		w.fuel()
		if start := m.ExportedFunction(meter.Start); start != nil {
			if _, err := start.Call(ctx); err != nil {
				return err
			}
		}
	}
	w.last = m
	if name != "" {
		w.named[name] = m
	}
	return nil
}

// often is every function that a module exports, where they are to be charged in line.
func (w *world) often(module []byte) (names []string) {
	compiled, err := w.runtime.CompileModule(context.Background(), module)
	if w.form == byCalls || err != nil {
		return nil
	}
	defer compiled.Close(context.Background())
	return slices.Collect(maps.Keys(compiled.ExportedFunctions()))
}

// fuel fills every module's counter: one may call another.
func (w *world) fuel() {
	for _, m := range w.all {
		m.ExportedGlobal(meter.Counter).(api.MutableGlobal).Set(ample)
	}
}

func (w *world) do(t *testing.T, a action) ([]uint64, error) {
	m := w.last
	if a.Module != "" {
		m = w.named[a.Module]
	}
	if a.Type == "get" {
		return []uint64{m.ExportedGlobal(a.Field).Get()}, nil
	}
	var args []uint64
	for _, v := range a.Args {
		args = append(args, v.words(t)...)
	}
	if w.form != asItIs {
		w.fuel()
	}
	return m.ExportedFunction(a.Field).Call(context.Background(), args...)
}

// cause is the first line of an error: what follows is a trace of functions.
func cause(err error) string {
	if err == nil {
		return ""
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}

// TestSpecification runs the WebAssembly specification's tests, as they are in the module cache with wazero, on every module
// as it is and rewritten in both ways: all must keep every assertion and fail for the same reason.
func TestSpecification(t *testing.T) {
	root := specTests(t)
	host, err := os.ReadFile(filepath.Join(root, "testdata", "spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	var modules, assertions, refusals, files int
	skipped := map[string]int{}
	for version, features := range map[string]api.CoreFeatures{"v1": api.CoreFeaturesV1, "v2": api.CoreFeaturesV2} {
		scripts, err := filepath.Glob(filepath.Join(root, version, "testdata", "*.json"))
		if err != nil || len(scripts) < 50 {
			t.Fatalf("%d tests of %s: %v", len(scripts), version, err)
		}
		for i, script := range scripts {
			if testing.Short() && i%4 != 0 {
				skipped["every test but each fourth, under -short"]++
				continue
			}
			files++
			t.Run(version+"/"+strings.TrimSuffix(filepath.Base(script), ".json"), func(t *testing.T) {
				text, err := os.ReadFile(script)
				if err != nil {
					t.Fatal(err)
				}
				var test struct {
					Commands []command `json:"commands"`
				}
				if err := json.Unmarshal(text, &test); err != nil {
					t.Fatal(err)
				}
				plain := newWorld(t, features, asItIs, host)
				rewritten := []*world{newWorld(t, features, inLine, host), newWorld(t, features, byCalls, host)}
				read := func(c command) []byte {
					module, err := os.ReadFile(filepath.Join(filepath.Dir(script), c.Filename))
					if err != nil {
						t.Fatal(err)
					}
					return module
				}
				for i, c := range test.Commands {
					where := fmt.Sprintf("line %d, %s %s", c.Line, c.Type, c.Action.Field)
					switch c.Type {
					case "module":
						registered := ""
						if i+1 < len(test.Commands) && test.Commands[i+1].Type == "register" {
							registered = test.Commands[i+1].As
						}
						module := read(c)
						for _, w := range append(rewritten, plain) {
							if err := w.instantiate(module, registered, c.Name); err != nil {
								t.Fatalf("%s, %s: %v", where, w.form, err)
							}
						}
						modules++
					case "register": // with the module before it
					case "assert_return", "action":
						want, err := plain.do(t, c.Action)
						if err != nil {
							t.Fatalf("%s: %v", where, err)
						}
						for _, w := range rewritten {
							got, err := w.do(t, c.Action)
							if err != nil {
								t.Fatalf("%s, %s: %v", where, w.form, err)
							}
							if !slices.Equal(got, want) && !isReference(c) {
								t.Errorf("%s: %v %s, %v as it is", where, got, w.form, want)
							}
						}
						for _, v := range c.Expected {
							n := len(v.wordsOf())
							if !v.holds(t, want[:n]) {
								t.Errorf("%s: %v, should be %v", where, want[:n], v)
							}
							want = want[n:]
						}
						assertions++
					case "assert_trap", "assert_exhaustion":
						_, err := plain.do(t, c.Action)
						for _, w := range rewritten {
							if _, errMetered := w.do(t, c.Action); err == nil || cause(err) != cause(errMetered) {
								t.Errorf("%s: %q %s, %q as it is, should be %s", where, cause(errMetered), w.form, cause(err), c.Text)
							}
						}
						assertions++
					case "assert_malformed", "assert_invalid", "assert_unlinkable", "assert_uninstantiable":
						if c.ModuleType == "text" {
							skipped[c.Type+" of WebAssembly text: nothing is compiled from text here"]++
							continue
						}
						module := read(c)
						err := plain.instantiate(module, "", "")
						for _, w := range rewritten {
							if errMetered := w.instantiate(module, "", ""); (err == nil) != (errMetered == nil) {
								t.Errorf("%s: %v %s, %v as it is, should be %s", where, errMetered, w.form, err, c.Text)
							}
						}
						refusals++
					default:
						t.Errorf("%s is unknown", where)
					}
				}
			})
		}
	}
	t.Logf("%d tests, %d modules, %d assertions on what they do, %d on modules that must be refused", files, modules, assertions, refusals)
	for why, n := range skipped {
		t.Logf("skipped %d: %s", n, why)
	}
	if !testing.Short() && (modules < 2000 || assertions < 60_000) {
		t.Error("which are fewer than there should be")
	}
}

// wordsOf gives room for a value: a vector has two words.
func (v values) wordsOf() []uint64 {
	if v.Type == "v128" {
		return make([]uint64, 2)
	}
	return make([]uint64, 1)
}

// isReference says whether a result is an address, which differs from instance to instance.
func isReference(c command) bool {
	return slices.ContainsFunc(c.Expected, func(v values) bool { return v.Type == "funcref" })
}

// TestWhatIsAcceptedIsWhatWazeroAccepts holds every module of the specification's tests to this: the rewriter and the compiler
// behind it accept what the compiler accepts by itself. Of proposals they accept no more, and say which one a module needs.
func TestWhatIsAcceptedIsWhatWazeroAccepts(t *testing.T) {
	ctx := context.Background()
	rt := wazero.NewRuntime(ctx)
	defer rt.Close(ctx)
	root := specTests(t)
	for proposal, named := range map[string]string{
		"v1": "", "v2": "", "tail-call": "tail calls", "exception-handling": "exception handling", "threads": "threads",
		"extended-const": "extended constant expressions", "typed-function-references": "function references",
	} {
		files, err := filepath.Glob(filepath.Join(root, proposal, "testdata", "*.wasm"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no modules: %v", proposal, err)
		}
		accepted, refused, byName := 0, 0, 0
		for i, file := range files {
			if testing.Short() && i%5 != 0 {
				continue
			}
			module, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = rt.CompileModule(ctx, module)
			rewritten, errMetered := meter.Rewrite(module, wide)
			if errMetered == nil {
				again, err := meter.Rewrite(module, wide)
				if err != nil || !bytes.Equal(again, rewritten) {
					t.Errorf("%s: rewriting is not deterministic", file)
				}
				_, errMetered = rt.CompileModule(ctx, rewritten)
			} else {
				if !errors.Is(errMetered, meter.ErrInvalid) && !errors.Is(errMetered, meter.ErrLimit) {
					t.Errorf("%s: %v", file, errMetered)
				}
				if named != "" && strings.Contains(errMetered.Error(), "the proposal "+named+" is not supported") {
					byName++
				}
			}
			if err != nil && errMetered == nil || err == nil && errMetered != nil && named == "" {
				t.Errorf("%s: %v rewritten, %v as it is", filepath.Base(file), errMetered, err)
			}
			if errMetered == nil {
				accepted++
			} else {
				refused++
			}
		}
		t.Logf("%s: %d modules accepted, %d refused, %d of them naming %q", proposal, accepted, refused, byName, named)
		if named != "" && byName == 0 {
			t.Errorf("%s: none of its modules is refused by that name", proposal)
		}
	}
}
