package sdk_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"chaperone/engine/wasm"
	"chaperone/sdk/project"
)

// learners score a row with the sum of costs that they were told of, of that row's endpoint alone where it is the last told of;
// each is one language's whole plugin, in the file that New makes.
var learners = map[string]struct{ file, text string }{
	"c": {"scorer.c", `#include "chaperone.h"
static chaperone_observed who, cost;
static chaperone_column endpoint;
static struct { double last, sum; } state;
static void setup(void) {
    who = chaperone_find_observed("endpoint");
    cost = chaperone_find_observed("cost_usd");
    endpoint = chaperone_find_column("endpoint");
}
static int score(const chaperone_batch *b) {
    for (uint32_t i = 0; i < b->rows; i++)
        b->scores[i] = chaperone_values(b, endpoint)[i] == state.last ? state.sum : 0;
    return CHAPERONE_OK;
}
static int observe(const chaperone_batch *a) {
    for (uint32_t i = 0; i < a->rows; i++) {
        state.last = chaperone_attempts(a, who)[i];
        state.sum += chaperone_attempts(a, cost)[i];
    }
    return CHAPERONE_OK;
}
static chaperone_bytes save(void) { return (chaperone_bytes){&state, sizeof state}; }
static int restore(const void *data, uint32_t length) {
    if (length != sizeof state) return CHAPERONE_ERROR;
    __builtin_memcpy(&state, data, sizeof state);
    return CHAPERONE_OK;
}
CHAPERONE_PLUGIN(.setup = setup, .score = score, .observe = observe, .save = save, .restore = restore);
`},
	"assemblyscript": {"assembly/index.ts", `import { Attempts, Batch, plugin, Status } from "../chaperone";
export * from "../chaperone/exports";
const who = plugin.observed("endpoint");
const cost = plugin.observed("cost_usd");
const endpoint = plugin.column("endpoint");
let last: f64 = 0;
let sum: f64 = 0;
plugin.score((b: Batch): Status => {
  for (let i = 0; i < b.rows; i++) b.scores[i] = b.column(endpoint)[i] == last ? sum : 0;
  return Status.OK;
});
plugin.learn((a: Attempts): Status => {
  for (let i = 0; i < a.rows; i++) {
    last = a.observed(who)[i];
    sum += a.observed(cost)[i];
  }
  return Status.OK;
});
plugin.keep(
  (): StaticArray<u8> => {
    const saved = new StaticArray<u8>(16);
    store<f64>(changetype<usize>(saved), last);
    store<f64>(changetype<usize>(saved), sum, 8);
    return saved;
  },
  (saved: StaticArray<u8>): Status => {
    if (saved.length != 16) return Status.Error;
    last = load<f64>(changetype<usize>(saved));
    sum = load<f64>(changetype<usize>(saved), 8);
    return Status.OK;
  },
);
`},
	"rust": {"src/lib.rs", `#![cfg_attr(target_arch = "wasm32", no_std)]
use chaperone_scorer::{plugin, Attempts, Batch, Column, Fault, Manifest, Observed, Scorer, Verdict};
const MANIFEST: Manifest = Manifest::new(include_str!("../manifest.toml"));
const WHO: Observed = MANIFEST.observed("endpoint");
const COST: Observed = MANIFEST.observed("cost_usd");
const ENDPOINT: Column = MANIFEST.column("endpoint");
struct Learner { last: f64, sum: f64, saved: [u8; 16] }
impl Scorer for Learner {
    const NEW: Self = Learner { last: 0.0, sum: 0.0, saved: [0; 16] };
    fn score(&mut self, b: &mut Batch) -> Verdict {
        for (i, e) in b.column(ENDPOINT).enumerate() {
            b.set(i, if e == self.last { self.sum } else { 0.0 });
        }
        Ok(())
    }
    fn observe(&mut self, a: &Attempts) -> Verdict {
        for (who, cost) in a.column(WHO).zip(a.column(COST)) {
            self.last = who;
            self.sum += cost;
        }
        Ok(())
    }
    fn save(&mut self) -> &[u8] {
        self.saved[..8].copy_from_slice(&self.last.to_le_bytes());
        self.saved[8..].copy_from_slice(&self.sum.to_le_bytes());
        &self.saved
    }
    fn restore(&mut self, saved: &[u8]) -> Verdict {
        if saved.len() != 16 {
            return Err(Fault::Error("should be 16 bytes"));
        }
        self.saved.copy_from_slice(saved);
        self.last = f64::from_le_bytes(self.saved[..8].try_into().unwrap());
        self.sum = f64::from_le_bytes(self.saved[8..].try_into().unwrap());
        Ok(())
    }
}
plugin!(Learner);
`},
	"go": {"main.go", `package main

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"math"

	"chaperone-learner/scorer"
)

//go:embed manifest.toml
var manifest string

var last, sum float64

func init() {
	plugin := scorer.New(manifest)
	who, cost := plugin.Observed("endpoint"), plugin.Observed("cost_usd")
	endpoint := plugin.Column("endpoint")
	plugin.Score(func(b *scorer.Batch) error {
		for i, e := range b.Column(endpoint) {
			if b.Scores[i] = 0; e == last {
				b.Scores[i] = sum
			}
		}
		return nil
	})
	plugin.Learn(func(a *scorer.Attempts) error {
		for i := range a.Rows {
			last = a.Column(who)[i]
			sum += a.Column(cost)[i]
		}
		return nil
	})
	plugin.Keep(func() []byte {
		saved := binary.LittleEndian.AppendUint64(nil, math.Float64bits(last))
		return binary.LittleEndian.AppendUint64(saved, math.Float64bits(sum))
	}, func(saved []byte) error {
		if len(saved) != 16 {
			return errors.New("should be 16 bytes")
		}
		last = math.Float64frombits(binary.LittleEndian.Uint64(saved))
		sum = math.Float64frombits(binary.LittleEndian.Uint64(saved[8:]))
		return nil
	})
}

func main() {}
`},
}

const learnerManifest = `abi = 1
kind = "scorer"
name = "learner"
version = "1"
columns = ["price.expected", "endpoint"]
request = ["n"]
rows = 8
scale = "minmax"
stateful = true
observe = ["ok", "cost_usd", "endpoint"] # more than there are columns
`

func TestEverySDKLearnsSavesAndRestores(t *testing.T) {
	compilers, err := filepath.Abs("assemblyscript/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	for lang, learner := range learners {
		t.Run(lang, func(t *testing.T) {
			if lang == "go" && testing.Short() {
				t.Skip("Go's compiler and a module of 2 MB take seconds")
			}
			folder, err := project.New(t.TempDir(), "learner", lang)
			if err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{learner.file: learner.text, project.Manifest: learnerManifest} {
				if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if lang == "assemblyscript" {
				if err := os.Symlink(compilers, filepath.Join(folder, "node_modules")); err != nil {
					t.Fatal(err)
				}
			}
			module, err := project.Build(t.Context(), folder)
			if errors.Is(err, project.ErrToolchain) && os.Getenv("CHAPERONE_TEST_REQUIRE") == "" {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			liveTwice(t, module)
		})
	}
}

// liveTwice has a learner learn, end, and go on where it ended.
func liveTwice(t *testing.T, module []byte) {
	h := newHost(t)
	config := wasm.Config{Bytes: module, State: filepath.Join(t.TempDir(), "state")}
	for life, want := range []float64{0.75, 1.5} {
		p, err := wasm.Load(t.Context(), h, config)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.ObserveTable(t.Context(), [][]float64{{1, 0}, {0.5, 0.25}, {7, 9}}, time.UnixMilli(1)); err != nil {
			t.Fatal(err)
		}
		scores, err := p.ScoreTable(t.Context(), &wasm.Table{Columns: [][]float64{{1, 1}, {7, 9}}, Request: []float64{1}}, 2)
		if err != nil || scores[0] != 0 || scores[1] != want {
			t.Errorf("life %d: scores %v (%v), should be 0 and %v", life+1, scores, err, want)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
