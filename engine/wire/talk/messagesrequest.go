package talk

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ReadMessages reads a request of Anthropic's Messages API (https://platform.claude.com/docs/en/api/messages/create, and
// OpenRouter's fields beside it).
func ReadMessages(body []byte) *Request {
	in := &reading{}
	o := in.parse("", body)
	r := &Request{N: 1, Sampling: map[string]json.RawMessage{}}
	o.ignore(hints...)
	o.ignore("fallbacks", "betas") // which models come next is the router's; what a beta switches on is a field of its own
	if parts := unbilled(readBlocks(o, "system")); len(parts) > 0 {
		r.Messages = append(r.Messages, Message{Role: System, Parts: parts})
	}
	for i, raw := range o.list("messages") {
		x := in.parse(index("messages", i), raw)
		m := Message{Role: x.text("role"), Parts: readBlocks(x, "content")}
		if m.Role != User && m.Role != Assistant {
			in.say(x.at("role"), "is neither user nor assistant")
		}
		x.leftover()
		r.Messages = append(r.Messages, m)
	}
	for i, raw := range o.list("tools") {
		if t, ok := readMessagesTool(in.parse(index("tools", i), raw)); ok {
			r.Tools = append(r.Tools, t)
		}
	}
	r.readMessagesChoice(o)
	r.MaxTokens, r.Stop = o.whole("max_tokens"), o.texts("stop_sequences")
	for _, name := range []string{"temperature", "top_p", "top_k"} {
		if raw := o.take(name); raw != nil {
			r.Sampling[name] = raw
		}
	}
	r.readThinking(o)
	if b := o.flag("stream"); b != nil {
		r.Stream = *b
	}
	switch tier := o.text("service_tier"); tier {
	case "standard_only":
		r.Tier = "default"
	default:
		r.Tier = tier
	}
	if speed := o.text("speed"); speed != "" && speed != "standard" {
		in.say("speed", "asks for %q", speed)
	}
	r.Cache = readCache(o)
	r.User = o.text("user")
	if metadata := readMetadata(o); metadata["user_id"] != "" && r.User == "" {
		r.User = metadata["user_id"]
	}
	o.leftover()
	r.Unknown = in.unknown
	return r
}

// billing begins the line of instructions in which Claude Code tells Anthropic's billing of itself. It is new in every request:
// before the prompt of another provider it would keep all of that out of the cache.
const billing = "x-anthropic-billing-header:"

// unbilled are instructions without it.
func unbilled(parts []Part) []Part {
	if len(parts) == 0 || parts[0].Kind != Text || !strings.HasPrefix(parts[0].Text, billing) {
		return parts
	}
	_, rest, _ := strings.Cut(parts[0].Text, "\n")
	if parts[0].Text = strings.TrimLeft(rest, "\n"); parts[0].Text == "" {
		return parts[1:]
	}
	return parts
}

// readBlocks reads a string or an array of content blocks.
func readBlocks(o *object, name string) []Part {
	if raw := o.fields[name]; raw == nil || string(raw) == "null" || isString(raw) {
		return readChatContent(o, name)
	}
	var parts []Part
	for i, raw := range o.list(name) {
		x := o.in.parse(index(o.at(name), i), raw)
		cache := readCache(x)
		if p, ok := readBlock(x); ok {
			p.Cache = cache
			x.leftover()
			parts = append(parts, p)
		}
	}
	return parts
}

func readBlock(o *object) (Part, bool) {
	switch kind := o.text("type"); kind {
	case "text":
		for i, raw := range o.list("citations") {
			x := o.in.parse(index(o.at("citations"), i), raw)
			if !Foreign(x.text("encrypted_index")) { // else an earlier answer's sources, which no other API takes back
				o.in.say(x.path, "cannot be translated")
			}
		}
		return Part{Kind: Text, Text: o.text("text")}, true
	case "image":
		return Part{Kind: Image, Media: readSource(o)}, true
	case "document":
		m := readSource(o)
		m.Name = o.text("title")
		if c := o.object("citations"); c != nil {
			if on := c.flag("enabled"); on != nil && *on {
				o.in.say(o.at("citations"), "are asked for")
			}
			c.leftover()
		}
		return Part{Kind: File, Media: m}, true
	case "tool_use":
		o.ignore("caller")
		c := &Call{ID: o.text("id"), Name: o.text("name"), Arguments: "{}"}
		if input := o.take("input"); input != nil {
			c.Arguments = compact(input)
		}
		return Part{Kind: ToolCall, Call: c}, true
	case "tool_result":
		r := &Reply{CallID: o.text("tool_use_id"), Parts: readBlocks(o, "content")}
		if failed := o.flag("is_error"); failed != nil {
			r.Failed = *failed
		}
		return Part{Kind: ToolReply, Reply: r}, true
	case "thinking":
		t := &Think{Text: o.text("thinking"), Signature: o.text("signature")}
		t.unwrap(&t.Signature)
		return Part{Kind: Thought, Thought: t}, true
	case "redacted_thinking":
		t := &Think{Data: o.text("data")}
		t.unwrap(&t.Data)
		return Part{Kind: Thought, Thought: t}, true
	default:
		o.in.say(o.path, "is a block of type %q, which only Anthropic's API knows", kind)
		return Part{}, false
	}
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

func readSource(o *object) *Media {
	m := &Media{}
	x := o.object("source")
	if x == nil {
		o.in.say(o.at("source"), "should be there")
		return m
	}
	switch kind := x.text("type"); kind {
	case "base64":
		m.Type, m.Data = x.text("media_type"), x.text("data")
	case "text":
		m.Type, m.Text = x.text("media_type"), x.text("data")
	case "url":
		m.URL = x.text("url")
	case "file":
		m.ID = x.text("file_id")
	default:
		o.in.say(x.path, "is of type %q, which only Anthropic's API knows", kind)
		return m
	}
	x.leftover()
	return m
}

func readMessagesTool(o *object) (Tool, bool) {
	if kind := o.text("type"); kind != "" && kind != "custom" {
		o.in.say(o.path, "is a tool of type %q, which only Anthropic's API knows", kind)
		return Tool{}, false
	}
	o.ignore("eager_input_streaming") // how soon arguments are sent, not what is in them
	t := Tool{Name: o.text("name"), Description: o.text("description"), Schema: o.take("input_schema"), Strict: o.flag("strict"), Cache: readCache(o)}
	o.leftover()
	return t, true
}

func (r *Request) readMessagesChoice(o *object) {
	x := o.object("tool_choice")
	if x == nil {
		return
	}
	switch kind := x.text("type"); kind {
	case "auto", "none":
		r.Choice.Mode = kind
	case "any":
		r.Choice.Mode = "required"
	case "tool":
		r.Choice = Choice{Mode: "named", Tool: Named{Name: x.text("name")}}
	default:
		o.in.say(x.at("type"), "is %q, which is none of auto, any, tool and none", kind)
	}
	if off := x.flag("disable_parallel_tool_use"); off != nil {
		on := !*off
		r.Parallel = &on
	}
	x.leftover()
}

// readThinking reads how much is to be thought, and the form of the answer, which stands beside it.
func (r *Request) readThinking(o *object) {
	if x := o.object("thinking"); x != nil {
		on := true
		switch kind := x.text("type"); kind {
		case "enabled":
			r.Reasoning.Tokens = x.whole("budget_tokens")
		case "adaptive":
			r.Reasoning.Enabled = &on
		case "disabled":
			on = false
			r.Reasoning.Enabled = &on
		default:
			o.in.say(x.at("type"), "is %q, which is none of enabled, adaptive and disabled", kind)
		}
		switch display := x.text("display"); display {
		case "", "summarized":
		case "omitted":
			r.Reasoning.Exclude = true
		default:
			o.in.say(x.at("display"), "is %q", display)
		}
		x.leftover()
	}
	format := o.object("output_format")
	if x := o.object("output_config"); x != nil {
		r.Reasoning.Effort = x.text("effort")
		if f := x.object("format"); f != nil {
			format = f
		}
		x.leftover()
	}
	if format != nil {
		if kind := format.text("type"); kind != "json_schema" {
			o.in.say(format.at("type"), "is %q", kind)
		}
		r.Format = Format{Kind: "json_schema", Schema: format.take("schema")}
		format.leftover()
	}
}

// claude is the form of reasoning that Anthropic's models sign.
const claude = "anthropic-claude-v1"

// foreign marks reasoning of other makers in Anthropic's blocks, so that it goes back to them as it came.
const foreign = "chaperone:"

// maker is what a mark holds beside the text.
type maker struct {
	Format    string `json:"format,omitempty"`
	ID        string `json:"id,omitempty"`
	Signature string `json:"signature,omitempty"`
	Data      string `json:"data,omitempty"`
	Summary   bool   `json:"summary,omitempty"` // the text is a summary
}

// wrap is what stands where Anthropic has a signature or encrypted data.
func (m maker) wrap() string { return foreign + base64.RawURLEncoding.EncodeToString(encode(m)) }

// unwrap undoes wrap, where sealed is a mark; else the thought is Anthropic's own.
func (t *Think) unwrap(sealed *string) {
	if m, ok := readMark(*sealed); ok {
		*sealed = ""
		t.Format, t.ID, t.Signature, t.Data = m.Format, m.ID, m.Signature, m.Data
		if m.Summary {
			t.Summary, t.Text = t.Text, ""
		}
		return
	}
	if *sealed != "" {
		t.Format = claude
	}
}

func readMark(s string) (m maker, ok bool) {
	if len(s) < len(foreign) || s[:len(foreign)] != foreign {
		return m, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(s[len(foreign):])
	return m, err == nil && json.Unmarshal(raw, &m) == nil
}

// Foreign says whether what stands where Anthropic has a signature or encrypted data is a mark of this router's.
func Foreign(sealed string) bool {
	_, ok := readMark(sealed)
	return ok
}

// SealedFormat is the form of the reasoning that a signature or encrypted data of an Anthropic block is of; "" where it
// seals nothing.
func SealedFormat(sealed string) string {
	m, ok := readMark(sealed)
	switch {
	case sealed == "" || ok && m.Signature == "" && m.Data == "":
		return ""
	case ok && m.Format == "":
		return "unknown"
	case ok:
		return m.Format
	}
	return claude
}

// SealedText is what a signature or encrypted data of an Anthropic block was when its maker gave it.
func SealedText(sealed string) string {
	if m, ok := readMark(sealed); ok {
		return m.Signature + m.Data
	}
	return sealed
}

// own says whether Anthropic's models made it.
func (t *Think) own() bool { return t.Sealed() && (t.Format == claude || t.Format == "") }

func (t *Think) block() members {
	own := t.own()
	if t.Data != "" {
		if own {
			return members{"type": "redacted_thinking", "data": t.Data}
		}
		return members{"type": "redacted_thinking", "data": maker{Format: t.Format, ID: t.ID, Data: t.Data}.wrap()}
	}
	signature := t.Signature
	if !own {
		signature = maker{Format: t.Format, ID: t.ID, Signature: t.Signature, Summary: t.Summary != ""}.wrap()
	}
	return members{"type": "thinking", "thinking": t.Text + t.Summary, "signature": signature}
}

// harmless are parameters that Anthropic has no words for, with the values that ask for nothing.
var harmless = map[string][]string{
	"frequency_penalty": {"0", "0.0"}, "presence_penalty": {"0", "0.0"}, "repetition_penalty": {"1", "1.0"}, "min_p": {"0", "0.0"},
	"top_a": {"0", "0.0"}, "logit_bias": {"{}"}, "logprobs": {"false"}, "top_logprobs": {"0"}, "verbosity": {`"medium"`},
}

// WriteMessages writes a request of the Messages API. max_tokens, which it needs, is left out where the request does not say it.
func WriteMessages(r *Request) (body []byte, unsaid []string) {
	w := &writing{}
	m := members{}
	rest := r.Messages
	var system []Part
	for len(rest) > 0 && (rest[0].Role == System || rest[0].Role == Developer) {
		system = append(system, rest[0].Parts...)
		rest = rest[1:]
	}
	if len(system) > 0 {
		m["system"] = w.blocks("system", system)
	}
	messages := make([]any, 0, len(rest))
	for i := range rest {
		path, msg := index("messages", len(r.Messages)-len(rest)+i), &rest[i]
		if msg.Role != User && msg.Role != Assistant {
			w.cannot(path, "is a message of role %q in the middle of the conversation", msg.Role)
			continue
		}
		if msg.Name != "" {
			w.cannot(path, "names its speaker")
		}
		content := w.blocks(path, msg.Parts)
		if content == nil {
			w.cannot(path, "is empty")
		}
		messages = append(messages, members{"role": msg.Role, "content": content})
	}
	m["messages"] = messages
	if len(r.Tools) > 0 {
		tools := make([]any, len(r.Tools))
		for i, t := range r.Tools {
			if t.Custom {
				w.cannot(index("tools", i), "is a custom tool, which takes text in place of JSON")
			}
			x := members{"name": t.Name, "input_schema": t.Schema}
			if t.Schema == nil {
				x["input_schema"] = members{"type": "object", "properties": members{}}
			}
			x.text("description", t.Description)
			if t.Strict != nil {
				x["strict"] = *t.Strict
			}
			x.cache(t.Cache)
			tools[i] = x
		}
		m["tools"] = tools
		if x := r.messagesChoice(); x != nil {
			m["tool_choice"] = x
		}
	} else if r.Choice.Mode == "required" || r.Choice.Mode == "named" {
		w.cannot("tool_choice", "demands a tool, and there is none")
	}
	if r.Choice.Allowed != nil {
		w.cannot("tool_choice", "allows only some of the tools")
	}
	if r.Choice.Tool.Custom {
		w.cannot("tool_choice", "demands the custom tool %s", r.Choice.Tool.Name)
	}
	if r.MaxTokens > 0 {
		m["max_tokens"] = r.MaxTokens
	}
	if r.Stop != nil {
		m["stop_sequences"] = r.Stop
	}
	w.messagesSampling(m, r)
	w.thinking(m, r)
	w.messagesFormat(m, &r.Format)
	if r.N != 1 {
		w.cannot("n", "asks for %d answers", r.N)
	}
	if r.Stream {
		m["stream"] = true
	}
	if r.Store {
		w.cannot("store", "asks the provider to keep the answer")
	}
	if r.User != "" {
		m["metadata"] = members{"user_id": r.User}
	}
	switch r.Tier {
	case "", "auto":
		m.text("service_tier", r.Tier)
	case "default":
		m["service_tier"] = "standard_only"
	default:
		w.cannot("service_tier", "is %q", r.Tier)
	}
	m.cache(r.Cache)
	return encode(m), w.unsaid
}

func (m members) cache(c *Cache) {
	if c != nil {
		x := members{"type": "ephemeral"}
		x.text("ttl", c.TTL)
		m["cache_control"] = x
	}
}

func (r *Request) messagesChoice() members {
	x := members{}
	switch r.Choice.Mode {
	case "":
		if r.Parallel == nil {
			return nil
		}
		x["type"] = "auto"
	case "required":
		x["type"] = "any"
	case "named":
		x["type"], x["name"] = "tool", r.Choice.Tool.Name
	default:
		x["type"] = r.Choice.Mode
	}
	if r.Parallel != nil && r.Choice.Mode != "none" {
		x["disable_parallel_tool_use"] = !*r.Parallel
	}
	return x
}

func (w *writing) messagesSampling(m members, r *Request) {
	for _, name := range sampling {
		raw, sent := r.Sampling[name]
		if !sent {
			continue
		}
		switch name {
		case "temperature":
			if t, err := strconv.ParseFloat(string(raw), 64); err != nil || t > 1 {
				w.cannot(name, "is %s, and may be 1 at most", raw)
			}
			m[name] = raw
		case "top_p", "top_k":
			m[name] = raw
		default:
			if !slices.Contains(harmless[name], string(raw)) {
				w.cannot(name, "is %s", shortened(raw))
			}
		}
	}
}

func shortened(raw json.RawMessage) string {
	if len(raw) > 40 {
		return string(raw[:40]) + "…"
	}
	return string(raw)
}

// efforts are the shares of the answer's limit that an effort stands for
// (https://openrouter.ai/docs/use-cases/reasoning-tokens), in per cent.
var efforts = map[string]int64{"minimal": 10, "low": 20, "medium": 50, "high": 80, "xhigh": 95, "max": 95}

// LeastThinking is the least that Anthropic's models can be told to think, in tokens.
const LeastThinking = 1024

// usualAnswer is what an effort is a share of where the request does not limit its answer.
const usualAnswer = 16384

// Thinking is how many tokens of thought a request asks for; on is whether it asks for any. limit is that of the answer;
// 0: none is said.
func (r *Reasoning) Thinking(limit int64) (tokens int64, on bool) {
	share, known := efforts[r.Effort]
	switch {
	case r.Effort == "none" || r.Enabled != nil && !*r.Enabled:
		return 0, false
	case r.Tokens > 0:
		return max(r.Tokens, LeastThinking), true
	case known:
	case r.Enabled != nil:
		share = efforts["medium"]
	default:
		return 0, false
	}
	if limit == 0 {
		limit = usualAnswer
	}
	return max(limit*share/100, LeastThinking), true
}

func (w *writing) thinking(m members, r *Request) {
	if r.Reasoning.Summary != "" && r.Reasoning.Summary != "auto" {
		w.cannot("reasoning.summary", "is %q", r.Reasoning.Summary)
	}
	if _, known := efforts[r.Reasoning.Effort]; !known && r.Reasoning.Effort != "" && r.Reasoning.Effort != "none" {
		w.cannot("reasoning.effort", "is %q", r.Reasoning.Effort)
	}
	tokens, on := r.Reasoning.Thinking(r.MaxTokens)
	if !on {
		if r.Reasoning.Effort == "none" || r.Reasoning.Enabled != nil {
			m["thinking"] = members{"type": "disabled"}
		}
		return
	}
	m["thinking"] = members{"type": "enabled", "budget_tokens": tokens}
	if r.MaxTokens > 0 && tokens >= r.MaxTokens {
		w.cannot("reasoning", "does not fit into an answer of at most %d tokens; it needs %d and room for the answer", r.MaxTokens, tokens)
	}
	if raw, sent := r.Sampling["temperature"]; sent && string(raw) != "1" && string(raw) != "1.0" {
		w.cannot("temperature", "cannot be set beside reasoning")
	}
	if _, sent := r.Sampling["top_k"]; sent {
		w.cannot("top_k", "cannot be set beside reasoning")
	}
	if r.Choice.Mode == "required" || r.Choice.Mode == "named" {
		w.cannot("tool_choice", "cannot demand a tool beside reasoning")
	}
	if r.unthought() {
		w.cannot("reasoning", "cannot go on behind tool calls whose own reasoning was not sent back")
	}
}

// unthought says whether the turn that is under way has tool calls without the reasoning that led to them.
func (r *Request) unthought() bool {
	for i := len(r.Messages) - 1; i >= 0; i-- {
		switch m := &r.Messages[i]; {
		case m.Role == Assistant:
			calls := slices.ContainsFunc(m.Parts, func(p Part) bool { return p.Kind == ToolCall })
			return calls && (len(m.Parts) == 0 || m.Parts[0].Kind != Thought || !m.Parts[0].Thought.Sealed())
		case m.Role == User && len(m.Parts) > 0 && m.Parts[0].Kind == ToolReply:
		default:
			return false
		}
	}
	return false
}

func (w *writing) messagesFormat(m members, f *Format) {
	switch f.Kind {
	case "", "text":
	case "json_schema":
		if f.Schema == nil {
			w.cannot("response_format", "has no schema")
			return
		}
		m["output_config"] = members{"format": members{"type": "json_schema", "schema": f.Schema}}
	default:
		w.cannot("response_format", "is %s; a JSON schema would be possible", f.Kind)
	}
}

// blocks is a string where there is nothing but one text, and nil where there is nothing at all.
func (w *writing) blocks(path string, parts []Part) any {
	if len(parts) == 1 && parts[0].Kind == Text && parts[0].Cache == nil && parts[0].Text != "" {
		return parts[0].Text
	}
	var out []any
	for i := range parts {
		if x := w.block(path, &parts[i]); x != nil {
			x.cache(parts[i].Cache)
			out = append(out, x)
		}
	}
	if out == nil {
		return nil
	}
	return out
}

func (w *writing) block(path string, p *Part) members {
	switch p.Kind {
	case Text, Refusal:
		if p.Text == "" {
			return nil // which Anthropic refuses; there is nothing in it to be lost
		}
		return members{"type": "text", "text": p.Text}
	case Image:
		if p.Media.Detail == "low" {
			w.cannot(path, "asks for an image to be read in low detail")
		}
		return members{"type": "image", "source": w.source(path, p.Media)}
	case File:
		x := members{"type": "document", "source": w.source(path, p.Media)}
		x.text("title", p.Media.Name)
		return x
	case ToolCall:
		if p.Call.Custom {
			w.cannot(path, "has a call of the custom tool %s", p.Call.Name)
			return nil
		}
		input := json.RawMessage(p.Call.Arguments)
		if len(bytes.TrimSpace(input)) == 0 {
			input = json.RawMessage("{}")
		}
		if !json.Valid(input) || bytes.TrimSpace(input)[0] != '{' {
			w.cannot(path, "has a call of %s whose arguments are no JSON object", p.Call.Name)
			return nil
		}
		return members{"type": "tool_use", "id": p.Call.ID, "name": p.Call.Name, "input": input}
	case ToolReply:
		x := members{"type": "tool_result", "tool_use_id": p.Reply.CallID}
		if content := w.blocks(path, p.Reply.Parts); content != nil {
			x["content"] = content
		}
		if p.Reply.Failed {
			x["is_error"] = true
		}
		return x
	case Thought:
		if !p.Thought.own() {
			w.cannot(path, "has reasoning that Anthropic's models have not signed")
		}
		return p.Thought.block()
	}
	w.cannot(path, "has %s", article(p.Kind))
	return nil
}

func article(k Kind) string {
	switch k {
	case Audio:
		return "a recording"
	case Video:
		return "a film"
	}
	return fmt.Sprintf("a %s", k)
}

func (w *writing) source(path string, m *Media) members {
	switch {
	case m.ID != "":
		return members{"type": "file", "file_id": m.ID}
	case m.Text != "":
		return members{"type": "text", "media_type": "text/plain", "data": m.Text}
	case m.URL != "":
		return members{"type": "url", "url": m.URL}
	case m.Type == "text/plain":
		text, err := base64.StdEncoding.DecodeString(m.Data)
		if err != nil {
			w.cannot(path, "has a file that is not base64")
		}
		return members{"type": "text", "media_type": m.Type, "data": string(text)}
	}
	if m.Type == "" {
		w.cannot(path, "has contents whose type is not said")
	}
	return members{"type": "base64", "media_type": m.Type, "data": m.Data}
}
