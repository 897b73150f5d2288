package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/journal"
	"chaperone/engine/server"
	"chaperone/engine/sim"
)

// fleet is a server before several simulated providers, each of which answers for one provider of the catalog.
type fleet struct {
	*server.Server
	engine *engine.Engine
	sims   map[string]*sim.Provider
	dir    string
	later  atomic.Int64 // nanoseconds that the router's clock is ahead
}

// fleetCatalog has one model on endpoints that differ in what routing fields ask for, and others beside it. Everything else
// equal, the cheapest comes first: alpha/east.
const fleetCatalog = `
[models."m/one"]
name = "One"
context_length = 32000
distillation = { permitted = "yes" }
[models."m/two"]
context_length = 1000
[models."m/two:free"]
context_length = 1000
[models."m/three"]
context_length = 32000

[providers.alpha]
name = "Alpha & Sons"
dialect = "openai"
base_url = "URL(alpha)"
[providers.alpha.credentials.paid]
auth = "none"
[providers.alpha.data_policy]
training = "yes"
retains_prompts = "yes"
[providers.beta]
name = "Beta"
dialect = "openai"
base_url = "URL(beta)"
[providers.beta.credentials.paid]
auth = "none"
[providers.beta.data_policy]
training = "no"
retains_prompts = "no"
zdr = "no"
[providers.gamma]
name = "Gamma"
dialect = "openai"
base_url = "URL(gamma)"
[providers.gamma.credentials.paid]
auth = "none"
[providers.gamma.data_policy]
training = "no"
retains_prompts = "no"
zdr = "yes"
[providers.delta]
name = "Delta"
dialect = "openai"
base_url = "URL(delta)"
[providers.delta.credentials.paid]
auth = "none"
[providers.delta.credentials.gratis]
auth = "none"
free = true

[[endpoints]]
model = "m/one"
provider = "alpha"
variant = "east"
upstream_model = "one-east"
quantization = "mxfp4"
distillation = { permitted = "no" }
price = { prompt = 1, completion = 1 }
expected = { ttft_ms = 100, tps = 100 }
[[endpoints]]
model = "m/one"
provider = "alpha"
variant = "west"
upstream_model = "one-west"
quantization = "bf16"
price = { prompt = 1.1, completion = 1.1, request = 0.0000001 }
expected = { ttft_ms = 200, tps = 100 }
[[endpoints]]
model = "m/one"
provider = "alpha"
service_tier = "priority"
upstream_model = "one"
price = { prompt = 9, completion = 9 }
expected = { ttft_ms = 200, tps = 900 }
[[endpoints]]
model = "m/one"
provider = "beta"
upstream_model = "one"
quantization = "mxfp8"
cache_ttl = "1h"
price = { prompt = 1.2, completion = 1.4, image = 0.5, audio = 1, cache_read = 0.1 }
supported_parameters = ["temperature", "max_tokens", "verbosity", "seed", "tools"]
expected = { ttft_ms = 100, tps = 400 }
[[endpoints]]
model = "m/one"
provider = "gamma"
upstream_model = "one"
quantization = "fp8"
price = { prompt = 1.5, completion = 1.6, image = 0.001, audio = 3 }
expected = { ttft_ms = 20, tps = 100 }
[[endpoints]]
model = "m/one"
provider = "gamma"
service_tier = "flex"
upstream_model = "one"
price = { prompt = 0.2, completion = 0.2 }
expected = { ttft_ms = 20, tps = 100 }
[[endpoints]]
model = "m/two"
provider = "beta"
upstream_model = "two"
price = { prompt = 0.5, completion = 0.5 }
expected = { ttft_ms = 100, tps = 1000 }
[[endpoints]]
model = "m/two:free"
provider = "delta"
credentials = ["gratis"]
upstream_model = "two-free"
[[endpoints]]
model = "m/three"
provider = "delta"
credentials = ["paid"]
upstream_model = "three"
price = { prompt = 2, completion = 2 }
`

// openFleet starts it. conf goes into chaperone.toml, rego, where it is not empty, into a policy for everyone.
func openFleet(t *testing.T, conf, rego string, profiles ...sim.Profile) *fleet {
	t.Helper()
	f := &fleet{sims: map[string]*sim.Provider{}, dir: t.TempDir()}
	for _, name := range []string{"alpha", "beta", "gamma", "delta"} {
		profile := sim.Profile{OutputTokens: sim.Distribution{P50: 3}}
		for _, p := range profiles {
			if p.Name == name {
				profile = p
			}
		}
		profile.Name, profile.KeepRequests = name, true
		p, err := sim.Start(t.Context(), profile)
		if err != nil {
			t.Fatal(err)
		}
		f.sims[name] = p
	}
	catalog := regexp.MustCompile(`URL\((\w+)\)`).ReplaceAllStringFunc(fleetCatalog, func(s string) string { return f.sims[s[4:len(s)-1]].URL() })
	conf = fmt.Sprintf("catalog = [\"catalog.toml\"]\n[organisations.acme]\n[[keys]]\norganisation = \"acme\"\nsha256 = \"%x\"\n[[keys]]\norganisation = \"acme\"\nsha256 = \"%x\"\n"+
		"[routing]\ntemperature = 0\nexploration = 0\n[[scorers]]\nname = \"price\"\n", sha256.Sum256([]byte(key)), sha256.Sum256([]byte("sk-other"))) + conf
	files := map[string]string{"catalog.toml": catalog}
	if rego != "" {
		files["rego/own.rego"] = "package own\n\n" + rego
		conf += "\n[policy]\nevaluation_timeout = \"10s\"\n[[policy.sources]]\nname = \"own\"\npath = \"rego\"\n[[policy.bindings]]\npackage = \"own\"\nfor = \"everyone\"\n"
	}
	files["chaperone.toml"] = conf
	for name, text := range files {
		path := filepath.Join(f.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	f.engine, err = engine.Open(t.Context(), engine.Options{ConfigPath: filepath.Join(f.dir, "chaperone.toml"), Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(f.later.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	settings := f.engine.Settings().Server
	settings.Listen, settings.PrivateListen, settings.DrainDelay, settings.DrainTimeout = "127.0.0.1:0", "", 0, patience
	if f.Server, err = server.New(f.engine, settings, f.engine.Metrics(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Shutdown(context.Background())
		f.engine.Close(context.Background())
		for _, p := range f.sims {
			p.Close()
		}
	})
	return f
}

// reply is what came back for one request, with the decision behind it.
type reply struct {
	status int
	header http.Header
	body   string
	record *journal.Record
}

// ask sends a chat completion with these fields beside one message; header is "Name: value" lines.
func (f *fleet) ask(t *testing.T, fields string, header ...string) *reply {
	t.Helper()
	return f.post(t, "/v1/chat/completions", fields, header...)
}

// decide asks where the same would go, which nobody is sent and nothing is measured of.
func (f *fleet) decide(t *testing.T, fields string) *reply {
	t.Helper()
	r := f.post(t, "/v1/route", fields)
	r.record = &journal.Record{}
	if err := json.Unmarshal([]byte(r.body), r.record); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return r
}

func (f *fleet) post(t *testing.T, path, fields string, header ...string) *reply {
	t.Helper()
	if !strings.Contains(fields, `"messages"`) {
		fields += `,"messages":[{"role":"user","content":"hi"}]`
	}
	if !strings.Contains(fields, `"model`) && !strings.Contains(fields, `"preset"`) {
		fields = `"model":"m/one",` + strings.TrimPrefix(fields, ",")
	}
	r := newRequest(t, http.MethodPost, "http://"+f.Addr().String()+path, "{"+strings.TrimPrefix(fields, ",")+"}")
	for _, line := range header {
		name, value, found := strings.Cut(line, ": ")
		if !found {
			continue
		}
		r.Header.Set(name, value)
	}
	resp, body := do(t, client(t), r)
	return &reply{resp.StatusCode, resp.Header, body, f.engine.Record(resp.Header.Get("X-Generation-Id"))}
}

// tried are the endpoints that were asked, in order: their tags, behind the model where that is not m/one.
func (r *reply) tried() string {
	if r.record == nil {
		return "nothing: " + r.body
	}
	var tags []string
	for _, a := range r.record.Attempts {
		tag := a.Tag
		if a.Model != "m/one" {
			tag = a.Model + "@" + tag
		}
		tags = append(tags, tag)
	}
	if len(tags) == 0 {
		return fmt.Sprintf("%d %s", r.status, r.code())
	}
	return strings.Join(tags, " ")
}

// planned are the endpoints in the order of the plan.
func (r *reply) planned() string {
	places := make([]string, len(r.record.Candidates))
	for _, c := range r.record.Candidates {
		if c.Place > 0 {
			places[c.Place-1] = c.Tag
			if c.Model != "m/one" {
				places[c.Place-1] = c.Model + "@" + c.Tag
			}
		}
	}
	return strings.TrimSpace(strings.Join(places, " "))
}

// code is the code of availability, or else the type of the error.
func (r *reply) code() string {
	var e struct {
		Error struct {
			Type         string `json:"type"`
			Availability struct {
				Code string `json:"code"`
			} `json:"availability"`
		} `json:"error"`
	}
	json.Unmarshal([]byte(r.body), &e)
	if e.Error.Availability.Code != "" {
		return e.Error.Availability.Code
	}
	return e.Error.Type
}

// Every field of the provider object, and every other routing field, decides where a request goes: each case names what the
// same request would do without it.
func TestRoutingFieldsAtTheWire(t *testing.T) {
	down := []sim.Fault{{Kind: sim.Status, Status: 503, Share: 1}}
	f := openFleet(t, "", "", sim.Profile{})
	alphaDown := openFleet(t, "", "", sim.Profile{Name: "alpha", Faults: down})
	const without = "alpha/east alpha/west beta gamma"
	for _, c := range []struct{ name, fields, want string }{
		{"nothing", ``, without},

		{"order: a provider means its endpoints", `"provider":{"order":["beta","alpha"]}`, "beta alpha/east alpha/west gamma"},
		{"order: one endpoint", `"provider":{"order":["alpha/west"]}`, "alpha/west alpha/east beta gamma"},
		{"order: a shown name", `"provider":{"order":["Alpha & Sons"]}`, without},
		{"order: a shown name in another case", `"provider":{"order":["gamma","ALPHA & sons"]}`, "gamma alpha/east alpha/west beta"},
		{"order: a name that nobody has", `"provider":{"order":["nobody","gamma"]}`, "gamma alpha/east alpha/west beta"},
		{"order: a tier by its tag", `"provider":{"order":["alpha/priority"]}`, "alpha/priority " + without},
		{"only", `"provider":{"only":["gamma","beta"]}`, "beta gamma"},
		{"only: one endpoint", `"provider":{"only":["alpha/west"]}`, "alpha/west"},
		{"only: a tier by its tag", `"provider":{"only":["gamma/flex"]}`, "gamma/flex"},
		{"only: none", `"provider":{"only":["nobody"]}`, "404 constraint_filtered"},
		{"ignore", `"provider":{"ignore":["alpha"]}`, "beta gamma"},
		{"ignore: one endpoint", `"provider":{"ignore":["alpha/east"]}`, "alpha/west beta gamma"},
		{"allow_fallbacks", `"provider":{"allow_fallbacks":false}`, "alpha/east"},
		{"allow_fallbacks: with order", `"provider":{"allow_fallbacks":false,"order":["gamma","alpha/west"]}`, "gamma alpha/west"},
		{"require_parameters", `"seed":1,"provider":{"require_parameters":true}`, "beta"},
		{"require_parameters: without it all parameters are sent to all", `"seed":1`, without},
		{"data_collection", `"provider":{"data_collection":"deny"}`, "beta gamma"},
		{"zdr", `"provider":{"zdr":true}`, "gamma"},
		{"zdr: false relaxes nothing", `"provider":{"zdr":false,"data_collection":"deny"}`, "beta gamma"},
		{"enforce_distillable_text", `"provider":{"enforce_distillable_text":true}`, "alpha/west beta gamma"},
		{"quantizations", `"provider":{"quantizations":["bf16"]}`, "alpha/west"},
		{"quantizations: the plain name covers its kin", `"provider":{"quantizations":["fp8"]}`, "beta gamma"},
		{"quantizations: kin alone", `"provider":{"quantizations":["mxfp4"]}`, "alpha/east"},
		{"quantizations: fp4", `"provider":{"quantizations":["fp4"]}`, "alpha/east"},
		{"sort: throughput", `"provider":{"sort":"throughput","only":["beta","gamma"]}`, "beta gamma"},
		{"sort: latency", `"provider":{"sort":"latency"}`, "gamma alpha/east beta alpha/west"},
		{"sort: price", `"provider":{"sort":"price"}`, without},
		{"sort: as an object", `"provider":{"sort":{"by":"latency"}}`, "gamma alpha/east beta alpha/west"},
		{"sort: exacto", `"provider":{"sort":"exacto","only":["beta"]}`, "beta"},
		{"sort: partition model", `"models":["m/three","m/one"],"provider":{"sort":{"by":"price","partition":"model"}}`, "m/three@delta " + without},
		{"sort: partition none", `"models":["m/three","m/one"],"provider":{"sort":{"by":"price","partition":"none"},"ignore":["alpha/west"]}`,
			"alpha/east beta gamma m/three@delta"},
		{"route: sort", `"models":["m/three","m/one"],"route":"sort","provider":{"sort":"price","only":["beta","delta"]}`, "beta m/three@delta"},
		{"route: fallback", `"models":["m/three","m/one"],"route":"fallback","provider":{"sort":"price","only":["beta","delta"]}`, "m/three@delta beta"},
		{"max_price: prompt", `"provider":{"max_price":{"prompt":1.15}}`, "alpha/east alpha/west"},
		{"max_price: completion, in quotes", `"provider":{"max_price":{"completion":"1.4"}}`, "alpha/east alpha/west beta"},
		{"max_price: request", `"provider":{"max_price":{"request":0}}`, "alpha/east beta gamma"},
		{"max_price: image", `"provider":{"max_price":{"image":0.01}}`, "alpha/east alpha/west gamma"},
		{"max_price: audio", `"provider":{"max_price":{"audio":0.000001}}`, "alpha/east beta"},
		{"max_price: none", `"provider":{"max_price":{"prompt":0.01}}`, "404 constraint_filtered"},

		{"models", `"model":"m/three","models":["m/two"]`, "m/three@delta m/two@beta"},
		{"models without model", `"models":["m/two","m/three"]`, "m/two@beta m/three@delta"},
		{":nitro", `"model":"m/one:nitro","provider":{"only":["beta","alpha/priority"]}`, "alpha/priority beta"},
		{":nitro admits the priority tier", `"model":"m/one:nitro","provider":{"ignore":["alpha/east","alpha/west","gamma"]}`, "alpha/priority beta"},
		{":floor admits the flex tier", `"model":"m/one:floor"`, "gamma/flex " + without},
		{":exacto", `"model":"m/one:exacto","provider":{"only":["gamma"]}`, "gamma"},
		{"an explicit sort beats a suffix", `"model":"m/one:nitro","provider":{"sort":"price","only":["beta","gamma","alpha/priority"]}`, "beta gamma alpha/priority"},
		{"the last suffix wins", `"model":"m/one:floor:nitro","provider":{"only":["beta","gamma/flex"]}`, "beta gamma/flex"},
		{":free as an entry of its own", `"model":"m/two:free"`, "m/two:free@delta"},
		{":free with a routing suffix before it", `"model":"m/two:nitro:free"`, "m/two:free@delta"},
		{":free never falls back to what costs", `"model":"m/three:free"`, "404 free_variant_ended"},
		{"a suffix that nobody has", `"model":"m/one:batch"`, "400 model_not_found"},

		{"service_tier: default", `"service_tier":"default"`, without},
		{"service_tier: auto", `"service_tier":"auto"`, without},
		{"service_tier: priority, which may fall back", `"service_tier":"priority"`, "alpha/priority beta alpha/east alpha/west gamma"},
		{"service_tier: fast is priority", `"service_tier":"fast","provider":{"only":["alpha/priority","gamma"]}`, "alpha/priority gamma"},
		{"service_tier: flex alone", `"service_tier":"flex"`, "gamma/flex"},
		{"service_tier: flex of a model without", `"model":"m/three","service_tier":"flex"`, "m/three@delta"},

		{"verbosity goes where it is known", `"verbosity":"low"`, "beta"},
		{"verbosity where nobody knows it", `"verbosity":"low","provider":{"ignore":["beta"]}`, "alpha/east alpha/west gamma"},
		{"max_tokens goes where it fits", `"model":"m/two","models":["m/one"],"max_tokens":2000`, without},
		{"tools go where they are known", `"tools":[{"type":"function","function":{"name":"f"}}]`, "beta"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.ask(t, c.fields)
			got := r.tried()
			if r.record != nil && len(r.record.Attempts) > 0 {
				if got = r.planned(); !strings.HasPrefix(got, r.tried()) {
					t.Errorf("asked %s, of the plan %s", r.tried(), got)
				}
			} else if r.record == nil {
				got = fmt.Sprintf("%d %s", r.status, r.code())
			}
			if got != c.want {
				t.Errorf("planned %s\nwant    %s\n%s", got, c.want, r.body)
			}
		})
	}
	t.Run("allow_fallbacks: the provider's error is the client's", func(t *testing.T) {
		if got := alphaDown.ask(t, `"provider":{"allow_fallbacks":false}`); got.status != 503 || !strings.HasPrefix(got.tried(), "alpha/east") || strings.Contains(got.tried(), "beta") {
			t.Errorf("%d after %s", got.status, got.tried())
		}
		if got := alphaDown.ask(t, ``); got.status != 200 || !strings.HasSuffix(got.tried(), "beta") {
			t.Errorf("without it: %d after %s", got.status, got.tried())
		}
	})
	t.Run("models: the next where the first has failed", func(t *testing.T) {
		r := alphaDown.ask(t, `"model":"m/one","models":["m/three"],"provider":{"only":["alpha","delta"]}`)
		if r.status != 200 || !strings.HasSuffix(r.tried(), "m/three@delta") || !strings.Contains(r.body, `"model":"m/three"`) || !strings.Contains(r.body, `"provider":"Delta"`) {
			t.Errorf("%d after %s: %s", r.status, r.tried(), r.body)
		}
	})
}
