package talk

import (
	"encoding/json"
	"fmt"
	"strings"
)

// chatReader reads chunks of a chat completion.
type chatReader struct {
	calls map[int][]string // ids of the calls of each choice, in order
}

// NewChatReader reads a stream of chat completion chunks (https://platform.openai.com/docs/api-reference/chat-streaming).
func NewChatReader() EventReader { return &chatReader{calls: map[int][]string{}} }

func (c *chatReader) Read(deltas []Delta, _, data []byte) ([]Delta, string, error) {
	var chunk struct {
		Choices []struct {
			Index  int                        `json:"index"`
			Delta  map[string]json.RawMessage `json:"delta"`
			Finish string                     `json:"finish_reason"`
			Native string                     `json:"native_finish_reason"`
			Tokens struct {
				Content []json.RawMessage `json:"content"`
			} `json:"logprobs"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(data, &chunk); err != nil {
		return deltas, "", err
	}
	for i := range chunk.Choices {
		x := &chunk.Choices[i]
		d := &chatDelta{reader: c, choice: x.Index, fields: x.Delta, tokens: x.Tokens.Content}
		deltas = d.read(deltas)
		if d.unknown != "" || d.err != nil {
			return deltas, d.unknown, d.err
		}
		if x.Finish != "" {
			if x.Native == "" {
				x.Native = x.Finish
			}
			deltas = append(deltas, Delta{Kind: EndChoice, Choice: x.Index, Finish: x.Finish, Native: x.Native})
		}
	}
	return deltas, "", nil
}

// chatDelta is one delta while it is read.
type chatDelta struct {
	reader  *chatReader
	choice  int
	fields  map[string]json.RawMessage
	tokens  []json.RawMessage
	unknown string
	err     error
}

func (d *chatDelta) read(deltas []Delta) []Delta {
	add := func(kind DeltaKind, text string) {
		if text != "" {
			deltas = append(deltas, Delta{Kind: kind, Choice: d.choice, Text: text})
		}
	}
	if details := d.fields["reasoning_details"]; full(details) {
		deltas = d.details(deltas, details)
	} else {
		text := d.text("reasoning")
		if text == "" {
			text = d.text("reasoning_content")
		}
		add(AddThought, text)
	}
	if raw := d.fields["content"]; full(raw) && raw[0] == '[' {
		deltas = d.parts(deltas, raw)
	} else {
		text := d.text("content")
		if text != "" || len(d.tokens) > 0 {
			deltas = append(deltas, Delta{Kind: AddText, Choice: d.choice, Text: text, LogProbs: d.tokens})
		}
	}
	add(AddRefusal, d.text("refusal"))
	if raw := d.fields["tool_calls"]; full(raw) {
		deltas = d.toolCalls(deltas, raw)
	}
	if raw := d.fields["annotations"]; full(raw) {
		deltas = d.annotations(deltas, raw)
	}
	for _, name := range []string{"images", "audio", "function_call"} {
		if full(d.fields[name]) {
			d.unknown = name
		}
	}
	return deltas
}

func (d *chatDelta) annotations(deltas []Delta, raw json.RawMessage) []Delta {
	var items []json.RawMessage
	d.into(raw, &items)
	in := &reading{}
	for _, c := range readCitations(in, "annotations", items) {
		deltas = append(deltas, Delta{Kind: AddCitation, Choice: d.choice, Citation: &c})
	}
	if len(in.unknown) > 0 {
		d.unknown = in.unknown[0]
	}
	return deltas
}

// full says whether a field holds anything.
func full(raw json.RawMessage) bool {
	switch string(raw) {
	case "", "null", "[]", "{}", `""`:
		return false
	}
	return true
}

func (d *chatDelta) text(name string) (s string) {
	raw := d.fields[name]
	if isString(raw) {
		d.into(raw, &s)
	}
	return s
}

func (d *chatDelta) into(raw json.RawMessage, v any) {
	if err := json.Unmarshal(raw, v); err != nil && d.err == nil {
		d.err = err
	}
}

func (d *chatDelta) details(deltas []Delta, raw json.RawMessage) []Delta {
	var list []struct {
		Type      string `json:"type"`
		Text      string `json:"text"`
		Summary   string `json:"summary"`
		Signature string `json:"signature"`
		Data      string `json:"data"`
		Format    string `json:"format"`
		ID        string `json:"id"`
		Index     int    `json:"index"`
	}
	d.into(raw, &list)
	for _, x := range list {
		one := Delta{Choice: d.choice, Block: x.Index, Format: x.Format, ID: x.ID}
		for _, piece := range []struct {
			kind DeltaKind
			text string
		}{{AddThought, x.Text}, {AddSummary, x.Summary}, {AddSignature, x.Signature}, {AddSealed, x.Data}} {
			if piece.text != "" {
				one.Kind, one.Text = piece.kind, piece.text
				deltas = append(deltas, one)
			}
		}
	}
	return deltas
}

// parts reads content in parts, as Mistral streams it.
func (d *chatDelta) parts(deltas []Delta, raw json.RawMessage) []Delta {
	var list []struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Thinking []struct {
			Text string `json:"text"`
		} `json:"thinking"`
	}
	d.into(raw, &list)
	for _, x := range list {
		switch x.Type {
		case "text":
			deltas = append(deltas, Delta{Kind: AddText, Choice: d.choice, Text: x.Text})
		case "thinking":
			for _, t := range x.Thinking {
				deltas = append(deltas, Delta{Kind: AddThought, Choice: d.choice, Text: t.Text})
			}
		default:
			d.unknown = fmt.Sprintf("content of type %q", x.Type)
		}
	}
	return deltas
}

// toolCalls reads pieces of calls. Their index is taken with care: some servers leave it out, some send 0 for every call.
func (d *chatDelta) toolCalls(deltas []Delta, raw json.RawMessage) []Delta {
	var list []struct {
		Index    *int   `json:"index"`
		ID       string `json:"id"`
		Function struct {
			Name      string          `json:"name"`
			Arguments json.RawMessage `json:"arguments"`
		} `json:"function"`
		Custom *struct {
			Name  string          `json:"name"`
			Input json.RawMessage `json:"input"`
		} `json:"custom"`
	}
	d.into(raw, &list)
	for _, x := range list {
		custom := x.Custom != nil
		if custom {
			x.Function.Name, x.Function.Arguments = x.Custom.Name, x.Custom.Input
		}
		known := d.reader.calls[d.choice]
		at := len(known) - 1
		if x.Index != nil && *x.Index >= 0 {
			at = *x.Index
		}
		begins := x.Function.Name != "" && (at < 0 || at >= len(known) || x.ID != "" && known[at] != x.ID)
		if begins {
			at = len(known)
			d.reader.calls[d.choice] = append(known, x.ID)
			deltas = append(deltas, Delta{Kind: BeginCall, Choice: d.choice, Call: at, ID: x.ID, Name: x.Function.Name, Custom: custom})
		}
		arguments := ""
		switch raw := x.Function.Arguments; {
		case isString(raw):
			d.into(raw, &arguments) // the text null may well be a piece of them
		case string(raw) != "null":
			arguments = string(raw)
		}
		if arguments != "" {
			if at < 0 || at >= len(d.reader.calls[d.choice]) {
				d.err = fmt.Errorf("arguments of a call that has not begun")
				return deltas
			}
			deltas = append(deltas, Delta{Kind: AddArguments, Choice: d.choice, Call: at, Text: arguments, Custom: custom})
		}
	}
	return deltas
}

// chatWriter writes chunks of a chat completion.
type chatWriter struct {
	label  Label
	begun  bool         // the client knows the role of the first choice
	others map[int]bool // and of these; nil in most streams, which have no others
}

// NewChatWriter writes a stream of chat completion chunks.
func NewChatWriter() EventWriter { return &chatWriter{} }

func (c *chatWriter) Serve(l Label) { c.label = l }

func (c *chatWriter) Append(dst []byte, deltas []Delta) ([]byte, string) {
	for i := range deltas {
		d := &deltas[i]
		delta, finish, native := members{}, any(nil), ""
		if c.begins(d.Choice) {
			delta["role"], delta["content"] = Assistant, ""
		}
		switch d.Kind {
		case AddText:
			delta["content"] = d.Text
		case AddCitation:
			delta["annotations"] = []any{d.Citation.chat()}
		case AddRefusal:
			delta["refusal"] = d.Text
		case AddThought, AddSummary, AddSignature, AddSealed:
			if d.Kind == AddThought || d.Kind == AddSummary {
				delta["reasoning"] = d.Text
			}
			delta["reasoning_details"] = []any{d.detail()}
		case BeginCall:
			call := (&Call{ID: d.ID, Name: d.Name, Custom: d.Custom}).chat()
			call["index"] = d.Call
			delta["tool_calls"] = []any{call}
		case AddArguments:
			call := members{"index": d.Call, "function": members{"arguments": d.Text}}
			if d.Custom {
				call = members{"index": d.Call, "custom": members{"input": d.Text}}
			}
			delta["tool_calls"] = []any{call}
		case EndChoice:
			finish, native = d.Finish, d.Native
		}
		choice := members{"index": d.Choice, "delta": delta, "logprobs": chatLogProbs(d.LogProbs), "finish_reason": finish}
		if finish != nil {
			choice["native_finish_reason"] = orNull(native)
		}
		dst = appendEvent(dst, "", c.label.chatChunk([]any{choice}))
	}
	return dst, ""
}

// begins says, once for each choice, that its role is still to be told.
func (c *chatWriter) begins(choice int) bool {
	if choice == 0 {
		first := !c.begun
		c.begun = true
		return first
	}
	if c.others[choice] {
		return false
	}
	if c.others == nil {
		c.others = map[int]bool{}
	}
	c.others[choice] = true
	return true
}

func (d *Delta) detail() members {
	x := members{"index": d.Block}
	switch d.Kind {
	case AddThought:
		x["type"], x["text"] = "reasoning.text", d.Text
	case AddSignature:
		x["type"], x["text"], x["signature"] = "reasoning.text", "", d.Text
	case AddSummary:
		x["type"], x["summary"] = "reasoning.summary", d.Text
	case AddSealed:
		x["type"], x["data"] = "reasoning.encrypted", d.Text
	}
	x.text("format", d.Format)
	x.text("id", d.ID)
	return x
}

// Passed knows what every chunk says of itself, but for the role, which the first one of each choice tells.
func (c *chatWriter) Passed(_, data []byte) {
	c.begun = c.begun || strings.Contains(string(data), `"choices"`)
}

func (c *chatWriter) End(dst []byte, bill *Bill) []byte {
	if bill != nil && bill.Known {
		m := c.label.chatChunk([]any{})
		m["usage"] = chatUsage(bill)
		m.text("service_tier", bill.Tier)
		dst = appendEvent(dst, "", m)
	}
	return append(dst, "data: [DONE]\n\n"...)
}

func (c *chatWriter) Aside(dst []byte, name string, value []byte) []byte {
	m := c.label.chatChunk([]any{})
	m[name] = json.RawMessage(value)
	return appendEvent(dst, "", m)
}
