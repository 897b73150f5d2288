package talk

import (
	"encoding/json"
	"fmt"
	"strings"
)

// readChatOutput reads what a message of the assistant holds, in a request or an answer: its thoughts, then its text, then its
// calls, which is the order in which models make them.
func readChatOutput(o *object) []Part {
	parts := readThoughts(o)
	parts = append(parts, readChatContent(o, "content")...)
	if s := o.text("refusal"); s != "" {
		parts = append(parts, Part{Kind: Refusal, Text: s})
	}
	for i, raw := range o.list("tool_calls") {
		x := o.in.parse(index(o.at("tool_calls"), i), raw)
		c := &Call{ID: x.text("id")}
		switch kind := x.text("type"); kind {
		case "", "function":
			if f := x.object("function"); f != nil {
				c.Name, c.Arguments = f.text("name"), readArguments(f)
				f.leftover()
			}
		case "custom":
			c.Custom = true
			if f := x.object("custom"); f != nil {
				c.Name, c.Arguments = f.text("name"), f.text("input")
				f.leftover()
			}
		default:
			o.in.say(x.path, "is a call of type %q, which this router cannot translate", kind)
		}
		x.ignore("index")
		x.leftover()
		parts = append(parts, Part{Kind: ToolCall, Call: c})
	}
	o.ignore("annotations") // an earlier answer's sources
	return parts
}

// readArguments reads a call's arguments: a string, or an object as some servers send it.
func readArguments(f *object) string {
	raw := f.take("arguments")
	if isString(raw) {
		s, _ := readString(raw)
		return s
	}
	return string(raw)
}

// readThoughts reads reasoning in the forms that are in use: details where there are any, else the text.
func readThoughts(o *object) (parts []Part) {
	details := o.list("reasoning_details")
	text := o.text("reasoning")
	if other := o.text("reasoning_content"); text == "" {
		text = other
	}
	for i, raw := range details {
		x := o.in.parse(index(o.at("reasoning_details"), i), raw)
		t := &Think{Format: x.text("format"), ID: x.text("id")}
		switch kind := x.text("type"); kind {
		case "reasoning.text":
			t.Text, t.Signature = x.text("text"), x.text("signature")
		case "reasoning.summary":
			t.Summary = x.text("summary")
		case "reasoning.encrypted":
			t.Data = x.text("data")
		default:
			o.in.say(x.path, "is of type %q, which this router cannot translate", kind)
		}
		x.ignore("index")
		x.leftover()
		parts = append(parts, Part{Kind: Thought, Thought: t})
	}
	if len(parts) == 0 && text != "" {
		parts = append(parts, Part{Kind: Thought, Thought: &Think{Text: text}})
	}
	return parts
}

// chatOutput writes the parts of a message of the assistant into m.
func (w *writing) chatOutput(m members, path string, parts []Part) {
	var content []Part
	var details, calls []any
	var reasoning strings.Builder
	for i := range parts {
		switch p := &parts[i]; p.Kind {
		case Thought:
			if len(content) > 0 || len(calls) > 0 {
				w.cannot(path, "has reasoning behind other parts")
			}
			details = append(details, p.Thought.detail(len(details)))
			reasoning.WriteString(p.Thought.Text + p.Thought.Summary)
		case ToolCall:
			calls = append(calls, p.Call.chat())
		case Refusal:
			if m["refusal"] != nil {
				w.cannot(path, "has two refusals")
			}
			m["refusal"] = p.Text
		default:
			if len(calls) > 0 {
				w.cannot(path, "has a %s behind a tool call", p.Kind)
			}
			if p.Kind != Text {
				w.cannot(path, "has a %s in an answer", p.Kind)
			}
			content = append(content, *p)
		}
	}
	m["content"] = nil
	if len(content) > 0 {
		m["content"] = w.chatContent(path, content)
	}
	if len(details) > 0 {
		m.text("reasoning", reasoning.String())
		m["reasoning_details"] = details
	}
	if len(calls) > 0 {
		m["tool_calls"] = calls
	}
}

func (c *Call) chat() members {
	if c.Custom {
		return members{"id": c.ID, "type": "custom", "custom": members{"name": c.Name, "input": c.Arguments}}
	}
	return members{"id": c.ID, "type": "function", "function": members{"name": c.Name, "arguments": c.Arguments}}
}

// detail is an element of reasoning_details.
func (t *Think) detail(index int) members {
	x := members{"type": "reasoning.text", "index": index}
	switch {
	case t.Data != "":
		x["type"], x["data"] = "reasoning.encrypted", t.Data
	case t.Summary != "":
		x["type"], x["summary"] = "reasoning.summary", t.Summary
	default:
		x["text"] = t.Text
		x.text("signature", t.Signature)
	}
	x.text("format", t.Format)
	x.text("id", t.ID)
	return x
}

// ReadChatAnswer reads a whole chat completion. unknown is what of it has no place in an Answer.
func ReadChatAnswer(body []byte) (a *Answer, unknown []string) {
	in := &reading{}
	o := in.parse("", body)
	a = &Answer{ID: o.text("id"), Model: o.text("model")}
	for i, raw := range o.list("choices") {
		x := in.parse(index("choices", i), raw)
		c := Alternative{Index: int(x.whole("index")), Finish: x.text("finish_reason")}
		if c.Native = x.text("native_finish_reason"); c.Native == "" {
			c.Native = c.Finish
		}
		if m := x.object("message"); m != nil {
			citations := readCitations(in, m.at("annotations"), m.list("annotations"))
			var logprobs []json.RawMessage
			if p := x.object("logprobs"); p != nil {
				logprobs = p.list("content")
			}
			c.Parts = cite(readChatOutput(m), citations, logprobs)
			// Only what a client asked for in words that no other API has can hold these.
			for _, name := range []string{"images", "audio", "function_call"} {
				if m.fields[name] != nil && string(m.fields[name]) != "null" && string(m.fields[name]) != "[]" {
					in.say(m.at(name), "cannot be translated")
				}
			}
		}
		a.Choices = append(a.Choices, c)
	}
	return a, in.unknown
}

// WriteChatAnswer writes a whole chat completion.
func WriteChatAnswer(a *Answer, l Label, bill Bill) []byte {
	choices := make([]any, len(a.Choices))
	for i := range a.Choices {
		c := &a.Choices[i]
		message := members{"role": Assistant}
		message["refusal"] = nil
		(&writing{}).chatOutput(message, "", c.Parts)
		var logprobs []json.RawMessage
		var citations []Citation
		for _, p := range c.Parts {
			logprobs, citations = append(logprobs, p.LogProbs...), append(citations, p.Citations...)
		}
		if len(citations) > 0 {
			message["annotations"] = listed(citations, (*Citation).chat)
		}
		choices[i] = members{"index": c.Index, "message": message, "logprobs": chatLogProbs(logprobs), "finish_reason": orNull(c.Finish), "native_finish_reason": orNull(c.Native)}
	}
	m := members{"id": l.ID, "object": "chat.completion", "created": l.Created, "model": l.Model, "provider": l.Provider, "choices": choices, "system_fingerprint": nil}
	m.text("service_tier", bill.Tier)
	if bill.Known {
		m["usage"] = chatUsage(&bill)
	}
	return encode(m)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// chatUsage is the usage object (https://openrouter.ai/docs/guides/administration/usage-accounting).
// CostDetails is OpenRouter's cost_details: all of the cost is what providers charge, as every key is one of the operator's own.
func CostDetails(b *Bill) []byte {
	if b.PromptCost == "" {
		return fmt.Appendf(nil, `{"upstream_inference_cost":%s}`, b.Cost)
	}
	return fmt.Appendf(nil, `{"upstream_inference_cost":%s,"upstream_inference_prompt_cost":%s,"upstream_inference_completions_cost":%s}`,
		b.Cost, b.PromptCost, b.CompletionCost)
}

func chatUsage(b *Bill) members {
	u := members{
		"prompt_tokens": b.PromptTokens, "completion_tokens": b.CompletionTokens, "total_tokens": b.PromptTokens + b.CompletionTokens,
		"prompt_tokens_details":     members{"cached_tokens": b.CachedTokens, "cache_write_tokens": b.CacheWriteTokens},
		"completion_tokens_details": members{"reasoning_tokens": b.ReasoningTokens},
	}
	if b.Cost != "" {
		u["cost"], u["is_byok"], u["cost_details"] = json.RawMessage(b.Cost), false, json.RawMessage(CostDetails(b))
	}
	if b.Estimated {
		u["estimated"] = true
	}
	u.text("rescued", b.Rescued)
	return u
}

// chatChunk is the bones of a chunk.
func (l *Label) chatChunk(choices []any) members {
	return members{"id": l.ID, "object": "chat.completion.chunk", "created": l.Created, "model": l.Model, "provider": l.Provider, "choices": choices}
}

func appendEvent(dst []byte, name string, data any) []byte {
	if name != "" {
		dst = fmt.Appendf(dst, "event: %s\n", name)
	}
	dst = append(dst, "data: "...)
	dst = append(dst, encode(data)...)
	return append(dst, "\n\n"...)
}
