package replay_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/policy"
	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

// office is a router with a journal, in front of simulated providers p0 … p5.
type office struct {
	dir    string
	now    time.Time
	engine *engine.Engine
}

// everything is an expression that reads all that policies can: what is written must be what was judged.
func everything() string {
	var all []string
	var walk func(t reflect.Type, name string)
	walk = func(t reflect.Type, name string) {
		switch t.Kind() {
		case reflect.Struct:
			for f := range t.Fields() {
				walk(f.Type, name+"."+f.Tag.Get("json"))
			}
		case reflect.Map:
			for _, key := range []string{"country", "device", "tier", "app", "data_class"} {
				all = append(all, fmt.Sprintf("object.get(%s, %q, \"-\")", name, key))
			}
		default:
			all = append(all, name)
		}
	}
	walk(reflect.TypeFor[policy.Input](), "input")
	return "json.marshal([" + strings.Join(all, ",\n\t") + "])"
}

const rules = `package own

import rego.v1

deny contains {"code": "slow", "message": "too often down"} if input.endpoint.stats.uptime < 0.6

deny contains "not at this hour" if {
	input.time.hour >= 22
	input.request.stream
}

deny contains "not for this user" if {
	startswith(input.claims.user, "u1")
	input.endpoint.provider == "p1"
}

# METADATA
# custom: { waivable: true, control: "GDPR-28", severity: high }
deny contains {"code": "trains", "message": "it trains"} if input.endpoint.data_policy.training == "yes"

reject contains "too many tools" if input.request.tool_count > 4

require contains {"max_output_tokens": 100} if input.endpoint.provider == "p2"

prefer["price"] := 3 if "cheap" in input.claims.tags

prefer["value"] := 1 if "cheap" in input.claims.tags
`

// open opens it; more is added to its rules, settings to its configuration.
func open(t testing.TB, more, settings string, down ...int) *office {
	t.Helper()
	o := &office{dir: t.TempDir(), now: time.Date(2026, 11, 2, 20, 0, 0, 0, time.UTC)}
	var b strings.Builder
	fmt.Fprintf(&b, `[organisations.acme]
labels = { country = "de", tier = "gold" }
data_class = "internal"
aliases = { fast = "m/two" }
[organisations.acme.teams.fraud]
labels = { tier = "platinum" }
[organisations.beta]
value_of_time = 50
[[keys]]
organisation = "acme"
team = "fraud"
labels = { device = "phone" }
sha256 = "%x"
[[keys]]
organisation = "beta"
sha256 = "%x"
[policy]
evaluation_timeout = "60s"
[[policy.sources]]
name = "own"
path = "rego"
[[policy.bindings]]
package = "own"
for = "everyone"
[[policy.bindings]]
package = "library.training"
for = "org:beta"
enforcement = "dryrun"
until = 2027-01-31
[[policy.waivers]]
rule = "own.deny/trains"
for = "org:beta"
endpoint = "m/one@p4"
until = 2027-01-31
ticket = "SEC-1"
approved_by = "somebody"
[journal]
dir = "journal"
segment_bytes = 4000000
[aliases]
one = "m/one"
%s
`, sha256.Sum256([]byte("sk-acme")), sha256.Sum256([]byte("sk-beta")), settings)
	for _, m := range []string{"one", "two"} {
		fmt.Fprintf(&b, "[models.\"m/%s\"]\nname = %q\ncontext_length = 32000\n", m, m)
	}
	for i := range 6 {
		profile := sim.Profile{Name: fmt.Sprintf("p%d", i), Seed: uint64(i)}
		for _, d := range down {
			if d == i {
				profile.Faults = []sim.Fault{{Kind: sim.Status, Status: 500, Share: 0.6}}
			}
		}
		p, err := sim.Start(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		terms := ""
		if i == 4 {
			terms = `data_policy = { training = "yes", evidence = "https://example.com/terms", as_of = 2026-10-01 }`
		}
		fmt.Fprintf(&b, `[providers.p%d]
name = "P%d"
dialect = "openai"
base_url = %q
[providers.p%d.credentials.own]
auth = "none"
%s
`, i, i, p.URL(), i, terms)
		for _, m := range []string{"one", "two"} {
			fmt.Fprintf(&b, "[[endpoints]]\nmodel = \"m/%s\"\nprovider = \"p%d\"\nupstream_model = %q\nsupported_parameters = [\"tools\", \"temperature\"]\nprice = { prompt = %d, completion = %d }\n",
				m, i, m, 1+i%3, 2+i)
		}
	}
	o.write(t, "chaperone.toml", b.String())
	o.write(t, "rego/own.rego", rules+more)
	o.open(t)
	return o
}

func (o *office) open(t testing.TB) {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: filepath.Join(o.dir, "chaperone.toml"), Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return o.now }})
	if err != nil {
		t.Fatal(err)
	}
	o.engine = e
}

func (o *office) write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (o *office) close(t testing.TB) {
	t.Helper()
	if err := o.engine.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (o *office) journal() string { return filepath.Join(o.dir, "journal") }

// body draws a request.
func body(r *rand.Rand) []byte {
	pick := func(from ...any) any { return from[r.IntN(len(from))] }
	q := map[string]any{"model": pick("m/one", "m/two", "one", "fast", "m/one:floor", "m/two:nitro", "m/none"),
		"messages": []any{map[string]any{"role": "user", "content": strings.Repeat("word ", 1+r.IntN(200))}}}
	some := func(name string, v any) {
		if r.IntN(4) == 0 {
			q[name] = v
		}
	}
	some("stream", r.IntN(2) == 0)
	some("max_tokens", 1+r.IntN(2000))
	some("user", fmt.Sprint("u", r.IntN(30)))
	some("models", []any{pick("m/one", "m/two")})
	some("temperature", 0.5)
	some("store", r.IntN(2) == 0)
	some("metadata", map[string]any{"data_class": pick("public", "confidential", "restricted"), "app": pick("a", "b")})
	some("tags", []any{pick("cheap", "x")})
	some("n", 1+r.IntN(3))
	some("reasoning", map[string]any{"effort": pick("low", "high")})
	some("response_format", map[string]any{"type": pick("text", "json_object")})
	if r.IntN(4) == 0 {
		tools := make([]any, r.IntN(6))
		for i := range tools {
			tools[i] = map[string]any{"type": "function", "function": map[string]any{"name": fmt.Sprint("f", i)}}
		}
		q["tools"] = tools
	}
	prefs := map[string]any{}
	pref := func(name string, v any) {
		if r.IntN(6) == 0 {
			prefs[name] = v
		}
	}
	pref("order", []any{pick("p0", "p3"), pick("p1", "P2")})
	pref("only", []any{"p0", "p1", "p2", "p4"})
	pref("ignore", []any{pick("p0", "p1")})
	pref("allow_fallbacks", r.IntN(2) == 0)
	pref("require_parameters", true)
	pref("data_collection", pick("allow", "deny"))
	pref("sort", pick("price", "throughput", "latency"))
	pref("max_price", map[string]any{"prompt": 2, "completion": 4})
	pref("preferred_max_latency", 0.001)
	some("provider", prefs)
	text, err := json.Marshal(q)
	if err != nil {
		panic(err)
	}
	return text
}

// ask makes requests: of every hundred one is dispatched, so that statistics and health move.
func (o *office) ask(t testing.TB, r *rand.Rand, n int) (accepted int) {
	t.Helper()
	for i := range n {
		o.now = o.now.Add(time.Duration(r.IntN(400)) * time.Millisecond)
		call := engine.Call{Key: []string{"sk-acme", "sk-beta"}[r.IntN(2)], Body: body(r), App: wire.App{UserAgent: []string{"", "tool/1.0"}[r.IntN(2)]}}
		if i%100 != 0 {
			if _, err := o.engine.Decide(t.Context(), call); err == nil {
				accepted++
			}
			continue
		}
		resp, err := o.engine.Do(t.Context(), call)
		if err == nil && resp.Stream != nil {
			resp.Stream.Close()
		}
	}
	return accepted
}
