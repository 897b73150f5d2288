package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"chaperone/engine/sim"
)

type usage struct {
	PromptTokens     int64 `json:"prompt_tokens"`
	CompletionTokens int64 `json:"completion_tokens"`
	TotalTokens      int64 `json:"total_tokens"`
	PromptDetails    *struct {
		Cached *int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails *struct {
		Reasoning *int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
	Cost        *float64 `json:"cost"`
	BYOK        *bool    `json:"is_byok"`
	CostDetails *struct {
		All        *float64 `json:"upstream_inference_cost"`
		Prompt     *float64 `json:"upstream_inference_prompt_cost"`
		Completion *float64 `json:"upstream_inference_completions_cost"`
	} `json:"cost_details"`
	Estimated bool   `json:"estimated"`
	Rescued   string `json:"rescued"`
}

type chunk struct {
	ID          string `json:"id"`
	Provider    string `json:"provider"`
	ServiceTier string `json:"service_tier"`
	Choices     []struct {
		FinishReason string `json:"finish_reason"`
		Native       string `json:"native_finish_reason"`
	} `json:"choices"`
	Usage    *usage          `json:"usage"`
	Metadata json.RawMessage `json:"openrouter_metadata"`
	Error    json.RawMessage `json:"error"`
}

// chunks are the events of a stream, without the end mark, or the one whole answer.
func (r *reply) chunks(t *testing.T) []chunk {
	t.Helper()
	var all []chunk
	texts := []string{r.body}
	if strings.HasPrefix(r.header.Get("Content-Type"), "text/event-stream") {
		texts = nil
		for _, line := range strings.Split(r.body, "\n") {
			if data, ok := strings.CutPrefix(line, "data: "); ok && data != "[DONE]" {
				texts = append(texts, data)
			}
		}
		if !strings.HasSuffix(r.body, "data: [DONE]\n\n") {
			t.Errorf("the stream does not end with its end mark: %s", r.body)
		}
	}
	for _, text := range texts {
		var c chunk
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		all = append(all, c)
	}
	return all
}

// Usage, what it cost and why the answer ended are in every answer, whatever of them the provider says and wherever it says it.
func TestUsageIsAlwaysReturned(t *testing.T) {
	for _, where := range []string{"", "choice", "groq", "finish", "none"} {
		f := openFleet(t, "", "", sim.Profile{Name: "beta", UsageIn: where, OutputTokens: sim.Distribution{P50: 5}})
		for _, fields := range []string{``, `,"stream":true`, `,"stream":true,"stream_options":{"include_usage":false}`, `,"usage":{"include":true}`} {
			t.Run(fmt.Sprintf("usage in %q, %s", where, fields), func(t *testing.T) {
				r := f.ask(t, `"provider":{"only":["beta"]}`+fields)
				all := r.chunks(t)
				var u *usage
				finish, native := "", ""
				for i, c := range all {
					if c.ID != r.record.ID || c.Provider != "Beta" {
						t.Errorf("chunk %d is of %q, by %q", i, c.ID, c.Provider)
					}
					if c.Usage != nil {
						if u != nil {
							t.Error("usage comes twice")
						}
						u = c.Usage
					}
					for _, choice := range c.Choices {
						if choice.FinishReason != "" {
							finish, native = choice.FinishReason, choice.Native
						}
					}
				}
				switch {
				case u == nil:
					t.Fatalf("no usage: %s", r.body)
				case u.PromptTokens == 0 || u.CompletionTokens == 0 || u.TotalTokens != u.PromptTokens+u.CompletionTokens || u.Estimated != (where == "none"):
					t.Errorf("usage %+v", u)
				case u.PromptDetails == nil || u.PromptDetails.Cached == nil || u.CompletionDetails == nil || u.CompletionDetails.Reasoning == nil:
					t.Errorf("usage has no details: %s", r.body)
				case u.Cost == nil || u.BYOK == nil || *u.BYOK || u.CostDetails == nil:
					t.Fatalf("usage has no cost: %s", r.body)
				}
				want := (1.2*float64(u.PromptTokens) + 1.4*float64(u.CompletionTokens)) / 1e6
				if d := u.CostDetails; !near(*u.Cost, want) || !near(*d.All, want) || !near(*d.Prompt, 1.2*float64(u.PromptTokens)/1e6) || !near(*d.Completion, 1.4*float64(u.CompletionTokens)/1e6) {
					t.Errorf("cost %v, %+v; want %v", *u.Cost, u.CostDetails, want)
				}
				if finish != "stop" || native != "stop" {
					t.Errorf("finish_reason %q, native_finish_reason %q", finish, native)
				}
				if r.header.Get("X-Generation-Id") != r.record.ID {
					t.Errorf("X-Generation-Id %q", r.header.Get("X-Generation-Id"))
				}
			})
		}
	}
}

func near(a, b float64) bool { return a-b < 1e-12 && b-a < 1e-12 }

func TestUsageOfARescuedAnswer(t *testing.T) {
	cut := []sim.Fault{{Kind: sim.Cut, AfterTokens: 3, Share: 1}}
	f := openFleet(t, "", "", sim.Profile{Name: "beta", Faults: cut, OutputTokens: sim.Distribution{P50: 9}}, sim.Profile{Name: "gamma", OutputTokens: sim.Distribution{P50: 9}})
	r := f.ask(t, `"stream":true,"provider":{"order":["beta","gamma"]}`)
	all := r.chunks(t)
	last := all[len(all)-1]
	if r.record.Outcome.Rescued == "" || last.Usage == nil || last.Usage.Rescued != r.record.Outcome.Rescued || *last.Usage.Cost == 0 || last.Provider != "Gamma" {
		t.Errorf("rescued by %q, the last event is %+v", r.record.Outcome.Rescued, last)
	}
}

// The tier that served is told, and only an endpoint of a tier is asked for one.
func TestTheServiceTierThatServedIsTold(t *testing.T) {
	f := openFleet(t, "", "")
	for _, c := range []struct{ fields, tier, sent string }{
		{`"service_tier":"priority"`, "priority", `"service_tier":"priority"`},
		{`"service_tier":"priority","provider":{"only":["beta"]}`, "default", ``},
		{`"service_tier":"flex"`, "flex", `"service_tier":"flex"`},
		{`"model":"m/one:floor"`, "flex", `"service_tier":"flex"`},
		{`"service_tier":"default","provider":{"only":["beta"]}`, "default", `"service_tier":"default"`},
		{`"provider":{"only":["beta"]}`, "", ``},
		{`"service_tier":"priority","stream":true`, "priority", `"service_tier":"priority"`},
	} {
		r := f.ask(t, c.fields)
		all := r.chunks(t)
		if got := all[len(all)-1].ServiceTier; got != c.tier {
			t.Errorf("%s: served as %q, want %q", c.fields, got, c.tier)
		}
		provider := strings.ToLower(strings.Fields(r.record.Outcome.Provider)[0])
		log := f.sims[provider].Log()
		if sent := string(log[len(log)-1].Body); strings.Contains(sent, `"service_tier"`) != (c.sent != "") || !strings.Contains(sent, c.sent) {
			t.Errorf("%s: sent %s", c.fields, sent)
		}
	}
}

// It is told in every API, in that API's word and place.
func TestTheServiceTierIsToldInEveryAPI(t *testing.T) {
	f := openFleet(t, "", "")
	for _, stream := range []string{"", `,"stream":true`} {
		for name, want := range map[string]string{"messages": `"service_tier":"priority"`, "responses": `"service_tier":"priority"`} {
			front := fronts[name]
			r := f.askAt(t, front.path, `"model":"m/one","service_tier":"priority"`+stream+`,`+front.asks)
			if r.tried() != "alpha/priority" || !strings.Contains(r.body, want) {
				t.Errorf("%s%s: by %s, no %s in %s", name, stream, r.tried(), want, r.body)
			}
			r = f.askAt(t, front.path, `"model":"m/one","service_tier":"priority","provider":{"only":["beta"]}`+stream+`,`+front.asks)
			if want := map[string]string{"messages": `"service_tier":"standard"`, "responses": `"service_tier":"default"`}[name]; !strings.Contains(r.body, want) {
				t.Errorf("%s%s: no %s in %s", name, stream, want, r.body)
			}
		}
	}
}

// A provider may serve in another tier than it was asked for, and says so: then that tier's price is billed.
func TestTheTierThatServedIsBilled(t *testing.T) {
	for served, perMillion := range map[string]float64{"priority": 10, "default": 1, "flex": 10, "": 10} {
		said := ""
		if served != "" {
			said = `,"service_tier":"` + served + `"`
		}
		provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked, err := io.ReadAll(r.Body); err != nil || !strings.Contains(string(asked), `"service_tier":"priority"`) {
				t.Errorf("asked %s, %v", asked, err)
			} else if strings.Contains(string(asked), `"stream":true`) {
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprintf(w, `data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"one"%s,"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}`+"\n\n", said)
				fmt.Fprintf(w, `data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"one"%s,"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150}}`+"\n\ndata: [DONE]\n\n", said)
			} else {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"id":"x","object":"chat.completion","created":1,"model":"one"%s,"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150}}`, said)
			}
		}))
		w := before(t, provider.URL, "[[endpoints]]\nmodel = \"m/one\"\nprovider = \"one\"\nservice_tier = \"priority\"\nupstream_model = \"one\"\nprice = { prompt = 10, completion = 20 }\n", nil)
		for _, body := range []string{chat, stream} {
			resp, text := do(t, client(t), newRequest(t, "POST", w.url("/v1/chat/completions"), strings.Replace(body, "{", `{"service_tier":"priority",`, 1)))
			all := (&reply{header: resp.Header, body: text}).chunks(t)
			last := all[len(all)-1]
			want := perMillion * (100 + 2*50) / 1e6
			if last.Usage == nil || last.Usage.Cost == nil || !near(*last.Usage.Cost, want) || served != "" && last.ServiceTier != served || served == "" && last.ServiceTier != "priority" {
				t.Errorf("served as %q: want the cost %g: %s", served, want, text)
			}
			if rec := w.engine.Record(resp.Header.Get("X-Generation-Id")); !near(rec.Attempts[0].Cost.USD(), want) {
				t.Errorf("served as %q: recorded as %v", served, rec.Attempts[0].Cost)
			}
		}
		provider.Close()
	}
}

// Nobody has a balance here that the dearest imaginable answer could exceed: a request is billed for what it has used. Where the
// operator limits what one may cost, the refusal says so.
func TestNobodyIsRefusedForAWorstCase(t *testing.T) {
	const dear = "[models.\"m/dear\"]\ncontext_length = 1000000\n[[endpoints]]\nmodel = \"m/dear\"\nprovider = \"one\"\nupstream_model = \"dear\"\nprice = { prompt = 1000, completion = 5000 }\n"
	ask := func(w *world) (*http.Response, string) {
		return do(t, client(t), newRequest(t, "POST", w.url("/v1/chat/completions"), strings.Replace(chat, "m/one", "m/dear", 1)))
	}
	few := sim.Profile{OutputTokens: sim.Distribution{P50: 3}}
	w := openWith(t, few, dear, nil)
	resp, text := ask(w)
	all := (&reply{header: resp.Header, body: text}).chunks(t)
	if u := all[0].Usage; resp.StatusCode != http.StatusOK || u == nil || u.CompletionTokens != 3 || !near(*u.Cost, float64(1000*u.PromptTokens+5000*3)/1e6) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if resp, text := ask(openWith(t, few, dear+"[dispatch]\nmax_cost = 1\n", nil)); resp.StatusCode != http.StatusPaymentRequired || !strings.Contains(text, "could cost more than is left of what this request may cost") {
		t.Errorf("with a limit: %d %s", resp.StatusCode, text)
	}
}

// X-OpenRouter-Metadata: enabled tells what became of the request: in the answer, its last event, or the error.
func TestRouterMetadata(t *testing.T) {
	down := []sim.Fault{{Kind: sim.Status, Status: 503, Share: 1}}
	f := openFleet(t, "[timeouts]\ntotal = \"2s\"\n", "", sim.Profile{Name: "alpha", Faults: down})
	const on = "X-OpenRouter-Metadata: enabled"
	type metadata struct {
		ID, Requested, Strategy, Summary string
		Attempt                          int
		BYOK                             *bool `json:"is_byok"`
		Endpoints                        struct {
			Total     int
			Available []struct {
				Provider, Model string
				Selected        bool
			}
		}
		Attempts []struct {
			Provider, Model string
			Status          int
		}
		Pipeline []any
	}
	for _, c := range []struct {
		name, fields, strategy string
		status, attempt        int
		selected               string
	}{
		{"whole", `"provider":{"order":["alpha/east","beta"]}`, "direct", 200, 2, "Beta"},
		{"streamed", `"stream":true,"provider":{"only":["beta"]}`, "direct", 200, 1, "Beta"},
		{"fallback models", `"models":["m/two","m/three"]`, "fallback", 200, 1, "Beta"},
		{"free", `"model":"m/two:free"`, "free", 200, 1, "Delta"},
		{"an alias", `"model":"three"`, "alias", 200, 1, "Delta"},
		{"refused", `"provider":{"only":["nobody"]}`, "direct", 404, 0, ""},
		{"failed", `"provider":{"only":["alpha/east"]}`, "direct", 503, 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.ask(t, c.fields, on)
			var raw json.RawMessage
			if c.status == 200 {
				all := r.chunks(t)
				for _, x := range all[:len(all)-1] {
					if x.Metadata != nil || x.Usage != nil {
						t.Errorf("not only the last event has metadata and usage: %s", r.body)
					}
				}
				if last := all[len(all)-1]; last.Usage == nil {
					t.Errorf("the last event has no usage: %s", r.body)
				} else {
					raw = last.Metadata
				}
			} else {
				var e chunk
				json.Unmarshal([]byte(r.body), &e)
				raw = e.Metadata
			}
			var m metadata
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatalf("%v: %s", err, r.body)
			}
			if r.status != c.status || m.ID != r.record.ID || m.Strategy != c.strategy || m.Attempt < c.attempt || (m.Attempt > 0) != (c.attempt > 0) ||
				m.Summary == "" || m.BYOK == nil || m.Pipeline == nil || m.Endpoints.Total != len(r.record.Candidates) {
				t.Errorf("%d %s", r.status, raw)
			}
			if len(m.Attempts) != len(r.record.Attempts) {
				t.Errorf("%d attempts told, %d made", len(m.Attempts), len(r.record.Attempts))
			}
			selected := ""
			for _, e := range m.Endpoints.Available {
				if e.Selected {
					selected = e.Provider
				}
			}
			if selected != c.selected {
				t.Errorf("%q is selected, want %q", selected, c.selected)
			}
			if without := f.ask(t, c.fields); strings.Contains(without.body, "openrouter_metadata") {
				t.Errorf("without the header: %s", without.body)
			}
		})
	}
}

// What a request was and what became of it stands in its generation, in whatever API it was asked.
func TestAGenerationTellsWhatIsKnownOfARequest(t *testing.T) {
	f := openFleet(t, `[journal]
dir = "journal"
[presets.calm]
model = "m/one"
[models."m/vectors"]
context_length = 1000
output_modalities = ["embeddings"]
[[endpoints]]
model = "m/vectors"
provider = "delta"
credentials = ["paid"]
upstream_model = "vectors"
price = { prompt = 2, completion = 0 }
[models."m/eyes"]
context_length = 32000
input_modalities = ["text", "image"]
[[endpoints]]
model = "m/eyes"
provider = "delta"
credentials = ["paid"]
upstream_model = "eyes"
price = { prompt = 2, completion = 0 }
`, "")
	picture := `"messages":[{"role":"user","content":[{"type":"text","text":"what is it?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]`
	generation := func(r *reply) map[string]any {
		t.Helper()
		_, text := do(t, client(t), newRequest(t, http.MethodGet, "http://"+f.Addr().String()+"/v1/generation?id="+r.header.Get("X-Generation-Id"), ""))
		var g struct{ Data map[string]any }
		if err := json.Unmarshal([]byte(text), &g); err != nil || r.status != http.StatusOK {
			t.Fatalf("%d %s: %v: %s", r.status, r.body, err, text)
		}
		return g.Data
	}
	is := func(name string, g map[string]any, want map[string]any) {
		t.Helper()
		for field, v := range want {
			if got, there := g[field]; !there || got != v {
				t.Errorf("%s: %s is %v, not %v", name, field, got, v)
			}
		}
	}
	chat := f.ask(t, `"model":"@preset/calm","service_tier":"priority","session_id":"s-1","user":"u-1"`, "HTTP-Referer: https://app.example/chat?x=1", "X-Title: App", "User-Agent: tool/1.0")
	g := generation(chat)
	is("chat", g, map[string]any{"api_type": "completions", "api": "chat", "session_id": "s-1", "external_user": "u-1", "preset_id": "calm", "num_media_prompt": 0.0,
		"service_tier": "priority", "http_referer": "https://app.example/chat?x=1", "origin": "https://app.example", "user_agent": "tool/1.0", "upstream_id": chat.record.Attempts[0].UpstreamID, "app": "App", "finish_reason": "stop", "native_finish_reason": "stop", "streamed": false,
		"model": "m/one", "response_cache_source_id": nil, "cache_discount": nil, "router": nil, "is_byok": false})
	if first := g["provider_responses"].([]any)[0].(map[string]any); first["routed_service_tier"] != "priority" || first["endpoint_id"] != chat.record.Attempts[0].Row || first["id"] != g["upstream_id"] ||
		!strings.HasPrefix(chat.record.Attempts[0].UpstreamID, "chatcmpl-") {
		t.Errorf("%v", first)
	}
	is("a picture", generation(f.ask(t, `"model":"m/eyes",`+picture)), map[string]any{"num_media_prompt": 1.0})
	is("no tier", generation(f.ask(t, `"provider":{"only":["beta"]}`)), map[string]any{"service_tier": nil, "session_id": nil, "preset_id": nil})
	is("another tier", generation(f.ask(t, `"service_tier":"priority","provider":{"only":["beta"]}`)), map[string]any{"service_tier": "default"})
	for api, front := range fronts {
		g := generation(f.askAt(t, front.path, `"model":"m/one",`+front.asks))
		is(api, g, map[string]any{"api_type": "completions", "api": api, "origin": ""})
		if id, _ := g["upstream_id"].(string); id == "" {
			t.Errorf("%s: the provider's id is %v", api, g["upstream_id"])
		}
	}
	is("a page", generation(f.ask(t, ``, "Origin: https://page.example", "HTTP-Referer: https://app.example")), map[string]any{"origin": "https://page.example", "http_referer": "https://app.example"})
	is("embeddings", generation(f.askAt(t, "/v1/embeddings", `"model":"m/vectors","input":"hi"`)), map[string]any{"api_type": "embeddings", "api": "embeddings"})
	first := f.ask(t, `"model":"m/three"`, cached)
	is("from memory", generation(f.ask(t, `"model":"m/three"`, cached)), map[string]any{"response_cache_source_id": first.record.ID, "total_cost": 0.0})
}
