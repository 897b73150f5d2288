package server_test

import (
	"strings"
	"testing"
	"time"

	"chaperone/engine/sim"
)

// A conversation stays where its prompt is held, whatever would come first otherwise.
func TestAConversationStaysWhereItsPromptIs(t *testing.T) {
	f := openFleet(t, "", `deny contains "not for the strict" if {
	input.endpoint.provider == "beta"
	input.claims.user == "strict"
}`)
	const there = `"provider":{"only":["beta"]}`
	for _, c := range []struct {
		name          string
		first, header string // of the request that is answered by beta
		then, later   string
		want          string // the first of the plan
	}{
		{"session_id", `"session_id":"a",` + there, "", `"session_id":"a"`, "", "beta"},
		{"another session", `"session_id":"b",` + there, "", `"session_id":"c"`, "", "alpha/east"},
		{"no session: nothing shows that the prompt is cached", there, "", ``, "", "alpha/east"},
		{"X-Session-Id", there, "X-Session-Id: d", ``, "X-Session-Id: d", "beta"},
		{"session_id before X-Session-Id", `"session_id":"e",` + there, "X-Session-Id: f", ``, "X-Session-Id: f", "alpha/east"},
		{"prompt_cache_key", `"prompt_cache_key":"g",` + there, "", `"prompt_cache_key":"g"`, "", "beta"},
		{"while order is set", `"session_id":"h",` + there, "", `"session_id":"h","provider":{"order":["alpha","beta"]}`, "", "beta"},
		{"but not to what order does not name", `"session_id":"i",` + there, "", `"session_id":"i","provider":{"order":["alpha"]}`, "", "alpha/east"},
		{"while sort is set", `"session_id":"j",` + there, "", `"session_id":"j","provider":{"sort":"latency"}`, "", "beta"},
		{"without fallbacks", `"session_id":"k",` + there, "", `"session_id":"k","provider":{"allow_fallbacks":false}`, "", "beta"},
		{"not where the request excludes it", `"session_id":"l",` + there, "", `"session_id":"l","provider":{"ignore":["beta"]}`, "", "alpha/east"},
		{"not where policy denies it", `"session_id":"m",` + there, "", `"session_id":"m","user":"strict"`, "", "alpha/east"},
		{"not with another model", `"session_id":"n",` + there, "", `"session_id":"n","model":"m/three"`, "", "m/three@delta"},
		{"with another key", `"session_id":"o",` + there, "", `"session_id":"o"`, "Authorization: Bearer sk-other", "alpha/east"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := f.ask(t, c.first, c.header); r.tried() != "beta" {
				t.Fatalf("first: %s", r.tried())
			}
			r := f.ask(t, c.then, c.later)
			if first, _, _ := strings.Cut(r.planned(), " "); first != c.want {
				t.Errorf("planned %s, want %s first", r.planned(), c.want)
			}
			if held := strings.Join(r.record.Sticky, " "); (held != "") != (c.want == "beta") {
				t.Errorf("the record says that %q was ahead", held)
			}
		})
	}
}

// Without a session a conversation is known by how it begins, once its provider has shown that it caches the prompt and bills
// less for that, in every API that has conversations, and wherever its program puts the mark for the cache.
func TestAConversationWithoutASessionStaysWhereItIsCached(t *testing.T) {
	caching := func(name string) sim.Profile {
		return sim.Profile{Name: name, CachedTokens: 4, OutputTokens: sim.Distribution{P50: 3}}
	}
	f := openFleet(t, "", "", caching("beta"), caching("gamma"))
	const mark = `,"cache_control":{"type":"ephemeral","ttl":"5m"}`
	for _, c := range []struct{ name, path, provider, first, then, want string }{
		{"chat", "chat/completions", "beta", `"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"One?"}]`,
			`"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"One?"},{"role":"assistant","content":"Yes."},{"role":"user","content":"Two?"}]`, "beta"},
		{"chat, the mark moves on", "chat/completions", "beta", `"messages":[{"role":"user","content":[{"type":"text","text":"Marked?"` + mark + `}]}]`,
			`"messages":[{"role":"user","content":"Marked?"},{"role":"assistant","content":"Yes."},{"role":"user","content":[{"type":"text","text":"Two?"` + mark + `}]}]`, "beta"},
		{"messages", "messages", "beta", `"max_tokens":9,"system":"Be wise.","messages":[{"role":"user","content":"One?"}]`,
			`"max_tokens":9,"system":"Be wise.","messages":[{"role":"user","content":"One?"},{"role":"assistant","content":"Yes."},{"role":"user","content":"Two?"}]`, "beta"},
		{"messages, the mark moves on", "messages", "beta", `"max_tokens":9,"system":[{"type":"text","text":"Be calm."` + mark + `}],"messages":[{"role":"user","content":[{"type":"text","text":"One?"` + mark + `}]}]`,
			`"max_tokens":9,"system":[{"type":"text","text":"Be calm."` + mark + `}],"messages":[{"role":"user","content":[{"type":"text","text":"One?"}]},{"role":"assistant","content":"Yes."},{"role":"user","content":[{"type":"text","text":"Two?"` + mark + `}]}]`, "beta"},
		{"messages, with a line that is always new", "messages", "beta", `"max_tokens":9,"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1.177.01c; cc_entrypoint=cli; cch=36ee5;"},{"type":"text","text":"Be agile."` + mark + `}],"messages":[{"role":"user","content":"One?"}]`,
			`"max_tokens":9,"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1.177.7be; cc_entrypoint=cli; cch=0aaa9;"},{"type":"text","text":"Be agile."` + mark + `}],"messages":[{"role":"user","content":"One?"},{"role":"assistant","content":"Yes."},{"role":"user","content":"Two?"}]`, "beta"},
		{"chat, with a line that is always new", "chat/completions", "beta", `"messages":[{"role":"system","content":"x-anthropic-billing-header: cch=36ee5;\nBe able."},{"role":"user","content":"One?"}]`,
			`"messages":[{"role":"system","content":"x-anthropic-billing-header: cch=0aaa9;\nBe able."},{"role":"user","content":"One?"}]`, "beta"},
		{"responses", "responses", "beta", `"instructions":"Be kind.","input":"One?"`,
			`"instructions":"Be kind.","input":[{"role":"user","content":[{"type":"input_text","text":"One?"}]},{"role":"assistant","content":"Yes."},{"role":"user","content":"Two?"}]`, "beta"},
		{"responses, instructions as an item", "responses", "beta", `"input":[{"role":"developer","content":"Be quick."},{"role":"user","content":"One?"}]`,
			`"input":[{"role":"developer","content":"Be quick."},{"role":"user","content":"One?"},{"role":"assistant","content":"Yes."},{"role":"user","content":"Two?"}]`, "beta"},
		{"other instructions", "responses", "beta", `"instructions":"Be loud.","input":"One?"`, `"instructions":"Be quiet.","input":"One?"`, "alpha/east"},
		{"another beginning", "chat/completions", "beta", `"messages":[{"role":"user","content":"Three?"}]`, `"messages":[{"role":"user","content":"Four?"}]`, "alpha/east"},
		{"cached tokens that cost as much", "chat/completions", "gamma", `"messages":[{"role":"user","content":"Five?"}]`, `"messages":[{"role":"user","content":"Five?"}]`, "alpha/east"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := f.askAt(t, "/v1/"+c.path, `"model":"m/one","provider":{"only":["`+c.provider+`"]},`+c.first); r.status != 200 || r.record.Outcome.Usage.CachedTokens != 4 {
				t.Fatalf("first: %d %s", r.status, r.body)
			}
			r := f.askAt(t, "/v1/"+c.path, `"model":"m/one",`+c.then)
			if first, _, _ := strings.Cut(r.planned(), " "); first != c.want {
				t.Errorf("planned %s, want %s first", r.planned(), c.want)
			}
		})
	}
}

// It stays for ten minutes after its last answer, or for as long as the catalog or the request says that the prompt is kept.
func TestAConversationStaysForAsLongAsItsPrompt(t *testing.T) {
	f := openFleet(t, "", "")
	for _, c := range []struct {
		name, provider, fields string
		stays, leaves          time.Duration
	}{
		{"by default", "gamma", ``, 9 * time.Minute, 11 * time.Minute},
		{"cache_ttl of the catalog", "beta", ``, 59 * time.Minute, 61 * time.Minute},
		{"cache_control of the request", "gamma", `,"cache_control":{"type":"ephemeral","ttl":"1h"}`, 59 * time.Minute, 61 * time.Minute},
		{"cache_control of a part", "gamma", `,"messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral","ttl":"30m"}}]}]`,
			29 * time.Minute, 31 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			session := `"session_id":"` + c.name + `"` + c.fields
			f.ask(t, session+`,"provider":{"only":["`+c.provider+`"]}`)
			for i, d := range []time.Duration{c.stays, c.stays, c.leaves} { // each answer begins it anew
				f.later.Add(int64(d))
				if got := f.ask(t, session).tried(); (got == c.provider) != (i < 2) {
					t.Errorf("%s later: %s", d, got)
				}
			}
		})
	}
}

// A failure there does not hold it any longer, and where the next one answers it stays from then on.
func TestAConversationLeavesWhatFails(t *testing.T) {
	f := openFleet(t, "", "")
	f.ask(t, `"session_id":"s","provider":{"only":["beta"]}`)
	if err := f.sims["beta"].SetProfile(sim.Profile{Name: "beta", Faults: []sim.Fault{{Kind: sim.Status, Status: 500, Share: 1}}}); err != nil {
		t.Fatal(err)
	}
	if got := f.ask(t, `"session_id":"s","provider":{"order":["beta","gamma"]}`).tried(); !strings.HasPrefix(got, "beta") || !strings.HasSuffix(got, "gamma") {
		t.Fatalf("tried %s", got)
	}
	if err := f.sims["beta"].SetProfile(sim.Profile{Name: "beta"}); err != nil {
		t.Fatal(err)
	}
	if got := f.ask(t, `"session_id":"s"`).tried(); got != "gamma" {
		t.Errorf("next: %s, want gamma", got)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	f := openFleet(t, "", "")
	long := strings.Repeat("s", 257)
	if r := f.ask(t, `"session_id":"`+long+`"`); r.status != 400 || !strings.Contains(r.body, "more than 256 bytes") {
		t.Errorf("body: %d %s", r.status, r.body)
	}
	if r := f.ask(t, ``, "X-Session-Id: "+long); r.status != 400 || !strings.Contains(r.body, "more than 256 bytes") {
		t.Errorf("header: %d %s", r.status, r.body)
	}
}
