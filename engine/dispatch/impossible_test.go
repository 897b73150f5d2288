package dispatch_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"chaperone/engine"
	"chaperone/engine/wire"
)

// What a provider cannot have counted is neither billed nor told to anybody: an estimate is, and the record says so.
func TestAnImpossibleUsageIsNotBelieved(t *testing.T) {
	const (
		asked   = `{"model":"m/one","stream":%t,"max_tokens":20,"messages":[{"role":"user","content":"hi"}]}`
		message = `"choices":[{"index":0,"%s":{"role":"assistant","content":"Hello there"},"finish_reason":"stop"}]`
	)
	for name, c := range map[string]struct {
		usage      string
		impossible bool
	}{
		"right":                                 {`{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}`, false},
		"a little more than was asked for":      {`{"prompt_tokens":9,"completion_tokens":33,"total_tokens":42}`, false},
		"a prompt with much that was not seen":  {`{"prompt_tokens":31999,"completion_tokens":3}`, false},
		"negative":                              {`{"prompt_tokens":-9,"completion_tokens":3,"total_tokens":-6}`, true},
		"a negative part":                       {`{"prompt_tokens":9,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":-1}}`, true},
		"beyond what numbers hold":              {`{"prompt_tokens":9,"completion_tokens":1e400,"total_tokens":9007199254740993}`, true},
		"more than an integer holds":            {`{"prompt_tokens":9223372036854775808,"completion_tokens":3}`, true},
		"a prompt longer than the context":      {`{"prompt_tokens":32001,"completion_tokens":3,"total_tokens":32004}`, true},
		"an answer far longer than it may be":   {`{"prompt_tokens":9,"completion_tokens":5000,"total_tokens":5009}`, true},
		"more of the prompt cached than exists": {`{"prompt_tokens":9,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":40000}}`, true},
		"more thought than can be":              {`{"prompt_tokens":9,"completion_tokens":3,"completion_tokens_details":{"reasoning_tokens":65000}}`, true},
	} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stream %t", name, stream), func(t *testing.T) {
				e := said(t, "sk-upstream", func(w http.ResponseWriter, r *http.Request) {
					if !stream {
						w.Header().Set("Content-Type", "application/json")
						fmt.Fprintf(w, `{"usage":%s,`+message+`}`, c.usage, "message")
						return
					}
					w.Header().Set("Content-Type", "text/event-stream")
					fmt.Fprintf(w, `data: {`+message+"}\n\ndata: {\"choices\":[],\"usage\":%s}\n\ndata: [DONE]\n\n", "delta", c.usage)
				})
				resp, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Body: fmt.Appendf(nil, asked, stream)})
				if err != nil {
					t.Fatal(err)
				}
				answer := resp.Body
				if stream {
					if answer, err = io.ReadAll(resp.Stream); err != nil {
						t.Fatal(err)
					}
					answer = answer[bytes.LastIndex(answer, []byte("data: {"))+len("data: "):]
				}
				var told struct {
					Usage struct {
						PromptTokens     int64   `json:"prompt_tokens"`
						CompletionTokens int64   `json:"completion_tokens"`
						TotalTokens      int64   `json:"total_tokens"`
						Cost             float64 `json:"cost"`
						Estimated        bool    `json:"estimated"`
						PromptDetails    struct {
							Cached int64 `json:"cached_tokens"`
						} `json:"prompt_tokens_details"`
						CompletionDetails struct {
							Reasoning int64 `json:"reasoning_tokens"`
						} `json:"completion_tokens_details"`
					}
				}
				if err := json.NewDecoder(bytes.NewReader(answer)).Decode(&told); err != nil {
					t.Fatalf("%v in %s", err, answer)
				}
				u, a, o := told.Usage, e.Record(resp.Plan.ID).Attempts[0], e.Record(resp.Plan.ID).Outcome
				if a.Usage.Known == c.impossible || (a.Impossible != nil) != c.impossible || o.Usage != a.Usage || o.Cost != a.Cost {
					t.Errorf("recorded %+v of %+v", a, o)
				}
				w := httptest.NewRecorder()
				e.Metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
				if counted := strings.Contains(w.Body.String(), `chaperone_impossible_usage_total{provider="p"} 1`); counted != c.impossible {
					t.Errorf("counted: %t", counted)
				}
				if u.Estimated != c.impossible || u.TotalTokens != u.PromptTokens+u.CompletionTokens {
					t.Errorf("the client is told %s", answer)
				}
				if c.impossible && (u.PromptTokens <= 0 || u.PromptTokens > 100 || u.CompletionTokens <= 0 || u.CompletionTokens > 20 || u.PromptDetails.Cached != 0 ||
					u.CompletionDetails.Reasoning != 0 || a.Cost <= 0 || a.Cost > 100_000_000 || strings.Count(string(answer), `"usage"`) != 1) {
					t.Errorf("%d is billed, and the client is told %s", a.Cost, answer)
				}
			})
		}
	}
}

func TestAnImpossibleUsageOfMessagesIsNotBelieved(t *testing.T) {
	const body = `{"model":"m/one","stream":%t,"max_tokens":20,"messages":[{"role":"user","content":"hi"}]}`
	for _, stream := range []bool{false, true} {
		e := saidThrough(t, "anthropic", "sk-upstream", nil, slog.Default(), func(w http.ResponseWriter, r *http.Request) {
			if !stream {
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, `{"id":"x","type":"message","role":"assistant","model":"x","content":[{"type":"text","text":"Hello there"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":40000,"output_tokens":3,"cache_read_input_tokens":70000}}`)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			for _, event := range []string{
				`{"type":"message_start","message":{"id":"x","type":"message","role":"assistant","model":"x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}}`,
				`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
				`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello there"}}`,
				`{"type":"content_block_stop","index":0}`,
				`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":40000,"output_tokens":70000}}`,
				`{"type":"message_stop"}`,
			} {
				name, _, _ := strings.Cut(event[len(`{"type":"`):], `"`)
				fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, event)
			}
		})
		resp, err := e.Do(t.Context(), engine.Call{Key: "sk-acme", Shape: wire.Messages, Body: fmt.Appendf(nil, body, stream)})
		if err != nil {
			t.Fatal(err)
		}
		answer := resp.Body
		if stream {
			if answer, err = io.ReadAll(resp.Stream); err != nil {
				t.Fatal(err)
			}
		}
		a := e.Record(resp.Plan.ID).Attempts[0]
		if a.Usage.Known || a.Impossible == nil || a.Cost <= 0 || a.Cost > 100_000_000 {
			t.Errorf("stream %t: recorded %+v", stream, a)
		}
		if bytes.Contains(answer, []byte("0000,")) || bytes.Contains(answer, []byte("0000}")) || bytes.Count(answer, []byte(`"estimated":true`)) != 1 {
			t.Errorf("stream %t: the client is told %s", stream, answer)
		}
	}
}
