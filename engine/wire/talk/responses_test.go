package talk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"chaperone/engine/wire"
	"chaperone/engine/wire/talk"
)

const everyItem = `{
	"model": "m", "instructions": "Be kind.", "max_output_tokens": 50, "temperature": 0.5, "top_p": 1, "parallel_tool_calls": false,
	"stream": true, "store": false, "user": "u", "service_tier": "flex", "include": ["reasoning.encrypted_content"], "truncation": "auto",
	"reasoning": {"effort": "low", "summary": "auto"}, "metadata": {"k": "v"}, "prompt_cache_key": "c",
	"client_metadata": {"session_id": "s"},
	"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true}, "verbosity": "low"},
	"tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true},
		{"type": "custom", "name": "patch", "description": "p", "format": {"type": "grammar", "syntax": "lark", "definition": "start: \"x\""}},
		{"type": "custom", "name": "run", "format": {"type": "text"}}],
	"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "run"}]},
	"input": [
		{"role": "user", "content": [{"type": "input_text", "text": "Look"}, {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
			{"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB"}]},
		{"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Thought"}], "encrypted_content": "SEALED"},
		{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Calling", "annotations": []}]},
		{"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
		{"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{\"a\":1}"},
		{"type": "custom_tool_call", "id": "ctc_1", "call_id": "c3", "name": "run", "input": "ls -l\n", "status": "completed"},
		{"type": "function_call_output", "call_id": "c1", "output": "one"},
		{"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
		{"type": "custom_tool_call_output", "call_id": "c3", "output": "three"},
		{"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
	]}`

func TestReadResponsesTakesEveryItem(t *testing.T) {
	got := talk.ReadResponses([]byte(everyItem))
	no, yes := false, true
	want := &talk.Request{
		Messages: []talk.Message{
			{Role: "system", Parts: []talk.Part{{Kind: talk.Text, Text: "Be kind."}}},
			{Role: "user", Parts: []talk.Part{{Kind: talk.Text, Text: "Look"},
				{Kind: talk.Image, Media: &talk.Media{Data: "AAAA", Type: "image/png", Detail: "low"}},
				{Kind: talk.File, Media: &talk.Media{Data: "BBBB", Type: "application/pdf", Name: "a.pdf"}}}},
			{Role: "assistant", Parts: []talk.Part{
				{Kind: talk.Thought, Thought: &talk.Think{Summary: "Thought", ID: "rs_1", Format: talk.ResponsesFormat}},
				{Kind: talk.Thought, Thought: &talk.Think{Data: "SEALED", ID: "rs_1", Format: talk.ResponsesFormat}},
				{Kind: talk.Text, Text: "Calling"},
				{Kind: talk.ToolCall, Call: &talk.Call{ID: "c1", Name: "f", Arguments: "{}"}},
				{Kind: talk.ToolCall, Call: &talk.Call{ID: "c2", Name: "f", Arguments: `{"a":1}`}},
				{Kind: talk.ToolCall, Call: &talk.Call{ID: "c3", Name: "run", Arguments: "ls -l\n", Custom: true}}}},
			{Role: "user", Parts: []talk.Part{
				{Kind: talk.ToolReply, Reply: &talk.Reply{CallID: "c1", Parts: []talk.Part{{Kind: talk.Text, Text: "one"}}}},
				{Kind: talk.ToolReply, Reply: &talk.Reply{CallID: "c2", Parts: []talk.Part{{Kind: talk.Text, Text: "two"}}}},
				{Kind: talk.ToolReply, Reply: &talk.Reply{CallID: "c3", Parts: []talk.Part{{Kind: talk.Text, Text: "three"}}}}}},
			{Role: "assistant", Parts: []talk.Part{{Kind: talk.Refusal, Text: "No."}}},
		},
		Tools: []talk.Tool{{Name: "f", Description: "d", Schema: json.RawMessage(`{"type": "object"}`), Strict: &yes},
			{Name: "patch", Description: "p", Custom: true, Grammar: &talk.Grammar{Syntax: "lark", Definition: `start: "x"`}}, {Name: "run", Custom: true}},
		Choice: talk.Choice{Mode: "required", Allowed: []talk.Named{{Name: "f"}, {Name: "run", Custom: true}}}, Parallel: &no,
		Format:    talk.Format{Kind: "json_schema", Name: "n", Schema: json.RawMessage(`{"type": "object"}`), Strict: &yes},
		MaxTokens: 50, Reasoning: talk.Reasoning{Effort: "low", Summary: "auto"},
		Sampling: map[string]json.RawMessage{"temperature": json.RawMessage("0.5"), "top_p": json.RawMessage("1"), "verbosity": json.RawMessage(`"low"`)},
		N:        1, Stream: true, User: "u", Tier: "flex", Metadata: map[string]string{"k": "v"},
	}
	if !reflect.DeepEqual(got, want) {
		a, _ := json.MarshalIndent(got, "", " ")
		b, _ := json.MarshalIndent(want, "", " ")
		t.Errorf("got %s\nwant %s", a, b)
	}
}

func TestReadResponsesNamesWhatCannotBeTranslated(t *testing.T) {
	for body, want := range map[string]string{
		`{"input":[{"type":"web_search_call","id":"x"}]}`:                                             `input[0]: is an item of type "web_search_call"`,
		`{"input":[{"role":"user","content":[{"type":"input_video"}]}]}`:                              `input[0].content[0]: is a part of type "input_video"`,
		`{"input":"x","tools":[{"type":"web_search"}]}`:                                               `tools[0]: is a tool of type "web_search"`,
		`{"input":"x","tool_choice":{"type":"mcp","server_label":"s"}}`:                               `tool_choice: is of type "mcp"`,
		`{"input":"x","tool_choice":{"type":"allowed_tools"}}`:                                        `tool_choice.mode: is ""; it should be auto or required`,
		`{"input":"x","tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"mcp"}]}}`: `tool_choice.tools[0]: is of type "mcp"`,
		`{"input":"x","tools":[{"type":"custom","name":"c","format":{"type":"xml"}}]}`:                `tools[0].format.type: is "xml"; it should be text or grammar`,
		`{"input":"x","tools":[{"type":"custom","name":"c","defer_loading":true}]}`:                   `tools[0].defer_loading: is not a field`,
		`{"input":"x","moderation":true}`:                                                             `moderation: is not a field that this router can translate`,
		`{"input":[{"role":"owner","content":"x"}]}`:                                                  `input[0].role: is none of`,
		`{"input":"x","text":{"format":{"type":"grammar"}}}`:                                          `text.format.type: asks for "grammar"`,
		`{"input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{}","caller":{}}]}`:  `input[0].caller: is not a field`,
	} {
		if got := strings.Join(talk.ReadResponses([]byte(body)).Unknown, "; "); !strings.Contains(got, want) {
			t.Errorf("%s\ngot  %s\nwant %s", body, got, want)
		}
	}
}

// What is asked for in the Responses API is said in the words of chat completions.
func TestCustomToolsAndChoicesAreSaidInChat(t *testing.T) {
	said := func(body string) string {
		r := talk.ReadResponses([]byte(body))
		chat, unsaid := talk.WriteChat(r)
		if len(r.Unknown)+len(unsaid) > 0 {
			t.Errorf("%s: %v %v", body, r.Unknown, unsaid)
		}
		return string(chat)
	}
	for body, want := range map[string]string{
		`{"input":"x","tools":[{"type":"custom","name":"c","description":"d","format":{"type":"grammar","syntax":"regex","definition":"[a-z]+"}}]}`: `"tools":[{"custom":{"description":"d","format":{"grammar":{"definition":"[a-z]+","syntax":"regex"},"type":"grammar"},"name":"c"},"type":"custom"}]`,
		`{"input":"x","tool_choice":{"type":"custom","name":"c"}}`:                                                                                  `"tool_choice":{"custom":{"name":"c"},"type":"custom"}`,
		`{"input":"x","tool_choice":{"type":"function","name":"f"}}`:                                                                                `"tool_choice":{"function":{"name":"f"},"type":"function"}`,
		`{"input":"x","tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"custom","name":"c"},{"type":"function","name":"f"}]}}`:  `"tool_choice":{"allowed_tools":{"mode":"auto","tools":[{"custom":{"name":"c"},"type":"custom"},{"function":{"name":"f"},"type":"function"}]},"type":"allowed_tools"}`,
	} {
		if got := said(body); !strings.Contains(got, want) {
			t.Errorf("%s\ngot  %s\nwant %s", body, got, want)
		}
	}
	chat := said(everyItem)
	for _, want := range []string{`{"custom":{"input":"ls -l\n","name":"run"},"id":"c3","type":"custom"}`, `{"content":"three","role":"tool","tool_call_id":"c3"}`} {
		if !strings.Contains(chat, want) {
			t.Errorf("no %s in %s", want, chat)
		}
	}
}

// Anthropic's API has no words for custom tools, for calls of them and for a choice among some tools.
func TestCustomToolsCannotBeSaidInMessages(t *testing.T) {
	for body, want := range map[string]string{
		`{"tools":[{"type":"custom","custom":{"name":"c"}}],"messages":[{"role":"user","content":"x"}]}`:                                                                                                                                  "tools[0]: is a custom tool",
		`{"messages":[{"role":"assistant","tool_calls":[{"id":"a","type":"custom","custom":{"name":"c","input":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"x"}]}`:                                                               "messages[0]: has a call of the custom tool c",
		`{"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"f"}}]}},"messages":[{"role":"user","content":"x"}]}`: "tool_choice: allows only some of the tools",
		`{"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"custom","custom":{"name":"f"}},"messages":[{"role":"user","content":"x"}]}`:                                                                        "tool_choice: demands the custom tool f",
	} {
		r := talk.ReadChat([]byte(body))
		if _, unsaid := talk.WriteMessages(r); len(r.Unknown) > 0 || len(unsaid) == 0 || !strings.HasPrefix(unsaid[0], want) {
			t.Errorf("%s\ngot  %v %q\nwant %s", body, r.Unknown, unsaid, want)
		}
	}
	w := talk.NewMessagesWriter()
	if _, unsaid := w.Append(nil, []talk.Delta{{Kind: talk.BeginCall, ID: "a", Name: "c", Custom: true}}); unsaid != "a call of a custom tool" {
		t.Errorf("unsaid %q", unsaid)
	}
}

// Claude Code's line for Anthropic's billing goes to nobody else; the rest of the instructions does.
func TestTheLineForBillingIsNotTranslated(t *testing.T) {
	const line = "x-anthropic-billing-header: cc_version=2.1.177.01c; cc_entrypoint=cli; cch=36ee5;"
	for system, want := range map[string]string{
		`[{"type":"text","text":"` + line + `"},{"type":"text","text":"Be kind."}]`: `[{"content":"Be kind.","role":"system"},{"content":"x","role":"user"}]`,
		`"` + line + `\n\nBe kind."`: `[{"content":"Be kind.","role":"system"},{"content":"x","role":"user"}]`,
		`"` + line + `"`:             `[{"content":"x","role":"user"}]`,
		`"Be kind.\n` + line + `"`:   `[{"content":"Be kind.\n` + line + `","role":"system"},{"content":"x","role":"user"}]`,
	} {
		r := talk.ReadMessages([]byte(`{"max_tokens":1,"system":` + system + `,"messages":[{"role":"user","content":"x"}]}`))
		if chat, unsaid := talk.WriteChat(r); !strings.Contains(string(chat), `"messages":`+want) || len(r.Unknown)+len(unsaid) > 0 {
			t.Errorf("%s becomes %s, %q %q; want %s", system, chat, r.Unknown, unsaid, want)
		}
	}
}

func TestReadCompletionsTakesOneText(t *testing.T) {
	r := talk.ReadCompletions([]byte(`{"model":"m","prompt":["Once"],"max_tokens":5,"stop":"\n","n":2,"stream":true,"temperature":0}`))
	if len(r.Unknown) > 0 || r.Messages[0].Parts[0].Text != "Once" || r.MaxTokens != 5 || r.N != 2 || !r.Stream || r.Stop[0] != "\n" {
		t.Errorf("%+v", r)
	}
	for body, want := range map[string]string{
		`{"prompt":["a","b"]}`:            "prompt: is not one text",
		`{"prompt":[1,2]}`:                "prompt: is not one text",
		`{"prompt":"a","suffix":"b"}`:     "suffix:",
		`{"prompt":"a","echo":true}`:      "echo:",
		`{"prompt":"a","best_of":3}`:      "best_of:",
		`{"prompt":"a","logprobs":5}`:     "logprobs:",
		`{"prompt":"a","guided_regex":1}`: "guided_regex: is not a field",
	} {
		if got := strings.Join(talk.ReadCompletions([]byte(body)).Unknown, "; "); !strings.Contains(got, want) {
			t.Errorf("%s\ngot  %s\nwant %s", body, got, want)
		}
	}
}

// randomDeltas is a stream as a reader gives it, and the answer that it adds up to.
func randomDeltas(r *rand.Rand) ([]talk.Delta, talk.Answer) {
	var deltas []talk.Delta
	c := talk.Alternative{Finish: []string{talk.Stop, talk.Length, talk.Filtered, talk.Calls}[r.IntN(4)]}
	pieces := func(kind talk.DeltaKind, d talk.Delta) string {
		whole := ""
		for range 1 + r.IntN(3) {
			d.Kind, d.Text = kind, fmt.Sprintf("<%d \"é\n>", r.IntN(1000))
			whole += d.Text
			deltas = append(deltas, d)
		}
		return whole
	}
	for i := range r.IntN(3) {
		th := talk.Think{Format: "f", ID: fmt.Sprint("t", i)}
		d := talk.Delta{Block: i, Format: th.Format, ID: th.ID}
		if r.IntN(2) == 0 {
			th.Text = pieces(talk.AddThought, d)
		}
		if r.IntN(2) == 0 {
			th.Summary = pieces(talk.AddSummary, d)
		}
		if d.Kind, d.Text = talk.AddSealed, "sealed"; r.IntN(2) == 0 || th.Text+th.Summary == "" {
			th.Data = d.Text
			deltas = append(deltas, d)
		}
		c.Parts = append(c.Parts, talk.Part{Kind: talk.Thought, Thought: &th})
	}
	if r.IntN(3) > 0 {
		tokens := []json.RawMessage{json.RawMessage(`{"token":"t"}`)}
		p := talk.Part{Kind: talk.Text, Text: pieces(talk.AddText, talk.Delta{}), LogProbs: tokens}
		deltas[len(deltas)-1].LogProbs = tokens
		if r.IntN(2) == 0 {
			p.Citations = []talk.Citation{{URL: "https://example.com", Title: "T", End: 3}}
			deltas = append(deltas, talk.Delta{Kind: talk.AddCitation, Citation: &p.Citations[0]})
		}
		c.Parts = append(c.Parts, p)
	}
	if r.IntN(4) == 0 {
		c.Parts = append(c.Parts, talk.Part{Kind: talk.Refusal, Text: pieces(talk.AddRefusal, talk.Delta{})})
	}
	for i := range r.IntN(3) {
		call := talk.Call{ID: fmt.Sprint("c", i), Name: "f", Custom: r.IntN(2) == 0}
		deltas = append(deltas, talk.Delta{Kind: talk.BeginCall, Call: i, ID: call.ID, Name: call.Name, Custom: call.Custom})
		call.Arguments = pieces(talk.AddArguments, talk.Delta{Call: i, Custom: call.Custom})
		c.Parts = append(c.Parts, talk.Part{Kind: talk.ToolCall, Call: &call})
	}
	return append(deltas, talk.Delta{Kind: talk.EndChoice, Finish: c.Finish}), talk.Answer{Choices: []talk.Alternative{c}}
}

// TestAResponseStreamAddsUpToTheWholeResponse holds the events to each other: numbered without a gap, every piece within an
// item that is open, and the last event with the answer that the pieces make.
func TestAResponseStreamAddsUpToTheWholeResponse(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		deltas, answer := randomDeltas(r)
		label := talk.Label{ID: "gen-1", Model: "m", Provider: "P", Created: 7, Asked: []byte(`{"instructions":"I","temperature":0.25}`)}
		bill := talk.Bill{Usage: talk.Usage{Known: true, PromptTokens: 3, CompletionTokens: 4}, Cost: "0.5"}
		w := talk.NewResponsesWriter()
		w.Serve(label)
		var out []byte
		for i := range deltas {
			var unsaid string
			if out, unsaid = w.Append(out, deltas[i:i+1]); unsaid != "" {
				t.Fatal(unsaid)
			}
		}
		out = w.End(out, &bill)
		last := addUp(t, out)
		var whole map[string]any
		if err := json.Unmarshal(talk.WriteResponsesAnswer(&answer, label, bill), &whole); err != nil {
			t.Fatal(err)
		}
		for _, r := range []map[string]any{last, whole} {
			if at, ok := r["completed_at"].(float64); !ok || at < 1e9 {
				t.Fatalf("completed at %v", r["completed_at"])
			}
			delete(r, "completed_at")
		}
		if !reflect.DeepEqual(last, whole) {
			a, _ := json.Marshal(last)
			b, _ := json.Marshal(whole)
			t.Fatalf("streamed %s\nwhole    %s", a, b)
		}
		if whole["instructions"] != "I" || whole["temperature"] != 0.25 || whole["tool_choice"] != "auto" {
			t.Fatalf("a response does not repeat what was asked: %v", whole)
		}
	}
}

// addUp checks the events one by one and returns the response of the last.
func addUp(t *testing.T, stream []byte) (last map[string]any) {
	t.Helper()
	texts := map[string]string{} // by item and part, as far as the deltas say
	open := map[float64]bool{}
	for n, block := range bytes.Split(bytes.TrimSuffix(stream, []byte("\n\n")), []byte("\n\n")) {
		name, data, ok := strings.Cut(string(block), "\ndata: ")
		var ev map[string]any
		if err := json.Unmarshal([]byte(data), &ev); err != nil || !ok || name != "event: "+ev["type"].(string) {
			t.Fatalf("event %d: %v %s", n, err, block)
		}
		if ev["sequence_number"] != float64(n) {
			t.Fatalf("event %d has the number %v", n, ev["sequence_number"])
		}
		at := fmt.Sprint(ev["item_id"], "/", ev["content_index"], "/", ev["summary_index"])
		switch kind := ev["type"].(string); {
		case kind == "response.output_item.added":
			open[ev["output_index"].(float64)] = true
		case kind == "response.output_item.done":
			if !open[ev["output_index"].(float64)] {
				t.Fatalf("event %d ends an item that is not open: %s", n, block)
			}
			delete(open, ev["output_index"].(float64))
		case strings.HasSuffix(kind, ".delta"):
			if !open[ev["output_index"].(float64)] {
				t.Fatalf("event %d adds to an item that is not open: %s", n, block)
			}
			texts[at] += ev["delta"].(string)
		case strings.HasSuffix(kind, ".done") && !strings.Contains(kind, "part"):
			for _, field := range []string{"text", "refusal", "arguments", "input"} {
				if whole, ok := ev[field].(string); ok && whole != texts[at] {
					t.Fatalf("event %d says %q, the pieces %q", n, whole, texts[at])
				}
			}
		}
		last, _ = ev["response"].(map[string]any)
	}
	if last == nil || len(open) > 0 {
		t.Fatalf("the stream does not end with a response, or with items open: %s", stream)
	}
	return last
}

// An answer in four times as many pieces takes about four times as much: what has been said is not copied for each.
func TestALongResponseIsNotCopiedForEveryPiece(t *testing.T) {
	takes := func(pieces int) uint64 {
		var before, after runtime.MemStats
		w := talk.NewResponsesWriter()
		var dst []byte
		runtime.ReadMemStats(&before)
		for _, kind := range []talk.DeltaKind{talk.AddText, talk.AddThought, talk.AddSummary, talk.AddArguments} {
			if kind == talk.AddArguments {
				dst, _ = w.Append(dst[:0], []talk.Delta{{Kind: talk.BeginCall, ID: "a", Name: "f"}})
			}
			for range pieces {
				dst, _ = w.Append(dst[:0], []talk.Delta{{Kind: kind, Text: "four"}})
			}
		}
		w.End(dst[:0], nil)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if few, many := takes(1000), takes(4000); many > 8*few {
		t.Errorf("%d bytes for 1000 pieces, %d for 4000", few, many)
	}
}

func FuzzReadResponses(f *testing.F) {
	f.Add([]byte(everyItem))
	f.Add([]byte(`{"input":"x"}`))
	f.Add([]byte(`{"input":[{"type":"custom_tool_call_output","call_id":"c","output":[{"type":"input_text","text":"t"}]}],"tools":[{"type":"custom","name":"c","format":{"type":"grammar"}}],"tool_choice":{"type":"custom","name":"c"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := talk.ReadResponses(body)
		if len(r.Unknown) == 0 {
			talk.WriteChat(r)
		}
	})
}

const cited = `{"id":"x","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"It rains.",
	"annotations":[{"type":"url_citation","url_citation":{"url":"https://weather.example.com","title":"Weather","content":"Rain.","start_index":0,"end_index":9}},
		{"type":"file","file":{"hash":"h","name":"n","content":[]}}]},
	"logprobs":{"content":[{"token":"It rains.","logprob":-0.5,"bytes":null,"top_logprobs":[]}],"refusal":null}}]}`

var citedChunks = []string{
	`{"choices":[{"index":0,"delta":{"content":"It rains."},"logprobs":{"content":[{"token":"It rains.","logprob":-0.5,"bytes":null,"top_logprobs":[]}]}}]}`,
	`{"choices":[{"index":0,"delta":{"content":"","annotations":[{"type":"url_citation","url_citation":{"url":"https://weather.example.com","title":"Weather","content":"Rain.","start_index":0,"end_index":9}}]}}]}`,
	`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`,
}

// TestSourcesAndLogProbsReachEveryFront has an answer of chat completions told in every API, whole and streamed.
func TestSourcesAndLogProbsReachEveryFront(t *testing.T) {
	const token = `{"token":"It rains.","logprob":-0.5,"bytes":null,"top_logprobs":[]}`
	for _, c := range []struct {
		name            string
		write           func(*talk.Answer, talk.Label, talk.Bill) []byte
		writer          func() talk.EventWriter
		whole, streamed []string
	}{
		{"chat", talk.WriteChatAnswer, talk.NewChatWriter,
			[]string{`"annotations":[{"type":"url_citation","url_citation":{"content":"Rain.","end_index":9,"start_index":0,"title":"Weather","url":"https://weather.example.com"}}]`, `"logprobs":{"content":[` + token + `]`},
			[]string{`"annotations":[{"type":"url_citation","url_citation":{"content":"Rain.",`, `"logprobs":{"content":[` + token + `]`}},
		{"messages", talk.WriteMessagesAnswer, talk.NewMessagesWriter,
			[]string{`"citations":[{"cited_text":"Rain.","encrypted_index":"chaperone:e30","end_index":9,"start_index":0,"title":"Weather","type":"web_search_result_location","url":"https://weather.example.com"}]`},
			[]string{`"delta":{"citation":{"cited_text":"Rain.","encrypted_index":"chaperone:e30","end_index":9,"start_index":0,`, `"type":"citations_delta"`}},
		{"responses", talk.WriteResponsesAnswer, talk.NewResponsesWriter,
			[]string{`"annotations":[{"content":"Rain.","end_index":9,"start_index":0,"title":"Weather","type":"url_citation","url":"https://weather.example.com"}]`, `"logprobs":[` + token + `]`},
			[]string{`"type":"response.output_text.annotation.added"`, `"annotation_index":0`, `"delta":"It rains.","item_id":"msg_gen-1_0","logprobs":[` + token + `]`}},
		{"completions", talk.WriteCompletionsAnswer, talk.NewCompletionsWriter,
			[]string{`"annotations":[{"type":"url_citation",`}, []string{`"annotations":[{"type":"url_citation",`}},
	} {
		label := talk.Label{ID: "gen-1", Model: "m", Provider: "P"}
		a, unknown := talk.ReadChatAnswer([]byte(cited))
		if len(unknown) > 0 {
			t.Fatal(unknown)
		}
		whole := string(c.write(a, label, talk.Bill{}))
		r, w := talk.NewChatReader(), c.writer()
		w.Serve(label)
		var streamed []byte
		for _, chunk := range citedChunks {
			deltas, unknown, err := r.Read(nil, nil, []byte(chunk))
			if unknown != "" || err != nil {
				t.Fatal(unknown, err)
			}
			if streamed, unknown = w.Append(streamed, deltas); unknown != "" {
				t.Fatal(unknown)
			}
		}
		streamed = w.End(streamed, &talk.Bill{})
		for got, want := range map[string][]string{whole: c.whole, string(streamed): c.streamed} {
			for _, x := range want {
				if !strings.Contains(got, x) {
					t.Errorf("%s: no %s in\n%s", c.name, x, got)
				}
			}
		}
		if c.name == "responses" {
			addUp(t, streamed)
		}
	}
	if _, unknown, err := talk.NewChatReader().Read(nil, nil, []byte(`{"choices":[{"delta":{"annotations":[{"type":"map"}]}}]}`)); !strings.Contains(unknown, `"map"`) || err != nil {
		t.Errorf("an annotation of another type: %q, %v", unknown, err)
	}
}

// In Anthropic's API a source belongs to the block that it stands in, so a text ends a block where its sources end.
func TestSourcesKeepTheirPlaceInMessages(t *testing.T) {
	const text = "Es regnet, überall. 🌧 Und es stürmt! So ist das."
	source := func(url string, start, end int64) talk.Citation {
		return talk.Citation{URL: url, Start: start, End: end}
	}
	for name, c := range map[string]struct {
		sources []talk.Citation
		want    string // blocks, each with the URLs of its sources
	}{
		"two places":          {[]talk.Citation{source("b", 25, 36), source("a", 0, 19)}, "Es regnet, überall.[a]| 🌧 Und es stürmt![b]| So ist das.[]"},
		"two of one place":    {[]talk.Citation{source("b", 0, 19), source("a", 3, 19)}, "Es regnet, überall.[b a]| 🌧 Und es stürmt! So ist das.[]"},
		"the whole":           {[]talk.Citation{source("a", 0, 48)}, text + "[a]"},
		"no place":            {[]talk.Citation{source("a", 0, 0)}, text + "[a]"},
		"a place and none":    {[]talk.Citation{source("a", 0, 0), source("b", 0, 10)}, "Es regnet,[b]| überall. 🌧 Und es stürmt! So ist das.[a]"},
		"behind the last one": {[]talk.Citation{source("a", 0, 5000)}, text + "[a]"},
	} {
		a := &talk.Answer{Choices: []talk.Alternative{{Finish: talk.Stop, Parts: []talk.Part{{Kind: talk.Text, Text: text, Citations: c.sources}}}}}
		var got struct {
			Content []struct {
				Text      string
				Citations []struct{ URL string }
			}
		}
		if err := json.Unmarshal(talk.WriteMessagesAnswer(a, talk.Label{}, talk.Bill{}), &got); err != nil {
			t.Fatal(err)
		}
		var blocks []string
		for _, b := range got.Content {
			urls := []string{}
			for _, x := range b.Citations {
				urls = append(urls, x.URL)
			}
			blocks = append(blocks, fmt.Sprint(b.Text, urls))
		}
		if told := strings.Join(blocks, "|"); told != c.want {
			t.Errorf("%s: %s\nwant %s", name, told, c.want)
		}
	}
	w := talk.NewMessagesWriter()
	one := source("a", 0, 3)
	stream, _ := w.Append(nil, []talk.Delta{{Kind: talk.AddText, Text: "One"}, {Kind: talk.AddCitation, Citation: &one}, {Kind: talk.AddCitation, Citation: &one}, {Kind: talk.AddText, Text: "two"}, {Kind: talk.AddText, Text: "three"}})
	if starts := strings.Count(string(stream), "event: content_block_start"); starts != 2 {
		t.Errorf("%d blocks begin in\n%s", starts, stream)
	}
}

// Sources that a client of Anthropic's API sends back keep no chat from going on, and Anthropic's endpoints from being asked.
func TestSourcesOfAnotherMakerGoBackToChatsAlone(t *testing.T) {
	body := func(index string) []byte {
		return []byte(`{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"text","text":"It rains.","citations":[
			{"type":"web_search_result_location","url":"https://weather.example.com","title":"W","cited_text":"R","encrypted_index":"` + index + `"}]}]},{"role":"user","content":"y"}]}`)
	}
	for index, marked := range map[string]bool{"chaperone:e30": true, "EqgfCioIARgBIiQ3": false} {
		r, err := wire.Skim(wire.Messages, wire.Head{}, body(index))
		if err != nil {
			t.Fatal(err)
		}
		if unknown := talk.ReadMessages(body(index)).Unknown; r.Foreign() != marked || (len(unknown) == 0) != marked {
			t.Errorf("%s: foreign %t, %q", index, r.Foreign(), unknown)
		}
	}
}

func TestLogProbsAreAskedForInTheResponsesAPI(t *testing.T) {
	body := []byte(`{"model":"m","input":"x","top_logprobs":2,"include":["reasoning.encrypted_content","message.output_text.logprobs"]}`)
	r, err := wire.Skim(wire.Responses, wire.Head{}, body)
	if err != nil || !slices.Contains(r.Parameters, "logprobs") {
		t.Errorf("%v %v", r, err)
	}
	if said, unsaid := talk.WriteChat(talk.ReadResponses(body)); !strings.Contains(string(said), `"logprobs":true`) || !strings.Contains(string(said), `"top_logprobs":2`) || len(unsaid) > 0 {
		t.Errorf("%s %q", said, unsaid)
	}
}
