package server_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const cached = "X-OpenRouter-Cache: true"

// asked is how often the provider of a fleet was sent something.
func (f *fleet) asked(provider string) int64 { return f.sims[provider].Counts().Requests }

func (r *reply) cache() string { return r.header.Get("X-OpenRouter-Cache-Status") }

// An exact repeat that allows it is answered from memory, for as long as everything that was judged is judged the same.
func TestExactRepeatsAreAnsweredFromMemory(t *testing.T) {
	f := openFleet(t, "[presets.kept]\nmodel = \"m/three\"\ncache_enabled = true\ncache_ttl_seconds = 60\n", `require contains {"cache": false} if input.claims.user == "uncached"
require contains {"log": "none"} if input.claims.user == "unlogged"`)
	for _, c := range []struct {
		name, first, again string
		header, header2    string
		hit                bool
	}{
		{"the same", `"model":"m/three","seed":1`, `"model":"m/three","seed":1`, cached, cached, true},
		{"streamed", `"model":"m/three","stream":true,"seed":2`, `"model":"m/three","stream":true,"seed":2`, cached, cached, true},
		{"in another order and with white space", `"model":"m/three","seed":3,"top_p":1`, ` "top_p" : 1, "model":"m/three" ,"seed":3`, cached, cached, true},
		{"by a preset", `"preset":"kept","seed":4`, `"preset":"kept","seed":4`, "", "", true},
		{"by a preset, and the header says no", `"preset":"kept","seed":5`, `"preset":"kept","seed":5`, "X-OpenRouter-Cache: false", "X-OpenRouter-Cache: false", false},
		{"without asking", `"model":"m/three","seed":6`, `"model":"m/three","seed":6`, "", "", false},
		{"the second does not ask", `"model":"m/three","seed":7`, `"model":"m/three","seed":7`, cached, "", false},
		{"another body", `"model":"m/three","seed":8`, `"model":"m/three","seed":9`, cached, cached, false},
		{"streamed and not", `"model":"m/three","stream":true,"seed":10`, `"model":"m/three","seed":10`, cached, cached, false},
		{"another key", `"model":"m/three","seed":11`, `"model":"m/three","seed":11`, cached, cached + "\nAuthorization: Bearer sk-other", false},
		{"cleared", `"model":"m/three","seed":12`, `"model":"m/three","seed":12`, cached, cached + "\nX-OpenRouter-Cache-Clear: true", false},
		{"an obligation forbids it", `"model":"m/three","user":"uncached"`, `"model":"m/three","user":"uncached"`, cached, cached, false},
		{"an obligation forbids any record", `"model":"m/three","user":"unlogged"`, `"model":"m/three","user":"unlogged"`, cached, cached, false},
		{"zero retention is asked for", `"provider":{"zdr":true}`, `"provider":{"zdr":true}`, cached, cached, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			provider := "delta"
			if strings.Contains(c.first, "zdr") {
				provider = "gamma"
			}
			first := f.ask(t, c.first, strings.Split(c.header, "\n")...)
			before := f.asked(provider)
			again := f.ask(t, c.again, strings.Split(c.header2, "\n")...)
			if first.status != 200 || again.status != 200 || first.cache() == "HIT" {
				t.Fatalf("%d %s %s, then %d", first.status, first.body, first.cache(), again.status)
			}
			if sent := f.asked(provider) > before; sent == c.hit || (again.cache() == "HIT") != c.hit {
				t.Fatalf("sent again: %t, cache %q; hit should be %t", sent, again.cache(), c.hit)
			}
			if !c.hit {
				return
			}
			if id := first.record.ID; again.header.Get("X-OpenRouter-Cache-Source-Id") != id || again.header.Get("X-OpenRouter-Cache-Age") == "" ||
				again.header.Get("X-OpenRouter-Cache-TTL") == "" || strings.Contains(again.body, id) || !strings.Contains(again.body, again.record.ID) {
				t.Errorf("header %v, body %s", again.header, again.body)
			}
			if o := again.record.Outcome; o.CachedFrom != first.record.ID || o.Cost != 0 || len(again.record.Attempts) != 0 || o.Row != first.record.Outcome.Row {
				t.Errorf("recorded as %+v", o)
			}
			for _, x := range again.chunks(t) {
				if u := x.Usage; u != nil && (u.PromptTokens != 0 || u.CompletionTokens != 0 || u.TotalTokens != 0 || *u.Cost != 0) {
					t.Errorf("usage %+v", u)
				}
			}
		})
	}
}

func TestAnswersInMemoryEnd(t *testing.T) {
	f := openFleet(t, "[response_cache]\nmax_bytes = 8192\nmax_entry_bytes = 4096\n", `deny contains "never" if input.endpoint.provider == "nobody"`)
	ask := func(seed string, header ...string) string {
		return f.ask(t, `"model":"m/three","seed":`+seed, append(header, cached)...).cache()
	}
	ask("1", "X-OpenRouter-Cache-TTL: 60")
	f.later.Add(int64(59 * time.Second))
	if got := ask("1"); got != "HIT" {
		t.Errorf("within its time: %s", got)
	}
	f.later.Add(int64(2 * time.Second))
	if got := ask("1"); got != "MISS" {
		t.Errorf("after its time: %s", got)
	}
	for seed := range 20 { // more than memory holds
		ask("1" + string(rune('0'+seed%10)) + string(rune('0'+seed/10)))
	}
	if got := ask("1"); got != "MISS" {
		t.Errorf("pushed out: %s", got)
	}
	if got := ask("1"); got != "HIT" {
		t.Errorf("once more: %s", got)
	}
	// A reload begins anew, whatever has changed; and what policy denies now was never kept for it.
	path := filepath.Join(f.dir, "rego", "own.rego")
	if err := os.WriteFile(path, []byte("package own\n\ndeny contains \"no delta\" if input.endpoint.provider == \"delta\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.engine.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	if r := f.ask(t, `"model":"m/three","seed":1`, cached); r.status != 404 {
		t.Errorf("after policy denies it: %d %s", r.status, r.body)
	}
	for _, bad := range []string{"X-OpenRouter-Cache: maybe", "X-OpenRouter-Cache-TTL: 0", "X-OpenRouter-Cache-TTL: 90000", "X-OpenRouter-Cache-Clear: 2"} {
		if r := f.ask(t, ``, bad); r.status != 400 {
			t.Errorf("%s: %d", bad, r.status)
		}
	}
}
