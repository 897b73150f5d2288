package wire_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"chaperone/engine/wire"
)

const corpus = "../../testdata/wire"

func bodies(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpus, dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no bodies in %s/%s: %v", corpus, dir, err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[f] = b
	}
	return all
}

// sameReading compares what a skim found with what the oracle did.
func sameReading(t *testing.T, body []byte) {
	t.Helper()
	got, refusal := wire.Skim(wire.Chat, wire.Head{}, body)
	want, accepted := oracle(body)
	if accepted != (refusal == nil) {
		t.Fatalf("accepted is %v, should be %v\nrefusal: %v\nbody: %q", refusal == nil, accepted, refusal, body)
	}
	if !accepted {
		if refusal.Status != 400 || refusal.Type != "invalid_request" || !strings.Contains(refusal.Message, "(byte ") {
			t.Fatalf("refusal %+v\nbody: %q", refusal, body)
		}
		if e := wire.Chat.AppendError(nil, refusal); !json.Valid(e) {
			t.Fatalf("the refusal's JSON is invalid: %q", e)
		}
		return
	}
	want.Shape, want.Body, want.Digest = wire.Chat, body, sha256.Sum256(body)
	want.PromptTokens = got.PromptTokens
	// The index of fields is not the oracle's to know; edits have tests of their own.
	g, w := reflect.ValueOf(*got), reflect.ValueOf(want)
	for i := range g.NumField() {
		f := g.Type().Field(i)
		if f.IsExported() && !reflect.DeepEqual(plain(g.Field(i)), plain(w.Field(i))) {
			t.Errorf("%s is %#v, should be %#v\nbody: %q", f.Name, g.Field(i), w.Field(i), body)
		}
	}
}

// plain makes nil and empty lists alike.
func plain(v reflect.Value) any {
	if v.Kind() == reflect.Slice && v.Len() == 0 {
		return nil
	}
	return v.Interface()
}

func TestGoodBodiesAreRead(t *testing.T) {
	for file, body := range bodies(t, "good") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if _, err := wire.Skim(wire.Chat, wire.Head{}, body); err != nil {
				t.Fatal(err)
			}
			sameReading(t, body)
		})
	}
}

// Beside each bad body stands the message that it is refused with.
func TestBadBodiesAreRefused(t *testing.T) {
	for file, body := range bodies(t, "bad") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			_, refusal := wire.Skim(wire.Chat, wire.Head{}, body)
			if refusal == nil {
				t.Fatal("accepted")
			}
			if got := refusal.Message + "\n"; got != string(want) {
				t.Errorf("message\n %sshould be\n %s", got, want)
			}
			sameReading(t, body)
		})
	}
}

func TestWhatIsRead(t *testing.T) {
	r, err := wire.Skim(wire.Chat, wire.Head{}, []byte(`{
		"model": "a/b", "models": ["c"], "stream": true, "stream_options": {"include_usage": true},
		"max_completion_tokens": 50, "n": 2, "store": true, "temperature": 1, "top_p": null,
		"messages": [
			{"role": "system", "content": "12345678"},
			{"role": "user", "content": [
				{"type": "text", "text": "1234"},
				{"type": "image_url", "image_url": {"url": "https://Cats.example.com:8443/a.png"}},
				{"type": "file", "file": {"file_id": "file-1"}}
			]}
		],
		"tools": [{"type": "mcp", "server_url": "https://mcp.example.com/"}, {"type": "function", "function": {"name": "f"}}],
		"metadata": {"data_class": "internal"}, "tags": ["batch"], "user": "u",
		"provider": {"sort": {"by": "latency", "partition": "none"}, "preferred_max_latency": 1.5,
			"max_price": {"prompt": "0.5"}}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	tools := len(`{"type": "mcp", "server_url": "https://mcp.example.com/"}`) + len(`{"type": "function", "function": {"name": "f"}}`)
	for _, c := range []struct{ got, want any }{
		{r.Model, "a/b"}, {r.Models, []string{"c"}}, {r.Stream, true}, {r.IncludeUsage, true},
		{r.MaxOutputTokens, int64(50)}, {r.N, int64(2)}, {r.Store, true}, {r.Background, false},
		{r.ToolKinds, []string{"function", "mcp"}}, {r.ToolCount, 2},
		{r.EgressHosts, []string{"cats.example.com", "mcp.example.com"}},
		{r.InputModalities, []string{"file", "image", "text"}}, {r.OutputModalities, []string{"text"}},
		{r.FileReferences, true}, {r.PreviousResponse, false}, {r.ResponseFormat, "text"},
		{r.Parameters, []string{"max_tokens", "temperature", "tools"}},
		{r.Claims, wire.Claims{User: "u", Metadata: map[string]string{"data_class": "internal"}, Tags: []string{"batch"}, DataClass: "internal"}},
		{r.Preferences.Sort, "latency"}, {r.Preferences.Partition, "none"}, {r.Preferences.AllowFallbacks, true},
		{*r.Preferences.MaxLatency, wire.Cutoffs{P50: 1.5}},
		{*r.Preferences.MaxPrice, wire.PriceCeiling{Prompt: 0.5, Completion: -1, Request: -1, Image: -1, Audio: -1}},
		{r.PromptTokens, wire.EstimateTokens(12+tools) + 2*4 + 2*1000},
		{r.Digest, sha256.Sum256(r.Body)},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("found %#v, should be %#v", c.got, c.want)
		}
	}
}

func TestPromptEstimateCountsTextAndNotItsEscapesOrBase64(t *testing.T) {
	estimate := func(content string) int64 {
		r, err := wire.Skim(wire.Chat, wire.Head{}, []byte(`{"model":"m","messages":[{"role":"user","content":`+content+`}]}`))
		if err != nil {
			t.Fatal(err)
		}
		return r.PromptTokens
	}
	if a, b := estimate(`"東京東京"`), estimate(`"\u6771\u4eac\u6771\u4eac"`); a != b || a != 3+4 {
		t.Errorf("plain %d and escaped %d, should both be 7", a, b)
	}
	image := func(n int) string {
		return `[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + strings.Repeat("A", n) + `"}}]`
	}
	if a, b := estimate(image(4)), estimate(image(1<<20)); a != b {
		t.Errorf("a small image %d and a large one %d, should be the same", a, b)
	}
}

func TestAnObjectOfManyKeysIsNoAttack(t *testing.T) {
	build := func(n int, last string) []byte {
		var b bytes.Buffer
		b.WriteString(`{"model":"m","messages":[{"role":"user","content":"hi"}],"x":{`)
		for i := range n {
			fmt.Fprintf(&b, `"key%d":%d,`, i, i)
		}
		fmt.Fprintf(&b, `%s:0}}`, last)
		return b.Bytes()
	}
	if _, err := wire.Skim(wire.Chat, wire.Head{}, build(100_000, `"last"`)); err != nil {
		t.Error(err)
	}
	_, err := wire.Skim(wire.Chat, wire.Head{}, build(100_000, `"\u006bey50000"`))
	if err == nil || !strings.Contains(err.Message, "a second time") || err.Param != "x.key50000" {
		t.Errorf("a repeated key among many: %v", err)
	}
	if _, err := wire.Skim(wire.Chat, wire.Head{}, build(200_000, `"last"`)); err == nil || !strings.Contains(err.Message, "131072 members") {
		t.Errorf("too many members: %v", err)
	}
	same := `{"x":{` + strings.TrimSuffix(strings.Repeat(`"a":0,`, 100_000), ",") + `}}`
	if _, err := wire.Skim(wire.Chat, wire.Head{}, []byte(same)); err == nil || !strings.Contains(err.Message, "(byte 12)") {
		t.Errorf("one key many times: %v", err)
	}
	// Sixteen times the keys take about twenty times as long; comparing each with each would take 256 times as long.
	// A busy machine takes its time from some rounds and not from all, so the best of many rounds that take turns counts.
	few, many := time.Hour, time.Hour
	small, large := build(8_000, `"last"`), build(128_000, `"last"`)
	took := func(body []byte) time.Duration {
		start := time.Now()
		if _, err := wire.Skim(wire.Chat, wire.Head{}, body); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	for round := 0; round < 5 || round < 40 && many > 100*few; round++ {
		few, many = min(few, took(small)), min(many, took(large))
	}
	if many > 100*few {
		t.Errorf("8,000 keys take %v, 128,000 take %v", few, many)
	}
}

func TestHugeKeysAndDeepNestingAreBounded(t *testing.T) {
	huge := strings.Repeat("k", 1<<20)
	for _, body := range []string{
		`{"` + huge + `":1,"` + huge + `":2}`,
		`{"provider":{"` + huge + `":1}}`,
		strings.Repeat(`{"a":`, 1<<18),
		strings.Repeat(`[`, 1<<20),
		`{"model":"` + strings.Repeat(`\u0041`, 1<<18),
	} {
		_, err := wire.Skim(wire.Chat, wire.Head{}, []byte(body))
		if err == nil {
			t.Fatalf("accepted %q…", body[:20])
		}
		if len(err.Message) > 1000 || len(err.Param) > 300 {
			t.Errorf("a message of %d bytes for %q…", len(err.Message), body[:20])
		}
	}
}

func FuzzSkimChat(f *testing.F) {
	for _, dir := range []string{"good", "bad"} {
		for _, body := range bodies(f, dir) {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if bytes.Contains(body, []byte(loneMark)) || bytes.Contains(bytes.ToLower(body), []byte(`\ue0ff`)) {
			t.Skip("holds the oracle's own mark")
		}
		sameReading(t, bytes.Clone(body))
	})
}
