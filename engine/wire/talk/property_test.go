package talk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"chaperone/engine/wire"
	"chaperone/engine/wire/talk"
)

// say is what one API can say, for the generator of conversations.
type say struct {
	name          string
	shape         wire.Shape
	read          func([]byte) *talk.Request
	write         func(*talk.Request) ([]byte, []string)
	chat, caching bool // chat: it has what only OpenAI's has, such as custom tools
}

var apis = []say{
	{"chat", wire.Chat, talk.ReadChat, talk.WriteChat, true, false},
	{"messages", wire.Messages, talk.ReadMessages, talk.WriteMessages, false, true},
}

// drawn draws conversations. Strings hold everything that needs care in JSON.
type drawn struct {
	*rand.Rand
	a    say
	both bool // only what both APIs can say
	own  bool // and custom tools, which are OpenAI's own
}

func (d *drawn) one(words ...string) string { return words[d.IntN(len(words))] }

func (d *drawn) text() string {
	return d.one("hello", "a \"quoted\" \\ one", "naïve — 数据 🚢", "<b>&amp;</b>\n\ttab", "\u2028\x01", "  spaced  ", "x")
}

func (d *drawn) yes() *bool {
	b := d.IntN(2) == 0
	return &b
}

// custom says whether a tool is to be a custom one.
func (d *drawn) custom() bool { return d.a.chat && (!d.both || d.own) && d.IntN(3) == 0 }

func (d *drawn) object() string {
	return d.one(`{}`, `{"a":1}`, `{"city":"Bern","days":[1,2.50,-3e2],"n":null,"u":"\u00e9\"\\"}`, `{"nested":{"x":true}}`)
}

func (d *drawn) schema() json.RawMessage {
	return json.RawMessage(d.one(`{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"integer"}},"required":["a"]}`, `{"type":"object"}`))
}

func (d *drawn) cache() *talk.Cache {
	if !d.a.caching || d.both || d.IntN(4) > 0 {
		return nil
	}
	return &talk.Cache{TTL: d.one("", "5m", "1h")}
}

func (d *drawn) media(kind talk.Kind) *talk.Media {
	switch {
	case kind == talk.File:
		return &talk.Media{Type: "application/pdf", Data: "JVBERi0=", Name: d.one("", "a.pdf")}
	case d.IntN(2) == 0:
		return &talk.Media{URL: d.one("https://pictures.example.com/a.png", "https://b.example.org/x?y=1")}
	}
	return &talk.Media{Type: "image/png", Data: "iVBORw0KGgo="}
}

func (d *drawn) user() talk.Message {
	m := talk.Message{Role: talk.User}
	for range 1 + d.IntN(3) {
		switch d.IntN(4) {
		case 0:
			m.Parts = append(m.Parts, talk.Part{Kind: talk.Image, Media: d.media(talk.Image), Cache: d.cache()})
		case 1:
			m.Parts = append(m.Parts, talk.Part{Kind: talk.File, Media: d.media(talk.File), Cache: d.cache()})
		default:
			m.Parts = append(m.Parts, talk.Part{Kind: talk.Text, Text: d.text(), Cache: d.cache()})
		}
	}
	if d.a.chat && !d.both && d.IntN(5) == 0 {
		m.Name = "alice"
		m.Parts = append(m.Parts, talk.Part{Kind: talk.Audio, Media: &talk.Media{Type: "audio/wav", Data: "UklGRg=="}})
	}
	return m
}

// turn is an answer with its tools' replies.
func (d *drawn) turn(n int) []talk.Message {
	m := talk.Message{Role: talk.Assistant}
	if d.IntN(3) == 0 {
		t := &talk.Think{Text: d.text(), Signature: "c2lnbmVk", Format: "anthropic-claude-v1"}
		switch d.IntN(3) {
		case 0:
			t = &talk.Think{Data: "c2VhbGVk", Format: "anthropic-claude-v1"}
		case 1:
			if d.a.chat && !d.both {
				t = &talk.Think{Summary: d.text(), Format: "openai-responses-v1", ID: "rs_1"}
			}
		}
		m.Parts = append(m.Parts, talk.Part{Kind: talk.Thought, Thought: t})
	}
	calls := d.IntN(3)
	if calls == 0 || d.IntN(2) == 0 {
		m.Parts = append(m.Parts, talk.Part{Kind: talk.Text, Text: d.text(), Cache: d.cache()})
	}
	var replies []talk.Part
	for i := range calls {
		id := fmt.Sprintf("call_%d_%d", n, i)
		c := &talk.Call{ID: id, Name: d.one("look_up", "weather"), Arguments: d.object()}
		if d.custom() {
			c.Custom, c.Arguments = true, d.text()
		}
		m.Parts = append(m.Parts, talk.Part{Kind: talk.ToolCall, Call: c})
		r := &talk.Reply{CallID: id, Parts: []talk.Part{{Kind: talk.Text, Text: d.text()}}}
		if !d.a.chat && !d.both {
			r.Failed = d.IntN(4) == 0
			if d.IntN(4) == 0 {
				r.Parts = append(r.Parts, talk.Part{Kind: talk.Image, Media: d.media(talk.Image)})
			}
		}
		replies = append(replies, talk.Part{Kind: talk.ToolReply, Reply: r})
	}
	out := []talk.Message{m}
	if replies != nil {
		out = append(out, talk.Message{Role: talk.User, Parts: replies})
	}
	return append(out, d.user())
}

func (d *drawn) request() *talk.Request {
	r := &talk.Request{N: 1, Sampling: map[string]json.RawMessage{}, Stream: d.IntN(2) == 0}
	if d.IntN(2) == 0 {
		r.Messages = append(r.Messages, talk.Message{Role: talk.System, Parts: []talk.Part{{Kind: talk.Text, Text: d.text(), Cache: d.cache()}}})
	}
	r.Messages = append(r.Messages, d.user())
	for n := range d.IntN(4) {
		r.Messages = append(r.Messages, d.turn(n)...)
	}
	for i := range d.IntN(3) {
		t := talk.Tool{Name: fmt.Sprint("tool_", i), Description: d.one("", "does things"), Schema: d.schema(), Cache: d.cache()}
		if d.IntN(2) == 0 {
			t.Strict = d.yes()
		}
		if d.custom() {
			t = talk.Tool{Name: t.Name, Description: t.Description, Custom: true}
			if d.IntN(2) == 0 {
				t.Grammar = &talk.Grammar{Syntax: d.one("lark", "regex"), Definition: d.text()}
			}
		}
		r.Tools = append(r.Tools, t)
	}
	if len(r.Tools) > 0 {
		switch d.IntN(4) {
		case 0:
			r.Choice.Mode = d.one("auto", "none", "required")
		case 1:
			r.Choice = talk.Choice{Mode: "named", Tool: talk.Named{Name: "tool_0", Custom: r.Tools[0].Custom}}
		}
		if mode := r.Choice.Mode; d.custom() && (mode == "auto" || mode == "required") {
			r.Choice.Allowed = []talk.Named{{Name: "tool_0", Custom: r.Tools[0].Custom}}
		}
		if r.Choice.Mode != "" && r.Choice.Mode != "none" && d.IntN(2) == 0 {
			r.Parallel = d.yes()
		}
	}
	if d.IntN(4) == 0 {
		r.Format = talk.Format{Kind: "json_schema", Schema: d.schema()}
		if d.a.chat && !d.both {
			r.Format.Name, r.Format.Strict = "form", d.yes()
		}
	}
	r.MaxTokens = int64(4000 + d.IntN(3))
	if d.IntN(3) == 0 {
		r.Stop = []string{"END", d.text()}
	}
	if d.IntN(3) == 0 {
		r.Sampling["temperature"] = json.RawMessage(d.one("0", "0.5", "1"))
		r.Sampling["top_p"] = json.RawMessage("0.90")
	}
	if d.a.chat && !d.both {
		if d.IntN(3) == 0 {
			r.Sampling["seed"], r.Sampling["logit_bias"] = json.RawMessage("7"), json.RawMessage(`{"5":-1}`)
			r.N = 2
		}
		if d.IntN(3) == 0 {
			r.Reasoning = talk.Reasoning{Effort: d.one("low", "high"), Exclude: d.IntN(2) == 0}
		}
	} else if d.IntN(3) == 0 && r.Choice.Mode != "required" && r.Choice.Mode != "named" && r.Sampling["temperature"] == nil && answeredAloud(r) {
		r.Reasoning.Tokens = 2048
	}
	if d.IntN(3) == 0 {
		r.User = "user-1"
	}
	r.Tier = d.one("", "auto", "default")
	return r
}

// answeredAloud says whether the conversation does not end within a turn of tools, in which Anthropic wants its thoughts back.
func answeredAloud(r *talk.Request) bool {
	last := r.Messages[len(r.Messages)-1]
	return last.Parts[0].Kind != talk.ToolReply
}

// told prints a request for a comparison.
func told(r *talk.Request) string {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestAConversationIsTheSameAfterEachAPI(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, a := range apis {
		d := &drawn{Rand: rand.New(rand.NewPCG(seed, 1)), a: a}
		for range 500 {
			r := d.request()
			body, unsaid := a.write(r)
			if len(unsaid) > 0 {
				t.Fatalf("%s cannot say %v of %s", a.name, unsaid, told(r))
			}
			back := a.read(body)
			if !sameRequest(r, back) {
				t.Fatalf("%s: read back as\n%s\nwant\n%s\nbody %s", a.name, told(back), told(r), body)
			}
			again, _ := a.write(back)
			if !bytes.Equal(again, body) {
				t.Fatalf("%s: written again as\n%s\nwant\n%s", a.name, again, body)
			}
		}
	}
}

// sameRequest compares; arguments are compared as JSON, whose spaces are nobody's meaning.
func sameRequest(a, b *talk.Request) bool {
	return reflect.DeepEqual(canonical(a), canonical(b))
}

func canonical(r *talk.Request) any {
	var v any
	if err := json.Unmarshal([]byte(told(r)), &v); err != nil {
		panic(err)
	}
	return compacted(v)
}

func compacted(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			if s, ok := e.(string); ok && k == "Arguments" {
				var b bytes.Buffer
				if json.Compact(&b, []byte(s)) == nil {
					x[k] = b.String()
				}
				continue
			}
			x[k] = compacted(e)
			if list, ok := x[k].([]any); ok && len(list) == 0 {
				x[k] = nil
			}
		}
	case []any:
		for i := range x {
			x[i] = compacted(x[i])
		}
	}
	return v
}

// A conversation that both APIs can say is the same after the way there and back, and what policy judges of it is the same on
// both sides.
func TestAConversationIsTheSameAfterTheOtherAPI(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, from := range apis {
		for _, to := range apis {
			if from.name == to.name {
				continue
			}
			d := &drawn{Rand: rand.New(rand.NewPCG(seed, 2)), a: from, both: true}
			for range 500 {
				r := d.request()
				body, unsaid := from.write(r)
				over, unsaidThere := to.write(from.read(body))
				back, unsaidBack := from.write(to.read(over))
				if n := len(unsaid) + len(unsaidThere) + len(unsaidBack); n > 0 {
					t.Fatalf("%s to %s: %v %v %v of %s", from.name, to.name, unsaid, unsaidThere, unsaidBack, told(r))
				}
				// The label of a schema and the wish for a strict one are OpenAI's alone.
				if !bytes.Equal(back, body) {
					t.Fatalf("%s to %s and back:\n%s\nwant\n%s\nthere\n%s", from.name, to.name, back, body, over)
				}
				sameJudged(t, from.shape, body, to.shape, over)
			}
		}
	}
}

func sameJudged(t *testing.T, a wire.Shape, first []byte, b wire.Shape, second []byte) {
	t.Helper()
	named := func(body []byte) []byte { return append([]byte(`{"model":"m",`), body[1:]...) }
	x, e := wire.Skim(a, wire.Head{}, named(first))
	if e != nil {
		t.Fatalf("%v in %s", e, first)
	}
	y, e := wire.Skim(b, wire.Head{}, named(second))
	if e != nil {
		t.Fatalf("%v in %s", e, second)
	}
	if !slices.Equal(x.EgressHosts, y.EgressHosts) || !slices.Equal(x.InputModalities, y.InputModalities) || !slices.Equal(x.ToolKinds, y.ToolKinds) ||
		x.ToolCount != y.ToolCount || x.Stream != y.Stream || x.ResponseFormat != y.ResponseFormat || x.MaxOutputTokens != y.MaxOutputTokens ||
		x.FileReferences != y.FileReferences || !slices.Equal(x.Sealed(), y.Sealed()) || x.Claims.User != y.Claims.User {
		t.Fatalf("policy judges\n%+v\nand a provider gets\n%+v", x, y)
	}
}

// answer draws a whole answer that both APIs can say.
func (d *drawn) answer() *talk.Answer {
	m := d.turn(0)[0]
	finish := talk.Stop
	for i := range m.Parts {
		m.Parts[i].Cache = nil
		if m.Parts[i].Kind == talk.ToolCall {
			finish = talk.Calls
		}
	}
	return &talk.Answer{Choices: []talk.Alternative{{Parts: m.Parts, Finish: finish, Native: finish}}}
}

func TestAnAnswerIsTheSameInBothAPIs(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := &drawn{Rand: rand.New(rand.NewPCG(seed, 3)), a: apis[0], both: true}
	label := talk.Label{ID: "gen-1", Model: "m/one", Provider: "P", Created: 1}
	for range 500 {
		a := d.answer()
		chat := talk.WriteChatAnswer(a, label, talk.Bill{})
		messages := talk.WriteMessagesAnswer(a, label, talk.Bill{})
		fromChat, unknown := talk.ReadChatAnswer(chat)
		fromMessages, unknownToo := talk.ReadMessagesAnswer(messages)
		if len(unknown)+len(unknownToo) > 0 {
			t.Fatalf("%v %v", unknown, unknownToo)
		}
		for _, back := range []*talk.Answer{fromChat, fromMessages} {
			if !sameParts(a.Choices[0].Parts, back.Choices[0].Parts) || a.Choices[0].Finish != back.Choices[0].Finish {
				t.Fatalf("got %+v, want %+v\n%s\n%s", back.Choices[0], a.Choices[0], chat, messages)
			}
		}
	}
}

func sameParts(a, b []talk.Part) bool {
	return sameRequest(&talk.Request{Messages: []talk.Message{{Parts: a}}}, &talk.Request{Messages: []talk.Message{{Parts: b}}})
}

// deltas are an answer in small pieces.
func (d *drawn) deltas(a *talk.Answer) []talk.Delta {
	var out []talk.Delta
	pieces := func(one talk.Delta, text string) {
		for len(text) > 0 {
			n := 1 + d.IntN(len(text))
			for n < len(text) && text[n]&0xc0 == 0x80 {
				n++
			}
			one.Text = text[:n]
			text = text[n:]
			out = append(out, one)
		}
	}
	calls := 0
	for i, p := range a.Choices[0].Parts {
		switch p.Kind {
		case talk.Text:
			pieces(talk.Delta{Kind: talk.AddText}, p.Text)
		case talk.Thought:
			one := talk.Delta{Block: i, Format: p.Thought.Format}
			if p.Thought.Data != "" {
				one.Kind, one.Text = talk.AddSealed, p.Thought.Data
				out = append(out, one)
				continue
			}
			one.Kind = talk.AddThought
			pieces(one, p.Thought.Text)
			one.Kind, one.Text = talk.AddSignature, p.Thought.Signature
			out = append(out, one)
		case talk.ToolCall:
			out = append(out, talk.Delta{Kind: talk.BeginCall, Call: calls, ID: p.Call.ID, Name: p.Call.Name, Custom: p.Call.Custom})
			pieces(talk.Delta{Kind: talk.AddArguments, Call: calls, Custom: p.Call.Custom}, p.Call.Arguments)
			calls++
		}
	}
	return append(out, talk.Delta{Kind: talk.EndChoice, Finish: a.Choices[0].Finish, Native: a.Choices[0].Native})
}

// streamed is an answer in small pieces, and the APIs that have words for it: all, or OpenAI's own for one with custom tools.
func (d *drawn) streamed(own bool) ([]talk.Delta, []say) {
	if d.own = own; own {
		return d.deltas(d.answer()), apis[:1]
	}
	return d.deltas(d.answer()), apis
}

// heard is what deltas add up to.
func heard(deltas []talk.Delta) string {
	var text, thought, seals, calls, end strings.Builder
	for _, d := range deltas {
		switch d.Kind {
		case talk.AddText:
			text.WriteString(d.Text)
		case talk.AddThought:
			thought.WriteString(d.Text)
		case talk.AddSignature, talk.AddSealed:
			seals.WriteString(d.Text + "|" + d.Format + "\n")
		case talk.BeginCall:
			fmt.Fprintf(&calls, "\n%d %s %s custom=%t ", d.Call, d.ID, d.Name, d.Custom)
		case talk.AddArguments:
			calls.WriteString(d.Text)
		case talk.EndChoice:
			end.WriteString(d.Finish)
		default:
			fmt.Fprintf(&text, "?%d?", d.Kind)
		}
	}
	return strings.Join([]string{text.String(), thought.String(), seals.String(), calls.String(), end.String()}, "\x00")
}

// read reads a stream up to where it ends; ended says whether its end mark came.
func read(t *testing.T, shape wire.Shape, stream []byte) (deltas []talk.Delta, ended bool) {
	t.Helper()
	events, reader := wire.NewEventReader(bytes.NewReader(stream), 1<<20), shape.NewReader()
	var c wire.Chunk
	for {
		ev, err := events.Next()
		if err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Fatal(err)
			}
			return deltas, ended
		}
		kind, err := shape.Event(ev, &c)
		if err != nil {
			return deltas, false
		}
		switch kind {
		case wire.End:
			ended = true
		case wire.Data:
			var unknown string
			if deltas, unknown, err = reader.Read(deltas, ev.Name, ev.Data); err != nil || unknown != "" {
				t.Fatalf("%v %s in %s", err, unknown, ev.Raw)
			}
		}
	}
}

func TestAStreamSaysTheSameInBothAPIs(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := &drawn{Rand: rand.New(rand.NewPCG(seed, 4)), a: apis[0], both: true}
	for i := range 300 {
		deltas, in := d.streamed(i%3 == 0)
		want := heard(deltas)
		for _, a := range in {
			w := a.shape.NewWriter()
			w.Serve(talk.Label{ID: "gen-1", Model: "m/one", Provider: "P", Created: 1})
			var stream []byte
			for rest := deltas; len(rest) > 0; {
				n := 1 + d.IntN(len(rest))
				var unsaid string
				if stream, unsaid = w.Append(stream, rest[:n]); unsaid != "" {
					t.Fatal(unsaid)
				}
				rest = rest[n:]
			}
			stream = w.End(stream, &talk.Bill{Usage: talk.Usage{Known: true, PromptTokens: 5, CompletionTokens: 3}, Cost: "0.1"})
			got, ended := read(t, a.shape, stream)
			if heard(got) != want || !ended {
				t.Fatalf("%s: heard\n%q\nwant\n%q (ended %t)\n%s", a.name, heard(got), want, ended, stream)
			}
		}
	}
}

// A stream that is cut at any byte says a beginning of what it would have said, and never that it is whole.
func TestAStreamThatIsCutAnywhereSaysItsBeginning(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := &drawn{Rand: rand.New(rand.NewPCG(seed, 5)), a: apis[0], both: true}
	for i := range 5 {
		deltas, in := d.streamed(i == 0)
		for _, a := range in {
			w := a.shape.NewWriter()
			stream, _ := w.Append(nil, deltas)
			stream = w.End(stream, &talk.Bill{Usage: talk.Usage{Known: true, PromptTokens: 5, CompletionTokens: 3}})
			all, _ := read(t, a.shape, stream)
			for n := range stream {
				got, ended := read(t, a.shape, stream[:n])
				if len(got) > len(all) || len(got) > 0 && !reflect.DeepEqual(got, all[:len(got)]) {
					t.Fatalf("%s cut at %d: %+v is no beginning of %+v", a.name, n, got, all)
				}
				if whole := len(got) == len(all); ended && !whole {
					t.Fatalf("%s cut at %d ends well", a.name, n)
				}
			}
		}
	}
}
