package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"chaperone/engine/wire"
)

const chat = `"messages":[{"role":"user","content":"hi"}]`

func TestEditsAreSplicedIn(t *testing.T) {
	set := func(field, value string) wire.Edit { return wire.Edit{Field: field, Value: []byte(value)} }
	del := func(field string) wire.Edit { return wire.Edit{Field: field} }
	for _, c := range []struct {
		name, body string
		edits      []wire.Edit
		want       string
	}{
		{"nothing", ` {"model":"m",` + chat + `} `, nil, ` {"model":"m",` + chat + `} `},
		{"replace", `{ "model" : "m" ,` + chat + `}`, []wire.Edit{set("model", `"x"`)}, `{ "model" : "x" ,` + chat + `}`},
		{"replace an escaped key", `{"mod\u0065l":"m",` + chat + `}`, []wire.Edit{set("model", `"x"`)}, `{"mod\u0065l":"x",` + chat + `}`},
		{"delete first", `{"model":"m" , ` + chat + `}`, []wire.Edit{del("model")}, `{ ` + chat + `}`},
		{"delete last", `{"model":"m",` + chat + `, "n":1 }`, []wire.Edit{del("n")}, `{"model":"m",` + chat + `}`},
		{"delete between", `{"model":"m", "n":1, ` + chat + `}`, []wire.Edit{del("n")}, `{"model":"m", ` + chat + `}`},
		{"delete neighbours", `{"model":"m","n":1,"user":"u","x":[1,{}],` + chat + `}`, []wire.Edit{del("user"), del("n"), del("x")}, `{"model":"m",` + chat + `}`},
		{"delete all", `{ "model":"m", ` + chat + ` }`, []wire.Edit{del("model"), del("messages")}, `{}`},
		{"delete what is absent", `{"model":"m",` + chat + `}`, []wire.Edit{del("n"), del("provider.zdr")}, `{"model":"m",` + chat + `}`},
		{"add", `{"model":"m",` + chat + `}`, []wire.Edit{set("n", "1"), set("seed", "2")}, `{"n":1,"seed":2,"model":"m",` + chat + `}`},
		{"add and delete all", `{"model":"m",` + chat + `}`, []wire.Edit{set("n", "1"), del("model"), del("messages")}, `{"n":1}`},
		{"add twice", `{"model":"m",` + chat + `}`, []wire.Edit{set("n", "1"), set("n", "2")}, `{"n":2,"model":"m",` + chat + `}`},
		{"below", `{"model":"m",` + chat + `,"stream_options":{ "include_usage":false }}`, []wire.Edit{set("stream_options.include_usage", "true")}, `{"model":"m",` + chat + `,"stream_options":{ "include_usage":true }}`},
		{"add below", `{"model":"m",` + chat + `,"stream_options":{"x":1}}`, []wire.Edit{set("stream_options.include_usage", "true")}, `{"model":"m",` + chat + `,"stream_options":{"include_usage":true,"x":1}}`},
		{"add below what is absent", `{"model":"m",` + chat + `}`, []wire.Edit{set("stream_options.include_usage", "true")}, `{"stream_options":{"include_usage":true},"model":"m",` + chat + `}`},
		{"add below null", `{"model":"m",` + chat + `,"stream_options":null}`, []wire.Edit{set("stream_options.include_usage", "true")}, `{"model":"m",` + chat + `,"stream_options":{"include_usage":true}}`},
		{"add below an empty object", `{"model":"m",` + chat + `,"x":{ }}`, []wire.Edit{set("x.a", "1")}, `{"model":"m",` + chat + `,"x":{"a":1 }}`},
		{"delete below", `{"model":"m",` + chat + `,"x":{"a":1,"b":2}}`, []wire.Edit{del("x.a"), del("x.c")}, `{"model":"m",` + chat + `,"x":{"b":2}}`},
		{"delete below what is no object", `{"model":"m",` + chat + `,"x":7}`, []wire.Edit{del("x.a")}, `{"model":"m",` + chat + `,"x":7}`},
		{"inside, then around", `{"model":"m",` + chat + `,"x":{"a":1}}`, []wire.Edit{set("x.b", "2"), set("x", "3")}, `{"model":"m",` + chat + `,"x":3}`},
		{"around, then inside", `{"model":"m",` + chat + `,"x":{"a":1}}`, []wire.Edit{set("x", `{"c":3}`), set("x.b", "2")}, `{"model":"m",` + chat + `,"x":{"b":2,"c":3}}`},
		{"delete, then inside", `{"model":"m",` + chat + `,"x":{"a":1}}`, []wire.Edit{del("x"), set("x.b", "2")}, `{"model":"m",` + chat + `,"x":{"b":2}}`},
	} {
		r, err := wire.Skim(wire.Chat, wire.Head{}, []byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(r.AppendEdited([]byte("before "), c.edits...)); got != "before "+c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, "before "+c.want)
		}
		if string(r.Body) != c.body {
			t.Errorf("%s: the body has changed to %s", c.name, r.Body)
		}
	}
}

func TestAnAnswerWithAKeyTwiceIsEditedToOne(t *testing.T) {
	data := []byte(`{"id":"a","model":"one","x":1,"model":"two"}`)
	var c wire.Chunk
	if err := wire.ScanChunk(data, &c); err != nil {
		t.Fatal(err)
	}
	got := string(c.AppendEdited(nil, data, wire.Edit{Field: "model", Value: []byte(`"three"`)}))
	if want := `{"id":"a","x":1,"model":"three"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// apply is what edits mean, on a decoded document.
func apply(doc map[string]any, edits []wire.Edit) {
	for _, e := range edits {
		in := doc
		name, below, nested := strings.Cut(e.Field, ".")
		if nested {
			inner, ok := doc[name].(map[string]any)
			if !ok {
				if e.Value == nil {
					continue
				}
				inner = map[string]any{}
				doc[name] = inner
			}
			in, name = inner, below
		}
		if e.Value == nil {
			delete(in, name)
			continue
		}
		var v any
		if err := json.Unmarshal(e.Value, &v); err != nil {
			panic(err)
		}
		in[name] = v
	}
}

// checkEdits compares an edited document with the decoded one edited the same way, and looks for the untouched members.
func checkEdits(t *testing.T, before, after []byte, edits []wire.Edit) {
	t.Helper()
	if _, err := parse(after); err != nil {
		t.Fatalf("not valid, or a key twice: %v\nbefore %s\nafter  %s\nedits  %s", err, before, after, shown(edits))
	}
	var want, got map[string]any
	if err := json.Unmarshal(before, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(after, &got); err != nil {
		t.Fatal(err)
	}
	apply(want, edits)
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("\nbefore %s\nafter  %s\nedits  %s\nmeans  %v\nshould %v", before, after, shown(edits), got, want)
	}
	var was, is map[string]json.RawMessage
	if json.Unmarshal(before, &was) != nil || json.Unmarshal(after, &is) != nil {
		t.Fatal("unreachable")
	}
	touched := map[string]bool{}
	for _, e := range edits {
		name, _, _ := strings.Cut(e.Field, ".")
		touched[name] = true
	}
	for k, v := range was {
		if !touched[k] && !bytes.Equal(v, is[k]) {
			t.Fatalf("member %q changed from %s to %s by edits %s", k, v, is[k], shown(edits))
		}
	}
}

func shown(edits []wire.Edit) string {
	var b strings.Builder
	for _, e := range edits {
		fmt.Fprintf(&b, "%s=%s ", e.Field, e.Value)
	}
	return b.String()
}

// randomEdits draws edits of few fields, so that they meet.
func randomEdits(rng *rand.Rand) []wire.Edit {
	fields := []string{"model", "n", "user", "x", "new", "x.a", "x.b", "x.new", "user.a", "new.a", "stream_options.include_usage", "metadata.k"}
	values := []string{`1`, `"v"`, `null`, `{}`, `{"a":{"b":[]},"z":2}`, `[1,{"a":2}]`, `{ "b" : 1 }`}
	edits := make([]wire.Edit, rng.IntN(6))
	for i := range edits {
		edits[i].Field = fields[rng.IntN(len(fields))]
		if rng.IntN(3) > 0 {
			edits[i].Value = []byte(values[rng.IntN(len(values))])
		}
	}
	return edits
}

// randomBody draws a body with the members in any order, spelling and spacing.
func randomBody(rng *rand.Rand) []byte {
	space := func() string { return []string{"", "", " ", "\n\t", " \r\n "}[rng.IntN(5)] }
	members := []string{`"model"` + space() + `:` + space() + `"m"`, chat}
	for _, m := range []string{
		`"n":%s1`, `"us\u0065r":%s"u"`, `"x":%s{"a":1,"b" : [ 2 ] }`, `"x2":%s{ }`, `"metadata":%s{"\u006b":"v","l":"w"}`, `"stream_options":%snull`,
		`"q\"uote":%s"a\\\"b}{,"`, `"":%s0`,
	} {
		if rng.IntN(2) == 0 {
			members = append(members, fmt.Sprintf(m, space()))
		}
	}
	rng.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	for i := range members {
		members[i] = space() + members[i] + space()
	}
	return []byte(space() + "{" + strings.Join(members, ",") + "}" + space())
}

func TestEditsMeanWhatTheySay(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 20_000 {
		body, edits := randomBody(rng), randomEdits(rng)
		r, refusal := wire.Skim(wire.Chat, wire.Head{}, body)
		if refusal != nil {
			t.Fatalf("%v: %s", refusal, body)
		}
		after := r.AppendEdited(nil, edits...)
		checkEdits(t, body, after, edits)
		var c wire.Chunk
		if err := wire.ScanChunk(body, &c); err != nil {
			t.Fatal(err)
		}
		if again := c.AppendEdited(nil, body, edits...); !bytes.Equal(again, after) {
			t.Fatalf("an answer is edited to %s, a request to %s", again, after)
		}
	}
}

func FuzzAppendEdited(f *testing.F) {
	for _, body := range bodies(f, "good") {
		f.Add(body, uint64(len(body)))
	}
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		r, refusal := wire.Skim(wire.Chat, wire.Head{}, body)
		if refusal != nil {
			t.Skip("refused")
		}
		edits := randomEdits(rand.New(rand.NewPCG(seed, 1)))
		checkEdits(t, body, r.AppendEdited(nil, edits...), edits)
	})
}
