package meter_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	wasmbinary "chaperone/engine/wasm/binary"
	"chaperone/engine/wasm/meter"
)

// mutate flips bits of a module's code.
func mutate(t *testing.T, random *rand.Rand, module []byte) []byte {
	sections, err := wasmbinary.Sections(module)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sections {
		if s.ID == wasmbinary.Code {
			at := bytes.Index(module, s.Content)
			out := bytes.Clone(module)
			for range 1 + random.IntN(2) {
				out[at+random.IntN(len(s.Content))] ^= 1 << random.IntN(8)
			}
			return out
		}
	}
	t.Fatal("there is no code")
	return nil
}

// end is how a life of a module ended.
type end struct {
	cause  string // "" where every call returned
	ranOut bool
	timed  bool
	words  []uint64 // what the calls returned
	memory []byte
}

// live instantiates a module, and calls what the router calls, as often until one fails.
func live(t *testing.T, rt wazero.Runtime, module []byte, seed uint64) (e end, compiled bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	m, err := rt.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return end{cause: cause(err)}, false
	}
	defer m.Close(context.Background())
	fuel, _ := m.ExportedGlobal(meter.Counter).(api.MutableGlobal)
	call := func(name string, params ...uint64) bool {
		f := m.ExportedFunction(name)
		if f == nil {
			return true
		}
		if fuel != nil {
			fuel.Set(20_000_000)
		}
		results, err := f.Call(ctx, params...)
		e.words = append(e.words, results...)
		if err != nil {
			e.cause, e.timed = cause(err), ctx.Err() != nil
			e.ranOut = fuel != nil && int64(fuel.Get()) < 0
		}
		return err == nil
	}
	const rows, columns, request = 4, 8, 4
	const requestAt = 48 + 8*rows*columns
	const scoresAt = requestAt + 8*request
	const size = scoresAt + 8*rows
	if call("_initialize") && call("chaperone_init", size) {
		random := rand.New(rand.NewPCG(seed, 0))
		at := uint32(e.words[0])
		if arena, ok := m.Memory().Read(at, size); ok {
			copy(arena, "{}")
			if call("chaperone_configure", 2) {
				arena, _ = m.Memory().Read(at, size)
				clear(arena)
				copy(arena, "CHP1")
				for i, v := range []uint32{rows, rows, columns, 48, requestAt, scoresAt, size} {
					binary.LittleEndian.PutUint32(arena[4+4*i:], v)
				}
				for i := 48; i < scoresAt; i += 8 {
					binary.LittleEndian.PutUint64(arena[i:], math.Float64bits(random.ExpFloat64()))
				}
				call("chaperone_score", rows)
			}
		}
	}
	memory, _ := m.Memory().Read(0, m.Memory().Size())
	e.memory = bytes.Clone(memory)
	return e, true
}

// TestMutantsAgreeOrRunOut lives the life of a scorer with modules that ship and in which bits were flipped, as they are and
// rewritten: both return the same, trap for the same reason and leave the same memory, or the rewritten one runs out.
func TestMutantsAgreeOrRunOut(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	runtime := func() wazero.Runtime {
		ctx := context.Background()
		rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(true).WithMemoryLimitPages(64))
		t.Cleanup(func() { _ = rt.Close(ctx) })
		if _, err := rt.NewHostModuleBuilder("chaperone").NewFunctionBuilder().WithFunc(func(level, at, size uint32) {}).Export("log").Instantiate(ctx); err != nil {
			t.Fatal(err)
		}
		return rt
	}
	plainly, metered := runtime(), runtime()
	limits := meter.Default
	limits.MemoryPages = 64
	agreed, trapped, ranOut, refused := 0, 0, 0, 0
	for name, rounds := range map[string]int{"ttft-target": 250, "cache-affine": 250, "committed-spend": 60} {
		if testing.Short() {
			rounds /= 10
		}
		module, err := os.ReadFile("../../../plugins/" + name + "/" + name + ".wasm")
		if err != nil {
			t.Fatal(err)
		}
		for round := range rounds {
			mutant := mutate(t, random, module)
			if round == 0 {
				mutant = module
			}
			rewritten, err := meter.Rewrite(mutant, limits, often...)
			if err != nil {
				refused++
				continue
			}
			got, compiled := live(t, metered, rewritten, seed)
			if !compiled {
				if _, compiled := live(t, plainly, mutant, seed); compiled {
					t.Fatalf("%s: rewritten it does not compile: %s", name, got.cause)
				}
				refused++
				continue
			}
			if got.ranOut {
				ranOut++ // as it is it may run for ever
				continue
			}
			want, _ := live(t, plainly, mutant, seed)
			if want.timed || got.timed {
				t.Logf("%s: a round took more than the time there is", name)
				continue
			}
			if got.cause != want.cause || !slices.Equal(got.words, want.words) || !bytes.Equal(got.memory, want.memory) {
				t.Fatalf("%s: rewritten %q %v, as it is %q %v; the same memory: %v", name, got.cause, got.words, want.cause, want.words, bytes.Equal(got.memory, want.memory))
			}
			if agreed++; got.cause != "" {
				trapped++
			}
		}
	}
	t.Logf("%d agreed, %d of them by a trap; %d ran out, %d were refused", agreed, trapped, ranOut, refused)
	if agreed == 0 || refused == 0 || trapped == 0 && !testing.Short() {
		t.Error("which is too few for the test to tell anything")
	}
}
