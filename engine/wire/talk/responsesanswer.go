package talk

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// asked are the fields of a request that a response repeats, with what stands there where they were not sent.
var asked = map[string]any{
	"frequency_penalty": nil, "instructions": nil, "max_output_tokens": nil, "max_tool_calls": nil, "metadata": members{}, "parallel_tool_calls": true, "presence_penalty": nil,
	"prompt_cache_key": nil, "reasoning": members{"effort": nil, "summary": nil}, "safety_identifier": nil, "temperature": nil,
	"text": members{"format": members{"type": "text"}}, "tool_choice": "auto", "tools": []any{}, "top_logprobs": nil, "top_p": nil,
	"truncation": "disabled", "user": nil,
}

// response is the bones of a response object.
func (l *Label) response(status string, output []any) members {
	m := members{
		"id": l.ID, "object": "response", "created_at": l.Created, "model": l.Model, "provider": l.Provider, "status": status, "output": output,
		"error": nil, "incomplete_details": nil, "usage": nil, "completed_at": nil, "background": false, "store": false, "previous_response_id": nil,
	}
	var sent map[string]json.RawMessage
	if json.Unmarshal(l.Asked, &sent) != nil {
		sent = nil // a label that does not say
	}
	for name, otherwise := range asked {
		if v := sent[name]; v != nil {
			m[name] = v
		} else {
			m[name] = otherwise
		}
	}
	return m
}

// ended sets the status of a response that came to its end for that reason. When it did is when this is written.
func ended(m members, finish string) {
	m["completed_at"] = time.Now().Unix()
	switch finish {
	case Length:
		m["status"], m["incomplete_details"] = "incomplete", members{"reason": "max_output_tokens"}
	case Filtered:
		m["status"], m["incomplete_details"] = "incomplete", members{"reason": "content_filter"}
	}
}

// responsesUsage is the usage object of a response, with OpenRouter's cost.
func responsesUsage(b *Bill) members {
	u := members{
		"input_tokens": b.PromptTokens, "input_tokens_details": members{"cached_tokens": b.CachedTokens, "cache_write_tokens": b.CacheWriteTokens},
		"output_tokens": b.CompletionTokens, "output_tokens_details": members{"reasoning_tokens": b.ReasoningTokens},
		"total_tokens": b.PromptTokens + b.CompletionTokens,
	}
	if b.Cost != "" {
		u["cost"] = json.RawMessage(b.Cost)
	}
	u.text("rescued", b.Rescued)
	return u
}

// WriteResponsesAnswer writes a whole response.
func WriteResponsesAnswer(a *Answer, l Label, bill Bill) []byte {
	w := responsesWriter{label: l}
	finish := ""
	for i := range a.Choices {
		finish = a.Choices[i].Finish
		for _, p := range a.Choices[i].Parts {
			w.whole(&p)
		}
	}
	w.close(nil)
	m := l.response("completed", w.output())
	ended(m, finish)
	m.text("service_tier", bill.Tier)
	if bill.Known {
		m["usage"] = responsesUsage(&bill)
	}
	return encode(m)
}

// whole adds a part of a whole answer as the events of a stream would.
func (w *responsesWriter) whole(p *Part) {
	switch p.Kind {
	case Text:
		w.add(nil, &Delta{Kind: AddText, Text: p.Text, LogProbs: p.LogProbs})
		for i := range p.Citations {
			w.add(nil, &Delta{Kind: AddCitation, Citation: &p.Citations[i]})
		}
	case Refusal:
		w.add(nil, &Delta{Kind: AddRefusal, Text: p.Text})
	case ToolCall:
		w.close(nil)
		w.calls++
		w.add(nil, &Delta{Kind: BeginCall, Call: w.calls, ID: p.Call.ID, Name: p.Call.Name, Custom: p.Call.Custom})
		w.add(nil, &Delta{Kind: AddArguments, Call: w.calls, Text: p.Call.Arguments})
	case Thought:
		w.blocks++
		for _, d := range []Delta{
			{Kind: AddThought, Text: p.Thought.Text}, {Kind: AddSummary, Text: p.Thought.Summary},
			{Kind: AddSignature, Text: p.Thought.Signature}, {Kind: AddSealed, Text: p.Thought.Data},
		} {
			if d.Text != "" {
				d.Block, d.Format, d.ID = w.blocks, p.Thought.Format, p.Thought.ID
				w.add(nil, &d)
			}
		}
	}
}

// item is one element of a response's output while it grows.
type item struct {
	kind    string // message, function_call, custom_tool_call, reasoning
	id      string
	content []*content      // of a message; the text of reasoning
	call    Call            // without its arguments
	thought Think           // without its text and summary
	grown   strings.Builder // the arguments or the input of a call, or the summary
	block   int
	at      int // call's place among those of the answer
	place   int // in the output
	done    bool
}

// calls says whether it is the call of a tool.
func (x *item) calls() bool { return x.kind == "function_call" || x.kind == "custom_tool_call" }

// content is one part of a message.
type content struct {
	kind      string          // output_text, refusal, reasoning_text
	text      strings.Builder // by pieces: an answer in a million of them is not copied for each
	citations []Citation
	logprobs  []json.RawMessage
}

func (c *content) members() members {
	switch c.kind {
	case "refusal":
		return members{"type": c.kind, "refusal": c.text.String()}
	case "reasoning_text":
		return members{"type": c.kind, "text": c.text.String()}
	}
	return members{"type": c.kind, "text": c.text.String(), "annotations": listed(c.citations, (*Citation).annotation), "logprobs": tokens(c.logprobs)}
}

func (x *item) members() members {
	status := "in_progress"
	if x.done {
		status = "completed"
	}
	parts := make([]any, len(x.content))
	for i, c := range x.content {
		parts[i] = c.members()
	}
	switch x.kind {
	case "function_call":
		return members{"type": x.kind, "id": x.id, "call_id": x.call.ID, "name": x.call.Name, "arguments": x.grown.String(), "status": status}
	case "custom_tool_call":
		return members{"type": x.kind, "id": x.id, "call_id": x.call.ID, "name": x.call.Name, "input": x.grown.String(), "status": status}
	case "reasoning":
		m := members{"type": x.kind, "id": x.id, "summary": []any{}, "status": status}
		if x.grown.Len() > 0 {
			m["summary"] = []any{members{"type": "summary_text", "text": x.grown.String()}}
		}
		if len(parts) > 0 {
			m["content"] = parts
		}
		m.text("encrypted_content", x.thought.Data)
		m.text("signature", x.thought.Signature)
		m.text("format", x.thought.Format)
		return m
	}
	return members{"type": x.kind, "id": x.id, "role": Assistant, "status": status, "content": parts}
}

func (w *responsesWriter) output() []any {
	out := make([]any, len(w.items))
	for i, x := range w.items {
		out[i] = x.members()
	}
	return out
}

// newID is an id for the item that comes next.
func (w *responsesWriter) newID(prefix string) string {
	return fmt.Sprintf("%s_%s_%d", prefix, w.label.ID, len(w.items))
}
