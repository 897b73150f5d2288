package wire_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"chaperone/engine/wire"
)

func TestWhatCommits(t *testing.T) {
	for _, c := range []struct {
		delta   string
		commits bool
		bytes   int
	}{
		{`{"role":"assistant"}`, false, 0},
		{`{"role":"assistant","content":""}`, false, 0},
		{`{"content":null,"tool_calls":[],"reasoning":"","audio":{},"function_call":null}`, false, 0},
		{`{}`, false, 0},
		{`null`, false, 0},
		{`{"content":"hi"}`, true, 2},
		{`{"content":" "}`, true, 1},
		{`{"content":"\u00e9\ud83d\ude00"}`, true, 6},
		{`{"content":[{"type":"text","text":"hi"},{"type":"text","text":"!"}]}`, true, 3},
		{`{"content":[{"type":"text","text":""}]}`, false, 0},
		{`{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}`, true, 2},
		{`{"content":[{"type":"image_url","image_url":{"url":"data:,"}}]}`, true, 0},
		{`{"reasoning":"hm"}`, true, 2},
		{`{"reasoning_content":"hm"}`, true, 2},
		{`{"reasoning":"hm","reasoning_content":"hm","reasoning_details":[{"type":"reasoning.text","text":"hm"}]}`, true, 2},
		{`{"reasoning_details":[{"type":"reasoning.summary","summary":"hmm"}]}`, true, 3},
		{`{"reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]}`, true, 0},
		{`{"reasoning_details":[]}`, false, 0},
		{`{"refusal":"no"}`, true, 2},
		{`{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}}]}`, true, 0},
		{`{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}`, true, 5},
		{`{"tool_calls":[{"index":0,"function":{"name":"","arguments":""}}]}`, false, 0},
		{`{"tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]}`, true, 7},
		{`{"tool_calls":[{"type":"custom","custom":{"name":"c","input":"abc"}}]}`, true, 3},
		{`{"function_call":{"name":"f"}}`, true, 0},
		{`{"function_call":{"arguments":"{}"}}`, true, 2},
		{`{"audio":{"id":"a","expires_at":1}}`, false, 0},
		{`{"audio":{"data":"UklG"}}`, true, 0},
		{`{"audio":{"transcript":"hi"}}`, true, 2},
		{`{"images":[{"type":"image_url"}]}`, true, 0},
		{`{"images":[]}`, false, 0},
		{`{"content":7,"tool_calls":{"a":1},"reasoning":{"x":[1]},"refusal":true,"audio":[],"images":"x"}`, false, 0},
		{`{"x":{"content":"not output"}}`, false, 0},
	} {
		for _, in := range []string{`{"choices":[{"delta":%}]}`, `{"x":[{}],"choices":[{"index":0,"delta":{}},{"index":1,"message":%,"finish_reason":null}],"y":1}`} {
			var got wire.Chunk
			data := strings.Replace(in, "%", c.delta, 1)
			if err := wire.ScanChunk([]byte(data), &got); err != nil {
				t.Fatal(err)
			}
			if got.Commits != c.commits || got.OutputBytes != c.bytes || !got.HasChoices {
				t.Errorf("%s: commits %v with %d bytes, should be %v with %d", data, got.Commits, got.OutputBytes, c.commits, c.bytes)
			}
		}
	}
}

func TestWhatElseAChunkSays(t *testing.T) {
	usage := wire.Usage{Known: true, PromptTokens: 10, CompletionTokens: 5}
	for _, c := range []struct {
		data string
		want wire.Chunk
	}{
		{`{}`, wire.Chunk{}},
		{`{"choices":null}`, wire.Chunk{}},
		{`{"choices":[]}`, wire.Chunk{HasChoices: true}},
		{`{"choices":[1,"x",null]}`, wire.Chunk{HasChoices: true}},
		{`{"choices":[{"text":"hi","finish_reason":"length"}]}`, wire.Chunk{HasChoices: true, Commits: true, OutputBytes: 2, Begun: 1, Finished: 1, FinishReason: "length"}},
		{`{"choices":[{"delta":{"content":"a"},"index":1},{"delta":{"role":"assistant"},"index":0}]}`, wire.Chunk{HasChoices: true, Commits: true, OutputBytes: 1, Begun: 2}},
		{`{"choices":[{"delta":{},"finish_reason":"stop"}]}`, wire.Chunk{HasChoices: true, Finished: 1, FinishReason: "stop"}},
		{`{"choices":[{"finish_reason":"stop","index":2},{"index":0,"finish_reason":"stop"},{"index":900,"finish_reason":"stop"}]}`,
			wire.Chunk{HasChoices: true, Finished: 1<<63 | 5, FinishReason: "stop"}},
		{`{"choices":[{"delta":{},"finish_reason":"eos"},{"finish_reason":null},{"finish_reason":""}]}`, wire.Chunk{HasChoices: true, Finished: 1, FinishReason: "eos"}},
		{`{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`, wire.Chunk{HasChoices: true, Usage: usage}},
		{`{"usage":null}`, wire.Chunk{}},
		{`{"usage":{}}`, wire.Chunk{}},
		{`{"usage":{"prompt_tokens":null}}`, wire.Chunk{}},
		{`{"usage":{"prompt_tokens":10.0,"completion_tokens":5e0}}`, wire.Chunk{Usage: usage}},
		{`{"usage":{"prompt_tokens":"10","completion_tokens":-5}}`, wire.Chunk{Usage: wire.Usage{Known: true, CompletionTokens: 1 << 53}}},
		{`{"usage":{"prompt_tokens":99999999999999999999}}`, wire.Chunk{Usage: wire.Usage{Known: true, PromptTokens: 1 << 53}}},
		{`{"choices":[{"usage":{"prompt_tokens":10,"completion_tokens":5}}]}`, wire.Chunk{HasChoices: true, Usage: usage}},
		{`{"x_groq":{"id":"x","usage":{"prompt_tokens":10,"completion_tokens":5}}}`, wire.Chunk{Usage: usage}},
		{`{"usage":{"prompt_tokens":10,"completion_tokens":5},"x_groq":{"usage":{"prompt_tokens":1}},"choices":[{"usage":{"prompt_tokens":2}}]}`, wire.Chunk{HasChoices: true, Usage: usage}},
		{`{"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":3,"audio_tokens":2},"completion_tokens_details":{"reasoning_tokens":2,"audio_tokens":9,"x":[]}}}`,
			wire.Chunk{Usage: wire.Usage{Known: true, PromptTokens: 10, CompletionTokens: 5, CachedTokens: 4, CacheWriteTokens: 3, ReasoningTokens: 2, AudioTokens: 2}}},
		{`{"error":{"message":"m","type":"t","code":429}}`, wire.Chunk{Err: &wire.UpstreamError{Code: "429", Type: "t", Message: "m"}}},
		{`{"error":{"message":"m","code":"rate_limit"}}`, wire.Chunk{Err: &wire.UpstreamError{Code: "rate_limit", Message: "m"}}},
		{`{"error":"m"}`, wire.Chunk{Err: &wire.UpstreamError{Message: "m"}}},
		{`{"error":null,"choices":[]}`, wire.Chunk{HasChoices: true}},
		{`{"choices":[{"delta":{"content":""},"finish_reason":"error","error":{"code":502,"message":"m"}}]}`, wire.Chunk{HasChoices: true, Finished: 1, FinishReason: "error", Err: &wire.UpstreamError{Code: "502", Message: "m"}}},
		{`{"object":"error","message":"m","type":"t","param":null,"code":400}`, wire.Chunk{Err: &wire.UpstreamError{Code: "400", Type: "t", Message: "m"}}},
		{`{"object":"chat.completion.chunk","message":"m","type":"t"}`, wire.Chunk{}},
		{` {"a":"\ud800","b":1e999,"b":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + "}\n", wire.Chunk{}},
	} {
		got := wire.Chunk{Commits: true, FinishReason: "old", OutputBytes: 7, Err: &wire.UpstreamError{}}
		if err := wire.ScanChunk([]byte(c.data), &got); err != nil {
			t.Errorf("%s: %v", c.data, err)
		}
		g, w := reflect.ValueOf(got), reflect.ValueOf(c.want)
		for i := range g.NumField() {
			if f := g.Type().Field(i); f.IsExported() && !reflect.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
				t.Errorf("%s: %s is %+v, should be %+v", c.data, f.Name, g.Field(i), w.Field(i))
			}
		}
	}
}

func TestACompletionMayBeEmptyButMustHaveEnded(t *testing.T) {
	for data, commits := range map[string]bool{
		`{"choices":[{"message":{"role":"assistant","content":""},"finish_reason":"stop"}]}`:                                      true,
		`{"choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":null}]}`:                                      true,
		`{"choices":[{"message":{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}]}`: true,
		`{"choices":[{"message":{"role":"assistant","content":""}}]}`:                                                             false,
		`{"choices":[]}`: false,
		`{}`:             false,
	} {
		var c wire.Chunk
		if err := wire.ScanCompletion([]byte(data), &c); err != nil || c.Commits != commits {
			t.Errorf("%s: commits %v (%v), should be %v", data, c.Commits, err, commits)
		}
	}
}

func TestMalformedAnswersAreErrors(t *testing.T) {
	for _, data := range []string{``, `x`, `[]`, `"a"`, `{"a":1`, `{"a":1}}`, `{"choices":[{"delta":{"content":"a`, `{"a":tru}`, `<html>`} {
		var c wire.Chunk
		if err := wire.ScanChunk([]byte(data), &c); !errors.Is(err, wire.ErrMalformed) || !strings.Contains(err.Error(), "byte ") {
			t.Errorf("%q: %v", data, err)
		}
		if got := string(c.AppendEdited(nil, []byte(data), wire.Edit{Field: "a", Value: []byte("1")})); got != data {
			t.Errorf("%q is edited to %q, should stay", data, got)
		}
	}
}

func TestErrorsOfUpstreamsAreFound(t *testing.T) {
	for body, want := range map[string]*wire.UpstreamError{
		`{"error":{"message":"m","type":"t","code":"c","param":null}}`:                        {Code: "c", Type: "t", Message: "m"},
		`{"error":{"message":"m","type":"t","code":400}}`:                                     {Code: "400", Type: "t", Message: "m"},
		`{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{}]}}`:   {Code: "429", Type: "RESOURCE_EXHAUSTED", Message: "m"},
		`[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]`:                  {Code: "400", Type: "INVALID_ARGUMENT", Message: "m"},
		`{"type":"error","error":{"type":"overloaded_error","message":"m"},"request_id":"r"}`: {Type: "overloaded_error", Message: "m"},
		`{"error":"m","code":5}`: {Code: "5", Message: "m"},
		`{"message":"m"}`:        {Message: "m"},
		`{"object":"error","message":"m","type":"t","code":40001}`: {Code: "40001", Type: "t", Message: "m"},
		`{"detail":"m"}`: {Message: "m"},
		`{"detail":[{"loc":["body"],"msg":"m","type":"t"},{"a":[]}]}`: {Type: "t", Message: "m"},
		`{"errors":["m"]}`: {Message: "m"},
		`{"errors":[{"message":"m"}],"success":false}`: {Message: "m"},
		`{"error":{"error":{"message":"m"}}}`:          {Message: "m"},
		`{"error":{"code":"c"}}`:                       {Code: "c"},
		`"m"`:                                          {Message: "m"},
		`{"error":null}`:                               nil,
		`{"error":{}}`:                                 nil,
		`{"id":"x","choices":[{"message":{"content":"hi"}}]}`: nil,
		`{}`:                            nil,
		``:                              nil,
		`<html>Bad Gateway</html>`:      nil,
		`{"error":{"message":"m"}`:      nil,
		`{"error":{"message":"m"}} etc`: nil,
		strings.Repeat("[", 100000):     nil,
	} {
		if got := wire.ScanError([]byte(body)); !reflect.DeepEqual(got, want) {
			t.Errorf("%.80s: %+v, should be %+v", body, got, want)
		}
	}
	long := wire.ScanError([]byte(`{"error":{"message":"` + strings.Repeat(`\u00e9`, 10000) + `"}}`))
	if long == nil || len(long.Message) != 4096 {
		t.Errorf("a long message is kept with %d bytes, should be 4096", len(long.Message))
	}
}

var contentChunk = []byte(`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":" hello"},"logprobs":null,"finish_reason":null}],"usage":null}`)

func TestAContentChunkIsScannedWithoutAllocating(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	last := []byte(`{"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`)
	var c wire.Chunk
	dst := make([]byte, 0, 1024)
	edits := []wire.Edit{{Field: "id", Value: []byte(`"gen-1"`)}, {Field: "model", Value: []byte(`"a/b"`)}, {Field: "provider", Value: []byte(`"P"`)}}
	if n := testing.AllocsPerRun(1000, func() {
		for _, data := range [][]byte{contentChunk, last} {
			if err := wire.ScanChunk(data, &c); err != nil {
				t.Fatal(err)
			}
			dst = c.AppendEdited(dst[:0], data, edits...)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzScan(f *testing.F) {
	f.Add(contentChunk)
	f.Add([]byte(`{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}}]}}],"x_groq":{"usage":{"prompt_tokens":1}}}`))
	f.Add([]byte(`{"error":{"message":"m","code":1}}`))
	f.Add([]byte(`{"detail":[{"msg":"m"}]}`))
	f.Add([]byte(`{"choices":[{"delta":{"tool_calls":[{"arguments":"\b`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c wire.Chunk
		err := wire.ScanCompletion(data, &c)
		var object map[string]json.RawMessage
		// Valid here is a little narrower than there: the depth and the number of members are bounded.
		if valid := json.Unmarshal(data, &object) == nil && object != nil; err == nil && !valid {
			t.Fatalf("taken for an object: %q", data)
		} else if err != nil && valid && !strings.Contains(err.Error(), "more than") {
			t.Fatalf("%v: %q", err, data)
		}
		if c.OutputBytes > len(data) || c.OutputBytes < 0 {
			t.Fatalf("%d bytes of output in %q", c.OutputBytes, data)
		}
		edited := c.AppendEdited(nil, data, wire.Edit{Field: "id", Value: []byte(`1`)}, wire.Edit{Field: "usage.cost", Value: []byte(`2`)})
		if err == nil && !json.Valid(edited) {
			t.Fatalf("%q is edited to %q", data, edited)
		}
		wire.ScanError(data)
	})
}

func BenchmarkScanChunk(b *testing.B) {
	var c wire.Chunk
	b.SetBytes(int64(len(contentChunk)))
	b.ReportAllocs()
	for b.Loop() {
		if err := wire.ScanChunk(contentChunk, &c); err != nil {
			b.Fatal(err)
		}
	}
}

func TestIDsOfAnswersAreFound(t *testing.T) {
	for _, test := range []struct {
		shape wire.Shape
		data  string
		want  string
	}{
		{wire.Chat, `{"object":"x","id":"chatcmpl-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1"}]}}]}`, "chatcmpl-1"},
		{wire.Chat, `{"id":"a\u002d1","choices":[]}`, "a-1"},
		{wire.Chat, `{"id":"first","id":"last","choices":[]}`, "last"},
		{wire.Chat, `{"id":"123456789012345678901","choices":[]}`, ""},
		{wire.Chat, `{"id":7,"choices":[]}`, ""},
		{wire.Chat, `{"choices":[{"index":0,"delta":{"id":"nested"}}]}`, ""},
		{wire.Messages, `{"type":"message_start","message":{"type":"message","id":"msg_1","usage":{"input_tokens":1}}}`, "msg_1"},
		{wire.Messages, `{"type":"message_start","id":"outside","message":null}`, ""},
		{wire.Messages, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}`, ""},
	} {
		var c wire.Chunk
		if _, err := test.shape.Event(wire.Event{Data: []byte(test.data)}, &c); err != nil {
			t.Fatal(err)
		}
		if got := c.ID([]byte(test.data), 20); got != test.want {
			t.Errorf("%s: %q, not %q", test.data, got, test.want)
		}
	}
	var c wire.Chunk
	for shape, text := range map[wire.Shape]string{
		wire.Messages: `{"type":"message","id":"msg_2","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn"}`,
		wire.Rerank:   `{"id":"rank-1","results":[{"index":0,"relevance_score":1}]}`,
	} {
		if err := shape.Answer([]byte(text), &c); err != nil || c.ID([]byte(text), 20) == "" {
			t.Errorf("%s: %q, %v", text, c.ID([]byte(text), 20), err)
		}
	}
}
