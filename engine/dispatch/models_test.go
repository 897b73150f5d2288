package dispatch_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"chaperone/engine/sim"
)

// A request with a picture, a tool and a long prompt whose first model is down: of the other models each is held against what the
// request needs and against policy anew, whether the request names them or its organisation, and only the one that fits is asked.
func TestEveryFallbackModelIsJudgedForItself(t *testing.T) {
	const (
		tools   = `supported_parameters = ["tools", "max_tokens"]`
		long    = "context_length = 32000\n"
		picture = "input_modalities = [\"text\", \"image\"]\n"
	)
	models := []struct {
		name, model, endpoint string
		excluded              string // stage and code
	}{
		{"first", long + picture, tools, ""},
		{"short", "context_length = 500\n" + picture, tools, "capability context_length"},
		{"toolless", long + picture, `supported_parameters = ["max_tokens"]`, "capability tools"},
		{"blind", long, tools, "capability modality"},
		{"denied", long + picture, tools, "policy not_here"},
		{"fits", long + picture, tools, ""},
	}
	var names []string
	var toml strings.Builder
	sims := map[string]*sim.Provider{}
	for _, m := range models {
		p := sim.Profile{Name: m.name}
		if m.name == "first" {
			p.Faults = []sim.Fault{{Kind: sim.Status, Status: 503, Share: 1}}
		}
		provider, err := sim.Start(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { provider.Close() })
		sims[m.name] = provider
		names = append(names, fmt.Sprintf("%q", "m/"+m.name))
		fmt.Fprintf(&toml, "[models.\"m/%[1]s\"]\nname = %[1]q\n%[2]s[providers.%[1]s]\nname = %[1]q\ndialect = \"openai\"\nbase_url = %[3]q\n[providers.%[1]s.credentials.own]\nauth = \"none\"\n"+
			"[[endpoints]]\nmodel = \"m/%[1]s\"\nprovider = %[1]q\nupstream_model = \"u\"\nprice = { prompt = 1, completion = 2 }\n%[4]s\n", m.name, m.model, provider.URL(), m.endpoint)
	}
	settings := "[server]\nlisten = \"127.0.0.1:0\"\nprivate_listen = \"\"\ndrain_delay = \"0s\"\n[routing]\nupstream_user = \"plain\"\n[dispatch.breaker]\nfailures = 1000\n" +
		"[[policy.sources]]\nname = \"own\"\npath = \".\"\n[[policy.bindings]]\npackage = \"own\"\nfor = \"everyone\"\n"
	for _, id := range []string{"names", "relies"} {
		settings += fmt.Sprintf("[organisations.%s]\n", id)
		if id == "relies" {
			settings += fmt.Sprintf("fallback_models = [%s]\n", strings.Join(names[1:], ", "))
		}
		settings += fmt.Sprintf("[[keys]]\norganisation = %q\nsha256 = \"%x\"\n", id, sha256.Sum256([]byte("sk-"+id)))
	}
	router := serve(t, settings+toml.String(), "package own\n\ndeny contains {\"code\": \"not_here\", \"message\": \"not there\"} if input.endpoint.provider == \"denied\"\n")
	for key, more := range map[string]string{"sk-names": fmt.Sprintf(`"models":[%s],`, strings.Join(names[1:], ",")), "sk-relies": ""} {
		for _, stream := range []bool{false, true} {
			body := fmt.Appendf(nil, `{"model":"m/first",%s"stream":%t,"max_tokens":9,"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"messages":[{"role":"user","content":[`+
				`{"type":"text","text":%q},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}]}]}`, more, stream, strings.Repeat("many words ", 400))
			before := map[string]int64{}
			for name, p := range sims {
				before[name] = p.Counts().Requests
			}
			got := router.send(t, key, body, stream)
			rec := router.engine.Record(got.header.Get("X-Generation-Id"))
			if got.status != http.StatusOK || rec.Outcome.Model != "m/fits" || outcomes(rec) != "first:overloaded fits:ok" {
				t.Errorf("%s, stream %t: %d, %s of %s", key, stream, got.status, outcomes(rec), rec.Outcome.Model)
			}
			for _, m := range models {
				stage, code, _ := strings.Cut(m.excluded, " ")
				for _, c := range rec.Candidates {
					if c.Provider == m.name && (c.Excluded == nil) != (m.excluded == "") || c.Provider == m.name && c.Excluded != nil && (string(c.Excluded.Stage) != stage || c.Excluded.Code != code) {
						t.Errorf("%s, stream %t: %s is excluded by %+v, %q is right", key, stream, m.name, c.Excluded, m.excluded)
					}
				}
				if reached := sims[m.name].Counts().Requests > before[m.name]; reached != (m.excluded == "") {
					t.Errorf("%s, stream %t: %s was reached: %t", key, stream, m.name, reached)
				}
			}
		}
	}
}
