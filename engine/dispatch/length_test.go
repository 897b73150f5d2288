package dispatch_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"chaperone/engine/sim"
)

// Where a request may be too long for an endpoint, only one that takes more is asked next, of its own model or another. Where it is
// sure to fit, the catalog is wrong about that endpoint alone.
func TestARefusalForLengthGoesWhereMoreFits(t *testing.T) {
	var toml strings.Builder
	sims := map[string]*sim.Provider{}
	for _, e := range []struct {
		name, model string
		context     int
		refuses     bool
	}{
		{"first", "m/one", 400, true}, {"same", "m/one", 400, false}, {"larger", "m/one", 500, true}, {"small", "m/small", 300, false}, {"big", "m/big", 1000, false},
	} {
		p := sim.Profile{Name: e.name}
		if e.refuses {
			p.Faults = []sim.Fault{{Kind: sim.ContextLength, Share: 1}}
		}
		provider, err := sim.Start(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { provider.Close() })
		sims[e.name] = provider
		fmt.Fprintf(&toml, "[providers.%[1]s]\nname = %[1]q\ndialect = \"openai\"\nbase_url = %[2]q\n[providers.%[1]s.credentials.own]\nauth = \"none\"\n"+
			"[[endpoints]]\nmodel = %[3]q\nprovider = %[1]q\nupstream_model = \"u\"\ncontext_length = %[4]d\nprice = { prompt = 1, completion = 2 }\n", e.name, provider.URL(), e.model, e.context)
	}
	for _, model := range []string{"m/one", "m/small", "m/big"} {
		fmt.Fprintf(&toml, "[models.%q]\nname = %q\ncontext_length = 300\n", model, model)
	}
	settings := fmt.Sprintf("[server]\nlisten = \"127.0.0.1:0\"\nprivate_listen = \"\"\ndrain_delay = \"0s\"\n[organisations.acme]\n[[keys]]\norganisation = \"acme\"\nsha256 = \"%x\"\n", sha256.Sum256([]byte("sk-acme")))
	router := serve(t, settings+toml.String(), "")
	for _, c := range []struct {
		words  int
		want   string
		doubts bool
	}{
		{70, "first:context_length larger:context_length big:ok", false}, // more bytes than the context has tokens
		{1, "first:context_length same:ok", true},
	} {
		for _, stream := range []bool{true, false} {
			body := fmt.Appendf(nil, `{"model":"m/one","models":["m/small","m/big"],"stream":%t,"max_tokens":9,"provider":{"order":["first","same","larger","small","big"]},"messages":[{"role":"user","content":%q}]}`,
				stream, strings.Repeat("words ", c.words))
			got := router.send(t, "sk-acme", body, stream)
			rec := router.engine.Record(got.header.Get("X-Generation-Id"))
			if got.status != 200 || !got.done || outcomes(rec) != c.want {
				t.Errorf("%d words, stream %t: %d after %s, want %s", c.words, stream, got.status, outcomes(rec), c.want)
			}
			view, err := router.engine.Endpoints(t.Context(), "sk-acme", "m/one")
			if err != nil {
				t.Fatal(err)
			}
			if doubts := strings.Contains(string(view), `"catalog_doubt":"context_length"`); doubts != c.doubts {
				t.Errorf("%d words: the catalog is doubted: %t", c.words, doubts)
			}
		}
	}
	if n := sims["small"].Counts().Requests; n > 0 {
		t.Errorf("what takes less was asked %d times", n)
	}
}
