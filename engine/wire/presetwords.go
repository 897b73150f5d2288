package wire

import (
	"bytes"
	"encoding/json"
	"slices"

	"chaperone/engine/wire/talk"
)

// worded is what a preset says, put into the words of one shape.
type worded struct {
	fields []Edit // by name, or one level below
	tools  [][]byte
	cannot string // what the shape has no words for; "" where it can say all
}

// words puts a preset into the words of the request's shape. What the shape knows as Chat does, and what no chat knows, is in
// its words already.
func (r *Request) words(p *Preset) worded {
	if r.Shape == Chat {
		return worded{fields: p.Fields, tools: p.Tools}
	}
	api, chat := r.Shape.api(), Chat.api()
	var same, foreign []Edit
	for _, f := range p.Fields {
		_, own := api.fields[f.Field]
		_, known := chat.fields[f.Field]
		if own && !slices.Contains(api.differs, f.Field) || !known {
			same = append(same, f)
		} else {
			foreign = append(foreign, f)
		}
	}
	put := api.put
	if put == nil {
		put = putNothing
	}
	w := put(r, foreign, p.Tools)
	w.fields = append(same, w.fields...)
	return w
}

// putNothing is of a shape that is no conversation.
func putNothing(_ *Request, fields []Edit, tools [][]byte) (w worded) {
	switch {
	case len(fields) > 0:
		w.cannot = fields[0].Field
	case len(tools) > 0:
		w.cannot = "tools"
	}
	return w
}

// putMessages says them as the translation of a whole request would.
func putMessages(r *Request, fields []Edit, tools [][]byte) (w worded) {
	body := []byte(`{"messages":[{"role":"user","content":"."}]`)
	add := func(name string, value []byte) {
		body = append(append(append(append(body, `,"`...), name...), `":`...), value...)
	}
	limited, chosen := r.MaxOutputTokens > 0, false
	if limited {
		add("max_tokens", appendValue(nil, r.MaxOutputTokens)) // of which an effort of reasoning is a share
	}
	for _, f := range fields {
		switch {
		case limited && slices.Contains(synonyms[0], f.Field):
		case f.Field == "tool_choice" && !bytes.HasPrefix(f.Value, []byte(`"`)) && !ofChat(f.Value):
			w.fields = append(w.fields, f)
		default:
			chosen = chosen || f.Field == "tool_choice"
			add(f.Field, f.Value)
		}
	}
	var described [][]byte
	for _, t := range tools {
		if ofChat(t) {
			described = append(described, t)
		} else {
			w.tools = append(w.tools, t)
		}
	}
	// The last stands for those of the request, so that a tool may be demanded.
	described = append(described, []byte(`{"type":"function","function":{"name":"."}}`))
	add("tools", append(append([]byte{'['}, bytes.Join(described, []byte{','})...), ']'))

	meant := talk.ReadChat(append(body, '}'))
	said, unsaid := talk.WriteMessages(meant)
	if w.cannot = someOf(append(unsaid, meant.Unknown...)); w.cannot != "" {
		return w
	}
	var out struct {
		MaxTokens json.RawMessage   `json:"max_tokens"`
		Stop      json.RawMessage   `json:"stop_sequences"`
		Thinking  json.RawMessage   `json:"thinking"`
		Choice    json.RawMessage   `json:"tool_choice"`
		Tools     []json.RawMessage `json:"tools"`
		Config    struct {
			Format json.RawMessage `json:"format"`
		} `json:"output_config"`
	}
	if err := json.Unmarshal(said, &out); err != nil {
		panic(err) // it was written a moment ago
	}
	choice := Edit{"tool_choice", out.Choice}
	if parallel := fieldOf(out.Choice, "disable_parallel_tool_use"); !chosen && parallel != nil && r.In(r.Shape).says("tool_choice") {
		choice = Edit{"tool_choice.disable_parallel_tool_use", parallel}
	}
	for _, e := range []Edit{{"max_tokens", out.MaxTokens}, {"stop_sequences", out.Stop}, {"thinking", out.Thinking}, choice, {"output_config.format", out.Config.Format}} {
		if e.Value != nil {
			w.fields = append(w.fields, e)
		}
	}
	for _, t := range out.Tools[:len(out.Tools)-1] {
		w.tools = append(w.tools, t)
	}
	return w
}

// putCount says of a request that is only to be counted what its prompt is made of.
func putCount(r *Request, fields []Edit, tools [][]byte) worded {
	w := putMessages(r, fields, tools)
	w.fields = slices.DeleteFunc(w.fields, func(e Edit) bool { return e.Field == "max_tokens" || e.Field == "stop_sequences" })
	return w
}

// putResponses says them with the Responses API's names, some of which stand one level below.
func putResponses(_ *Request, fields []Edit, tools [][]byte) (w worded) {
	for _, f := range fields {
		switch f.Field {
		case "max_tokens", "max_completion_tokens":
			f.Field = "max_output_tokens"
		case "reasoning_effort":
			f.Field = "reasoning.effort"
		case "verbosity":
			f.Field = "text.verbosity"
		case "response_format":
			f = Edit{"text.format", flat(f.Value, "json_schema")}
		case "tool_choice":
			f.Value = flatChoice(f.Value)
		default:
			w.cannot = f.Field
			return w
		}
		w.fields = append(w.fields, f)
	}
	for _, t := range tools {
		w.tools = append(w.tools, flatTool(t))
	}
	return w
}

// putCompletions: that API has no tools and no forms of answers.
func putCompletions(r *Request, fields []Edit, tools [][]byte) (w worded) {
	for _, f := range fields {
		switch {
		case slices.Contains(synonyms[0], f.Field):
			w.fields = append(w.fields, Edit{"max_tokens", f.Value})
		case f.Field == "response_format" && string(fieldOf(f.Value, "type")) == `"text"`, f.Field == "logprobs" && string(f.Value) == "false":
		default:
			w.cannot = f.Field
			return w
		}
	}
	if len(tools) > 0 {
		w.cannot = "tools"
	}
	return w
}

// ofChat says whether a tool, or the choice of one, has Chat's form.
func ofChat(raw []byte) bool {
	return fieldOf(raw, "function") != nil || fieldOf(raw, "custom") != nil || fieldOf(raw, "allowed_tools") != nil
}

// flatTool is a tool of Chat's as the Responses API has it, or the choice of one.
func flatTool(raw []byte) []byte {
	raw = flat(flat(raw, "function"), "custom")
	if format := fieldOf(raw, "format"); fieldOf(format, "grammar") != nil {
		raw = set(raw, "format", flat(format, "grammar"))
	}
	return raw
}

// flatChoice is likewise a choice of one tool, or among some.
func flatChoice(raw []byte) []byte {
	raw = flat(flatTool(raw), "allowed_tools")
	var allowed []json.RawMessage
	if json.Unmarshal(fieldOf(raw, "tools"), &allowed) != nil {
		return raw
	}
	for i := range allowed {
		allowed[i] = flatTool(allowed[i])
	}
	return set(raw, "tools", appendValue(nil, allowed))
}

// set is an object with that member.
func set(raw []byte, name string, value []byte) []byte {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return raw
	}
	members[name] = value
	return appendValue(nil, members)
}

// flat is an object with the members of the one below that name in its place.
func flat(raw []byte, name string) []byte {
	below := fieldOf(raw, name)
	var outer, inner map[string]json.RawMessage
	if below == nil || json.Unmarshal(raw, &outer) != nil || json.Unmarshal(below, &inner) != nil {
		return raw
	}
	delete(outer, name)
	for k, v := range inner {
		outer[k] = v
	}
	return appendValue(nil, outer)
}

// fieldOf is a member of an object; nil where there is none.
func fieldOf(raw []byte, name string) []byte {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return nil
	}
	return members[name]
}
