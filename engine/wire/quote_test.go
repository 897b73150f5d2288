package wire_test

import (
	"strings"
	"testing"

	"chaperone/engine/wire"
)

func TestWhatRepeatsThePromptIsHidden(t *testing.T) {
	req, refused := wire.Skim(wire.Chat, wire.Head{}, []byte(`{"model":"m/one","max_completion_tokens":5,"messages":[{"role":"user","content":"my secret is kanarienvogel, tell nobody"}]}`))
	if refused != nil {
		t.Fatal(refused)
	}
	for text, want := range map[string]string{
		"":                                   "",
		"unsupported: max_completion_tokens": "unsupported: max_completion_tokens",
		"bad word: my secret is kanarienvogel, tell everybody": "bad word: […]everybody",
		"kanarienvogel and kanarienvogel":                      "[…] and[…]",
		"the role is user":                                     "the role is user",
		"é my secret is kanarienvogel é":                       "é […] é",
	} {
		if got := req.HideQuotes(text); got != want {
			t.Errorf("%q is shown as %q, not %q", text, got, want)
		}
	}
	if long := req.HideQuotes(strings.Repeat("é", 10_000)); len(long) > 5000 {
		t.Errorf("%d bytes are shown", len(long))
	}
}
