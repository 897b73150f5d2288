package engine_test

import (
	"log/slog"
	"testing"

	"chaperone/engine"
	"chaperone/engine/sim"
)

func TestObligationsReachTheProvider(t *testing.T) {
	const message = `"messages":[{"role":"user","content":"hi"}]`
	for _, c := range []struct {
		name, require, extra, body, want string
	}{
		{"a limit that was not sent is set", `{"max_output_tokens": 9}`, "", `{"model":"m/one",` + message + `}`,
			`{"max_tokens":9,"model":"one",` + message + `}`},
		{"a higher limit is lowered in the field that was sent", `{"max_output_tokens": 9}`, "",
			`{"model":"m/one","max_completion_tokens":50,` + message + `}`, `{"model":"one","max_completion_tokens":9,` + message + `}`},
		{"a limit by the name of another API goes out under one that is read", `{"max_output_tokens": 9}`, "",
			`{"model":"m/one","max_output_tokens":5,` + message + `}`, `{"max_tokens":5,"model":"one",` + message + `}`},
		{"and is lowered there", `{"max_output_tokens": 9}`, "",
			`{"model":"m/one","max_output_tokens":5000,` + message + `}`, `{"max_tokens":9,"model":"one",` + message + `}`},
		{"a lower limit stays", `{"max_output_tokens": 9}`, "", `{"model":"m/one","max_tokens":3,` + message + `}`,
			`{"model":"one","max_tokens":3,` + message + `}`},
		{"storage is switched off", `{"store": false}`, "", `{"model":"m/one","store":true,` + message + `}`,
			`{"model":"one","store":false,` + message + `}`},
		{"zero retention is switched on as the catalog says", `{"zdr": true}`, `data_policy = { zdr = "no", zdr_option = "provider.zdr=true" }`,
			`{"model":"m/one","provider":{"sort":"price"},` + message + `}`, `{"model":"one","provider":{"zdr":true},` + message + `}`},
		{"a router is told whom it may pass the request on to, whatever the client says", `{"max_output_tokens": 9}`, `only = ["deepinfra", "together"]`,
			`{"model":"m/one","max_tokens":3,"provider":{"order":["p0"],"ignore":["other"]},` + message + `}`,
			`{"model":"one","max_tokens":3,"provider":{"only":["deepinfra","together"]},` + message + `}`},
		{"and that beside zero retention", `{"zdr": true}`, `only = ["deepinfra"]
data_policy = { zdr = "no", zdr_option = "provider={\"zdr\":true,\"data_collection\":\"deny\"}" }`,
			`{"model":"m/one",` + message + `}`, `{"provider":{"only":["deepinfra"],"zdr":true,"data_collection":"deny"},"model":"one",` + message + `}`},
		{"zero retention that holds needs no switch", `{"zdr": true}`, `data_policy = { zdr = "yes" }`,
			`{"model":"m/one",` + message + `}`, `{"model":"one",` + message + `}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := openSmall(t, "require contains "+c.require, c.extra, slog.DiscardHandler, sim.Profile{})
			if _, err := ask(w.engine, "sk-acme", c.body); err != nil {
				t.Fatal(err)
			}
			if got := string(w.sims[0].Log()[0].Body); got != c.want {
				t.Errorf("the provider got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestObligationsThatNothingCanMeetDeny(t *testing.T) {
	const message = `"messages":[{"role":"user","content":"hi"}]`
	for _, c := range []struct{ name, require, body string }{
		{"zero retention that the provider does not have", `{"zdr": true}`, `{"model":"m/one",` + message + `}`},
		{"a tool that runs at the provider", `{"no_provider_tools": true}`, `{"model":"m/one","web_search_options":{},` + message + `}`},
		{"state at the provider", `{"store": false}`, `{"model":"m/one","previous_response_id":"r",` + message + `}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := openSmall(t, "require contains "+c.require, "", slog.DiscardHandler, sim.Profile{})
			if _, err := ask(w.engine, "sk-acme", c.body); err == nil {
				t.Error("the request was served")
			}
			if n := w.sims[0].Counts().Requests; n != 0 {
				t.Errorf("the provider was asked %d times", n)
			}
		})
	}
}

func TestMaxProcessorsBoundsWhoSeesTheBody(t *testing.T) {
	failing := sim.Profile{Faults: []sim.Fault{{Kind: sim.Status, Status: 503, Share: 1}}}
	w := openSmall(t, `require contains {"max_processors": 2}`, "", slog.DiscardHandler, failing, failing, failing, sim.Profile{})
	if _, err := ask(w.engine, "sk-acme", `{"model":"m/one","provider":{"order":["p0","p1","p2","p3"]},"messages":[{"role":"user","content":"hi"}]}`); err == nil {
		t.Error("the request was served by a third provider")
	}
	asked := 0
	for _, p := range w.sims {
		if p.Counts().Requests > 0 {
			asked++
		}
	}
	if asked != 2 {
		t.Errorf("%d providers saw the body, 2 may", asked)
	}
}

func TestWhatPolicyForbidsToRecordIsNotKept(t *testing.T) {
	w := openSmall(t, `require contains {"log": "none"} if input.claims.user == "quiet"`, "", slog.DiscardHandler, sim.Profile{})
	for user, kept := range map[string]bool{"quiet": false, "loud": true} {
		body := `{"model":"m/one","user":"` + user + `","messages":[{"role":"user","content":"hi"}]}`
		resp, err := w.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.engine.Record(resp.Plan.ID) != nil; got != kept {
			t.Errorf("%s: the record is kept: %t", user, got)
		}
	}
}
