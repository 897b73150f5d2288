package talk

import "encoding/json"

// ReadCompletions reads a request in the older API of completions (https://platform.openai.com/docs/api-reference/completions):
// the prompt becomes what a user says.
func ReadCompletions(body []byte) *Request {
	in := &reading{}
	o := in.parse("", body)
	r := &Request{N: 1, Sampling: map[string]json.RawMessage{}}
	o.ignore(hints...)
	if prompt, ok := readPrompt(o); ok {
		r.Messages = []Message{{Role: User, Parts: []Part{{Kind: Text, Text: prompt}}}}
	}
	if s := o.text("suffix"); s != "" {
		in.say("suffix", "asks for what stands between two texts, which a chat cannot")
	}
	if echo := o.flag("echo"); echo != nil && *echo {
		in.say("echo", "asks for the prompt to be given back, which a chat cannot")
	}
	if n := o.whole("best_of"); n > 1 {
		in.say("best_of", "asks for the best of several answers, which a chat cannot give")
	}
	if o.take("logprobs") != nil {
		in.say("logprobs", "asks for log probabilities in a form that a chat does not have")
	}
	r.MaxTokens = o.whole("max_tokens")
	r.readStop(o)
	r.Reasoning = readReasoning(o)
	r.readSampling(o)
	r.readDelivery(o)
	o.leftover()
	r.Unknown = in.unknown
	return r
}

// readPrompt reads one text: several prompts, or tokens, cannot be said in a chat.
func readPrompt(o *object) (string, bool) {
	raw := o.take("prompt")
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil && len(list) == 1 {
		raw = list[0]
	}
	s, ok := readString(raw)
	if !ok {
		o.in.say("prompt", "is not one text: several prompts, or one in tokens, cannot be said in a chat")
	}
	return s, ok
}

// WriteCompletionsAnswer writes a whole completion.
func WriteCompletionsAnswer(a *Answer, l Label, bill Bill) []byte {
	choices := make([]any, len(a.Choices))
	for i := range a.Choices {
		c := &a.Choices[i]
		x := members{"index": c.Index, "text": "", "logprobs": nil, "finish_reason": orNull(c.Finish), "native_finish_reason": orNull(c.Native)}
		text, thought := "", ""
		var citations []Citation
		for _, p := range c.Parts {
			switch p.Kind {
			case Text, Refusal:
				text += p.Text
				citations = append(citations, p.Citations...)
			case Thought:
				thought += p.Thought.Text + p.Thought.Summary
			}
		}
		x["text"] = text
		x.text("reasoning", thought)
		if len(citations) > 0 {
			x["annotations"] = listed(citations, (*Citation).chat)
		}
		choices[i] = x
	}
	m := l.completion(choices)
	if bill.Known {
		m["usage"] = chatUsage(&bill)
	}
	return encode(m)
}

func (l *Label) completion(choices []any) members {
	return members{"id": l.ID, "object": "text_completion", "created": l.Created, "model": l.Model, "provider": l.Provider, "choices": choices}
}

// completionsWriter writes a stream of completions.
type completionsWriter struct{ label Label }

// NewCompletionsWriter writes a stream of completions.
func NewCompletionsWriter() EventWriter { return &completionsWriter{} }

func (c *completionsWriter) Serve(l Label) { c.label = l }

func (c *completionsWriter) Append(dst []byte, deltas []Delta) ([]byte, string) {
	for i := range deltas {
		d := &deltas[i]
		x := members{"index": d.Choice, "text": "", "logprobs": nil, "finish_reason": nil}
		switch d.Kind {
		case AddText, AddRefusal:
			x["text"] = d.Text
		case AddThought, AddSummary:
			x["reasoning"] = d.Text
		case AddCitation:
			x["annotations"] = []any{d.Citation.chat()}
		case EndChoice:
			x["finish_reason"], x["native_finish_reason"] = orNull(d.Finish), orNull(d.Native)
		case BeginCall, AddArguments:
			return dst, "a tool call"
		default:
			continue // signatures of thoughts, which nobody can send back in this API
		}
		dst = appendEvent(dst, "", c.label.completion([]any{x}))
	}
	return dst, ""
}

func (c *completionsWriter) Passed(_, _ []byte) {}

func (c *completionsWriter) End(dst []byte, bill *Bill) []byte {
	if bill != nil && bill.Known {
		m := c.label.completion([]any{})
		m["usage"] = chatUsage(bill)
		dst = appendEvent(dst, "", m)
	}
	return append(dst, "data: [DONE]\n\n"...)
}

func (c *completionsWriter) Aside(dst []byte, name string, value []byte) []byte {
	m := c.label.completion([]any{})
	m[name] = json.RawMessage(value)
	return appendEvent(dst, "", m)
}
