package dispatch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"chaperone/engine"
	"chaperone/engine/sim"
	"chaperone/engine/wire"
)

// back is a provider of a dialect.
type back struct {
	dialect string
	profile sim.Profile
}

// world is a router in front of providers p0, p1 … in that order, each of its dialect, all of which serve one model.
type world struct {
	engine *engine.Engine
	model  string
	sims   []*sim.Provider
	order  []string
}

// openWorld opens a world whose model is m/one.
func openWorld(t *testing.T, settings string, backs ...back) *world {
	t.Helper()
	w := &world{model: "m/one"}
	var catalog strings.Builder
	w.start(t, &catalog, 0, backs...)
	w.engine = openOver(t, settings+"\n"+catalog.String())
	return w
}

// start starts the providers of a world, the first of which has that number, and appends what the catalog says of them.
func (w *world) start(t *testing.T, b *strings.Builder, first int, backs ...back) {
	t.Helper()
	fmt.Fprintf(b, "[models.%q]\nname = \"One\"\ncontext_length = 200000\ninput_modalities = [\"text\", \"image\", \"file\"]\n", w.model)
	for i, back := range backs {
		i += first
		id := fmt.Sprintf("p%d", i)
		back.profile.Name, back.profile.KeepRequests = id, true
		back.profile.Credentials = []sim.Credential{{Name: "good", Key: fmt.Sprint(secret, i)}}
		p, err := sim.Start(t.Context(), back.profile)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		w.sims, w.order = append(w.sims, p), append(w.order, id)
		fmt.Fprintf(b, `[providers.%[1]s]
name = "%[2]s"
dialect = %[3]q
base_url = %[4]q
[providers.%[1]s.credentials.own]
key_env = "KEY%[5]d"
[[endpoints]]
model = %[6]q
provider = %[1]q
upstream_model = "upstream-one"
continues = "prefill"
price = { prompt = 1, completion = 2 }
supported_parameters = ["max_tokens", "temperature", "top_p", "stop", "tools", "tool_choice", "parallel_tool_calls", "response_format", "structured_outputs", "reasoning", "custom_tools"]
`, id, strings.ToUpper(id), back.dialect, p.URL(), i, w.model)
	}
}

// openOver opens an engine over such a catalog.
func openOver(t *testing.T, toml string) *engine.Engine {
	t.Helper()
	toml += fmt.Sprintf("[organisations.acme]\n[[keys]]\norganisation = \"acme\"\nsha256 = \"%x\"\n", sha256.Sum256([]byte("sk-acme")))
	path := filepath.Join(t.TempDir(), "chaperone.toml")
	if err := os.WriteFile(path, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(t.Context(), engine.Options{ConfigPath: path, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Env: func(name string) (string, bool) { return secret + strings.TrimPrefix(name, "KEY"), true }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	return e
}

// heard is what a client has of an answer, in whichever API it asked.
type heard struct {
	id, model, provider string
	text, reasoning     string
	signatures          []string
	calls               []sim.Call
	finish              string // in OpenAI's words
	prompt, completion  int64
	cost                json.Number
	rescued             string
	broken              string // the type of the error that ended the stream
	done                bool
	raw                 string
}

// ask sends a body in a front's API. The fields that both have (model, stream, provider.order) are put into it.
func (w *world) ask(t *testing.T, front wire.Shape, stream bool, fields string) (*heard, *wire.Error) {
	t.Helper()
	order, err := json.Marshal(w.order)
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Appendf(nil, `{"model":%q,"stream":%t,"provider":{"order":%s},%s}`, w.model, stream, order, fields)
	resp, err := w.engine.Do(t.Context(), engine.Call{Key: "sk-acme", Shape: front, Body: body})
	if err != nil {
		var e *wire.Error
		if !errors.As(err, &e) {
			t.Fatalf("no *wire.Error: %v", err)
		}
		return nil, e
	}
	h := &heard{}
	if resp.Stream == nil {
		h.raw = string(resp.Body)
		h.whole(t, front, resp.Body)
		h.done = true
		return h, nil
	}
	text, err := io.ReadAll(resp.Stream)
	if err != nil {
		t.Fatal(err)
	}
	h.raw = string(text)
	h.stream(t, front, text)
	return h, nil
}

type chatAnswer struct {
	ID, Model, Provider string
	Choices             []struct {
		Message, Delta chatOutput
		Finish         string `json:"finish_reason"`
	}
	Usage *struct {
		Prompt     int64 `json:"prompt_tokens"`
		Completion int64 `json:"completion_tokens"`
		Cost       json.Number
		Rescued    string
	}
	Error *struct{ Type string }
}

type chatOutput struct {
	Content, Reasoning string
	Details            []struct{ Signature, Data string } `json:"reasoning_details"`
	Calls              []struct {
		Index    int
		ID, Type string
		Function struct{ Name, Arguments string }
		Custom   struct{ Name, Input string }
	} `json:"tool_calls"`
}

type messageUsage struct {
	Input      int64 `json:"input_tokens"`
	Output     int64 `json:"output_tokens"`
	Cost       json.Number
	Rescued    string
	CacheRead  int64 `json:"cache_read_input_tokens"`
	CacheWrite int64 `json:"cache_creation_input_tokens"`
}

type messageBlock struct {
	Type, Text, Thinking, Signature, Data, ID, Name string
	Input                                           json.RawMessage
	Partial                                         string `json:"partial_json"`
	Stop                                            string `json:"stop_reason"`
}

type messageAnswer struct {
	ID, Model, Provider string
	Content             []messageBlock
	Stop                string `json:"stop_reason"`
	Usage               *messageUsage
}

var finishes = map[string]string{"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter"}

func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

func (h *heard) chat(a *chatAnswer) {
	h.id, h.model, h.provider = a.ID, a.Model, a.Provider
	for _, c := range a.Choices {
		for _, m := range []*chatOutput{&c.Message, &c.Delta} {
			h.text += m.Content
			h.reasoning += m.Reasoning
			for _, d := range m.Details {
				if d.Signature+d.Data != "" {
					h.signatures = append(h.signatures, d.Signature+d.Data)
				}
			}
			for i, call := range m.Calls {
				at := call.Index
				if m == &c.Message {
					at = i
				}
				for len(h.calls) <= at {
					h.calls = append(h.calls, sim.Call{})
				}
				one := &h.calls[at]
				one.Custom = one.Custom || call.Type == "custom"
				one.ID += call.ID
				one.Name += call.Function.Name + call.Custom.Name
				one.Arguments += call.Function.Arguments + call.Custom.Input
			}
		}
		if c.Finish != "" {
			h.finish = c.Finish
		}
	}
	if a.Usage != nil {
		h.prompt, h.completion, h.cost, h.rescued = a.Usage.Prompt, a.Usage.Completion, a.Usage.Cost, a.Usage.Rescued
	}
	if a.Error != nil {
		h.broken = a.Error.Type
	}
}

func (h *heard) usage(u *messageUsage) {
	if u != nil {
		h.prompt, h.completion, h.cost, h.rescued = u.Input+u.CacheRead+u.CacheWrite, u.Output, u.Cost, u.Rescued
	}
}

func (h *heard) whole(t *testing.T, front wire.Shape, body []byte) {
	t.Helper()
	switch front {
	case wire.Chat:
		var a chatAnswer
		decode(t, body, &a)
		h.chat(&a)
		return
	case wire.Completions:
		h.completed(t, body)
		return
	case wire.Responses:
		var r response
		decode(t, body, &r)
		h.response(&r)
		return
	}
	var a messageAnswer
	decode(t, body, &a)
	h.id, h.model, h.provider, h.finish = a.ID, a.Model, a.Provider, finishes[a.Stop]
	for _, b := range a.Content {
		h.text += b.Text
		h.reasoning += b.Thinking
		if b.Type == "thinking" || b.Type == "redacted_thinking" {
			h.signatures = append(h.signatures, b.Signature+b.Data)
		}
		if b.Type == "tool_use" {
			h.calls = append(h.calls, sim.Call{ID: b.ID, Name: b.Name, Arguments: string(b.Input)})
		}
	}
	h.usage(a.Usage)
}

// stream reads events, and holds those of Anthropic's to their order.
func (h *heard) stream(t *testing.T, front wire.Shape, text []byte) {
	t.Helper()
	if front == wire.Responses {
		h.responseEvents(t, text)
		return
	}
	r := wire.NewEventReader(bytes.NewReader(text), 1<<20)
	open, next, begun := -1, 0, false
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case h.done || h.broken != "":
			t.Fatalf("%s after the end", ev.Raw)
		case ev.Comment:
			continue
		case front != wire.Messages && string(ev.Data) == "[DONE]":
			h.done = true
			continue
		case front == wire.Chat:
			var a chatAnswer
			decode(t, ev.Data, &a)
			h.chat(&a)
			continue
		case front == wire.Completions:
			h.completed(t, ev.Data)
			continue
		}
		var e struct {
			Type    string
			Index   int
			Message messageAnswer
			Block   messageBlock `json:"content_block"`
			Delta   messageBlock
			Usage   *messageUsage
			Error   struct{ Type string }
		}
		decode(t, ev.Data, &e)
		if e.Type != string(ev.Name) {
			t.Fatalf("an event is named %q and of type %q", ev.Name, e.Type)
		}
		if e.Type != "message_start" && e.Type != "ping" && e.Type != "error" && !begun {
			t.Fatalf("%s before message_start", e.Type)
		}
		switch e.Type {
		case "message_start":
			if begun {
				t.Fatal("a second message_start")
			}
			begun = true
			h.id, h.model, h.provider = e.Message.ID, e.Message.Model, e.Message.Provider
		case "content_block_start":
			if open >= 0 || e.Index != next {
				t.Fatalf("block %d begins while %d is open and %d is next", e.Index, open, next)
			}
			open, next = e.Index, next+1
			if e.Block.Type == "tool_use" {
				h.calls = append(h.calls, sim.Call{ID: e.Block.ID, Name: e.Block.Name})
			}
			if e.Block.Data != "" {
				h.signatures = append(h.signatures, e.Block.Data)
			}
		case "content_block_delta":
			if e.Index != open {
				t.Fatalf("a delta of block %d while %d is open", e.Index, open)
			}
			h.text += e.Delta.Text
			h.reasoning += e.Delta.Thinking
			if e.Delta.Signature != "" {
				h.signatures = append(h.signatures, e.Delta.Signature)
			}
			if e.Delta.Type == "input_json_delta" {
				h.calls[len(h.calls)-1].Arguments += e.Delta.Partial
			}
		case "content_block_stop":
			if e.Index != open {
				t.Fatalf("block %d ends while %d is open", e.Index, open)
			}
			open = -1
		case "message_delta":
			if open >= 0 {
				t.Fatalf("message_delta while block %d is open", open)
			}
			h.finish = finishes[e.Delta.Stop]
			h.usage(e.Usage)
		case "message_stop":
			h.done = true
		case "error":
			h.broken = e.Error.Type
		}
	}
}

// right is what the provider meant to answer to what it got.
func (w *world) right(t *testing.T, at int, dialect string, profile sim.Profile) (sim.Completion, []byte) {
	t.Helper()
	log := w.sims[at].Log()
	if len(log) == 0 {
		t.Fatalf("nothing has reached p%d", at)
	}
	body := log[len(log)-1].Body
	read := sim.Answer
	if dialect == "anthropic" {
		read = sim.AnswerMessages
	}
	profile.Name = fmt.Sprintf("p%d", at)
	c, err := read(profile, body)
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return c, body
}

const picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

const schema = `{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city","days"],"additionalProperties":false}`

// fronts are the APIs that a client can ask in.
var fronts = []wire.Shape{wire.Chat, wire.Messages, wire.Responses, wire.Completions}

// wordless are the features that a front cannot ask for.
var wordless = map[wire.Shape][]string{
	wire.Chat:        {"a prompt"},
	wire.Messages:    {"a prompt", "custom tools", "custom tool replies", "allowed tools"},
	wire.Responses:   {"a prompt", "where to stop"},
	wire.Completions: {"text", "tools", "parallel tools", "tool replies", "custom tools", "custom tool replies", "allowed tools", "structured output", "image"},
}

// unsaid are the features that a dialect has no words for, with what a refusal says.
var unsaid = map[string]map[string]string{"anthropic": {
	"custom tools":        "tools[1]: is a custom tool",
	"custom tool replies": "has a call of the custom tool run",
	"allowed tools":       "tool_choice: allows only some of the tools",
}}

// features are what a client can ask for, in each front that has words for it, and what has then to be found in the provider's
// request.
var features = []struct {
	name    string
	profile sim.Profile
	asks    map[wire.Shape]string
	sent    []string // paths with values, of the request as a provider of chat completions gets it
	sentA   []string // likewise, of Anthropic's API
}{
	{"text", sim.Profile{OutputTokens: sim.Distribution{P50: 20}}, map[wire.Shape]string{
		wire.Chat:      `"max_tokens":200,"temperature":0.5,"top_p":0.9,"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"tell me"},{"role":"assistant","content":"of what?"},{"role":"user","content":[{"type":"text","text":"of "},{"type":"text","text":"ships"}]}]`,
		wire.Messages:  `"max_tokens":200,"temperature":0.5,"top_p":0.9,"system":"be brief","messages":[{"role":"user","content":"tell me"},{"role":"assistant","content":"of what?"},{"role":"user","content":[{"type":"text","text":"of "},{"type":"text","text":"ships"}]}]`,
		wire.Responses: `"max_output_tokens":200,"temperature":0.5,"top_p":0.9,"instructions":"be brief","input":[{"role":"user","content":"tell me"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"of what?","annotations":[]}]},{"role":"user","content":[{"type":"input_text","text":"of "},{"type":"input_text","text":"ships"}]}]`,
	},
		[]string{`temperature=0.5`, `top_p=0.9`, `max_tokens=200`, `messages.0.role="system"`, `messages.0.content="be brief"`, `messages.3.content.1.text="ships"`},
		[]string{`temperature=0.5`, `top_p=0.9`, `max_tokens=200`, `system="be brief"`, `messages.2.content.1.text="ships"`}},
	{"a prompt", sim.Profile{OutputTokens: sim.Distribution{P50: 20}}, map[wire.Shape]string{
		wire.Completions: `"max_tokens":200,"temperature":0.5,"top_p":0.9,"prompt":"Of ships:"`,
	},
		[]string{`temperature=0.5`, `top_p=0.9`, `max_tokens=200`, `messages.0.role="user"`, `messages.0.content="Of ships:"`},
		[]string{`temperature=0.5`, `top_p=0.9`, `max_tokens=200`, `messages.0.role="user"`, `messages.0.content="Of ships:"`}},
	{"where to stop", sim.Profile{OutputTokens: sim.Distribution{P50: 20}}, map[wire.Shape]string{
		wire.Chat:        `"max_tokens":200,"stop":["END"],"messages":[{"role":"user","content":"tell me"}]`,
		wire.Messages:    `"max_tokens":200,"stop_sequences":["END"],"messages":[{"role":"user","content":"tell me"}]`,
		wire.Completions: `"max_tokens":200,"stop":"END","prompt":"tell me"`,
	},
		[]string{`stop.0="END"`}, []string{`stop_sequences.0="END"`}},
	{"an answer at its limit", sim.Profile{OutputTokens: sim.Distribution{P50: 40}}, map[wire.Shape]string{
		wire.Chat:        `"max_tokens":20,"messages":[{"role":"user","content":"tell me"}]`,
		wire.Messages:    `"max_tokens":20,"messages":[{"role":"user","content":"tell me"}]`,
		wire.Responses:   `"max_output_tokens":20,"input":"tell me"`,
		wire.Completions: `"max_tokens":20,"prompt":"tell me"`,
	},
		[]string{`max_tokens=20`}, []string{`max_tokens=20`}},
	{"tools", sim.Profile{PreambleTokens: 4}, map[wire.Shape]string{
		wire.Chat:      `"max_tokens":200,"tool_choice":{"type":"function","function":{"name":"weather"}},"tools":[{"type":"function","function":{"name":"look_up","description":"looks up"}},{"type":"function","function":{"name":"weather","description":"the weather","parameters":` + schema + `}}],"messages":[{"role":"user","content":"Bern"}]`,
		wire.Messages:  `"max_tokens":200,"tool_choice":{"type":"tool","name":"weather"},"tools":[{"name":"look_up","description":"looks up","input_schema":{"type":"object","properties":{}}},{"name":"weather","description":"the weather","input_schema":` + schema + `}],"messages":[{"role":"user","content":"Bern"}]`,
		wire.Responses: `"max_output_tokens":200,"tool_choice":{"type":"function","name":"weather"},"tools":[{"type":"function","name":"look_up","description":"looks up"},{"type":"function","name":"weather","description":"the weather","parameters":` + schema + `}],"input":"Bern"`,
	},
		[]string{`tools.1.function.name="weather"`, `tools.1.function.parameters.required.1="days"`, `tools.0.function.description="looks up"`, `tool_choice.function.name="weather"`},
		[]string{`tools.1.name="weather"`, `tools.1.input_schema.required.1="days"`, `tools.0.description="looks up"`, `tool_choice.type="tool"`, `tool_choice.name="weather"`}},
	{"parallel tools", sim.Profile{Calls: 2}, map[wire.Shape]string{
		wire.Chat:      `"max_tokens":200,"tool_choice":"required","parallel_tool_calls":true,"tools":[{"type":"function","function":{"name":"one","parameters":` + schema + `}},{"type":"function","function":{"name":"two","parameters":` + schema + `}}],"messages":[{"role":"user","content":"both"}]`,
		wire.Messages:  `"max_tokens":200,"tool_choice":{"type":"any","disable_parallel_tool_use":false},"tools":[{"name":"one","input_schema":` + schema + `},{"name":"two","input_schema":` + schema + `}],"messages":[{"role":"user","content":"both"}]`,
		wire.Responses: `"max_output_tokens":200,"tool_choice":"required","parallel_tool_calls":true,"tools":[{"type":"function","name":"one","parameters":` + schema + `},{"type":"function","name":"two","parameters":` + schema + `}],"input":"both"`,
	},
		[]string{`tool_choice="required"`, `parallel_tool_calls=true`}, []string{`tool_choice.type="any"`, `tool_choice.disable_parallel_tool_use=false`}},
	{"tool replies", sim.Profile{OutputTokens: sim.Distribution{P50: 10}}, map[wire.Shape]string{
		wire.Chat:      `"max_tokens":200,"tools":[{"type":"function","function":{"name":"one","parameters":` + schema + `}}],"messages":[{"role":"user","content":"go"},{"role":"assistant","content":"I look","tool_calls":[{"id":"call_a","type":"function","function":{"name":"one","arguments":"{\"city\":\"Bern\",\"days\":3}"}},{"id":"call_b","type":"function","function":{"name":"one","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_a","content":"rain"},{"role":"tool","tool_call_id":"call_b","content":"sun"},{"role":"user","content":"and?"}]`,
		wire.Messages:  `"max_tokens":200,"tools":[{"name":"one","input_schema":` + schema + `}],"messages":[{"role":"user","content":"go"},{"role":"assistant","content":[{"type":"text","text":"I look"},{"type":"tool_use","id":"call_a","name":"one","input":{"city":"Bern","days":3}},{"type":"tool_use","id":"call_b","name":"one","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_a","content":"rain"},{"type":"tool_result","tool_use_id":"call_b","content":[{"type":"text","text":"sun"}]},{"type":"text","text":"and?"}]}]`,
		wire.Responses: `"max_output_tokens":200,"tools":[{"type":"function","name":"one","parameters":` + schema + `}],"input":[{"role":"user","content":"go"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"I look","annotations":[]}]},{"type":"function_call","call_id":"call_a","name":"one","arguments":"{\"city\":\"Bern\",\"days\":3}"},{"type":"function_call","call_id":"call_b","name":"one","arguments":"{}"},{"type":"function_call_output","call_id":"call_a","output":"rain"},{"type":"function_call_output","call_id":"call_b","output":[{"type":"input_text","text":"sun"}]},{"role":"user","content":"and?"}]`,
	},
		[]string{`messages.1.tool_calls.0.id="call_a"`, `messages.1.tool_calls.0.function.arguments="{\"city\":\"Bern\",\"days\":3}"`, `messages.1.content="I look"`, `messages.2.role="tool"`, `messages.2.content="rain"`, `messages.3.tool_call_id="call_b"`, `messages.4.content="and?"`},
		[]string{`messages.1.content.0.text="I look"`, `messages.1.content.1.input.days=3`, `messages.2.content.0.tool_use_id="call_a"`, `messages.2.content.0.content="rain"`, `messages.2.content.1.tool_use_id="call_b"`}},
	{"custom tools", sim.Profile{PreambleTokens: 4, Calls: 2}, map[wire.Shape]string{
		wire.Chat:      `"max_tokens":200,"tool_choice":{"type":"custom","custom":{"name":"run"}},"tools":[{"type":"function","function":{"name":"one","parameters":` + schema + `}},{"type":"custom","custom":{"name":"run","description":"runs","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"start: /x/"}}}}],"messages":[{"role":"user","content":"go"}]`,
		wire.Responses: `"max_output_tokens":200,"tool_choice":{"type":"custom","name":"run"},"tools":[{"type":"function","name":"one","parameters":` + schema + `},{"type":"custom","name":"run","description":"runs","format":{"type":"grammar","syntax":"lark","definition":"start: /x/"}}],"input":"go"`,
	},
		[]string{`tools.0.type="function"`, `tools.1.type="custom"`, `tools.1.custom.name="run"`, `tools.1.custom.description="runs"`, `tools.1.custom.format.grammar.definition="start: /x/"`, `tools.1.custom.format.grammar.syntax="lark"`, `tool_choice.type="custom"`, `tool_choice.custom.name="run"`},
		nil},
	{"custom tool replies", sim.Profile{OutputTokens: sim.Distribution{P50: 10}}, map[wire.Shape]string{
		wire.Chat:      `"max_tokens":200,"messages":[{"role":"user","content":"go"},{"role":"assistant","content":"I look","tool_calls":[{"id":"call_a","type":"custom","custom":{"name":"run","input":"ls -l\n"}},{"id":"call_b","type":"function","function":{"name":"one","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_a","content":"rain"},{"role":"tool","tool_call_id":"call_b","content":"sun"}]`,
		wire.Responses: `"max_output_tokens":200,"input":[{"role":"user","content":"go"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"I look","annotations":[]}]},{"type":"custom_tool_call","id":"ctc_1","call_id":"call_a","name":"run","input":"ls -l\n"},{"type":"function_call","call_id":"call_b","name":"one","arguments":"{}"},{"type":"custom_tool_call_output","call_id":"call_a","output":"rain"},{"type":"function_call_output","call_id":"call_b","output":"sun"}]`,
	},
		[]string{`messages.1.content="I look"`, `messages.1.tool_calls.0.id="call_a"`, `messages.1.tool_calls.0.type="custom"`, `messages.1.tool_calls.0.custom.name="run"`, `messages.1.tool_calls.0.custom.input="ls -l\n"`, `messages.1.tool_calls.1.function.name="one"`, `messages.2.role="tool"`, `messages.2.tool_call_id="call_a"`, `messages.2.content="rain"`, `messages.3.content="sun"`},
		nil},
	{"allowed tools", sim.Profile{}, map[wire.Shape]string{
		wire.Chat:      `"max_tokens":200,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"two"}}]}},"tools":[{"type":"function","function":{"name":"one","parameters":` + schema + `}},{"type":"function","function":{"name":"two","parameters":` + schema + `}}],"messages":[{"role":"user","content":"go"}]`,
		wire.Responses: `"max_output_tokens":200,"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"two"}]},"tools":[{"type":"function","name":"one","parameters":` + schema + `},{"type":"function","name":"two","parameters":` + schema + `}],"input":"go"`,
	},
		[]string{`tool_choice.type="allowed_tools"`, `tool_choice.allowed_tools.mode="required"`, `tool_choice.allowed_tools.tools.0.function.name="two"`},
		nil},
	{"structured output", sim.Profile{}, map[wire.Shape]string{
		wire.Chat:      `"max_tokens":200,"response_format":{"type":"json_schema","json_schema":{"name":"trip","schema":` + schema + `,"strict":true}},"messages":[{"role":"user","content":"plan"}]`,
		wire.Messages:  `"max_tokens":200,"output_config":{"format":{"type":"json_schema","schema":` + schema + `}},"messages":[{"role":"user","content":"plan"}]`,
		wire.Responses: `"max_output_tokens":200,"text":{"format":{"type":"json_schema","name":"trip","schema":` + schema + `,"strict":true}},"input":"plan"`,
	},
		[]string{`response_format.type="json_schema"`, `response_format.json_schema.schema.required.0="city"`}, []string{`output_config.format.schema.required.0="city"`}},
	{"image", sim.Profile{OutputTokens: sim.Distribution{P50: 10}}, map[wire.Shape]string{
		wire.Chat:      `"max_tokens":200,"messages":[{"role":"user","content":[{"type":"text","text":"what is it?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + picture + `"}},{"type":"image_url","image_url":{"url":"https://pictures.example.com/a.png"}}]}]`,
		wire.Messages:  `"max_tokens":200,"messages":[{"role":"user","content":[{"type":"text","text":"what is it?"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + picture + `"}},{"type":"image","source":{"type":"url","url":"https://pictures.example.com/a.png"}}]}]`,
		wire.Responses: `"max_output_tokens":200,"input":[{"role":"user","content":[{"type":"input_text","text":"what is it?"},{"type":"input_image","image_url":"data:image/png;base64,` + picture + `"},{"type":"input_image","image_url":"https://pictures.example.com/a.png"}]}]`,
	},
		[]string{`messages.0.content.1.image_url.url="data:image/png;base64,` + picture + `"`, `messages.0.content.2.image_url.url="https://pictures.example.com/a.png"`},
		[]string{`messages.0.content.1.source.data="` + picture + `"`, `messages.0.content.1.source.media_type="image/png"`, `messages.0.content.2.source.url="https://pictures.example.com/a.png"`}},
	{"reasoning", sim.Profile{ReasoningTokens: 6, ReasoningIn: "reasoning", OutputTokens: sim.Distribution{P50: 10}}, map[wire.Shape]string{
		wire.Chat:        `"max_tokens":4000,"reasoning":{"max_tokens":2000},"messages":[{"role":"user","content":"think"}]`,
		wire.Messages:    `"max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":2000},"messages":[{"role":"user","content":"think"}]`,
		wire.Responses:   `"max_output_tokens":4000,"reasoning":{"max_tokens":2000},"input":"think"`,
		wire.Completions: `"max_tokens":4000,"reasoning":{"max_tokens":2000},"prompt":"think"`,
	},
		[]string{`reasoning.max_tokens=2000`}, []string{`thinking.type="enabled"`, `thinking.budget_tokens=2000`}},
}

// at is the value at a path of a JSON text.
func at(t *testing.T, body []byte, path string) string {
	t.Helper()
	var v any
	decode(t, body, &v)
	for step := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(x) {
				return "nothing"
			}
			v = x[i]
		default:
			return "nothing"
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryFrontOverEveryBack(t *testing.T) {
	for _, front := range fronts {
		for _, dialect := range []string{"openai", "anthropic"} {
			for _, stream := range []bool{false, true} {
				for _, f := range features {
					if slices.Contains(wordless[front], f.name) {
						continue
					}
					t.Run(fmt.Sprintf("%s over %s/stream=%t/%s", front, dialect, stream, f.name), func(t *testing.T) {
						t.Parallel()
						fields := f.asks[front]
						if fields == "" {
							t.Fatalf("%s is neither asked for %s nor said to have no words for it", front, f.name)
						}
						w := openWorld(t, "", back{dialect, f.profile})
						got, refused := w.ask(t, front, stream, fields)
						if reason := unsaid[dialect][f.name]; reason != "" {
							if refused == nil || refused.Status != 404 || !strings.Contains(refused.Message, reason) || len(w.sims[0].Log()) > 0 {
								t.Errorf("%+v, %v; want a refusal that says %q", got, refused, reason)
							}
							return
						}
						if refused != nil {
							t.Fatalf("refused: %v", refused)
						}
						want, body := w.right(t, 0, dialect, f.profile)
						c := want.Choices[0]
						if got.text != c.Text || got.finish != c.FinishReason || !got.done {
							t.Errorf("text %q, ended by %q, done %t; want %q, %q", got.text, got.finish, got.done, c.Text, c.FinishReason)
						}
						if got.reasoning != c.Reasoning {
							t.Errorf("reasoning %q, want %q", got.reasoning, c.Reasoning)
						}
						if c.Reasoning != "" && dialect == "anthropic" && front != wire.Completions && len(got.signatures) != 1 {
							t.Errorf("signatures %q", got.signatures)
						}
						var calls []sim.Call
						if c.Call != nil {
							calls = append([]sim.Call{*c.Call}, c.Others...)
						}
						if len(got.calls) != len(calls) {
							t.Fatalf("calls %+v, want %+v", got.calls, calls)
						}
						for i := range calls {
							var a, b any = got.calls[i].Arguments, calls[i].Arguments
							if !calls[i].Custom {
								decode(t, []byte(got.calls[i].Arguments), &a)
								decode(t, []byte(calls[i].Arguments), &b)
							}
							if got.calls[i].Custom != calls[i].Custom || got.calls[i].ID != calls[i].ID || got.calls[i].Name != calls[i].Name || !reflect.DeepEqual(a, b) {
								t.Errorf("call %+v, want %+v", got.calls[i], calls[i])
							}
						}
						if got.prompt != want.PromptTokens || got.completion != want.CompletionTokens {
							t.Errorf("usage %d + %d, want %d + %d", got.prompt, got.completion, want.PromptTokens, want.CompletionTokens)
						}
						if got.cost == "" || got.cost == "0" || got.model != "m/one" || got.provider != "P0" || !strings.HasPrefix(got.id, "gen-") {
							t.Errorf("cost %q, model %q, provider %q, id %q", got.cost, got.model, got.provider, got.id)
						}
						checks := f.sent
						if dialect == "anthropic" {
							checks = f.sentA
						}
						for _, check := range checks {
							path, value, _ := strings.Cut(check, "=")
							if found := at(t, body, path); found != value {
								t.Errorf("sent %s as %s, want %s in %s", path, found, value, body)
							}
						}
						if m := at(t, body, "model"); m != `"upstream-one"` {
							t.Errorf("asked for the model %s", m)
						}
					})
				}
			}
		}
	}
}

// Every way in which a stream can die, in every pair of APIs, is rescued at a provider of either dialect, or ends in the
// front's own error event.
func TestRescueAcrossDialects(t *testing.T) {
	type pair struct {
		*world
		name, method string
		front        wire.Shape
	}
	var pairs []pair
	var catalog strings.Builder
	second := sim.Profile{OutputTokens: sim.Distribution{P50: 20}, Continues: "prefill"}
	for _, front := range fronts {
		for _, from := range []string{"openai", "anthropic"} {
			for _, to := range []string{"openai", "anthropic"} {
				for _, method := range []string{"splice", "continue"} {
					for _, c := range dying {
						n := len(pairs)
						w := &world{model: fmt.Sprintf("m/%d", n)}
						w.start(t, &catalog, 2*n, back{from, always(c.fault)}, back{to, second})
						fmt.Fprintf(&catalog, "[[dispatch.overrides]]\nmodel = %q\nrescue = [%q]\n", w.model, method)
						if c.outcome == "idle" {
							catalog.WriteString("idle = \"2s\"\n")
						}
						pairs = append(pairs, pair{w, fmt.Sprintf("%s/%s to %s/%s/%s", front, from, to, method, c.fault.Kind), method, front})
					}
				}
			}
		}
	}
	// On a busy machine nothing is to be given up for being slow but what stays silent.
	e := openOver(t, "[timeouts]\nfirst_byte = \"1m\"\nttft = \"1m\"\nidle = \"1m\"\n"+catalog.String())
	want, err := sim.Answer(second, []byte(`{"model":"x","max_tokens":24,"messages":[{"role":"user","content":"tell me"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, p := range pairs {
		p.engine = e
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			t.Run(p.name, func(t *testing.T) {
				got, refused := p.ask(t, p.front, true, brief[p.front])
				if refused != nil {
					t.Fatalf("refused: %v", refused)
				}
				if got.text != want.Choices[0].Text || got.broken != "" || !got.done || got.finish != "stop" {
					t.Errorf("text %q, broken %q, done %t, ended by %q; want %q\n%s", got.text, got.broken, got.done, got.finish, want.Choices[0].Text, got.raw)
				}
				if got.rescued != p.method || got.completion < 20 || got.cost == "" {
					t.Errorf("rescued by %q, %d tokens, cost %q", got.rescued, got.completion, got.cost)
				}
			})
		})
	}
	all.Wait()
}

func TestATruncatedAnswerIsNeverPresentedAsComplete(t *testing.T) {
	kinds := map[wire.Shape]map[string]string{
		wire.Chat:     {"cut": "provider_unavailable", "idle": "timeout", "server_error": "provider_unavailable", "overloaded": "provider_overloaded"},
		wire.Messages: {"cut": "api_error", "idle": "timeout_error", "server_error": "api_error", "overloaded": "overloaded_error"},
	}
	kinds[wire.Responses], kinds[wire.Completions] = kinds[wire.Chat], kinds[wire.Chat]
	for _, front := range fronts {
		for _, dialect := range []string{"openai", "anthropic"} {
			for _, c := range dying {
				t.Run(fmt.Sprintf("%s over %s/%s", front, dialect, c.fault.Kind), func(t *testing.T) {
					t.Parallel()
					w := openWorld(t, waited(c.fault)+"rescue = []\n", back{dialect, always(c.fault)})
					got, refused := w.ask(t, front, true, brief[front])
					if refused != nil {
						t.Fatalf("refused: %v", refused)
					}
					if got.done || got.text == "" || got.broken != kinds[front][c.outcome] || got.finish != "" && got.finish != "error" {
						t.Errorf("done %t, text %q, error %q, ended by %q\n%s", got.done, got.text, got.broken, got.finish, got.raw)
					}
				})
			}
		}
	}
}

func TestFaultsOfAnthropicAreReadAsWhatTheyAre(t *testing.T) {
	for _, c := range []struct {
		fault   sim.Fault
		outcome string
	}{
		{sim.Fault{Kind: sim.Status, Status: 529}, "overloaded"}, {sim.Fault{Kind: sim.Status, Status: 500}, "server_error"},
		{sim.Fault{Kind: sim.Status, Status: 401}, "credential"}, {sim.Fault{Kind: sim.Status, Status: 404}, "unknown_model"},
		{sim.Fault{Kind: sim.ErrorBody}, "server_error"}, {sim.Fault{Kind: sim.ContextLength}, "context_length"},
		{sim.Fault{Kind: sim.ContentPolicy}, "content_policy"}, {sim.Fault{Kind: sim.UnsupportedParameter}, "unsupported"},
		{sim.Fault{Kind: sim.ErrorEvent, Status: 529}, "overloaded"}, {sim.Fault{Kind: sim.ErrorEvent, Status: 429}, "rate_limited"},
		{sim.Fault{Kind: sim.Truncate}, "cut"}, {sim.Fault{Kind: sim.Empty}, "empty_answer"},
	} {
		t.Run(fmt.Sprintf("%s %d", c.fault.Kind, c.fault.Status), func(t *testing.T) {
			t.Parallel()
			w := openWorld(t, calm, back{"anthropic", always(c.fault)})
			_, refused := w.ask(t, wire.Messages, true, `"max_tokens":24,"messages":[{"role":"user","content":"tell me"}]`)
			if refused == nil {
				t.Fatal("served")
			}
			if rec := w.engine.Record(refused.DecisionID); rec == nil || len(rec.Attempts) == 0 || rec.Attempts[0].Outcome != c.outcome {
				t.Errorf("recorded as %s, want %s", outcomes(rec), c.outcome)
			}
			text := wire.Messages.AppendError(nil, refused)
			if at(t, text, "type") != `"error"` || at(t, text, "request_id") == "null" || bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s", text)
			}
		})
	}
}
