package wire_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"chaperone/engine/wire"
	"chaperone/engine/wire/talk"
)

func skimMessages(t *testing.T, body string) *wire.Request {
	t.Helper()
	r, e := wire.Skim(wire.Messages, wire.Head{}, []byte(body))
	if e != nil {
		t.Fatalf("%v in %s", e, body)
	}
	return r
}

const turn = `"model":"m","max_tokens":10,"messages":[{"role":"user","content":"hi"}]`

// What a provider would keep or contact, policy has to see in Anthropic's API as well.
func TestWhatPolicySeesOfAMessagesRequest(t *testing.T) {
	for _, c := range []struct {
		name, body string
		holds      func(r *wire.Request) bool
	}{
		{"limit", `{` + turn + `}`, func(r *wire.Request) bool { return r.MaxOutputTokens == 10 && !r.Stream && r.Shape == wire.Messages }},
		{"stream", `{"stream":true,` + turn + `}`, func(r *wire.Request) bool { return r.Stream }},
		{"function", `{"tools":[{"name":"f","input_schema":{"type":"object","url":"https://nobody.example"}}],` + turn + `}`,
			func(r *wire.Request) bool {
				return slices.Equal(r.ToolKinds, []string{"function"}) && r.ToolCount == 1 && r.EgressHosts == nil && slices.Contains(r.Parameters, "tools")
			}},
		{"web search", `{"tools":[{"type":"web_search_20250305","name":"web_search"}],` + turn + `}`,
			func(r *wire.Request) bool { return slices.Equal(r.ToolKinds, []string{"web_search"}) }},
		{"tools of Anthropic's that the client runs", `{"tools":[{"type":"bash_20250124","name":"bash"},{"type":"text_editor_20250728","name":"e"},{"type":"memory_20250818","name":"m"}],` + turn + `}`,
			func(r *wire.Request) bool { return slices.Equal(r.ToolKinds, []string{"function"}) && r.ToolCount == 3 }},
		{"code execution", `{"tools":[{"type":"code_execution_20250825","name":"code_execution"}],` + turn + `}`,
			func(r *wire.Request) bool { return slices.Equal(r.ToolKinds, []string{"code_execution"}) }},
		{"remote tools", `{"mcp_servers":[{"type":"url","url":"https://tools.example.com/sse","name":"t"}],` + turn + `}`,
			func(r *wire.Request) bool {
				return slices.Equal(r.ToolKinds, []string{"mcp"}) && slices.Equal(r.EgressHosts, []string{"tools.example.com"})
			}},
		{"container", `{"container":"container_1",` + turn + `}`, func(r *wire.Request) bool { return r.PreviousResponse }},
		{"skills", `{"container":{"skills":[{"type":"anthropic","skill_id":"pptx"}]},` + turn + `}`,
			func(r *wire.Request) bool {
				return slices.Equal(r.ToolKinds, []string{"code_execution"}) && !r.PreviousResponse
			}},
		{"image by URL", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://a.example.com/x.png"}}]}]}`,
			func(r *wire.Request) bool {
				return slices.Equal(r.EgressHosts, []string{"a.example.com"}) && slices.Contains(r.InputModalities, "image")
			}},
		{"image inside a tool's result", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"x","content":[{"type":"image","source":{"type":"url","url":"https://b.example.com/x.png"}}]}]}]}`,
			func(r *wire.Request) bool {
				return slices.Equal(r.EgressHosts, []string{"b.example.com"}) && slices.Contains(r.InputModalities, "image")
			}},
		{"file by id", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"file_1"}}]}]}`,
			func(r *wire.Request) bool { return r.FileReferences && slices.Contains(r.InputModalities, "file") }},
		{"text document", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"hi"}}]}]}`,
			func(r *wire.Request) bool { return slices.Equal(r.InputModalities, []string{"text"}) }},
		{"what a model wrote is fetched by nobody", `{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"x","name":"fetch","input":{"url":"https://nobody.example"}},{"type":"web_search_tool_result","tool_use_id":"y","content":[{"type":"web_search_result","url":"https://nobody.example","title":"t","encrypted_content":"e"}]}]}]}`,
			func(r *wire.Request) bool {
				return r.EgressHosts == nil && slices.Equal(r.InputModalities, []string{"text"})
			}},
		{"a block of an unknown type", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"hologram","x":1}]}]}`,
			func(r *wire.Request) bool { return slices.Contains(r.InputModalities, "hologram") }},
		{"store", `{"store":true,"background":true,"previous_response_id":"r",` + turn + `}`,
			func(r *wire.Request) bool { return r.Store && r.Background && r.PreviousResponse }},
		{"thinking", `{"thinking":{"type":"enabled","budget_tokens":2000},` + turn + `}`,
			func(r *wire.Request) bool {
				return r.ReasoningTokens == 2000 && slices.Contains(r.Parameters, "reasoning")
			}},
		{"no thinking", `{"thinking":{"type":"disabled"},` + turn + `}`, func(r *wire.Request) bool { return r.ReasoningEffort == "none" }},
		{"effort", `{"output_config":{"effort":"high"},` + turn + `}`, func(r *wire.Request) bool { return r.ReasoningEffort == "high" }},
		{"schema", `{"output_config":{"format":{"type":"json_schema","schema":{}}},` + turn + `}`,
			func(r *wire.Request) bool {
				return r.ResponseFormat == "json_schema" && slices.Contains(r.Parameters, "structured_outputs")
			}},
		{"user", `{"metadata":{"user_id":"u1"},` + turn + `}`, func(r *wire.Request) bool { return r.Claims.User == "u1" }},
		{"fallbacks", `{"fallbacks":[{"model":"b"},{"model":"c"}],` + turn + `}`, func(r *wire.Request) bool { return slices.Equal(r.Models, []string{"b", "c"}) }},
		{"routing", `{"provider":{"only":["p"],"zdr":true},"session_id":"s",` + turn + `}`,
			func(r *wire.Request) bool {
				return r.Preferences.ZDR && slices.Equal(r.Preferences.Only, []string{"p"}) && r.SessionID == "s"
			}},
		{"signed reasoning", `{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"c2ln"}]}]}`,
			func(r *wire.Request) bool {
				return slices.Equal(r.Sealed(), []string{"anthropic-claude-v1"}) && !r.Foreign()
			}},
		{"how it begins", `{"system":"be brief",` + turn + `}`, func(r *wire.Request) bool {
			var b strings.Builder
			return r.WriteOpening(&b) && b.String() == "\"be brief\"\x00\"hi\"\x00"
		}},
		{"how it begins behind a line that is always new", `{"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1.177.01c; cc_entrypoint=cli; cch=36ee5;"},
			{"type":"text","text":"X-Note: \"a\\b\"\nx-request: 7\n\nbe\nx-brief: yes"},{"type":"text","text":"x-last: y"}],` + turn + `}`, func(r *wire.Request) bool {
			var b strings.Builder
			return r.WriteOpening(&b) && b.String() == `"\nbe\nx-brief: yes""x-last: y"`+"\x00\"hi\"\x00"
		}},
	} {
		if r := skimMessages(t, c.body); !c.holds(r) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func TestMessagesRequestsThatTwoParsersCouldReadDifferentlyAreRefused(t *testing.T) {
	for body, param := range map[string]string{
		`{"model":"m","max_tokens":1}`:                                                                                               "messages",
		`{"model":"m","messages":[{"role":"user","content":"hi"}]}`:                                                                  "max_tokens",
		`{` + turn + `,"max_tokens":20}`:                                                                                             "max_tokens",
		`{` + turn + `,"MODEL":"n"}`:                                                                                                 "MODEL",
		`{` + turn + `,"mcp_\u017fervers":[]}`:                                                                                       "",
		`{"model":"m","max_tokens":-1,"messages":[{"role":"user","content":"hi"}]}`:                                                  "max_tokens",
		`{"model":"m","max_tokens":1,"messages":[{"content":"hi"}]}`:                                                                 "messages[0]",
		`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"text":"hi"}]}]}`:                                        "messages[0].content[0]",
		`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","Source":{}}]}]}`:                          "messages[0].content[0].Source",
		`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"//x"}}]}]}`: "messages[0].content[0].source.url",
		`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","URL":"//x"}}]}]}`: "messages[0].content[0].source.URL",
		`{` + turn + `,"fallbacks":[{"model":"b","max_tokens":3}]}`:                                                                  "fallbacks[0].max_tokens",
		`{` + turn + `,"speed":"slow"}`:                                                                                              "speed",
		"{" + turn + ",\"system\":\"\xff\"}":                                                                                         "system",
		`{` + turn + `} `:                                                                                                            "-",
		`{` + turn + `} {}`:                                                                                                          "",
		`[` + `{` + turn + `}`:                                                                                                       "",
	} {
		r, e := wire.Skim(wire.Messages, wire.Head{}, []byte(body))
		if param == "-" {
			if e != nil {
				t.Errorf("%s: %v", body, e)
			}
			continue
		}
		if e == nil {
			t.Errorf("accepted %s as %+v", body, r)
			continue
		}
		if e.Status != 400 || param != "" && e.Param != param {
			t.Errorf("%s: %d %q (%s), want %q", body, e.Status, e.Param, e.Message, param)
		}
		var told struct {
			Type  string
			Error struct{ Type, Message string }
		}
		if err := json.Unmarshal(wire.Messages.AppendError(nil, e), &told); err != nil || told.Type != "error" || told.Error.Type != "invalid_request_error" {
			t.Errorf("%v: %+v", err, told)
		}
	}
}

// What commits an attempt at Anthropic's API, event by event.
func TestWhatCommitsOfAnthropicsEvents(t *testing.T) {
	for _, c := range []struct {
		data    string
		kind    wire.Kind
		commits bool
		bytes   int
		finish  string
	}{
		{`{"type":"message_start","message":{"usage":{"input_tokens":5,"output_tokens":1}}}`, wire.Data, false, 0, ""},
		{`{"type":"ping"}`, wire.Comment, false, 0, ""},
		{`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`, wire.Data, false, 0, ""},
		{`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"x"}}`, wire.Data, true, 1, ""},
		{`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`, wire.Data, false, 0, ""},
		{`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"f","input":{}}}`, wire.Data, true, 0, ""},
		{`{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"e"}}`, wire.Data, true, 0, ""},
		{`{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"a","name":"web_search","input":{}}}`, wire.Data, true, 0, ""},
		{`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}`, wire.Data, false, 0, ""},
		{`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"né"}}`, wire.Data, true, 3, ""},
		{`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}`, wire.Data, true, 2, ""},
		{`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}`, wire.Data, true, 0, ""},
		{`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}`, wire.Data, true, 1, ""},
		{`{"type":"content_block_stop","index":0}`, wire.Data, false, 0, ""},
		{`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}}`, wire.Data, false, 0, "stop"},
		{`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}`, wire.Data, false, 0, "tool_calls"},
		{`{"type":"message_stop"}`, wire.End, false, 0, ""},
	} {
		var chunk wire.Chunk
		kind, err := wire.Messages.Event(wire.Event{Data: []byte(c.data)}, &chunk)
		if err != nil || kind != c.kind || kind == wire.Data && (chunk.Commits != c.commits || chunk.OutputBytes != c.bytes || chunk.FinishReason != c.finish) {
			t.Errorf("%s: kind %v, %+v, %v", c.data, kind, chunk, err)
		}
	}
	var chunk wire.Chunk
	if _, err := wire.Messages.Event(wire.Event{Data: []byte(`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`)}, &chunk); err != nil ||
		!reflect.DeepEqual(chunk.Err, &wire.UpstreamError{Type: "overloaded_error", Message: "Overloaded"}) {
		t.Errorf("%+v, %v", chunk.Err, err)
	}
}

func TestAnthropicsUsageCountsTheCacheIntoThePrompt(t *testing.T) {
	var c wire.Chunk
	if err := wire.Messages.Answer([]byte(`{"type":"message","content":[],"stop_reason":"end_turn","usage":{"input_tokens":3,"cache_read_input_tokens":40,"cache_creation_input_tokens":500,"cache_creation":{"ephemeral_5m_input_tokens":400,"ephemeral_1h_input_tokens":100},"output_tokens":7,"output_tokens_details":{"thinking_tokens":2}}}`), &c); err != nil {
		t.Fatal(err)
	}
	if want := (wire.Usage{Known: true, PromptTokens: 543, CompletionTokens: 7, CachedTokens: 40, CacheWriteTokens: 500, ReasoningTokens: 2, CacheWrite1hTokens: 100}); c.Usage != want {
		t.Errorf("got %+v, want %+v", c.Usage, want)
	}
}

func TestAnthropicsScanKeepsNothingForAToken(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates; run without -race")
	}
	data := []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello there"}}`)
	var c wire.Chunk
	ev := wire.Event{Data: data}
	if n := testing.AllocsPerRun(100, func() { wire.Messages.Event(ev, &c) }); n > 0 {
		t.Errorf("%v allocations an event", n)
	}
}

func FuzzSkimMessages(f *testing.F) {
	f.Add([]byte(`{` + turn + `}`))
	f.Add([]byte(`{"tools":[{"type":"web_search_20250305","name":"w"}],"thinking":{"type":"adaptive"},"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}],` + turn + `}`))
	f.Add([]byte(`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"x","is_error":true,"content":[{"type":"text","text":"t"}]},{"type":"document","source":{"type":"content","content":[]},"title":"t"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"chaperone:e30"}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, e := wire.Skim(wire.Messages, wire.Head{}, body)
		if e != nil {
			if e.Status != 400 || !json.Valid(wire.Messages.AppendError(nil, e)) {
				t.Fatalf("%+v", e)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("accepted what is no JSON: %q", body)
		}
		if v := r.In(wire.Chat); !json.Valid(v.Body) || v.Cannot == "" && len(v.Value("messages")) == 0 {
			t.Fatalf("%q becomes %q", body, v.Body)
		}
	})
}

func FuzzTranslateChat(f *testing.F) {
	for _, body := range bodies(f, "good") {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, e := wire.Skim(wire.Chat, wire.Head{}, body)
		if e != nil {
			return
		}
		if v := r.In(wire.Messages); !json.Valid(v.Body) {
			t.Fatalf("%q becomes %q", body, v.Body)
		}
	})
}

// Whatever a provider sends: reading it does not panic, and what is made of it is valid in every API.
func FuzzEvents(f *testing.F) {
	f.Add([]byte(`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"f","input":{"x":1}}}`), []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}`))
	f.Add([]byte(`{"choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.encrypted","data":"x","format":"openai-responses-v1"}]}}]}`), []byte(`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}]}`))
	f.Add([]byte(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"custom","custom":{"name":"c","input":""}}]}}]}`), []byte(`{"choices":[{"delta":{"tool_calls":[{"index":0,"custom":{"input":"ls\n"}}]},"finish_reason":"tool_calls"}]}`))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for _, from := range []wire.Shape{wire.Chat, wire.Messages} {
			var c wire.Chunk
			reader := from.NewReader()
			var deltas []talk.Delta
			for _, data := range [][]byte{first, second} {
				if kind, err := from.Event(wire.Event{Data: data}, &c); err != nil || kind != wire.Data {
					continue
				}
				if out, unknown, err := reader.Read(deltas, nil, data); err == nil && unknown == "" {
					deltas = out
				}
			}
			for _, to := range []wire.Shape{wire.Chat, wire.Messages, wire.Responses, wire.Completions} {
				w := to.NewWriter()
				stream, _ := w.Append(nil, deltas)
				stream = w.End(stream, &talk.Bill{})
				for event := range strings.SplitSeq(string(stream), "\n\n") {
					_, data, found := strings.Cut("\n"+event, "\ndata: ")
					if found && data != "[DONE]" && !json.Valid([]byte(data)) {
						t.Fatalf("%q", event)
					}
				}
			}
		}
	})
}

// Likewise for whole answers.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"type":"message","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"tool_use","id":"a","name":"f","input":{"x":1}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}`))
	f.Add([]byte(`{"choices":[{"index":0,"message":{"content":[{"type":"text","text":"t"}],"reasoning":"r","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{broken"}}]},"finish_reason":"tool_calls"}]}`))
	f.Add([]byte(`{"choices":[{"index":0,"message":{"content":null,"tool_calls":[{"id":"a","type":"custom","custom":{"name":"c","input":"ls\n"}}]},"finish_reason":"tool_calls"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, from := range []wire.Shape{wire.Chat, wire.Messages} {
			var c wire.Chunk
			if from.Answer(body, &c) != nil {
				continue
			}
			a, _ := from.ReadAnswer(body)
			for _, to := range []wire.Shape{wire.Chat, wire.Messages, wire.Responses, wire.Completions} {
				if out := to.WriteAnswer(a, talk.Label{ID: "gen-1"}, talk.Bill{}); !json.Valid(out) {
					t.Fatalf("%q becomes %q", body, out)
				}
			}
		}
	})
}
