package wire_test

import (
	"encoding/json"
	"strings"
	"testing"

	"chaperone/engine/wire"
)

const (
	asksHi = `"messages":[{"role":"user","content":"hi"}]`
	tool   = `{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true}}`
	text   = `{"type":"custom","custom":{"name":"c","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"d"}}}}`
	format = `{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}`
)

// presetOf has fields, each "name: JSON", and tools.
func presetOf(tools []string, fields ...string) *wire.Preset {
	p := &wire.Preset{}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		p.Fields = append(p.Fields, wire.Edit{Field: name, Value: []byte(value)})
	}
	for _, t := range tools {
		p.Tools = append(p.Tools, []byte(t))
	}
	return p
}

// A preset is written in the words of chat completions and said in those of the API that a request comes in. What the request
// says itself, under whichever name, wins; null says nothing.
func TestAPresetIsSaidInTheWordsOfEachAPI(t *testing.T) {
	chosen := []string{`tool_choice: {"type":"function","function":{"name":"f"}}`}
	for _, c := range []struct {
		name   string
		shape  wire.Shape
		preset *wire.Preset
		body   string // without model
		want   string // of the whole body; or, behind "!", of the refusal
	}{
		{"chat", wire.Chat, presetOf([]string{tool}, `max_tokens: 7`, `response_format: `+format), asksHi,
			`{"max_tokens":7,"response_format":` + format + `,"tools":[` + tool + `],"model":"m",` + asksHi + `}`},
		{"chat, the limit under another name", wire.Chat, presetOf(nil, `max_tokens: 7`), `"max_completion_tokens":9,` + asksHi, `{"model":"m","max_completion_tokens":9,` + asksHi + `}`},
		{"chat, reasoning under another name", wire.Chat, presetOf(nil, `reasoning: {"effort":"low"}`), `"reasoning_effort":"high",` + asksHi, `{"model":"m","reasoning_effort":"high",` + asksHi + `}`},
		{"chat, null", wire.Chat, presetOf([]string{tool}, `max_tokens: 7`, `temperature: 1`), `"max_tokens":null,"temperature":null,"tools":null,` + asksHi,
			`{"model":"m","max_tokens":7,"temperature":1,"tools":[` + tool + `],` + asksHi + `}`},

		{"messages", wire.Messages, presetOf([]string{tool}, append(chosen, `max_tokens: 7`, `temperature: 0.5`, `stop: "END"`, `response_format: `+format, `seed: null`)...), asksHi,
			`{"temperature":0.5,"max_tokens":7,"stop_sequences":["END"],"tool_choice":{"name":"f","type":"tool"},"output_config":{"format":{"schema":{"type":"object"},"type":"json_schema"}},` +
				`"tools":[{"description":"d","input_schema":{"type":"object"},"name":"f","strict":true}],"model":"m",` + asksHi + `}`},
		{"messages, an effort", wire.Messages, presetOf(nil, `reasoning_effort: "medium"`), `"max_tokens":4000,` + asksHi,
			`{"thinking":{"budget_tokens":2000,"type":"enabled"},"model":"m","max_tokens":4000,` + asksHi + `}`},
		{"messages, thinking of its own", wire.Messages, presetOf(nil, `reasoning_effort: "medium"`, `max_completion_tokens: 7`), `"thinking":{"type":"disabled"},"max_tokens":4000,` + asksHi,
			`{"model":"m","thinking":{"type":"disabled"},"max_tokens":4000,` + asksHi + `}`},
		{"messages, one call at a time", wire.Messages, presetOf(nil, `parallel_tool_calls: false`), `"max_tokens":9,"tool_choice":{"type":"any"},` + asksHi,
			`{"model":"m","max_tokens":9,"tool_choice":{"disable_parallel_tool_use":true,"type":"any"},` + asksHi + `}`},
		{"messages, a tool demanded that the request describes", wire.Messages, presetOf(nil, `tool_choice: "required"`), `"max_tokens":9,"tools":[{"name":"g","input_schema":{}}],` + asksHi,
			`{"tool_choice":{"type":"any"},"model":"m","max_tokens":9,"tools":[{"name":"g","input_schema":{}}],` + asksHi + `}`},
		{"messages, in its own words", wire.Messages, presetOf([]string{`{"name":"g","input_schema":{}}`}, `tool_choice: {"type":"any"}`, `thinking: {"type":"disabled"}`, `top_k: 3`), `"max_tokens":9,` + asksHi,
			`{"thinking":{"type":"disabled"},"top_k":3,"tool_choice":{"type":"any"},"tools":[{"name":"g","input_schema":{}}],"model":"m","max_tokens":9,` + asksHi + `}`},
		{"messages, models and fallbacks", wire.Messages, presetOf(nil, `models: ["a"]`), `"max_tokens":9,"fallbacks":[{"model":"b"}],` + asksHi, `{"model":"m","max_tokens":9,"fallbacks":[{"model":"b"}],` + asksHi + `}`},
		{"messages, without words", wire.Messages, presetOf(nil, `seed: 1`), `"max_tokens":9,` + asksHi, `!(seed: is 1)`},
		{"messages, what asks for nothing", wire.Messages, presetOf(nil, `frequency_penalty: 0`), `"max_tokens":9,` + asksHi, `{"model":"m","max_tokens":9,` + asksHi + `}`},

		{"a count", wire.CountTokens, &wire.Preset{Instructions: "Be brief.", Fields: presetOf(nil, `max_tokens: 7`, `temperature: 1`).Fields, Tools: [][]byte{[]byte(tool)}}, asksHi,
			`{"system":"Be brief.","tools":[{"description":"d","input_schema":{"type":"object"},"name":"f","strict":true}],"model":"m",` + asksHi + `}`},

		{"responses", wire.Responses, presetOf([]string{tool}, append(chosen, `max_tokens: 7`, `verbosity: "low"`, `reasoning_effort: "high"`, `seed: 3`, `response_format: `+format)...), `"input":"hi"`,
			`{"seed":3,"tool_choice":{"name":"f","type":"function"},"max_output_tokens":7,"text":{"verbosity":"low","format":{"name":"n","schema":{"type":"object"},"type":"json_schema"}},` +
				`"reasoning":{"effort":"high"},"tools":[{"description":"d","name":"f","parameters":{"type":"object"},"strict":true,"type":"function"}],"model":"m","input":"hi"}`},
		{"responses, beside what is said there", wire.Responses, presetOf(nil, `max_completion_tokens: 7`, `verbosity: "low"`, `reasoning_effort: "high"`), `"max_output_tokens":9,"text":{"format":{"type":"text"}},"reasoning":{"effort":"low","summary":"auto"},"input":"hi"`,
			`{"model":"m","max_output_tokens":9,"text":{"verbosity":"low","format":{"type":"text"}},"reasoning":{"effort":"low","summary":"auto"},"input":"hi"}`},
		{"responses, custom tools", wire.Responses, presetOf([]string{text, tool}, `tool_choice: {"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"custom","custom":{"name":"c"}},{"type":"function","function":{"name":"f"}}]}}`), `"input":"hi"`,
			`{"tool_choice":{"mode":"auto","tools":[{"name":"c","type":"custom"},{"name":"f","type":"function"}],"type":"allowed_tools"},` +
				`"tools":[{"format":{"definition":"d","syntax":"lark","type":"grammar"},"name":"c","type":"custom"},{"description":"d","name":"f","parameters":{"type":"object"},"strict":true,"type":"function"}],"model":"m","input":"hi"}`},
		{"responses, a custom tool that is there", wire.Responses, presetOf([]string{text}, `tool_choice: {"type":"custom","custom":{"name":"c"}}`), `"tools":[{"type":"custom","name":"c"}],"input":"hi"`,
			`{"tool_choice":{"name":"c","type":"custom"},"model":"m","tools":[{"type":"custom","name":"c"}],"input":"hi"}`},
		{"messages, a custom tool", wire.Messages, presetOf([]string{text}), `"max_tokens":9,` + asksHi, `!is a custom tool`},
		{"responses, without words", wire.Responses, presetOf(nil, `stop: "END"`), `"input":"hi"`, `!(stop)`},

		{"completions", wire.Completions, presetOf(nil, `max_completion_tokens: 7`, `stop: "END"`, `response_format: {"type":"text"}`), `"prompt":"hi"`, `{"stop":"END","max_tokens":7,"model":"m","prompt":"hi"}`},
		{"completions, null", wire.Completions, presetOf(nil, `max_tokens: 7`), `"max_tokens":null,"prompt":"hi"`, `{"model":"m","max_tokens":7,"prompt":"hi"}`},
		{"completions, without words", wire.Completions, presetOf(nil, `response_format: `+format), `"prompt":"hi"`, `!(response_format)`},
		{"completions, tools", wire.Completions, presetOf([]string{tool}), `"prompt":"hi"`, `!(tools)`},
		{"embeddings", wire.Embeddings, presetOf(nil, `provider: {"zdr":true}`, `dimensions: 3`), `"input":"hi"`, `{"provider":{"zdr":true},"dimensions":3,"model":"m","input":"hi"}`},
		{"embeddings, without words", wire.Embeddings, presetOf(nil, `temperature: 1`), `"input":"hi"`, `!(temperature)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, refused := wire.Skim(c.shape, wire.Head{}, []byte(`{"model":"m@preset/p",`+c.body+`}`))
			if refused != nil {
				t.Fatal(refused)
			}
			body, refused := req.WithPreset("m", c.preset)
			if why, wanted := strings.CutPrefix(c.want, "!"); wanted {
				if refused == nil || refused.Status != 400 || refused.Param != "preset" || !strings.Contains(refused.Message, why) {
					t.Errorf("got %s, %v; want a refusal with %s", body, refused, why)
				}
				return
			}
			if refused != nil || string(body) != c.want {
				t.Fatalf("got\n%s, %v\nwant\n%s", body, refused, c.want)
			}
			if _, refused := wire.Skim(c.shape, wire.Head{}, body); refused != nil {
				t.Errorf("the merged request is refused: %v", refused)
			}
		})
	}
}

// FuzzWithPreset: whatever a preset and a request say, they make a request, or a refusal.
func FuzzWithPreset(f *testing.F) {
	for shape := range wire.Shapes() {
		f.Add(shape, "max_tokens", "7", `{"model":"m","messages":[{"role":"user","content":"hi"}],"input":"hi","prompt":"hi","max_tokens":9}`, tool)
		f.Add(shape, "reasoning_effort", `"low"`, `{"model":"m@preset/p","messages":[{"role":"user","content":"hi"}],"input":[{"role":"user","content":"hi"}],"reasoning":{},"prompt":["hi"]}`, `{"name":"g"}`)
		f.Add(shape, "tool_choice", `{"type":"function","function":{"name":"f"}}`, `{"model":"m","messages":[{"role":"user","content":"hi"}],"text":null,"tools":[],"max_tokens":1}`, `{"type":"function","function":{}}`)
		f.Add(shape, "tool_choice", `{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"custom","custom":{"name":"c"}}]}}`, `{"model":"m","messages":[{"role":"user","content":"hi"}],"input":"hi","max_tokens":1}`, text)
		f.Add(shape, "response_format", format, `{"model":"m","messages":[{"role":"user","content":"hi"}],"text":{"format":3},"output_config":[],"max_tokens":1}`, `{"type":"function","function":null}`)
	}
	f.Fuzz(func(t *testing.T, shape int, name, value, body, tool string) {
		if shape < 0 || shape >= len(wire.Shapes()) || !json.Valid([]byte(value)) || !json.Valid([]byte(tool)) {
			return
		}
		of := wire.Shape(wire.Shapes()[shape])
		req, refused := wire.Skim(of, wire.Head{}, []byte(body))
		if refused != nil {
			return
		}
		merged, refused := req.WithPreset("", &wire.Preset{Fields: []wire.Edit{{Field: name, Value: []byte(value)}}, Instructions: "Be brief.", Tools: [][]byte{[]byte(tool)}})
		if refused == nil && !json.Valid(merged) {
			t.Errorf("%s with %s = %s makes %s", body, name, value, merged)
		}
	})
}
