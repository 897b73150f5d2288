package server_test

import (
	"strings"
	"testing"
)

const presets = `
[presets.brief]
model = "m/one"
models = ["m/three"]
system = "Be brief."
provider = { only = ["gamma", "delta"] }
parameters = { temperature = 0.25, max_tokens = 7, response_format = { type = "text" } }
[presets.tools]
model = "m/one"
provider = { only = ["beta"] }
tools = [ { type = "function", function = { name = "f", description = "of the preset" } }, { type = "function", function = { name = "g" } } ]
[presets.warm]
model = "m/one"
parameters = { temperature = 1.5 }
[presets.own]
model = "m/three"
[organisations.acme.presets.own]
model = "m/two"
`

// What a preset says arrives whichever API the request comes in, and whatever it has left null.
func TestAPresetArrivesFromEveryAPI(t *testing.T) {
	f := openFleet(t, "[presets.short]\nmodel = \"m/one\"\nsystem = \"Be brief.\"\nprovider = { only = [\"beta\"] }\n"+
		"parameters = { max_completion_tokens = 7, temperature = 0.25, tool_choice = \"auto\" }\n"+
		"tools = [ { type = \"function\", function = { name = \"f\", parameters = { type = \"object\" } } } ]\n"+
		"[presets.plain]\nmodel = \"m/one\"\nprovider = { only = [\"beta\"] }\nparameters = { max_tokens = 7, temperature = 0.25 }\n", "")
	for _, c := range []struct{ name, path, fields, limit string }{
		{"chat", "/v1/chat/completions", `"preset":"short","temperature":null,"messages":[{"role":"user","content":"hi"}]`, "max_completion_tokens"},
		{"messages", "/v1/messages", `"model":"@preset/short","system":null,"messages":[{"role":"user","content":"hi"}]`, "max_tokens"},
		{"responses", "/v1/responses", `"preset":"short","instructions":null,"max_output_tokens":null,"tools":null,"input":"hi"`, "max_tokens"},
		{"completions", "/v1/completions", `"preset":"plain","max_tokens":null,"prompt":"hi"`, "max_tokens"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.askAt(t, c.path, c.fields)
			if r.status != 200 || r.tried() != "beta" {
				t.Fatalf("%d, by %s: %s", r.status, r.tried(), r.body)
			}
			log := f.sims["beta"].Log()
			sent := string(log[len(log)-1].Body)
			want := []string{`"` + c.limit + `":7`, `"temperature":0.25`}
			if strings.Contains(c.fields, "short") {
				want = append(want, `"content":"Be brief."`, `"tool_choice":"auto"`, `"name":"f"`)
			}
			for _, w := range want {
				if !strings.Contains(sent, w) {
					t.Errorf("no %s in %s", w, sent)
				}
			}
		})
	}
	if r := f.askAt(t, "/v1/completions", `"preset":"short","prompt":"hi"`); r.status != 400 || !strings.Contains(r.body, "cannot be said in this API (tool_choice)") {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// A preset is merged into the request before policy judges it, and what was judged is what the provider gets.
func TestPresets(t *testing.T) {
	f := openFleet(t, presets, `reject contains "too warm" if {
	"temperature" in input.request.parameters
	not "max_tokens" in input.request.parameters
}`)
	const hi = `"messages":[{"role":"user","content":"hi"}]`
	const system = `"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}]`
	for _, c := range []struct{ name, fields, served, sent string }{
		{"as the model", `"model":"@preset/brief",` + hi, "gamma", `{"max_tokens":7,"response_format":{"type":"text"},"temperature":0.25,"model":"one",` + system + `}`},
		{"as a field", `"preset":"brief",` + hi, "gamma", `{"model":"one","max_tokens":7,"response_format":{"type":"text"},"temperature":0.25,` + system + `}`},
		{"behind the model", `"model":"m/three@preset/brief",` + hi, "m/three@delta", `{"max_tokens":7,"response_format":{"type":"text"},"temperature":0.25,"model":"three",` + system + `}`},
		{"beside the model", `"model":"m/three","preset":"brief",` + hi, "m/three@delta", `{"max_tokens":7,"response_format":{"type":"text"},"temperature":0.25,"model":"three",` + system + `}`},
		{"the request wins", `"model":"@preset/brief","temperature":1,"provider":{"only":["alpha"]},"models":[],` + hi, "alpha/east",
			`{"max_tokens":7,"response_format":{"type":"text"},"model":"one-east","temperature":1,` + system + `}`},
		{"instructions of the request stay alone", `"model":"@preset/brief","messages":[{"role":"developer","content":"Be long."},{"role":"user","content":"hi"}]`, "gamma",
			`{"max_tokens":7,"response_format":{"type":"text"},"temperature":0.25,"model":"one","messages":[{"role":"developer","content":"Be long."},{"role":"user","content":"hi"}]}`},
		{"tools are united", `"model":"@preset/tools","tools":[{"type":"function","function":{"name":"f"}}],` + hi, "beta",
			`{"model":"one","tools":[{"type":"function","function":{"name":"f"}},{"function":{"name":"g"},"type":"function"}],` + hi + `}`},
		{"the organisation's before everyone's", `"preset":"own",` + hi, "m/two@beta", ``},
		{"policy judges what it says", `"preset":"warm",` + hi, "403 permission_denied", ``},
		{"unknown", `"preset":"breif",` + hi, "400 not_found", ``},
		{"two", `"model":"@preset/brief","preset":"tools",` + hi, "400 invalid_request", ``},
		{"the same twice", `"model":"@preset/brief","preset":"brief",` + hi, "gamma", ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.ask(t, c.fields)
			got := r.tried()
			if r.record == nil {
				got = strings.TrimSpace(strings.Join([]string{"400", r.code()}, " "))
			}
			if got != c.served {
				t.Fatalf("served by %s, want %s: %s", got, c.served, r.body)
			}
			if c.sent == "" {
				return
			}
			_, provider, _ := strings.Cut(c.served, "@")
			if provider == "" {
				provider, _, _ = strings.Cut(c.served, "/")
			}
			log := f.sims[provider].Log()
			if sent := string(log[len(log)-1].Body); sent != c.sent {
				t.Errorf("the provider got\n%s\nwant\n%s", sent, c.sent)
			}
			if r.record.Request.Preset == "" {
				t.Error("the record does not name the preset")
			}
		})
	}
	if r := f.ask(t, `"preset":"breif"`); !strings.Contains(r.body, `unknown preset \"breif\"; did you mean \"brief\"?`) {
		t.Errorf("%s", r.body)
	}
}
