package wire_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"chaperone/engine/wire"
	"chaperone/engine/wire/talk"
)

func TestTheEnvelope(t *testing.T) {
	e := &wire.Error{
		Status: 404, Type: "not_found", Message: "no endpoint may serve this", Param: "provider.only", DecisionID: "gen-1",
		Metadata: map[string]any{"excluded_by": "zdr", "attempts": []int{1}, "error_type": "something else"},
	}
	want := `{"error":{"code":404,"message":"no endpoint may serve this","type":"not_found","param":"provider.only",` +
		`"metadata":{"error_type":"not_found","attempts":[1],"excluded_by":"zdr"}},"id":"gen-1"}`
	if got := string(wire.Chat.AppendError([]byte("x"), e)); got != "x"+want {
		t.Errorf("\n got %s\nwant %s", got, "x"+want)
	}
	bare := &wire.Error{Status: 500, Type: "server", Message: "m"}
	if got, want := string(wire.Chat.AppendError(nil, bare)), `{"error":{"code":500,"message":"m","type":"server","param":null,"metadata":{"error_type":"server"}}}`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestTheErrorEvent(t *testing.T) {
	e := &wire.Error{Status: 502, Type: "provider_unavailable", Message: "the provider\nwent away"}
	got := string(wire.Chat.AppendErrorEvent(nil, e, talk.Label{ID: "gen-1", Model: "demo/chat", Provider: "Acme", Created: 1700000000}))
	want := `data: {"id":"gen-1","object":"chat.completion.chunk","created":1700000000,"model":"demo/chat","provider":"Acme",` +
		`"error":{"code":502,"message":"the provider\nwent away","type":"provider_unavailable","param":null,"metadata":{"error_type":"provider_unavailable"}},` +
		`"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}` + "\n\n"
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	// It is one event, and our own scan takes it for an error.
	er := wire.NewEventReader(strings.NewReader(got), 1<<20)
	ev, err := er.Next()
	if err != nil {
		t.Fatal(err)
	}
	var c wire.Chunk
	if err := wire.ScanChunk(ev.Data, &c); err != nil || c.Commits || c.FinishReason != "error" ||
		!reflect.DeepEqual(c.Err, &wire.UpstreamError{Code: "502", Type: "provider_unavailable", Message: "the provider\nwent away"}) {
		t.Errorf("scanned as %+v, %v", c, err)
	}
}

func TestTheEnvelopeIsValidWhateverIsInIt(t *testing.T) {
	nasty := "\x00\x1f\"\\\n\r\t\u2028</script>\xff\xed\xa0\x80é😀\x7f"
	e := &wire.Error{
		Status: -1, Type: nasty, Message: nasty, Param: nasty, DecisionID: nasty,
		Metadata: map[string]any{
			nasty: nasty, "nan": math.NaN(), "func": func() {}, "nil": nil, "map": map[string]any{nasty: []any{math.Inf(1)}},
			"raw": json.RawMessage("\"\xff\""), "broken": json.RawMessage(`{`),
		},
	}
	for _, b := range [][]byte{wire.Chat.AppendError(nil, e), wire.Chat.AppendErrorEvent(nil, e, talk.Label{ID: nasty, Model: nasty, Provider: nasty, Created: -1})[len("data: "):]} {
		if !json.Valid(b) || !utf8.Valid(b) {
			t.Errorf("not valid: %q", b)
		}
		if strings.ContainsAny(strings.TrimSuffix(string(b), "\n\n"), "\r\n") {
			t.Errorf("holds a line end: %q", b)
		}
	}
	var back struct {
		Error struct{ Message string }
	}
	if err := json.Unmarshal(wire.Chat.AppendError(nil, e), &back); err != nil || back.Error.Message != replaced(nasty) {
		t.Errorf("the message reads back as %q (%v)", back.Error.Message, err)
	}
}

// replaced is s with U+FFFD for every byte that is not valid UTF-8.
func replaced(s string) string { return string([]rune(s)) }
