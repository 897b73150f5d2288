package dispatch_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

// brief is the same short question in each front.
var brief = map[wire.Shape]string{
	wire.Chat:        `"max_tokens":24,"messages":[{"role":"user","content":"tell me"}]`,
	wire.Messages:    `"max_tokens":24,"messages":[{"role":"user","content":"tell me"}]`,
	wire.Responses:   `"max_output_tokens":24,"input":"tell me"`,
	wire.Completions: `"max_tokens":24,"prompt":"tell me"`,
}

// completed reads a completion, whole or a chunk, which differs from a chat's only in where the text stands.
func (h *heard) completed(t *testing.T, data []byte) {
	t.Helper()
	var a chatAnswer
	var texts struct {
		Choices []struct{ Text, Reasoning string }
	}
	decode(t, data, &a)
	decode(t, data, &texts)
	h.chat(&a)
	for _, c := range texts.Choices {
		h.text += c.Text
		h.reasoning += c.Reasoning
	}
}

type responseItem struct {
	ID, Type, Name, Arguments, Input, Signature string
	CallID                                      string `json:"call_id"`
	Encrypted                                   string `json:"encrypted_content"`
	Content, Summary                            []struct{ Type, Text, Refusal string }
}

type response struct {
	ID, Model, Provider, Status string
	Output                      []responseItem
	Incomplete                  *struct{ Reason string } `json:"incomplete_details"`
	Usage                       *struct {
		Input   int64 `json:"input_tokens"`
		Output  int64 `json:"output_tokens"`
		Cost    json.Number
		Rescued string
	}
}

// response takes in a whole response.
func (h *heard) response(r *response) {
	h.id, h.model, h.provider = r.ID, r.Model, r.Provider
	h.text, h.reasoning, h.signatures, h.calls = "", "", nil, nil
	for _, x := range r.Output {
		for _, c := range append(x.Content, x.Summary...) {
			if x.Type == "reasoning" {
				h.reasoning += c.Text
			} else {
				h.text += c.Text + c.Refusal
			}
		}
		if s := x.Signature + x.Encrypted; s != "" {
			h.signatures = append(h.signatures, s)
		}
		switch x.Type {
		case "function_call":
			h.calls = append(h.calls, sim.Call{ID: x.CallID, Name: x.Name, Arguments: x.Arguments})
		case "custom_tool_call":
			h.calls = append(h.calls, sim.Call{ID: x.CallID, Name: x.Name, Arguments: x.Input, Custom: true})
		}
	}
	switch {
	case r.Status == "completed" && len(h.calls) > 0:
		h.finish = "tool_calls"
	case r.Status == "completed":
		h.finish = "stop"
	case r.Incomplete != nil:
		h.finish = map[string]string{"max_output_tokens": "length", "content_filter": "content_filter"}[r.Incomplete.Reason]
	}
	if u := r.Usage; u != nil {
		h.prompt, h.completion, h.cost, h.rescued = u.Input, u.Output, u.Cost, u.Rescued
	}
}

// responseEvents reads the events of a response, whose pieces have to make what the last one holds.
func (h *heard) responseEvents(t *testing.T, text []byte) {
	t.Helper()
	r := wire.NewEventReader(bytes.NewReader(text), 1<<20)
	said, thought, called, failed := "", "", "", false
	for n := 0; ; n++ {
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if ev.Comment {
			n--
			continue
		}
		var e struct {
			Type, Delta string
			Sequence    int `json:"sequence_number"`
			Response    response
			Error       struct{ Type string }
		}
		decode(t, ev.Data, &e)
		switch {
		case e.Type != string(ev.Name) || e.Sequence != n:
			t.Fatalf("event %d: %s", n, ev.Raw)
		case h.done || failed || h.broken != "" && e.Type != "response.failed":
			t.Fatalf("%s after the end", ev.Raw)
		case n < 2 && h.broken == "" && e.Type != "error" && e.Type != []string{"response.created", "response.in_progress"}[n]:
			t.Fatalf("begins with %s", ev.Raw)
		}
		switch e.Type {
		case "response.output_text.delta", "response.refusal.delta":
			said += e.Delta
		case "response.reasoning_text.delta", "response.reasoning_summary_text.delta":
			thought += e.Delta
		case "response.function_call_arguments.delta", "response.custom_tool_call_input.delta":
			called += e.Delta
		case "error":
			h.broken, h.text, h.reasoning = e.Error.Type, said, thought
		case "response.failed":
			failed = true
		case "response.completed", "response.incomplete":
			h.response(&e.Response)
			h.done = true
			whole := ""
			for _, c := range h.calls {
				whole += c.Arguments
			}
			if h.text != said || h.reasoning != thought || whole != called {
				t.Fatalf("the pieces say %q, %q and %q, the whole %q, %q and %q", said, thought, called, h.text, h.reasoning, whole)
			}
		}
	}
	if h.broken != "" && !failed {
		t.Fatalf("no response.failed behind the error: %s", text)
	}
	if !h.done {
		h.text, h.reasoning = said, thought
	}
}

// What a provider of either dialect says when it refuses reaches the client of every front with the same status and meaning, in
// that front's own form.
func TestErrorsOfEveryBackInEveryFront(t *testing.T) {
	for _, c := range []struct {
		fault              sim.Fault
		status             int
		kind, inAnthropics string
	}{
		{sim.Fault{Kind: sim.Status, Status: 429, RetryAfter: time.Hour}, 429, "rate_limit_exceeded", "rate_limit_error"},
		{sim.Fault{Kind: sim.Status, Status: 503}, 503, "provider_overloaded", "overloaded_error"},
		{sim.Fault{Kind: sim.Status, Status: 500}, 502, "provider_unavailable", "api_error"},
		{sim.Fault{Kind: sim.Status, Status: 401}, 502, "provider_unavailable", "api_error"},
		{sim.Fault{Kind: sim.ErrorBody}, 502, "provider_unavailable", "api_error"},
		{sim.Fault{Kind: sim.ContextLength}, 400, "context_length_exceeded", "invalid_request_error"},
		{sim.Fault{Kind: sim.ContentPolicy}, 400, "content_policy_violation", "invalid_request_error"},
	} {
		for _, front := range fronts {
			for _, dialect := range []string{"openai", "anthropic"} {
				for _, stream := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s %d/%s over %s/stream=%t", c.fault.Kind, c.fault.Status, front, dialect, stream), func(t *testing.T) {
						t.Parallel()
						w := openWorld(t, quick, back{dialect, always(c.fault)})
						_, refused := w.ask(t, front, stream, brief[front])
						if refused == nil || refused.Status != c.status || refused.Type != c.kind {
							t.Fatalf("%+v, want %d %s", refused, c.status, c.kind)
						}
						text := front.AppendError(nil, refused)
						form := map[string]string{"error.code": fmt.Sprint(c.status), "error.metadata.error_type": `"` + c.kind + `"`}
						if front == wire.Messages {
							form = map[string]string{"type": `"error"`, "error.type": `"` + c.inAnthropics + `"`, "error.error_type": `"` + c.kind + `"`}
						}
						for path, want := range form {
							if got := at(t, text, path); got != want {
								t.Errorf("%s is %s, want %s in %s", path, got, want, text)
							}
						}
						if !strings.Contains(at(t, text, "error.message"), "P0") || bytes.Contains(text, []byte(secret)) {
							t.Errorf("%s", text)
						}
					})
				}
			}
		}
	}
}
