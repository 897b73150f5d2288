package dispatch_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"chaperone/engine"
	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

// sent is the last request that a provider got.
func (w *world) sent(t *testing.T, at int) sim.Record {
	t.Helper()
	log := w.sims[at].Log()
	if len(log) == 0 {
		t.Fatalf("nothing has reached p%d", at)
	}
	return log[len(log)-1]
}

func TestWhatAnthropicGetsOfTheHeader(t *testing.T) {
	w := openWorld(t, "[routing]\nupstream_user = \"plain\"\n", back{"anthropic", sim.Profile{}})
	for _, c := range []struct {
		shape         wire.Shape
		head          wire.Head
		version, beta string
	}{
		{wire.Messages, wire.Head{AnthropicVersion: "2023-01-01", AnthropicBeta: []string{"a-2025-01-01", "b"}}, "2023-01-01", "a-2025-01-01,b"},
		{wire.Messages, wire.Head{}, "2023-06-01", ""},
		{wire.Chat, wire.Head{}, "2023-06-01", ""},
	} {
		_, err := w.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Shape: c.shape, Head: c.head,
			Body: []byte(`{"model":"m/one","max_tokens":5,"provider":{"order":["p0"]},"messages":[{"role":"user","content":"hi"}]}`)})
		if err != nil {
			t.Fatal(err)
		}
		got := w.sent(t, 0)
		if v, b, k := got.Header.Get("Anthropic-Version"), got.Header.Get("Anthropic-Beta"), got.Header.Get("X-Api-Key"); v != c.version || b != c.beta || k != secret+"0" || got.Header.Get("Authorization") != "" {
			t.Errorf("%s: version %q, beta %q, key %q", c.shape, v, b, k)
		}
	}
}

func TestAnthropicIsToldALimitWhereTheClientSaysNone(t *testing.T) {
	w := openWorld(t, "", back{"anthropic", sim.Profile{OutputTokens: sim.Distribution{P50: 5}}})
	if _, e := w.ask(t, wire.Chat, false, `"messages":[{"role":"user","content":"hi"}]`); e != nil {
		t.Fatal(e)
	}
	if got := at(t, w.sent(t, 0).Body, "max_tokens"); got != "4096" {
		t.Errorf("told %s", got)
	}
}

// The record has OpenRouter's word for why an answer ended, and the provider's own.
func TestBothWordsForTheEndAreRecorded(t *testing.T) {
	for dialect, native := range map[string]string{"anthropic": "end_turn", "openai": ""} {
		w := openWorld(t, "", back{dialect, sim.Profile{OutputTokens: sim.Distribution{P50: 5}}})
		for _, stream := range []bool{false, true} {
			body := fmt.Appendf(nil, `{"model":"m/one","stream":%t,"messages":[{"role":"user","content":"hi"}]}`, stream)
			resp, err := w.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Body: body})
			if err != nil {
				t.Fatal(err)
			}
			if resp.Stream != nil {
				if _, err := io.Copy(io.Discard, resp.Stream); err != nil {
					t.Fatal(err)
				}
			}
			if o := w.engine.Record(resp.Plan.ID).Outcome; o.FinishReason != "stop" || o.NativeReason != native {
				t.Errorf("%s, stream %t: it ended with %q, in the provider's words %q", dialect, stream, o.FinishReason, o.NativeReason)
			}
		}
	}
}

func TestCacheMarksAreKept(t *testing.T) {
	w := openWorld(t, "", back{"anthropic", sim.Profile{}})
	if _, e := w.ask(t, wire.Chat, false, `"max_tokens":5,"messages":[{"role":"system","content":[{"type":"text","text":"long","cache_control":{"type":"ephemeral","ttl":"1h"}}]},{"role":"user","content":"hi"}]`); e != nil {
		t.Fatal(e)
	}
	if got := at(t, w.sent(t, 0).Body, "system.0.cache_control.ttl"); got != `"1h"` {
		t.Errorf("sent %s", w.sent(t, 0).Body)
	}
}

// What one API has and the other lacks leaves its endpoints out, by name; where none is left the client is told.
func TestWhatADialectCannotSayGoesElsewhere(t *testing.T) {
	const hi = `"max_tokens":50,"messages":[{"role":"user","content":"hi"}]`
	for _, c := range []struct {
		front  wire.Shape
		fields string
		to     string // the only dialect that can
		about  string // named in the refusal of the other
	}{
		{wire.Chat, hi + `,"n":2`, "openai", "n: asks for 2 answers"},
		{wire.Chat, hi + `,"seed":7`, "openai", "seed"},
		{wire.Chat, hi + `,"logprobs":true`, "openai", "logprobs"},
		{wire.Chat, hi + `,"temperature":1.5`, "openai", "temperature"},
		{wire.Chat, hi + `,"frequency_penalty":0.5`, "openai", "frequency_penalty"},
		{wire.Chat, hi + `,"store":true`, "openai", "store"},
		{wire.Chat, hi + `,"response_format":{"type":"json_object"}`, "openai", "response_format"},
		{wire.Chat, hi + `,"new_parameter":{"x":1}`, "openai", "new_parameter"},
		{wire.Chat, `"max_tokens":50,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"system","content":"c"},{"role":"user","content":"d"}]`, "openai", "messages[2]"},
		{wire.Chat, `"max_tokens":50,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{broken"}}]},{"role":"tool","tool_call_id":"x","content":"r"}]`, "openai", "messages[1]"},
		{wire.Messages, hi + `,"top_k":3,"context_management":{"edits":[]}`, "anthropic", "context_management"},
		{wire.Messages, `"max_tokens":50,"messages":[{"role":"user","content":[{"type":"document","title":"t","context":"c","source":{"type":"url","url":"https://x.example.com/a.pdf"}}]}]`, "anthropic", "messages[0].content[0].context"},
		{wire.Messages, `"max_tokens":50,"messages":[{"role":"user","content":"go"},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + picture + `"}}]}]}]`, "anthropic", "more than text"},
		{wire.Messages, hi + `,"tools":[{"type":"bash_20250124","name":"bash"}]`, "anthropic", "bash_20250124"},
		{wire.Chat, hi + `,"temperature":1,"frequency_penalty":0,"n":1,"logprobs":false,"prompt_cache_key":"k","safety_identifier":"s","stream_options":{"include_usage":true}`, "", ""},
	} {
		for _, only := range []string{"openai", "anthropic"} {
			t.Run(c.about+"/"+only, func(t *testing.T) {
				t.Parallel()
				w := openWorld(t, "", back{only, sim.Profile{}})
				_, e := w.ask(t, c.front, false, c.fields)
				switch {
				case c.to == "" || c.to == only:
					if e != nil {
						t.Errorf("refused: %v", e)
					}
				case e == nil:
					t.Errorf("served although it cannot be said: %s", w.sent(t, 0).Body)
				case e.Status != 404 || !strings.Contains(fmt.Sprint(e.Message, e.Metadata), c.about):
					t.Errorf("%d %s %v; should name %s", e.Status, e.Message, e.Metadata, c.about)
				}
			})
		}
	}
}

// Thoughts of one maker, shown in the other's API, go back to their maker as they came, and to nobody else.
func TestReasoningIsReplayedToWhoMadeIt(t *testing.T) {
	thinking := sim.Profile{ReasoningTokens: 6, ReasoningIn: "reasoning", OutputTokens: sim.Distribution{P50: 10}}
	for _, stream := range []bool{false, true} {
		made := openWorld(t, "", back{"anthropic", thinking})
		got, e := made.ask(t, wire.Chat, stream, `"max_tokens":4000,"reasoning":{"max_tokens":2000},"messages":[{"role":"user","content":"think"}]`)
		if e != nil {
			t.Fatal(e)
		}
		replay := fmt.Sprintf(`"max_tokens":4000,"reasoning":{"max_tokens":2000},"messages":[{"role":"user","content":"think"},{"role":"assistant","content":"so","reasoning_details":[{"type":"reasoning.text","text":%q,"signature":%q,"format":"anthropic-claude-v1","index":0}]},{"role":"user","content":"go on"}]`,
			got.reasoning, got.signatures[0])
		if _, e := made.ask(t, wire.Chat, stream, replay); e != nil {
			t.Errorf("its maker refuses it: %v", e) // the simulator checks signatures
		}
	}
	// What another maker thought can be shown to a client of Anthropic's API, which sends it back as a signed block.
	w := openWorld(t, "", back{"openai", thinking})
	got, e := w.ask(t, wire.Messages, true, `"max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":2000},"messages":[{"role":"user","content":"think"}]`)
	if e != nil || got.reasoning == "" || len(got.signatures) != 1 {
		t.Fatalf("%+v %v", got, e)
	}
	replay := fmt.Sprintf(`"max_tokens":4000,"messages":[{"role":"user","content":"think"},{"role":"assistant","content":[{"type":"thinking","thinking":%q,"signature":%q},{"type":"text","text":"so"}]},{"role":"user","content":"go on"}]`,
		got.reasoning, got.signatures[0])
	if _, e := w.ask(t, wire.Messages, false, replay); e != nil {
		t.Fatalf("its maker does not get it back: %v", e)
	}
	if r := at(t, w.sent(t, 0).Body, "messages.1.reasoning"); r != quotedJSON(t, got.reasoning) {
		t.Errorf("sent back as %s", r)
	}
	other := openWorld(t, "", back{"anthropic", thinking})
	if _, e := other.ask(t, wire.Messages, false, replay); e == nil || e.Status != 404 {
		t.Errorf("Anthropic got another maker's reasoning: %v", e)
	}
	// A form that is known to be another author's goes to none of this model's endpoints.
	sealed := `"max_tokens":50,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","reasoning_details":[{"type":"reasoning.encrypted","data":"x","format":"openai-responses-v1"}]},{"role":"user","content":"c"}]`
	if _, e := w.ask(t, wire.Chat, false, sealed); e == nil || !strings.Contains(fmt.Sprint(e.Message, e.Metadata), "openai-responses-v1") {
		t.Errorf("sent sealed reasoning to whom cannot read it: %v", e)
	}
}

func quotedJSON(t *testing.T, s string) string {
	t.Helper()
	return at(t, fmt.Appendf(nil, `{"s":%q}`, s), "s")
}

func TestReasoningThatIsNotWantedIsNotShown(t *testing.T) {
	for _, stream := range []bool{false, true} {
		w := openWorld(t, "", back{"anthropic", sim.Profile{ReasoningTokens: 6}})
		got, e := w.ask(t, wire.Chat, stream, `"max_tokens":4000,"reasoning":{"max_tokens":2000,"exclude":true},"messages":[{"role":"user","content":"think"}]`)
		if e != nil || got.reasoning != "" || got.signatures != nil || got.text == "" {
			t.Errorf("%+v %v", got, e)
		}
	}
}

func TestTokensAreCountedByWhoMaySeeThem(t *testing.T) {
	ask := func(w *world, body string) (string, error) {
		resp, err := w.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Shape: wire.CountTokens, Body: []byte(body)})
		if err != nil {
			return "", err
		}
		return string(resp.Body), nil
	}
	const body = `{"model":"m/one","messages":[{"role":"user","content":"count this, please"}]}`
	w := openWorld(t, "", back{"openai", sim.Profile{}}, back{"anthropic", sim.Profile{}})
	if got, err := ask(w, body); err != nil || strings.Contains(got, "estimated") || w.sims[0].Counts().Requests != 0 || w.sims[1].Counts().Requests != 1 {
		t.Errorf("%s %v", got, err)
	}
	for name, w := range map[string]*world{
		"nobody can count": openWorld(t, "", back{"openai", sim.Profile{}}),
		"it is down":       openWorld(t, calm, back{"anthropic", always(sim.Fault{Kind: sim.Status, Status: 500})}),
	} {
		if got, err := ask(w, body); err != nil || !strings.Contains(got, `"estimated":true`) {
			t.Errorf("%s: %s %v", name, got, err)
		}
	}
	if got, err := ask(w, `{"model":"m/unknown","messages":[{"role":"user","content":"x"}]}`); err == nil {
		t.Errorf("an unknown model: %s", got)
	}
	if got, err := ask(w, `{"model":"m/one","messages":[]}`); err == nil {
		t.Errorf("no messages: %s", got)
	}
	if got, err := ask(w, strings.Replace(body, "{", `{"stream":true,`, 1)); err == nil {
		t.Errorf("a count cannot be streamed: %s", got)
	}
}

// canned serves one stream, cut after so many bytes.
type canned struct {
	stream []byte
	cut    atomic.Int64
}

func (c *canned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	cut := int(c.cut.Load())
	w.Write(c.stream[:cut])
	if cut < len(c.stream) {
		control := http.NewResponseController(w)
		control.Flush()
		if conn, _, err := control.Hijack(); err == nil {
			conn.Close()
		}
	}
}

var streams = map[string]string{
	"openai": `data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}` + "\n\n" +
		`data: {"id":"x","choices":[{"index":0,"delta":{"content":"né"}}]}` + "\n\n" + `data: {"id":"x","choices":[{"index":0,"delta":{"content":"!"}}]}` + "\n\n" +
		`data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n" +
		`data: {"id":"x","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}` + "\n\n" + "data: [DONE]\n\n",
	"anthropic": "event: message_start\n" + `data: {"type":"message_start","message":{"id":"x","type":"message","role":"assistant","content":[],"model":"u","usage":{"input_tokens":3,"output_tokens":1}}}` + "\n\n" +
		"event: content_block_start\n" + `data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}` + "\n\n" +
		"event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"né"}}` + "\n\n" +
		"event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"!"}}` + "\n\n" +
		"event: content_block_stop\n" + `data: {"type":"content_block_stop","index":0}` + "\n\n" +
		"event: message_delta\n" + `data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}` + "\n\n" +
		"event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n",
}

// Wherever a provider's stream is cut, a client has a beginning of the answer and the error of its API, or the whole.
func TestAProvidersStreamThatIsCutAtAnyByte(t *testing.T) {
	for _, front := range fronts {
		for dialect, stream := range streams {
			t.Run(string(front)+" over "+dialect, func(t *testing.T) {
				t.Parallel()
				provider := &canned{stream: []byte(stream)}
				server := httptest.NewServer(provider)
				defer server.Close()
				w := openWorld(t, "[dispatch]\nbackoff = \"1ms\"\nrescue = []\nretry_budget = 100\nbreaker = { failures = 1000000, rate = 1 }\n", back{dialect, sim.Profile{}})
				w.redirect(t, server.URL)
				for cut := range len(stream) + 1 {
					provider.cut.Store(int64(cut))
					got, e := w.ask(t, front, true, brief[front])
					switch {
					case e != nil:
						if e.Status < 500 || strings.Contains(stream[:cut], "!") {
							t.Fatalf("cut at %d: %v", cut, e)
						}
					case got.done && (got.text != "né!" || got.finish != "stop" || got.broken != ""):
						t.Fatalf("cut at %d, shown as whole: %+v", cut, got)
					case !got.done && (got.broken == "" || !strings.HasPrefix("né!", got.text)):
						t.Fatalf("cut at %d: %+v", cut, got)
					}
				}
			})
		}
	}
}

// A call of a custom tool is whole or the client is told that it is not.
func TestACustomCallThatIsCutAtAnyByte(t *testing.T) {
	const stream = `data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_a","type":"custom","custom":{"name":"run","input":""}}]}}]}` + "\n\n" +
		`data: {"id":"x","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"custom":{"input":"echo \"né"}}]}}]}` + "\n\n" + `data: {"id":"x","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"custom":{"input":"\"\n"}}]}}]}` + "\n\n" +
		`data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}` + "\n\n" +
		`data: {"id":"x","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}` + "\n\n" + "data: [DONE]\n\n"
	want := sim.Call{ID: "call_a", Name: "run", Arguments: "echo \"né\"\n", Custom: true}
	for front, ask := range map[wire.Shape]string{
		wire.Chat:      `"tools":[{"type":"custom","custom":{"name":"run"}}],` + brief[wire.Chat],
		wire.Responses: `"tools":[{"type":"custom","name":"run"}],` + brief[wire.Responses],
	} {
		t.Run(string(front), func(t *testing.T) {
			t.Parallel()
			provider := &canned{stream: []byte(stream)}
			server := httptest.NewServer(provider)
			defer server.Close()
			w := openWorld(t, "[dispatch]\nbackoff = \"1ms\"\nretry_budget = 100\nbreaker = { failures = 1000000, rate = 1 }\n", back{"openai", sim.Profile{}})
			w.redirect(t, server.URL)
			wholes := 0
			for cut := range len(stream) + 1 {
				provider.cut.Store(int64(cut))
				got, e := w.ask(t, front, true, ask)
				switch {
				case e != nil:
					if e.Status < 500 || strings.Contains(stream[:cut], "\n\n") {
						t.Fatalf("cut at %d: %v", cut, e)
					}
				case got.done:
					wholes++
					if got.broken != "" || got.finish != "tool_calls" || len(got.calls) != 1 || got.calls[0] != want {
						t.Fatalf("cut at %d, shown as whole: %+v", cut, got)
					}
				case got.broken == "":
					t.Fatalf("cut at %d: %+v", cut, got)
				}
			}
			if wholes == 0 {
				t.Error("never whole")
			}
		})
	}
}

// redirect puts another server in the place of the first provider.
func (w *world) redirect(t *testing.T, url string) {
	t.Helper()
	i := slices.IndexFunc(w.engine.Files(), func(f string) bool { return filepath.Base(f) == "chaperone.toml" })
	if i < 0 {
		t.Fatalf("no chaperone.toml among %v", w.engine.Files())
	}
	path := w.engine.Files()[i]
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), w.sims[0].URL(), url+"/v1")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.engine.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}
