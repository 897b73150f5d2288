package journal

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"chaperone/engine/policy"
	"chaperone/engine/telemetry"
)

// filled is a value of the type in which every field is something, so that a field that nobody writes is missed.
func filled(t *testing.T, random *rand.Rand, v reflect.Value) {
	t.Helper()
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(random.Int64N(4e9), random.Int64N(1e9)).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.String:
		letters := []rune("abc\"\\\n<&>é\u2028\x7f𝄞 ")
		s := []rune{'x'}
		for range random.IntN(6) {
			s = append(s, letters[random.IntN(len(letters))])
		}
		v.SetString(string(s))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1 + random.Int64N(1<<53))
	case reflect.Uint64:
		v.SetUint(1 + random.Uint64N(1<<63))
	case reflect.Float64:
		v.SetFloat([]float64{1e-9, 0.1, 3, -2.5, 1e20, 123456.789, 1e15, -1e14}[random.IntN(8)])
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(t, random, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			filled(t, random, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			filled(t, random, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 3 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			filled(t, random, key)
			filled(t, random, value)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
				filled(t, random, v.Field(i))
			}
		}
	default:
		t.Fatalf("no value for %s", v.Type())
	}
}

func TestRecordsAreWrittenAsTheirTagsSay(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	type tagged Record // without the method, so that encoding/json writes it
	for range 200 {
		var rec Record
		filled(t, random, reflect.ValueOf(&rec).Elem())
		rec.Sealed.Box = "base64="
		compareJSON(t, rec.appendJSON(nil), tagged(rec))
	}
	compareJSON(t, new(Record).appendJSON(nil), tagged(Record{}))
	var empty Record
	empty.Candidates, empty.Claims, empty.Attempts = []Candidate{{}}, &Claims{}, []Attempt{{}}
	compareJSON(t, empty.appendJSON(nil), tagged(empty))
}

func TestScorersNumbersAreReadBack(t *testing.T) {
	share := 0.25
	for text, want := range map[string]Candidate{
		`{"scores":{"b":1,"a":-2.5},"parts":{"a":0.5}}`: {Scores: ByScorer{{"b", 1}, {"a", -2.5}}, Parts: ByScorer{{"a", 0.5}}},
		`{"shadows":{"x":{"place":2,"share":0.5},"w":{"place":1,"share":1,"utility":0.25,"score":0.25}}}`: {
			Shadows: Shadows{{Scorer: "x", Place: 2, Share: 0.5}, {"w", 1, 1, &share, &share}}},
		`{"scores":{},"shadows":{}}`: {},
	} {
		var got Candidate
		if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v (%v)", text, got, err)
		}
	}
	for _, text := range []string{`{"scores":[1]}`, `{"scores":{"a":"b"}}`, `{"shadows":{"x":1}}`} {
		if err := json.Unmarshal([]byte(text), new(Candidate)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func compareJSON(t *testing.T, got []byte, v any) {
	t.Helper()
	want, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal(want, &b); err != nil {
		t.Fatal(err)
	}
	if at := differs("record", a, b); at != "" {
		t.Fatal(at)
	}
}

// differs says where what is written is not what the tags say.
func differs(at string, got, want any) string {
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for k := range w {
			if _, written := g[k]; !written {
				return fmt.Sprintf("encode.go does not write %s.%s, a field of the type", at, k)
			}
			if d := differs(at+"."+k, g[k], w[k]); d != "" {
				return d
			}
		}
		for k := range g {
			if _, tagged := w[k]; !tagged {
				return fmt.Sprintf("encode.go writes %s.%s, which the type has not", at, k)
			}
		}
		return ""
	case []any:
		g, _ := got.([]any)
		for i := range w {
			if i >= len(g) {
				return fmt.Sprintf("encode.go writes %d elements of %s, not %d", len(g), at, len(w))
			}
			if d := differs(fmt.Sprintf("%s[%d]", at, i), g[i], w[i]); d != "" {
				return d
			}
		}
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Sprintf("encode.go writes %s as %v; its tags say %v", at, got, want)
	}
	return ""
}

func TestFiguresHoldAllThatIsKnownOfARow(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		var stats telemetry.RowStats
		var shown policy.StatsInput
		filled(t, random, reflect.ValueOf(&stats).Elem())
		filled(t, random, reflect.ValueOf(&shown).Elem())
		text, err := json.Marshal(figuresOf(&stats, &shown))
		if err != nil {
			t.Fatal(err)
		}
		var back Figures
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if back.Stats() != stats || back.Shown != shown {
			t.Fatalf("%+v is read back as %+v; %+v as %+v", stats, back.Stats(), shown, back.Shown)
		}
		other := stats
		if !same(&stats, &other) {
			t.Fatal("statistics differ from themselves")
		}
		filled(t, random, reflect.ValueOf(&other).Elem())
		if same(&stats, &other) != (stats == other) {
			t.Fatal("a difference was not seen")
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	rec, seen := planned(20)
	buffer := rec.appendFrame(nil, nil, rec.known(seen.Rows))
	b.SetBytes(int64(len(buffer)))
	b.ReportAllocs()
	for b.Loop() {
		buffer = rec.appendFrame(buffer[:0], nil, rec.known(seen.Rows))
	}
}
