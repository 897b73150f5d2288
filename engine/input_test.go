package engine_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chaperone/engine"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

// leavesOf are the fields of a schema with their types.
func leavesOf(path string, schema map[string]any, found map[string]string) {
	properties, _ := schema["properties"].(map[string]any)
	if len(properties) == 0 {
		found[path], _ = schema["type"].(string)
		return
	}
	for name, sub := range properties {
		leavesOf(path+"."+name, sub.(map[string]any), found)
	}
}

// Every field of the input is filled by a real request to a real configuration: where more is stated, each reads otherwise than
// where nothing is.
func TestEveryFieldOfTheInputIsFilled(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(policy.Schema(true), &schema); err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	leavesOf("input", schema, fields)
	// A policy that denies everything and tells what it reads, a package for each part of the input so that no list is too long.
	modules := map[string]string{}
	for field, kind := range fields {
		value := field
		if kind == "object" {
			value = fmt.Sprintf("object.get(%s, \"known\", \"\")", field)
			if field == "input.endpoint.attributes" {
				value = fmt.Sprintf("object.get(%s, \"known\", 0)", field)
			}
		}
		part := strings.Split(field, ".")[1]
		modules[part] += fmt.Sprintf("\ndeny contains sprintf(\"%s=%%v\", [%s])\n", field, value)
	}
	provider, err := sim.Start(t.Context(), sim.Profile{Name: "p", KeepRequests: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close() })
	w := &small{dir: t.TempDir()}
	text := fmt.Sprintf(`[statistics]
tick = "1ms"
[organisations.acme]
[organisations.other]
data_class = "internal"
labels = { known = "yes" }
[organisations.other.teams.fraud]
[[keys]]
organisation = "acme"
sha256 = "%x"
[[keys]]
organisation = "other"
team = "fraud"
sha256 = "%x"
[models."m/one"]
context_length = 32000
[models."m/two"]
context_length = 64000
input_modalities = ["text", "image", "file"]
output_modalities = ["text", "image"]
distillation.permitted = "yes"
[providers.bare]
dialect = "openai"
base_url = %q
credentials.own.auth = "none"
[[endpoints]]
model = "m/one"
provider = "bare"
price = { prompt = 1, completion = 1 }
[providers.full]
dialect = "openai"
base_url = %q
headquarters = "DE"
jurisdiction = "EU"
certifications = ["soc2"]
data_policy = { training = "no", publishes = "no", zdr = "yes", zdr_option = "x=1", evidence = "https://full.example", as_of = 2026-01-02, review_by = 2036-01-02 }
credentials.free = { key_env = "FULL", free = true }
credentials.paid = { key_env = "PAID" }
[[endpoints]]
model = "m/two"
provider = "full"
variant = "fp8"
quantization = "fp8"
processing_regions = ["eu"]
max_output_tokens = 4096
supported_parameters = ["max_tokens", "temperature", "tools", "tool_choice", "response_format", "reasoning", "reasoning_effort", "structured_outputs"]
price = { prompt = 2, completion = 3, cache_read = 0.5, cache_write = 4, request = 0.001, image = 0.002 }
attributes = { known = 1.5 }
labels = { known = "yes" }
`, sha256.Sum256([]byte("sk-acme")), sha256.Sum256([]byte("sk-other")), provider.URL(), provider.URL())
	quiet := text
	for part, rules := range modules {
		text += fmt.Sprintf("[[policy.bindings]]\npackage = \"own.%s\"\nfor = \"everyone\"\n", part)
		w.write(t, "rego/"+part+".rego", "package own."+part+"\n"+rules)
	}
	text += "[[policy.sources]]\nname = \"own\"\npath = \"rego\"\n[policy]\nevaluation_timeout = \"10s\"\n"
	path := filepath.Join(w.dir, "chaperone.toml")
	w.write(t, "chaperone.toml", quiet)
	var offset atomic.Int64 // of the clock by which the first question is asked, at another hour of another day
	offset.Store(-int64(30*time.Hour + 7*time.Minute))
	e, err := engine.Open(t.Context(), engine.Options{
		ConfigPath: path, Log: slog.New(slog.DiscardHandler), Env: func(name string) (string, bool) { return "sk-" + name, true },
		Now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	configure := func(text string) {
		t.Helper()
		w.write(t, "chaperone.toml", text)
		if err := e.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// read is what the policy reads of each field, for every row that it judges.
	read := func(key string, shape wire.Shape, body string) map[string][]string {
		t.Helper()
		plan, err := e.Decide(t.Context(), engine.Call{Key: key, Shape: shape, Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		values := map[string][]string{}
		for _, c := range plan.Candidates {
			if c.Excluded == nil {
				t.Fatalf("%s may serve %s", c.Row.ID, body)
			}
			for _, d := range c.Excluded.Denials {
				if field, value, ok := strings.Cut(d.Message, "="); ok && d.Rule == "deny" {
					values[field] = append(values[field], value)
				} else {
					t.Errorf("%+v", d)
				}
			}
		}
		return values
	}
	configure(text)
	bare := read("sk-acme", wire.Chat, `{"model":"m/one","messages":[{"role":"user","content":"hi"}]}`)
	offset.Store(0)
	configure(quiet)
	for range 5 { // so that there are statistics
		if _, err := ask(e, "sk-other", `{"model":"m/two","stream":true,"messages":[{"role":"user","content":"hi"}]}`); err != nil {
			t.Fatal(err)
		}
	}
	configure(text)
	var full []map[string][]string
	for _, c := range []struct {
		shape wire.Shape
		body  string
	}{
		{wire.Chat, `{"model":"m/two","models":["m/one"],"stream":true,"max_tokens":100,"n":2,"user":"ann","metadata":{"known":"yes","tags":["a"],"data_class":"confidential"},"store":true,
			"messages":[{"role":"user","content":[{"type":"text","text":"` + strings.Repeat("many words ", 20) + `"},{"type":"image_url","image_url":{"url":"https://pictures.example/1.png"}}]}],
			"response_format":{"type":"json_object"},"reasoning":{"effort":"high"},
			"tools":[{"type":"function","function":{"name":"f"}}],
			"provider":{"order":["full"],"only":["full"],"ignore":["bare"],"allow_fallbacks":false,"require_parameters":false,"quantizations":["fp8"],"sort":"price","zdr":true,"data_collection":"deny","enforce_distillable_text":true}}`},
		{wire.Chat, `{"model":"m/two","modalities":["image","text"],"reasoning":{"max_tokens":50},"messages":[{"role":"user","content":"hi"}],"provider":{"require_parameters":true}}`},
		{wire.Chat, `{"model":"m/two","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}},{"type":"text","text":"hi"}]}]}`},
		{wire.Messages, `{"model":"m/two","max_tokens":20,"messages":[{"role":"user","content":"hi"}]}`},
		{wire.Chat, `{"model":"m/two","background":true,"previous_response_id":"r","web_search_options":{},"messages":[{"role":"user","content":"hi"}]}`},
	} {
		full = append(full, read("sk-other", c.shape, c.body))
	}
	for field := range fields {
		before := strings.Join(bare[field], " ")
		if len(bare[field]) == 0 {
			t.Errorf("%s is not read", field)
		}
		filled := false
		for _, values := range full {
			for _, v := range values[field] {
				filled = filled || v != before
			}
		}
		if !filled {
			t.Errorf("%s is %q whatever is stated", field, before)
		}
	}
}

// A policy can tell the APIs apart, and the record says which it was.
func TestAPolicyReadsTheAPI(t *testing.T) {
	bodies := map[string]string{
		"chat":         `{"model":"m/one","messages":[{"role":"user","content":"x"}]}`,
		"messages":     `{"model":"m/one","max_tokens":20,"messages":[{"role":"user","content":"x"}]}`,
		"count_tokens": `{"model":"m/one","messages":[{"role":"user","content":"x"}]}`,
		"responses":    `{"model":"m/one","input":"x"}`,
		"completions":  `{"model":"m/one","prompt":"x"}`,
		"embeddings":   `{"model":"m/one","input":"x"}`,
		"rerank":       `{"model":"m/one","query":"x","documents":["y"]}`,
	}
	if got := slices.Sorted(maps.Keys(bodies)); !slices.Equal(got, wire.Shapes()) {
		t.Fatalf("there are %v", wire.Shapes())
	}
	w := openSmall(t, "reject contains sprintf(\"no %s\", [input.request.api]) if input.request.api != \"chat\"", "", slog.DiscardHandler, sim.Profile{})
	for api, body := range bodies {
		p, err := w.engine.Decide(t.Context(), engine.Call{Key: "sk-acme", Shape: wire.Shape(api), Body: []byte(body)})
		if err != nil {
			t.Fatal(api, err)
		}
		switch {
		case api == "chat" && len(p.Permits) != 1:
			t.Errorf("chat: %v", p.Refusal)
		case api != "chat" && (len(p.Rejections) != 1 || p.Rejections[0].Message != "no "+api):
			t.Errorf("%s: %+v", api, p.Rejections)
		}
		if rec := journal.Of(p); rec.Request.API != api || rec.Asked().Shape != wire.Shape(api) {
			t.Errorf("%s is recorded as %q", api, rec.Request.API)
		}
	}
}
