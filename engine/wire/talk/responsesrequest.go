package talk

import (
	"encoding/json"
	"strings"
)

// ResponsesFormat is OpenRouter's name of the form of reasoning that the Responses API encrypts.
const ResponsesFormat = "openai-responses-v1"

// TokensIncluded asks for the log probabilities of an answer's tokens.
const TokensIncluded = "message.output_text.logprobs"

// ReadResponses reads a request for a response (https://platform.openai.com/docs/api-reference/responses/create).
func ReadResponses(body []byte) *Request {
	in := &reading{}
	o := in.parse("", body)
	r := &Request{N: 1, Sampling: map[string]json.RawMessage{}}
	o.ignore(hints...)
	// What happens to a prompt that is too long, calls of tools that providers run, and what Codex tells OpenAI of itself.
	o.ignore("truncation", "max_tool_calls", "client_metadata")
	if s := o.text("instructions"); s != "" {
		r.Messages = append(r.Messages, Message{Role: System, Parts: []Part{{Kind: Text, Text: s}}})
	}
	if raw := o.take("input"); isString(raw) {
		if s, ok := readString(raw); ok {
			r.Messages = append(r.Messages, Message{Role: User, Parts: []Part{{Kind: Text, Text: s}}})
		} else {
			in.say("input", "should be a string of whole characters")
		}
	} else {
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			in.say("input", "should be a string or an array of items")
		}
		for i, item := range items {
			r.readItem(in.parse(index("input", i), item))
		}
	}
	for i, raw := range o.list("tools") {
		if t, ok := readResponsesTool(in.parse(index("tools", i), raw)); ok {
			r.Tools = append(r.Tools, t)
		}
	}
	if raw := o.take("tool_choice"); raw != nil {
		r.Choice = readResponsesChoice(in, raw)
	}
	r.Parallel = o.flag("parallel_tool_calls")
	if x := o.object("text"); x != nil {
		if f := x.object("format"); f != nil {
			r.Format = readResponsesFormat(f)
		}
		if v := x.take("verbosity"); v != nil {
			r.Sampling["verbosity"] = v
		}
		x.leftover()
	}
	r.MaxTokens = o.whole("max_output_tokens")
	r.Reasoning = readReasoning(o)
	r.readSampling(o)
	if n := o.whole("n"); n > 1 {
		in.say("n", "asks for %d answers; a response is one", n)
	}
	for _, what := range o.texts("include") { // the skim has seen that the rest is there anyhow
		if what == TokensIncluded {
			r.Sampling["logprobs"] = json.RawMessage("true")
		}
	}
	r.readDelivery(o)
	o.leftover()
	r.Unknown = in.unknown
	return r
}

func readResponsesFormat(o *object) Format {
	f := Format{Kind: o.text("type")}
	switch f.Kind {
	case "text":
		f.Kind = ""
	case "json_object":
	case "json_schema":
		f.Name, f.Description, f.Schema, f.Strict = o.text("name"), o.text("description"), o.take("schema"), o.flag("strict")
	default:
		o.in.say(o.at("type"), "asks for %q, which this router cannot translate", f.Kind)
	}
	o.leftover()
	return f
}

// readItem reads one item of the input. Items of the assistant that follow one another are one turn, as long as what they
// hold comes in the order in which models say it: thoughts, text, calls.
func (r *Request) readItem(o *object) {
	kind := o.text("type")
	o.ignore("status")
	switch kind {
	case "", "message":
		r.readResponsesMessage(o)
	case "function_call":
		o.ignore("id")
		r.addOutput(Part{Kind: ToolCall, Call: &Call{ID: o.text("call_id"), Name: o.text("name"), Arguments: o.text("arguments")}})
		o.leftover()
	case "custom_tool_call":
		o.ignore("id")
		r.addOutput(Part{Kind: ToolCall, Call: &Call{ID: o.text("call_id"), Name: o.text("name"), Arguments: o.text("input"), Custom: true}})
		o.leftover()
	case "function_call_output", "custom_tool_call_output":
		o.ignore("id")
		p := Part{Kind: ToolReply, Reply: &Reply{CallID: o.text("call_id"), Parts: readContent(o, "output", readResponsesPart)}}
		o.leftover()
		if n := len(r.Messages) - 1; n >= 0 && r.Messages[n].Role == User && r.Messages[n].Parts[0].Kind == ToolReply {
			r.Messages[n].Parts = append(r.Messages[n].Parts, p)
			return
		}
		r.Messages = append(r.Messages, Message{Role: User, Parts: []Part{p}})
	case "reasoning":
		r.readResponsesThought(o)
	default:
		o.in.say(o.path, "is an item of type %q, which this router cannot translate", kind)
	}
}

func (r *Request) readResponsesMessage(o *object) {
	role := o.text("role")
	o.ignore("id", "phase")
	parts := readContent(o, "content", readResponsesPart)
	o.leftover()
	switch role {
	case System, Developer, User:
		r.Messages = append(r.Messages, Message{Role: role, Parts: parts})
	case Assistant:
		for _, p := range parts {
			r.addOutput(p)
		}
	default:
		o.in.say(o.at("role"), "is none of system, developer, user and assistant")
	}
}

// order is where in a turn of the assistant a part stands.
func order(k Kind) int {
	switch k {
	case Thought:
		return 0
	case ToolCall:
		return 2
	}
	return 1
}

func (r *Request) addOutput(p Part) {
	if n := len(r.Messages) - 1; n >= 0 && r.Messages[n].Role == Assistant {
		if parts := r.Messages[n].Parts; order(parts[len(parts)-1].Kind) <= order(p.Kind) {
			r.Messages[n].Parts = append(parts, p)
			return
		}
	}
	r.Messages = append(r.Messages, Message{Role: Assistant, Parts: []Part{p}})
}

func (r *Request) readResponsesThought(o *object) {
	t := Think{ID: o.text("id"), Data: o.text("encrypted_content"), Signature: o.text("signature"), Format: o.text("format")}
	t.Text = textsOf(o, "content", "reasoning_text")
	t.Summary = textsOf(o, "summary", "summary_text")
	o.leftover()
	if t.Data != "" {
		if t.Format == "" {
			t.Format = ResponsesFormat
		}
		if t.Text+t.Summary != "" {
			// What can be read beside what is sealed goes as a part of its own, as OpenRouter has it.
			r.addOutput(Part{Kind: Thought, Thought: &Think{Text: t.Text, Summary: t.Summary, ID: t.ID, Format: t.Format}})
			t.Text, t.Summary = "", ""
		}
	}
	if t.Text+t.Summary+t.Data+t.Signature != "" {
		r.addOutput(Part{Kind: Thought, Thought: &t})
	}
}

// textsOf joins the texts of an array of parts of one type.
func textsOf(o *object, name, kind string) string {
	var b strings.Builder
	for i, raw := range o.list(name) {
		x := o.in.parse(index(o.at(name), i), raw)
		if got := x.text("type"); got != kind {
			o.in.say(x.path, "is of type %q; it should be %q", got, kind)
		}
		b.WriteString(x.text("text"))
		x.leftover()
	}
	return b.String()
}

func readResponsesPart(o *object) (Part, bool) {
	switch kind := o.text("type"); kind {
	case "input_text", "output_text", "text":
		o.ignore("annotations", "logprobs")
		return Part{Kind: Text, Text: o.text("text")}, true
	case "refusal":
		return Part{Kind: Refusal, Text: o.text("refusal")}, true
	case "input_image":
		m := &Media{URL: o.text("image_url"), ID: o.text("file_id"), Detail: o.text("detail")}
		m.inline()
		return Part{Kind: Image, Media: m}, true
	case "input_file":
		m := &Media{Name: o.text("filename"), ID: o.text("file_id"), URL: o.text("file_url")}
		if data := o.text("file_data"); data != "" {
			m.URL = data
		}
		m.inline()
		return Part{Kind: File, Media: m}, true
	case "input_audio":
		m := &Media{}
		if x := o.object(kind); x != nil {
			m.Data = x.text("data")
			if f := x.text("format"); f != "" {
				m.Type = "audio/" + f
			}
			x.leftover()
		}
		return Part{Kind: Audio, Media: m}, true
	default:
		o.in.say(o.path, "is a part of type %q, which this router cannot translate", kind)
		return Part{}, false
	}
}
