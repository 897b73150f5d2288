package wire

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// Preset is what a request leaves unsaid, in the words of chat completions.
type Preset struct {
	Fields       []Edit   // top-level fields, for requests that do not say the same
	Instructions string   // for requests without instructions of their own
	Tools        [][]byte // tools in JSON, for requests that do not describe the same
}

// WithPreset is the body with what a preset says and the request does not, in the request's API: fields are taken whole, and
// the request's win; one that is null says nothing. Tools are united. model takes the place of what the body says; where it is
// "", the preset's does. The error (400) names what the API has no words for, or that no tools can be added to what the
// request has.
func (r *Request) WithPreset(model string, p *Preset) ([]byte, *Error) {
	body := r.In(r.Shape)
	edits := []Edit{{Field: "preset"}, {Field: "model"}}
	if model != "" {
		edits[1].Value = appendString(nil, model)
	}
	w := r.words(p)
	if w.cannot != "" {
		return nil, &Error{Status: http.StatusBadRequest, Type: "invalid_request", Param: "preset",
			Message: "preset: it has what cannot be said in this API (" + w.cannot + "); name another, or ask in another API"}
	}
	for _, f := range w.fields {
		switch {
		case f.Field == "model":
			if model == "" {
				edits[1].Value = f.Value
			}
		case !body.saysLike(f.Field):
			edits = append(edits, f)
		}
	}
	instructed := r.opening[0].to > 0 || body.says("system") || body.says("instructions")
	if p.Instructions != "" && !instructed {
		instruct := r.Shape.api().instruct
		if instruct == nil {
			return nil, &Error{Status: http.StatusBadRequest, Type: "invalid_request", Param: "preset",
				Message: "preset: it has instructions, which cannot be said in this API; name another, or ask in another API"}
		}
		edits = append(edits, instruct(body, p.Instructions))
	}
	if len(w.tools) > 0 {
		tools, err := unite(body.Value("tools"), w.tools)
		if err != nil {
			return nil, &Error{Status: http.StatusBadRequest, Type: "invalid_request", Param: "tools",
				Message: "tools: found no array of tools, to which those of the preset could be added"}
		}
		edits = append(edits, Edit{Field: "tools", Value: tools})
	}
	return r.AppendEdited(make([]byte, 0, len(r.Body)+1024), edits...), nil
}

// PresetMark stands in a model's name before that of a preset.
const PresetMark = "@preset/"

// unfinished says whether a preset is still to be merged into the request, which may lack until then what it must have.
func (r *Request) unfinished() bool { return r.Preset != "" || strings.Contains(r.Model, PresetMark) }

// synonyms are fields that say the same in one API: who has said one has said all.
var synonyms = [][]string{
	{"max_tokens", "max_completion_tokens", "max_output_tokens"},
	{"reasoning", "reasoning_effort", "include_reasoning"},
	{"tool_choice", "function_call"},
	{"models", "fallbacks"},
	{"thinking", "output_config.effort"},
	{"output_config.format", "output_format"},
}

// saysLike says whether the body has that field, or one that says the same.
func (v *Version) saysLike(field string) bool {
	for _, same := range synonyms {
		if slices.Contains(same, field) {
			return slices.ContainsFunc(same, v.says)
		}
	}
	return v.says(field)
}

// says says whether the body has a field, at its top or one level below, that is not null.
func (v *Version) says(field string) bool {
	top, below, nested := strings.Cut(field, ".")
	value := v.Value(top)
	if value == nil || string(value) == "null" {
		return false
	}
	var inner Version
	s := scanner{data: value}
	if !nested || s.peek() != '{' || !s.index(&inner.fields) {
		return true
	}
	inner.Body = value
	return inner.says(below)
}

// instructChat puts instructions before the messages.
func instructChat(body *Version, text string) Edit {
	first := appendString([]byte(`[{"role":"system","content":`), text)
	rest := bytes.TrimLeft(body.Value("messages"), " \t\r\n") // the skim has seen that they are an array, and not empty
	return Edit{Field: "messages", Value: append(append(first, "},"...), rest[1:]...)}
}

// instructIn says instructions in a field of their own.
func instructIn(field string) func(*Version, string) Edit {
	return func(_ *Version, text string) Edit { return Edit{Field: field, Value: appendString(nil, text)} }
}

// unite appends those of more to an array of tools that it does not hold.
func unite(sent []byte, more [][]byte) ([]byte, error) {
	var tools []json.RawMessage
	if sent != nil {
		if err := json.Unmarshal(sent, &tools); err != nil {
			return nil, err
		}
	}
	known := map[string]bool{}
	for _, t := range tools {
		known[toolIdentity(t)] = true
	}
	for _, t := range more {
		if id := toolIdentity(t); !known[id] {
			known[id] = true
			tools = append(tools, t)
		}
	}
	return json.Marshal(tools)
}

// toolIdentity is what two descriptions of one tool have in common: the name of a function or a custom tool, which share their
// names, in any dialect's form, or else the kind with the name among its parameters.
func toolIdentity(tool []byte) string {
	var t struct {
		Type     string `json:"type"`
		Name     string `json:"name"`
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
		Custom struct {
			Name string `json:"name"`
		} `json:"custom"`
		Parameters json.RawMessage `json:"parameters"`
	}
	if json.Unmarshal(tool, &t) != nil {
		return ""
	}
	if name := t.Function.Name + t.Custom.Name; name != "" {
		return "function " + name
	}
	if t.Name != "" && (t.Type == "" || t.Type == "function" || t.Type == "custom") {
		return "function " + t.Name
	}
	var named struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(t.Parameters, &named) != nil {
		named.Name = ""
	}
	return t.Type + " " + named.Name
}
