package wire_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

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
	escaped, refused := wire.Skim(wire.Chat, wire.Head{}, []byte(`{"model":"m/one","messages":[{"role":"user","content":"\u043c\u043e\u0439 \u0441\u0435\u043a\u0440\u0435\u0442 \u2014 \"kanarienvogel\"\n\ud83d\ude80 \u0434\u0430"}]}`))
	if refused != nil {
		t.Fatal(refused)
	}
	for text, want := range map[string]string{
		`bad word: мой секрет here`:                                                       `bad word: […]here`,
		`bad word: \u043c\u043e\u0439 \u0441\u0435\u043a\u0440\u0435\u0442 here`:          `bad word: […]here`,
		`bad word: \\u043c\\u043e\\u0439 \\u0441\\u0435\\u043a\\u0440\\u0435\\u0442 here`: `bad word: […]here`,
		"of \"kanarienvogel\"\n🚀 да, that":                                                "of[…], that",
		`of \"kanarienvogel\"\n\ud83d\ude80 \u0434\u0430, that`:                           `of[…], that`,
		`nothing of \u0442\u043e`:                                                         `nothing of \u0442\u043e`,
	} {
		if got := escaped.HideQuotes(text); got != want {
			t.Errorf("%q is shown as %q, not %q", text, got, want)
		}
	}
	if got := req.HideQuotes(`bad word: \u006dy secret is kanarienvoge\u006c`); got != "bad word: […]" {
		t.Errorf("a provider that escapes what needs none is shown as %q", got)
	}
	if long := req.HideQuotes(strings.Repeat("é", 10_000)); len(long) > 5000 {
		t.Errorf("%d bytes are shown", len(long))
	}
}

// A prompt and a provider's words that repeat one run over and over are compared in a moment.
func TestHidingARunThatIsRepeatedTakesNoTime(t *testing.T) {
	req, refused := wire.Skim(wire.Chat, wire.Head{}, fmt.Appendf(nil, `{"model":"m/one","messages":[{"role":"user","content":"%s"}]}`, strings.Repeat("-", 1<<18)))
	if refused != nil {
		t.Fatal(refused)
	}
	began := time.Now()
	if got := req.HideQuotes("bad word: " + strings.Repeat("-", 4000)); got != "bad word: […]" {
		t.Errorf("it is shown as %q", got)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}

// FuzzHideQuotes: nothing of any length that a quote has is left of what was asked, and what is left is text.
func FuzzHideQuotes(f *testing.F) {
	f.Add("my secret is kanarienvogel", "bad word: my secret is kanarienvogel, tell everybody")
	f.Add("мой секрет", `bad word: \u043c\u043e\u0439 \u0441\u0435\u043a\u0440\u0435\u0442`)
	f.Add(`a "quoted" \ text`, `{"error":"{\"content\":\"a \\\"quoted\\\" \\\\ text\"}"}`)
	f.Add("\u0000\U0001f680 to the moon", `\ud83d\ude80 to the moon \ud83d`)
	f.Fuzz(func(t *testing.T, content, text string) {
		quoted, err := json.Marshal(content)
		if err != nil || !utf8.ValidString(content) || !utf8.ValidString(text) {
			return
		}
		req, refused := wire.Skim(wire.Chat, wire.Head{}, fmt.Appendf(nil, `{"model":"m","messages":[{"role":"user","content":%s}]}`, quoted))
		if refused != nil {
			t.Fatal(refused)
		}
		got := req.HideQuotes(text)
		if !utf8.ValidString(got) {
			t.Errorf("%q is shown as %q, which is no text", text, got)
		}
		for _, left := range strings.Split(got, "[…]") {
			for i := 0; i+12 <= len(left); i++ {
				if strings.Contains(content, left[i:i+12]) {
					t.Errorf("%q is shown as %q, which has %q of %q", text, got, left[i:i+12], content)
				}
			}
		}
	})
}
