package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// fronts are the APIs beside chat completions in which a conversation can be asked, with what a body has to hold.
var fronts = map[string]struct{ path, asks, limit, last string }{
	"messages":    {"/v1/messages", `"max_tokens":50,"messages":[{"role":"user","content":"hi"}]`, "max_tokens", "message_stop"},
	"responses":   {"/v1/responses", `"input":"hi"`, "max_output_tokens", "response."},
	"completions": {"/v1/completions", `"prompt":"hi"`, "max_tokens", "[DONE]"},
}

// askAt sends a body with these fields to a path.
func (f *fleet) askAt(t *testing.T, path, fields string, header ...string) *reply {
	t.Helper()
	r := newRequest(t, http.MethodPost, "http://"+f.Addr().String()+path, "{"+fields+"}")
	r.Header.Set("Anthropic-Version", "2023-06-01")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	resp, body := do(t, client(t), r)
	return &reply{resp.StatusCode, resp.Header, body, f.engine.Record(resp.Header.Get("X-Generation-Id"))}
}

// What speaks to the router means the same in every API: who may serve, presets, memory, what became of it.
func TestTheRouterIsSpokenToInEveryAPI(t *testing.T) {
	for name, front := range fronts {
		t.Run(name, func(t *testing.T) {
			f := openFleet(t, "[presets.calm]\nmodel = \"m/one\"\nprovider = { only = [\"gamma\"] }\nparameters = { temperature = 0.25 }\n",
				`deny contains "not for them" if {
	input.claims.user == "careful"
	input.endpoint.data_policy.training != "no"
}
reject contains "too hot" if {
	"temperature" in input.request.parameters
	input.claims.user == "cool"
}`)
			ask := func(fields string, header ...string) *reply {
				return f.askAt(t, front.path, fields+","+front.asks, header...)
			}
			for _, c := range []struct{ what, fields, served string }{
				{"a preference", `"model":"m/one","provider":{"only":["beta"]}`, "beta"},
				{"an order", `"model":"m/one","provider":{"order":["gamma","beta"]}`, "gamma"},
				{"a suffix", `"model":"m/one:nitro"`, "alpha/priority"},
				{"an alias", `"model":"three"`, "m/three@delta"},
				{"models", `"models":["m/three","m/one"]`, "m/three@delta"},
				{"a preset", `"model":"@preset/calm"`, "gamma"},
				{"zero retention", `"model":"m/one","provider":{"zdr":true}`, "gamma"},
				{"nobody", `"model":"m/one","provider":{"only":["nobody"]}`, "nobody"},
				{"an unknown preference", `"model":"m/one","provider":{"onyl":["beta"]}`, ""},
			} {
				r := ask(c.fields)
				switch {
				case c.served == "":
					if r.status != http.StatusBadRequest || !strings.Contains(r.body, "onyl") {
						t.Errorf("%s: %d %s", c.what, r.status, r.body)
					}
				case c.served == "nobody":
					if r.status != http.StatusNotFound || len(r.record.Attempts) > 0 {
						t.Errorf("%s: %d %s", c.what, r.status, r.body)
					}
				case r.tried() != c.served:
					t.Errorf("%s: served by %s, want %s: %s", c.what, r.tried(), c.served, r.body)
				}
			}
			if got := ask(`"model":"m/one","user":"careful"`).tried(); got != "beta" {
				t.Errorf("policy was not asked: served by %s", got)
			}
			if r := ask(`"model":"m/one","user":"cool","temperature":1`); r.status != http.StatusForbidden || !strings.Contains(r.body, "too hot") {
				t.Errorf("policy did not see the parameters: %d %s", r.status, r.body)
			}
			calm := false
			for _, got := range f.sims["gamma"].Log() {
				calm = calm || strings.Contains(string(got.Body), `"temperature":0.25`)
			}
			if !calm {
				t.Error("the preset's parameters did not arrive")
			}
			f.holdMemory(t, name)
			f.holdMetadata(t, name)
		})
	}
}

// holdMemory asks the same twice, streamed and not.
func (f *fleet) holdMemory(t *testing.T, name string) {
	front := fronts[name]
	for seed, stream := range []string{"", `,"stream":true`} {
		fields := fmt.Sprintf(`"model":"m/three","%s":%d%s,`, front.limit, 40+seed, stream) + strings.TrimPrefix(front.asks, `"max_tokens":50,`)
		first := f.askAt(t, front.path, fields, cached)
		before := f.asked("delta")
		again := f.askAt(t, front.path, fields, cached)
		if first.status != 200 || again.cache() != "HIT" || f.asked("delta") != before || again.record.Outcome.CachedFrom != first.record.ID {
			t.Errorf("memory, %q: %d %s, then %s: %s", stream, first.status, first.cache(), again.cache(), first.body)
		}
		if stream != "" && !strings.Contains(lastEvent(again.body), front.last) {
			t.Errorf("the answer from memory ends with %s", lastEvent(again.body))
		}
	}
}

func lastEvent(body string) string {
	events := strings.Split(strings.TrimRight(body, "\n"), "\n\n")
	return events[len(events)-1]
}

// holdMetadata asks what became of a request.
func (f *fleet) holdMetadata(t *testing.T, name string) {
	r := f.askAt(t, fronts[name].path, `"model":"m/one","provider":{"only":["beta"]},`+fronts[name].asks, "X-OpenRouter-Metadata: enabled")
	var answer struct {
		Metadata struct{ Requested, Strategy string } `json:"openrouter_metadata"`
	}
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil || answer.Metadata.Requested != "m/one" || answer.Metadata.Strategy != "direct" {
		t.Errorf("metadata %+v, %v: %s", answer, err, r.body)
	}
}

// A plugin is a service of OpenRouter's. Nobody here runs one, and a request for it is not answered as if it had not asked.
func TestAPluginIsRefusedByName(t *testing.T) {
	f := openFleet(t, "", "")
	for name, front := range fronts {
		ask := func(plugins string) *reply {
			return f.askAt(t, front.path, `"model":"m/three","plugins":[`+plugins+`],`+front.asks)
		}
		r := ask(`{"id":"web"},{"id":"file-parser","enabled":false}`)
		if r.status != http.StatusNotFound || len(r.record.Attempts) > 0 || !strings.Contains(r.body, "delta: runs none of OpenRouter's plugins, and web is asked for") {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
		if r := ask(`{"id":"web","enabled":false}`); r.status != http.StatusOK {
			t.Errorf("%s, switched off: %d %s", name, r.status, r.body)
		}
	}
	if r := f.ask(t, `"model":"m/three","plugins":[{"id":"web"}]`); r.status != http.StatusNotFound || len(r.record.Attempts) > 0 {
		t.Errorf("chat: %d %s", r.status, r.body)
	}
	if r := f.ask(t, `"model":"m/three","debug":{"echo_upstream_body":true},"transforms":["middle-out"]`); r.status != http.StatusOK {
		t.Errorf("debug: %d %s", r.status, r.body)
	}
	log := f.sims["delta"].Log()
	if sent := string(log[len(log)-1].Body); strings.Contains(sent, "debug") || strings.Contains(sent, "transforms") {
		t.Errorf("what speaks to a router was sent on: %s", sent)
	}
}
