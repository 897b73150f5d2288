package wire_test

import (
	"testing"

	"chaperone/engine/wire"
)

func TestTheTextOfAnEvent(t *testing.T) {
	for _, c := range []struct {
		data, text string
		whole      bool
	}{
		{`{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":"say \"é\" \ud83d\udea2"},"logprobs":null,"finish_reason":null}],"usage":null}`, "say \"é\" 🚢", true},
		{`{"choices":[{"delta":{},"finish_reason":"stop"}]}`, "", true},
		{`{"choices":[],"usage":{"prompt_tokens":1}}`, "", true},
		{`{"choices":[{"delta":{"content":null,"tool_calls":[],"reasoning":"","refusal":null}}]}`, "", true},
		{`{"choices":[{"delta":{"content":"a","reasoning_content":"hm"}}]}`, "a", false},
		{`{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}`, "", false},
		{`{"choices":[{"delta":{"content":[{"type":"text","text":"a"}]}}]}`, "", false},
		{`{"choices":[{"index":1,"delta":{"content":"a"}}]}`, "a", false},
		{`{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[]}}]}`, "a", false},
		{`{"choices":[{"delta":{"content":"a"}`, "a", false},
		{`[]`, "", false},
	} {
		text, whole := wire.Chat.AppendText([]byte("before "), []byte(c.data))
		if string(text) != "before "+c.text || whole != c.whole {
			t.Errorf("%s: %q, %t; want %q, %t", c.data, text, whole, c.text, c.whole)
		}
	}
}

func TestTheValueOfAField(t *testing.T) {
	req, err := wire.Skim(wire.Chat, wire.Head{}, []byte(`{"model":"m","messages": [ {"role":"user","content":"x"} ] , "n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(req.In(wire.Chat).Value("messages")); got != `[ {"role":"user","content":"x"} ]` {
		t.Errorf("messages are %q", got)
	}
	if req.In(wire.Chat).Value("tools") != nil {
		t.Error("a field that is not there has a value")
	}
}
