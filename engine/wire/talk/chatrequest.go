package talk

import (
	"encoding/json"
	"strings"
)

// sampling are the parameters whose values are taken over as they stand, under OpenRouter's names, which are OpenAI's where it
// has one.
var sampling = []string{
	"temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty", "repetition_penalty",
	"logit_bias", "logprobs", "top_logprobs", "prediction", "seed", "verbosity",
}

// hints are the fields on which no answer depends: they speak to a router, help a cache or ask for a way to stream. Plugins that
// are not switched off keep every endpoint from being asked.
var hints = []string{
	"model", "models", "provider", "route", "preset", "plugins", "transforms", "tags", "session_id", "trace", "usage", "debug",
	"stream_options", "prompt_cache_key", "prompt_cache_options", "safety_identifier",
}

// ReadChat reads a chat completion request (https://platform.openai.com/docs/api-reference/chat/create, and OpenRouter's
// fields beside it).
func ReadChat(body []byte) *Request {
	in := &reading{}
	o := in.parse("", body)
	r := &Request{N: 1, Sampling: map[string]json.RawMessage{}}
	o.ignore(hints...)
	for i, raw := range o.list("messages") {
		r.readChatMessage(in.parse(index("messages", i), raw))
	}
	for i, raw := range o.list("tools") {
		if t, ok := readChatTool(in.parse(index("tools", i), raw)); ok {
			r.Tools = append(r.Tools, t)
		}
	}
	if raw := o.take("tool_choice"); raw != nil {
		r.Choice = readChatChoice(in, raw)
	}
	r.Parallel = o.flag("parallel_tool_calls")
	if f := o.object("response_format"); f != nil {
		r.Format = readChatFormat(f)
	}
	for _, name := range []string{"max_output_tokens", "max_tokens", "max_completion_tokens"} {
		if n := o.whole(name); n != 0 {
			r.MaxTokens = n // the skim has seen that they agree
		}
	}
	r.readStop(o)
	r.Reasoning = readReasoning(o)
	r.readSampling(o)
	r.readDelivery(o)
	for _, m := range o.texts("modalities") {
		if m != "text" {
			in.say("modalities", "asks for %s", m)
		}
	}
	o.leftover()
	r.Unknown = in.unknown
	return r
}

func (r *Request) readStop(o *object) {
	if raw := o.take("stop"); isString(raw) {
		if s, ok := readString(raw); ok {
			r.Stop = []string{s}
		}
	} else if raw != nil && json.Unmarshal(raw, &r.Stop) != nil {
		o.in.say("stop", "should be a string or an array of strings")
	}
}

func (r *Request) readSampling(o *object) {
	for _, name := range sampling {
		if raw := o.take(name); raw != nil {
			r.Sampling[name] = raw
		}
	}
}

// readDelivery reads how many answers are wanted, how they are delivered, and for whom.
func (r *Request) readDelivery(o *object) {
	if n := o.whole("n"); n != 0 {
		r.N = n
	}
	if b := o.flag("stream"); b != nil {
		r.Stream = *b
	}
	if b := o.flag("store"); b != nil {
		r.Store = *b
	}
	r.User, r.Tier, r.Cache = o.text("user"), o.text("service_tier"), readCache(o)
	r.Metadata = readMetadata(o)
}

// readMetadata reads pairs of strings; what is none is the router's (tags may be an array).
func readMetadata(o *object) map[string]string {
	raw := o.take("metadata")
	if raw == nil {
		return nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		o.in.say(o.at("metadata"), "should be an object of strings")
		return nil
	}
	out := map[string]string{}
	for k, v := range fields {
		if s, ok := readString(v); ok {
			out[k] = s
		}
	}
	return out
}

func readReasoning(o *object) (r Reasoning) {
	r.Effort = o.text("reasoning_effort")
	if include := o.flag("include_reasoning"); include != nil {
		r.Exclude = !*include
	}
	if x := o.object("reasoning"); x != nil {
		if e := x.text("effort"); e != "" {
			r.Effort = e
		}
		r.Tokens, r.Enabled, r.Summary = x.whole("max_tokens"), x.flag("enabled"), x.text("summary")
		if e := x.flag("exclude"); e != nil {
			r.Exclude = *e
		}
		x.leftover()
	}
	return r
}

func readCache(o *object) *Cache {
	x := o.object("cache_control")
	if x == nil {
		return nil
	}
	if t := x.text("type"); t != "ephemeral" {
		o.in.say(x.at("type"), "should be \"ephemeral\"")
	}
	c := &Cache{TTL: x.text("ttl")}
	x.leftover()
	return c
}

func (r *Request) readChatMessage(o *object) {
	m := Message{Role: o.text("role"), Name: o.text("name")}
	switch m.Role {
	case System, Developer, User:
		m.Parts = readChatContent(o, "content")
	case Assistant:
		m.Parts = readChatOutput(o)
	case "tool":
		p := Part{Kind: ToolReply, Cache: readCache(o), Reply: &Reply{CallID: o.text("tool_call_id"), Parts: readChatContent(o, "content")}}
		o.leftover()
		if m.Name != "" {
			o.ignore("name") // of the tool, which the call says too
		}
		if n := len(r.Messages) - 1; n >= 0 && r.Messages[n].Role == User && r.Messages[n].Parts[0].Kind == ToolReply {
			r.Messages[n].Parts = append(r.Messages[n].Parts, p)
			return
		}
		r.Messages = append(r.Messages, Message{Role: User, Parts: []Part{p}})
		return
	default:
		o.in.say(o.at("role"), "is none of system, developer, user, assistant and tool")
	}
	if c := readCache(o); c != nil && len(m.Parts) > 0 {
		m.Parts[len(m.Parts)-1].Cache = c
	}
	o.leftover()
	r.Messages = append(r.Messages, m)
}

// readChatContent reads a string or an array of parts, each of which may be marked for a cache.
func readChatContent(o *object, name string) []Part {
	return readContent(o, name, func(x *object) (Part, bool) {
		p, ok := readChatPart(x)
		if ok {
			p.Cache = readCache(x)
		}
		return p, ok
	})
}

// readContent reads a string or an array of parts, each by one.
func readContent(o *object, name string, one func(*object) (Part, bool)) []Part {
	raw := o.take(name)
	switch {
	case raw == nil:
		return nil
	case isString(raw):
		s, ok := readString(raw)
		if !ok {
			o.in.say(o.at(name), "should be a string of whole characters")
		}
		return []Part{{Kind: Text, Text: s}}
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		o.in.say(o.at(name), "should be a string or an array of parts")
	}
	var parts []Part
	for i, item := range items {
		x := o.in.parse(index(o.at(name), i), item)
		if p, ok := one(x); ok {
			x.leftover()
			parts = append(parts, p)
		}
	}
	return parts
}

func readChatPart(o *object) (Part, bool) {
	switch kind := o.text("type"); kind {
	case "text", "input_text", "output_text":
		o.ignore("annotations")
		return Part{Kind: Text, Text: o.text("text")}, true
	case "refusal":
		return Part{Kind: Refusal, Text: o.text("refusal")}, true
	case "image_url", "video_url":
		m := &Media{}
		if raw := o.fields[kind]; isString(raw) {
			m.URL = o.text(kind)
		} else if x := o.object(kind); x != nil {
			m.URL, m.Detail = x.text("url"), x.text("detail")
			x.leftover()
		}
		m.inline()
		return Part{Kind: map[string]Kind{"image_url": Image, "video_url": Video}[kind], Media: m}, true
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
	case "file":
		m := &Media{}
		if x := o.object(kind); x != nil {
			m.Name, m.ID, m.URL = x.text("filename"), x.text("file_id"), x.text("file_data")
			x.leftover()
		}
		m.inline()
		return Part{Kind: File, Media: m}, true
	default:
		o.in.say(o.path, "is a part of type %q, which this router cannot translate", kind)
		return Part{}, false
	}
}

// inline takes the data out of a data: URL of base64.
func (m *Media) inline() {
	rest, ok := strings.CutPrefix(m.URL, "data:")
	if !ok {
		return
	}
	if head, data, ok := strings.Cut(rest, ";base64,"); ok && !strings.ContainsAny(head, ",;") {
		m.URL, m.Type, m.Data = "", head, data
	}
}

// url is a URL that holds or names the contents.
func (m *Media) url() string {
	if m.Data != "" {
		return "data:" + m.Type + ";base64," + m.Data
	}
	return m.URL
}

func readChatFormat(o *object) Format {
	f := Format{Kind: o.text("type")}
	switch f.Kind {
	case "text":
		f.Kind = ""
	case "json_object":
	case "json_schema":
		if x := o.object("json_schema"); x != nil {
			f.Name, f.Description, f.Schema, f.Strict = x.text("name"), x.text("description"), x.take("schema"), x.flag("strict")
			x.leftover()
		}
	default:
		o.in.say(o.at("type"), "asks for %q, which this router cannot translate", f.Kind)
	}
	o.leftover()
	return f
}

// WriteChat writes a chat completion request. unsaid is what it has no words for.
func WriteChat(r *Request) (body []byte, unsaid []string) {
	w := &writing{}
	m := members{}
	var messages []any
	for i := range r.Messages {
		messages = w.chatMessage(messages, index("messages", i), &r.Messages[i])
	}
	m["messages"] = messages
	if len(r.Tools) > 0 {
		m["tools"] = listed(r.Tools, (*Tool).chat)
	}
	if r.Choice.Mode != "" {
		m["tool_choice"] = r.Choice.chat()
	}
	if r.Parallel != nil {
		m["parallel_tool_calls"] = *r.Parallel
	}
	switch f := r.Format; f.Kind {
	case "json_object":
		m["response_format"] = members{"type": f.Kind}
	case "json_schema":
		x := members{"name": f.Name}
		x.text("description", f.Description)
		if f.Schema != nil {
			x["schema"] = f.Schema
		}
		if f.Strict != nil {
			x["strict"] = *f.Strict
		}
		m["response_format"] = members{"type": f.Kind, "json_schema": x}
	}
	if r.MaxTokens > 0 {
		m["max_tokens"] = r.MaxTokens
	}
	if r.Stop != nil {
		m["stop"] = r.Stop
	}
	if x := r.Reasoning.members(); len(x) > 0 {
		m["reasoning"] = x
	}
	for name, v := range r.Sampling {
		m[name] = v
	}
	if r.N != 1 {
		m["n"] = r.N
	}
	if r.Stream {
		m["stream"] = true
	}
	if r.Store {
		m["store"] = true
	}
	m.text("user", r.User)
	m.text("service_tier", r.Tier)
	if len(r.Metadata) > 0 && r.Store {
		m["metadata"] = r.Metadata // OpenAI takes it with what it stores
	}
	return encode(m), w.unsaid
}

func (r *Reasoning) members() members {
	x := members{}
	x.text("effort", r.Effort)
	x.text("summary", r.Summary)
	if r.Tokens > 0 {
		x["max_tokens"] = r.Tokens
	}
	if r.Enabled != nil {
		x["enabled"] = *r.Enabled
	}
	if r.Exclude {
		x["exclude"] = true
	}
	return x
}

// chatMessage appends a message; what tools answered becomes messages of its own.
func (w *writing) chatMessage(messages []any, path string, msg *Message) []any {
	if msg.Role == Assistant {
		m := members{"role": msg.Role}
		m.text("name", msg.Name)
		w.chatOutput(m, path, msg.Parts)
		return append(messages, m)
	}
	rest := msg.Parts
	for len(rest) > 0 && rest[0].Kind == ToolReply {
		reply := rest[0].Reply
		parts := reply.Parts
		if reply.Failed { // which Chat has no field for: it is said in words
			parts = append([]Part{{Kind: Text, Text: "Error: "}}, parts...)
			if len(parts) > 1 && parts[1].Kind == Text {
				parts = append([]Part{{Kind: Text, Text: "Error: " + parts[1].Text}}, parts[2:]...)
			}
		}
		for i := range parts {
			if parts[i].Kind != Text {
				w.cannot(path, "a tool answers with more than text (%s)", parts[i].Kind)
			}
		}
		messages = append(messages, members{"role": "tool", "tool_call_id": reply.CallID, "content": w.chatContent(path, parts)})
		rest = rest[1:]
	}
	if len(rest) == 0 && len(msg.Parts) > 0 {
		return messages
	}
	m := members{"role": msg.Role, "content": w.chatContent(path, rest)}
	m.text("name", msg.Name)
	return append(messages, m)
}

// chatContent is a string where there is nothing but one text.
func (w *writing) chatContent(path string, parts []Part) any {
	switch {
	case len(parts) == 0:
		return ""
	case len(parts) == 1 && parts[0].Kind == Text:
		return parts[0].Text
	}
	out := make([]any, 0, len(parts))
	for i := range parts {
		if p := w.chatPart(path, &parts[i]); p != nil {
			out = append(out, p)
		}
	}
	return out
}

func (w *writing) chatPart(path string, p *Part) any {
	switch p.Kind {
	case Text:
		return members{"type": "text", "text": p.Text}
	case Refusal:
		return members{"type": "refusal", "refusal": p.Text}
	case Image, Video:
		name := map[Kind]string{Image: "image_url", Video: "video_url"}[p.Kind]
		if p.Media.ID != "" {
			w.cannot(path, "names an image by the id of a file")
		}
		x := members{"url": p.Media.url()}
		x.text("detail", p.Media.Detail)
		return members{"type": name, name: x}
	case Audio:
		if p.Media.Data == "" {
			w.cannot(path, "has a recording that is not in the request itself")
		}
		return members{"type": "input_audio", "input_audio": members{"data": p.Media.Data, "format": strings.TrimPrefix(p.Media.Type, "audio/")}}
	case File:
		x := members{}
		x.text("filename", p.Media.Name)
		x.text("file_id", p.Media.ID)
		switch {
		case p.Media.Text != "":
			return members{"type": "text", "text": p.Media.titled()}
		case p.Media.Data != "":
			x["file_data"] = p.Media.url()
		case p.Media.URL != "":
			w.cannot(path, "names a file by its URL")
		}
		return members{"type": "file", "file": x}
	case ToolReply:
		w.cannot(path, "has what a tool answered behind other parts")
	default:
		w.cannot(path, "has a %s outside an answer", p.Kind)
	}
	return nil
}

// titled is a plain text file as a text.
func (m *Media) titled() string {
	if m.Name == "" {
		return m.Text
	}
	return m.Name + "\n\n" + m.Text
}
