package engine_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chaperone/engine"
	"chaperone/engine/sim"
	"chaperone/engine/wasm"
)

// TestNoScoreVectorMovesTheLineThatPolicyDraws has a plugin score at random, in every way that a module can: whatever it gives,
// the plan has each permitted row exactly once and no denied one.
func TestNoScoreVectorMovesTheLineThatPolicyDraws(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const providers = 8
	// The request's n is a set of providers: bit i denies p_i.
	rule := "deny contains \"bit\" if bits.and(input.request.n, object.get(input.endpoint.attributes, \"bit\", 0)) != 0"
	w := openSmall(t, rule, "", slog.DiscardHandler, slices.Repeat([]sim.Profile{{}}, providers)...)
	config, err := os.ReadFile(filepath.Join(w.dir, "chaperone.toml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(config)
	for i := range providers {
		text = replaceOnce(t, text, fmt.Sprintf("provider = \"p%d\"\n", i), fmt.Sprintf("provider = \"p%d\" \nattributes = { bit = %d.0 }\n", i, 1<<i))
	}
	module, err := os.ReadFile("../testdata/wasm/strange.wasm")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := wasm.Pack(module, []byte("abi = 1\nkind = \"scorer\"\nname = \"strange\"\nversion = \"1\"\ncolumns = []\nrows = 64\nscale = \"minmax\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "strange.wasm", string(packed))
	w.write(t, "chaperone.toml", "[[scorers]]\nname = \"value\"\n[[scorers]]\nname = \"strange\"\nplugin = \"strange.wasm\"\nweight = 5\n"+
		"[[scorers]]\nname = \"darkly\"\nplugin = \"strange.wasm\"\nshadow = true\nfuel = { score = 100_000 }\n"+text)
	if err := w.engine.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	orders, abstained := map[string]int{}, 0
	const rounds = 3000
	traps, spins, abstentions := int64(0), int64(0), int64(0) // of the one in the dark
	for round := range rounds {
		if round%200 == 199 { // it fails too often for a router to keep calling it
			s := w.engine.PluginStats()["darkly"]
			traps, spins, abstentions = traps+s.Traps, spins+s.OutOfFuel, abstentions+s.Abstentions
			if err := w.engine.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		denied := random.IntN(1 << providers)
		plan, err := w.engine.Decide(t.Context(), engine.Call{Key: "sk-acme", Body: fmt.Appendf(nil, `{"model":"m/one","n":%d,"messages":[{"role":"user","content":"hi"}]}`, max(denied, 1))})
		if err != nil {
			t.Fatal(err)
		}
		denied = max(denied, 1)
		var got []int
		order := ""
		for _, p := range plan.Permits {
			var i int
			if _, err := fmt.Sscanf(p.Row().Provider.ID, "p%d", &i); err != nil {
				t.Fatal(err)
			}
			got = append(got, i)
			order += fmt.Sprint(i)
		}
		slices.Sort(got)
		var want []int
		for i := range providers {
			if denied>>i&1 == 0 {
				want = append(want, i)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("n is %d: the plan has %v, should have %v", denied, got, want)
		}
		orders[order]++
		if plan.Abstained["strange"] != nil {
			abstained++
		}
	}
	t.Logf("%d plans, %d orders, %d without an opinion of the plugin", rounds, len(orders), abstained)
	if len(orders) < 500 || abstained < rounds/50 {
		t.Error("which is too few for the test to tell anything")
	}
	if traps == 0 || spins == 0 || abstentions == 0 {
		t.Errorf("the plugin has not misbehaved: %d traps, %d times out of fuel, %d abstentions", traps, spins, abstentions)
	}
}

func replaceOnce(t *testing.T, text, old, by string) string {
	t.Helper()
	before, after, ok := strings.Cut(text, old)
	if !ok {
		t.Fatalf("there is no %q", old)
	}
	return before + by + after
}
