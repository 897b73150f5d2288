package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone/engine/wasm"
	"chaperone/engine/wasm/meter"
	"chaperone/sdk/project"
)

var folders = map[string]string{"go": "go/example", "rust": "rust/example", "assemblyscript": "assemblyscript/example", "c": "c/example"}

// built is each language's example, built once.
var built = func() map[string]func() ([]byte, error) {
	all := map[string]func() ([]byte, error){}
	for lang, folder := range folders {
		all[lang] = sync.OnceValues(func() ([]byte, error) { return project.Build(context.Background(), folder) })
	}
	return all
}()

// example is a language's example, or skips the test where its compiler is not there.
func example(t *testing.T, lang string) []byte {
	t.Helper()
	if lang == "go" && testing.Short() {
		t.Skip("Go's compiler and a module of 2 MB take seconds; this runs without -short")
	}
	module, err := built[lang]()
	if errors.Is(err, project.ErrToolchain) && os.Getenv("CHAPERONE_TEST_REQUIRE") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return module
}

func newHost(t *testing.T) *wasm.Host {
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

// eachLanguage runs a test with every language's example.
func eachLanguage(t *testing.T, f func(t *testing.T, h *wasm.Host, module []byte)) {
	for _, lang := range project.Languages() {
		t.Run(lang, func(t *testing.T) {
			module := example(t, lang)
			f(t, newHost(t), module)
		})
	}
}

func TestExamplesScoreAlikeInEveryLanguage(t *testing.T) {
	text, err := os.ReadFile("c/example/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := wasm.ParseGolden(text)
	if err != nil {
		t.Fatal(err)
	}
	eachLanguage(t, func(t *testing.T, h *wasm.Host, module []byte) {
		if err := golden.Verify(context.Background(), h, wasm.Config{Bytes: module}); err != nil {
			t.Error(err)
		}
	})
}

// TestRewritingAddsLittleToTheExamples holds what counting fuel adds to a module of each language to a tenth.
func TestRewritingAddsLittleToTheExamples(t *testing.T) {
	eachLanguage(t, func(t *testing.T, _ *wasm.Host, module []byte) {
		out, err := meter.Rewrite(module, meter.Default, "chaperone_score", "chaperone_observe")
		if err != nil {
			t.Fatal(err)
		}
		growth := 100 * (float64(len(out))/float64(len(module)) - 1)
		t.Logf("%d bytes, %+.1f %%", len(module), growth)
		if growth > 10 {
			t.Error("which is more than 10 %")
		}
	})
}

// TestExamplesDifferOnlyInLanguage holds what the examples share to being one thing.
func TestExamplesDifferOnlyInLanguage(t *testing.T) {
	for _, name := range []string{project.Manifest, "golden.json", "rows.json"} {
		want, err := os.ReadFile(filepath.Join("c/example", name))
		if err != nil {
			t.Fatal(err)
		}
		for lang, folder := range folders {
			if got, err := os.ReadFile(filepath.Join(folder, name)); err != nil || string(got) != string(want) {
				t.Errorf("%s: %s/%s should be as in c/example (%v)", lang, folder, name, err)
			}
		}
	}
}

func TestConfigurationsThatAreNotUnderstoodAreRefusedWithTheReason(t *testing.T) {
	eachLanguage(t, func(t *testing.T, h *wasm.Host, module []byte) {
		for text, says := range map[string]string{
			`{"patients":1}`:       `there is no setting \"patients\"; there are patience`,
			`{"patience":-1}`:      "patience should not be negative",
			`{"patience":"1"}`:     "patience should be a number",
			`{"patience":[1]}`:     "patience should be a number",
			`{"patience":null}`:    "patience should be a number",
			`{"patience":{"a":1}}`: "patience should be a number",
		} {
			var configuration map[string]any
			if err := json.Unmarshal([]byte(text), &configuration); err != nil {
				t.Fatal(err)
			}
			p, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: module, Configuration: configuration, Pool: 1})
			if err == nil {
				t.Errorf("%s was accepted", text)
				_ = p.Close(context.Background())
			} else if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v, should say %s", text, err, says)
			}
		}
	})
}

// TestSettingsAreReadToTheLastBit holds the SDKs' readers of numbers to Go's.
func TestSettingsAreReadToTheLastBit(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	texts := []string{
		"0", "1", "0.1", "3.3e-1", "5e-324", "4.9406564584124654e-324", "2.4703282292062327e-324", "2.4703282292062328e-324",
		"2.2250738585072011e-308", "2.2250738585072014e-308", "1.7976931348623157e308", "9007199254740993", "9007199254740992.5",
		"9007199254740993.0000000000000000000000000000000001", "1e-400", "123456789012345678901234567890", "0.000000000000000000000000000000123456789012345678901",
		"8.5E+2", "1e+0", "0.30000000000000004", "6.9294956446009195e15", "3.7455744005952583e15", "0e999", "100000000000000000000000e-23",
	}
	for range 15 {
		if testing.Short() {
			break // each needs an instance of its own
		}
		v := math.Abs(math.Float64frombits(random.Uint64()))
		if v <= math.MaxFloat64 {
			texts = append(texts, strconv.FormatFloat(v, 'e', 14+random.IntN(8), 64))
		}
		texts = append(texts, strconv.FormatFloat(random.Float64()*1000, 'f', random.IntN(25), 64))
	}
	eachLanguage(t, func(t *testing.T, h *wasm.Host, module []byte) {
		if len(module) > 1<<20 {
			t.Skip("Go's SDK reads numbers with the function that the others are held to")
		}
		for _, text := range texts {
			want, err := strconv.ParseFloat(text, 64)
			if err != nil {
				continue // beyond the greatest, by a digit that was rounded up
			}
			p, err := wasm.Load(context.Background(), h, wasm.Config{Bytes: module, Pool: 1,
				Configuration: map[string]any{"patience": json.RawMessage(text)}})
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			scores, err := p.ScoreTable(context.Background(), &wasm.Table{Columns: [][]float64{{0}, {1}}, Request: []float64{3.6e6}}, 1)
			if err != nil || -scores[0] != want {
				t.Errorf("%s is read as %v, should be %v (%v)", text, -scores[0], want, err)
			}
			if err := p.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
}
