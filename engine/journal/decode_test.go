package journal

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// What is read by hand is what encoding/json reads, field by field.
func TestRecordsAreReadAsEncodingJSONReadsThem(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range 200 {
		var rec Record
		if i > 0 { // an empty one too
			filled(t, random, reflect.ValueOf(&rec).Elem())
			rec.Sealed.Box = "AAECAw==" // it is written as it is
		}
		hold(t, rec.append(nil, nil, false))
		if i%2 == 0 {
			rec.Claims = nil
		}
		hold(t, rec.append(nil, nil, false))
	}
	hold(t, sample(idOf(1), time.Now(), 3).append(nil, nil, false))
}

// hold holds a text that is to be read by hand to what encoding/json makes of it.
func hold(t *testing.T, text []byte) {
	t.Helper()
	var by, want Record
	in := reading{text: text}
	in.record(&by)
	if in.odd || in.at != len(text) {
		t.Fatalf("it is not read by hand beyond byte %d of %d: %.80s in %s", in.at, len(text), text[in.at:], text)
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(by, want) {
		t.Fatalf("%s is read as\n%+v, not\n%+v", text, by, want)
	}
}

// What is written otherwise, by a later version or not at all as JSON, is what encoding/json makes of it.
func TestWhatIsWrittenOtherwiseIsReadAllTheSame(t *testing.T) {
	whole := string(sample(idOf(1), time.Now(), 1).append(nil, nil, false))
	texts := []string{
		strings.Replace(whole, `"key":`, `"colour":["}",{"a":"\""}],"key":`, 1),
		strings.ReplaceAll(whole, ",", " ,\n"), strings.Replace(whole, `"seed":7`, `"seed":null`, 1), strings.Replace(whole, `"seed":7`, `"seed":"7"`, 1),
		strings.Replace(whole, `"acme"`, `"a\u00e4\n"`, 1), strings.Replace(whole, `"acme"`, "\"\xff\"", 1), strings.Replace(whole, `"organisation"`, `"Organisation"`, 1),
		strings.Replace(whole, `1203.5`, `01203.5`, 1), strings.Replace(whole, `1203.5`, `+1`, 1), strings.Replace(whole, `1203.5`, `0x10`, 1), strings.Replace(whole, `"seed":7`, `"seed":07`, 1),
		whole + "x", "", "{}", "[]", "null",
	}
	for i := range len(whole) {
		texts = append(texts, whole[:i])
	}
	for _, text := range texts {
		var by, want Record
		got, err := by.read([]byte(text)), json.Unmarshal([]byte(text), &want)
		if (got == nil) != (err == nil) || err == nil && !reflect.DeepEqual(by, want) {
			t.Errorf("%s is read as\n%+v, %v, not\n%+v, %v", text, by, got, want, err)
		}
	}
}
