package talk

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// messagesReader reads a stream of the Messages API.
type messagesReader struct {
	blocks map[int]*block
	calls  int
}

// block is one content block that is being streamed.
type block struct {
	kind      string
	call      int  // its place among the calls
	arguments bool // some have come
}

// NewMessagesReader reads a stream of Anthropic's events (https://platform.claude.com/docs/en/build-with-claude/streaming).
func NewMessagesReader() EventReader { return &messagesReader{blocks: map[int]*block{}} }

type messagesEvent struct {
	Type  string         `json:"type"`
	Index int            `json:"index"`
	Block *messagesBlock `json:"content_block"`
	Delta *messagesBlock `json:"delta"`
}

// messagesBlock is a content block at its start, or a delta of one or of the message.
type messagesBlock struct {
	Type         string          `json:"type"`
	Text         string          `json:"text"`
	Thinking     string          `json:"thinking"`
	Signature    string          `json:"signature"`
	Data         string          `json:"data"`
	ID           string          `json:"id"`
	Name         string          `json:"name"`
	Input        json.RawMessage `json:"input"`
	PartialJSON  string          `json:"partial_json"`
	StopReason   string          `json:"stop_reason"`
	StopSequence string          `json:"stop_sequence"`
}

func (m *messagesReader) Read(deltas []Delta, _, data []byte) ([]Delta, string, error) {
	var ev messagesEvent
	if err := json.Unmarshal(data, &ev); err != nil {
		return deltas, "", err
	}
	switch ev.Type {
	case "content_block_start":
		if ev.Block == nil {
			return deltas, "", fmt.Errorf("a block begins without content_block")
		}
		return m.start(deltas, ev.Index, ev.Block)
	case "content_block_delta":
		b := m.blocks[ev.Index]
		if b == nil || ev.Delta == nil {
			return deltas, "", fmt.Errorf("a delta of a block that has not begun")
		}
		return m.delta(deltas, ev.Index, b, ev.Delta)
	case "content_block_stop":
		if b := m.blocks[ev.Index]; b != nil && b.kind == "tool_use" && !b.arguments {
			deltas = append(deltas, Delta{Kind: AddArguments, Call: b.call, Text: "{}"})
		}
	case "message_delta":
		if ev.Delta != nil && ev.Delta.StopReason != "" {
			deltas = append(deltas, Delta{Kind: EndChoice, Finish: FinishOf(ev.Delta.StopReason), Native: ev.Delta.StopReason, StopSequence: ev.Delta.StopSequence})
		}
	}
	return deltas, "", nil
}

func (m *messagesReader) start(deltas []Delta, at int, x *messagesBlock) ([]Delta, string, error) {
	b := &block{kind: x.Type}
	m.blocks[at] = b
	switch x.Type {
	case "text", "thinking":
		deltas = addPieces(deltas, at, x)
	case "redacted_thinking":
		deltas = addSealed(deltas, at, x.Data)
	case "tool_use":
		b.call = m.calls
		m.calls++
		deltas = append(deltas, Delta{Kind: BeginCall, Call: b.call, ID: x.ID, Name: x.Name})
		if full(x.Input) {
			b.arguments = true
			deltas = append(deltas, Delta{Kind: AddArguments, Call: b.call, Text: compact(x.Input)})
		}
	default:
		return deltas, fmt.Sprintf("a block of type %q", x.Type), nil
	}
	return deltas, "", nil
}

func (m *messagesReader) delta(deltas []Delta, at int, b *block, x *messagesBlock) ([]Delta, string, error) {
	switch x.Type {
	case "text_delta", "thinking_delta", "signature_delta":
		return addPieces(deltas, at, x), "", nil
	case "input_json_delta":
		if x.PartialJSON != "" {
			b.arguments = true
			deltas = append(deltas, Delta{Kind: AddArguments, Call: b.call, Text: x.PartialJSON})
		}
		return deltas, "", nil
	}
	return deltas, fmt.Sprintf("a delta of type %q", x.Type), nil
}

func addPieces(deltas []Delta, at int, x *messagesBlock) []Delta {
	if x.Text != "" {
		deltas = append(deltas, Delta{Kind: AddText, Text: x.Text})
	}
	if x.Thinking != "" {
		deltas = append(deltas, Delta{Kind: AddThought, Text: x.Thinking, Block: at, Format: claude})
	}
	if x.Signature != "" {
		d := Delta{Kind: AddSignature, Text: x.Signature, Block: at, Format: claude}
		if m, ok := readMark(x.Signature); ok {
			d.Text, d.Format, d.ID = m.Signature, m.Format, m.ID
		}
		if d.Text != "" {
			deltas = append(deltas, d)
		}
	}
	return deltas
}

func addSealed(deltas []Delta, at int, data string) []Delta {
	d := Delta{Kind: AddSealed, Text: data, Block: at, Format: claude}
	if m, ok := readMark(data); ok {
		d.Text, d.Format, d.ID = m.Data, m.Format, m.ID
	}
	return append(deltas, d)
}

// messagesWriter writes a stream of the Messages API, in which one block is open at a time.
type messagesWriter struct {
	label   Label
	begun   bool
	next    int    // index of the next block
	open    string // type of the block that is open; "": none
	call    int    // of the tool_use that is open
	thought maker  // of the thinking that is open
	from    int    // the provider's number of that thinking
	signed  bool   // it has its signature
	cited   bool   // the text that is open has its sources: what comes next is another's
	refused bool
	end     Delta
}

// NewMessagesWriter writes a stream of Anthropic's events.
func NewMessagesWriter() EventWriter { return &messagesWriter{} }

func (m *messagesWriter) Serve(l Label) { m.label = l }

func (m *messagesWriter) Append(dst []byte, deltas []Delta) ([]byte, string) {
	for i := range deltas {
		d := &deltas[i]
		dst = m.begin(dst)
		switch d.Kind {
		case AddText, AddRefusal:
			m.refused = m.refused || d.Kind == AddRefusal
			if m.open != "text" || m.cited {
				dst = m.start(dst, members{"type": "text", "text": ""})
			}
			dst = m.delta(dst, members{"type": "text_delta", "text": d.Text})
		case AddCitation:
			if m.open != "text" {
				dst = m.start(dst, members{"type": "text", "text": ""})
			}
			dst = m.delta(dst, members{"type": "citations_delta", "citation": d.Citation.block()})
			m.cited = true
		case AddThought, AddSummary, AddSignature:
			dst = m.think(dst, d)
		case AddSealed:
			t := Think{Data: d.Text, Format: d.Format, ID: d.ID}
			dst = m.close(m.start(dst, t.block()))
		case BeginCall:
			if d.Custom {
				return dst, "a call of a custom tool"
			}
			dst = m.start(dst, members{"type": "tool_use", "id": d.ID, "name": d.Name, "input": members{}})
			m.call = d.Call
		case AddArguments:
			if m.open != "tool_use" || m.call != d.Call {
				return dst, "arguments of a tool call after the next one has begun"
			}
			dst = m.delta(dst, members{"type": "input_json_delta", "partial_json": d.Text})
		case EndChoice:
			m.end = *d // it goes out with the usage
		}
		if d.Choice != 0 {
			return dst, "a second alternative"
		}
	}
	return dst, ""
}

func (m *messagesWriter) begin(dst []byte) []byte {
	if m.begun {
		return dst
	}
	m.begun = true
	message := m.label.message()
	message["usage"] = messagesUsage(&Bill{}) // the whole of it comes at the end
	return appendEvent(dst, "message_start", members{"type": "message_start", "message": message})
}

func (m *messagesWriter) think(dst []byte, d *Delta) []byte {
	if m.open != "thinking" || m.from != d.Block || m.signed {
		dst = m.start(dst, members{"type": "thinking", "thinking": "", "signature": ""})
		m.from, m.signed, m.thought = d.Block, false, maker{}
	}
	m.thought.Format, m.thought.ID = d.Format, d.ID
	switch {
	case d.Kind != AddSignature:
		m.thought.Summary = d.Kind == AddSummary
		return m.delta(dst, members{"type": "thinking_delta", "thinking": d.Text})
	case d.Format == claude || d.Format == "":
		m.signed = true
		return m.delta(dst, members{"type": "signature_delta", "signature": d.Text})
	}
	m.thought.Signature += d.Text
	return dst
}

func (m *messagesWriter) start(dst []byte, block members) []byte {
	dst = m.close(dst)
	dst = appendEvent(dst, "content_block_start", members{"type": "content_block_start", "index": m.next, "content_block": block})
	m.next++
	m.open, m.cited = block["type"].(string), false
	return dst
}

func (m *messagesWriter) delta(dst []byte, delta members) []byte {
	return appendEvent(dst, "content_block_delta", members{"type": "content_block_delta", "index": m.next - 1, "delta": delta})
}

func (m *messagesWriter) close(dst []byte) []byte {
	if m.open == "" {
		return dst
	}
	if m.open == "thinking" && !m.signed {
		dst = m.delta(dst, members{"type": "signature_delta", "signature": m.thought.wrap()})
	}
	m.open = ""
	return appendEvent(dst, "content_block_stop", members{"type": "content_block_stop", "index": m.next - 1})
}

// Passed follows the blocks.
func (m *messagesWriter) Passed(_, data []byte) {
	if bytes.Contains(data, []byte(`"content_block_delta"`)) {
		return // most events, and none that matters here
	}
	var ev messagesEvent
	if json.Unmarshal(data, &ev) != nil {
		return
	}
	switch ev.Type {
	case "message_start":
		m.begun = true
	case "content_block_start":
		m.next = ev.Index + 1
		if ev.Block != nil {
			m.open = ev.Block.Type
		}
	case "content_block_stop":
		m.open = ""
	}
}

func (m *messagesWriter) End(dst []byte, bill *Bill) []byte {
	if bill != nil {
		dst = m.close(m.begin(dst))
		dst = appendEvent(dst, "message_delta", members{"type": "message_delta", "usage": messagesUsage(bill), "delta": members{
			"stop_reason": stopReason(m.end.Finish, m.end.Native, m.end.StopSequence, m.refused), "stop_sequence": orNull(m.end.StopSequence)}})
	}
	return appendEvent(dst, "message_stop", members{"type": "message_stop"})
}

func (m *messagesWriter) Aside(dst []byte, name string, value []byte) []byte {
	return appendEvent(dst, "ping", members{"type": "ping", name: json.RawMessage(value)})
}
