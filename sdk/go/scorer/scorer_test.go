package scorer_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"chaperone/sdk/go/scorer"
)

const manifest = `
abi = 1 # the manifest of a test
"columns" = [
  "price.expected", # USD
  'stats.ttft_p50_ms', "label:tier=gold",
]
request = ["value_of_time"]
[fuel]
request = "not this one"
`

func Example() {
	plugin := scorer.New(manifest)
	price, ttft := plugin.Column("price.expected"), plugin.Column("stats.ttft_p50_ms")
	valueOfTime := plugin.Field("value_of_time")
	plugin.Score(func(b *scorer.Batch) error {
		prices, ttfts := b.Column(price), b.Column(ttft)
		if math.IsNaN(b.Field(valueOfTime)) {
			return scorer.ErrAbstain
		}
		for row := range b.Scores {
			b.Scores[row] = -(prices[row] + ttfts[row]/3.6e6*b.Field(valueOfTime))
		}
		return nil
	})
	scores, err := plugin.Run(0, map[string][]float64{
		"price.expected":    {0.001, 0.0012},
		"stats.ttft_p50_ms": {3600, 360},
	}, map[string]float64{"value_of_time": 1})
	fmt.Println(scores, err)
	// Output: [-0.002 -0.0013] <nil>
}

func TestNamesThatAreNotInTheManifestAreRefused(t *testing.T) {
	plugin := scorer.New(manifest)
	plugin.Column("label:tier=gold")
	for name, ask := range map[string]func(){
		"column price is not in the manifest's columns":          func() { plugin.Column("price") },
		"request field request is not in the manifest's request": func() { plugin.Field("request") },
		"manifest: columns should be a list of strings":          func() { scorer.New("columns = 3") },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != name {
					t.Errorf("panic %q, should be %q", got, name)
				}
			}()
			ask()
		}()
	}
}

// FuzzManifest holds the small reader of lists to a whole TOML parser, on what the host accepts as a manifest.
func FuzzManifest(f *testing.F) {
	f.Add(manifest)
	f.Add("request=[]\ncolumns = ['a\\b', \"c\\u00e9\", # x ]\n]\n")
	f.Add("columns = [\"a\"]\n\n[request]\nx = 1")
	f.Fuzz(func(t *testing.T, text string) {
		root := map[string]any{}
		if _, err := toml.Decode(text, &root); err != nil || strings.Contains(text, `"""`) || strings.Contains(text, "'''") {
			return // not TOML, or with text of many lines, which no value of a manifest has
		}
		list, _ := root["columns"].([]any)
		plugin := tryNew(text)
		if plugin == nil {
			return
		}
		seen := map[any]bool{}
		for i, name := range list {
			if name, ok := name.(string); ok && !seen[name] {
				if got := plugin.Column(name); int(got) != i {
					t.Errorf("column %q at %d, should be at %d", name, got, i)
				}
			}
			seen[name] = true
		}
	})
}

func tryNew(text string) (p *scorer.Plugin) {
	defer func() { _ = recover() }() // a refusal at load is safe
	return scorer.New(text)
}

func TestNumbersSaysWhatWouldBeRight(t *testing.T) {
	for text, says := range map[string]string{
		``:                 "the configuration should be a JSON object",
		`[1]`:              "the configuration should be a JSON object",
		`{"a":1,"a":2}`:    `"a" is there twice`,
		`{"c":1}`:          `there is no setting "c"; there are a, b`,
		`{"a":"1"}`:        `a should be a number, is "1"`,
		`{"a":true,"b":1}`: "a should be a number, is true",
		`{"a":1`:           `a comma or brace should follow the value of "a"`,
		`{"a" 1}`:          `a colon should follow "a"`,
		`{"a":1}{}`:        "something follows the configuration's object",
		`{a:1}`:            `the configuration should have a key in quotes at "a:1"`,
	} {
		var a, b float64
		if err := scorer.Numbers([]byte(text), map[string]*float64{"a": &a, "b": &b}); err == nil || err.Error() != says {
			t.Errorf("%s: %v, should be %q", text, err, says)
		}
	}
}

// FuzzNumbers holds the small reader to encoding/json: what the host sends is valid JSON.
func FuzzNumbers(f *testing.F) {
	for _, text := range []string{`{}`, ` { } `, `{"a":1}`, `{"a":-0.5e3 , "b": 7}`, `{"a":1,"b":"x"}`, `{"a":[1]}`, `{"a":null}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return
		}
		var a, b float64
		err := scorer.Numbers([]byte(text), map[string]*float64{"a": &a, "b": &b})
		var want map[string]float64
		if json.Unmarshal([]byte(text), &want) != nil {
			if err == nil {
				t.Errorf("%s was accepted", text)
			}
			return
		}
		if err == nil && (a != want["a"] || b != want["b"]) {
			t.Errorf("%s: a %v, b %v, should be %v", text, a, b, want)
		}
	})
}
