package config_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"chaperone/engine/config"
)

func parse(t testing.TB, src string) *config.Document {
	t.Helper()
	doc, problems := config.Parse("chaperone.toml", []byte(src))
	if problems != nil {
		t.Fatal(problems)
	}
	return doc
}

// level is a type that reads itself.
type level int

func (l *level) UnmarshalText(text []byte) error {
	for i, name := range []string{"low", "high"} {
		if string(text) == name {
			*l = level(i)
			return nil
		}
	}
	return errors.New(config.NotOneOf(string(text), []string{"low", "high"}))
}

type limits struct {
	Tokens  int     `toml:"tokens" check:"min=1,max=100"`
	Percent float64 `toml:"percent" check:"min=0"`
}

type item struct {
	config.Origin
	Name   string            `toml:"name" check:"required"`
	Tags   []string          `toml:"tags" check:"oneof=red|green|blue"`
	Labels map[string]string `toml:"labels"`
}

type section struct {
	config.Origin
	limits
	Text     string           `toml:"text"`
	Number   int              `toml:"number"`
	Small    int8             `toml:"small"`
	Count    uint             `toml:"count"`
	Byte     uint8            `toml:"byte"`
	Ratio    float64          `toml:"ratio"`
	On       bool             `toml:"on"`
	Wait     time.Duration    `toml:"wait" check:"min=1s"`
	Day      time.Time        `toml:"day"`
	Level    level            `toml:"level"`
	Mode     string           `toml:"mode" check:"oneof=fast|slow"`
	Maybe    *int             `toml:"maybe" check:"min=0"`
	Items    []item           `toml:"items"`
	ByName   map[string]*item `toml:"by_name"`
	Anything any              `toml:"anything"`
	Must     []string         `toml:"must" check:"required"`
	Untold   int
}

func (*section) Refused() map[string]string {
	return map[string]string{"password": "a password has no place here; name a file in password_file"}
}

func TestDecodeReadsEveryType(t *testing.T) {
	doc := parse(t, `
[s]
tokens = 7
percent = 3
text = "hello"
number = -5
small = -128
count = 9
byte = 255
ratio = 0.25
on = true
wait = "1m30s"
day = 2027-01-31
level = "high"
mode = "slow"
maybe = 0
must = ["x"]
anything = { list = [1, 2.5, "three", 2027-01-31], when = 2027-01-31T10:00:00+02:00, at = 07:30:00, local = 2027-01-31T10:00:00, nested = [{ a = true }] }
items = [{ name = "inline", tags = ["red", "blue"] }]
[s.by_name."a.b"]
name = "first"
labels = { x = "y" }
`)
	var s section
	if problems := doc.Decode("s", &s); problems != nil {
		t.Fatal(problems)
	}
	want := section{
		limits: limits{7, 3}, Text: "hello", Number: -5, Small: -128, Count: 9, Byte: 255, Ratio: 0.25, On: true, Wait: 90 * time.Second,
		Day: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC), Level: 1, Mode: "slow", Maybe: new(int), Must: []string{"x"},
		Anything: map[string]any{
			"list": []any{int64(1), 2.5, "three", "2027-01-31"}, "when": "2027-01-31T08:00:00Z", "at": "07:30:00", "local": "2027-01-31T10:00:00Z",
			"nested": []any{map[string]any{"a": true}},
		},
		Items:  []item{{Name: "inline", Tags: []string{"red", "blue"}}},
		ByName: map[string]*item{"a.b": {Name: "first", Labels: map[string]string{"x": "y"}}},
	}
	for what, where := range map[string]struct{ got, want string }{
		"section":     {s.Origin.String(), "chaperone.toml:2"},
		"item":        {s.Items[0].Problem("", "m").String(), "chaperone.toml:19: s.items[0]: m"},
		"by_name":     {s.ByName["a.b"].Problem("name", "m").String(), `chaperone.toml:21: s.by_name."a.b".name: m`},
		"unwritten":   {s.ByName["a.b"].Problem("tags[3]", "m").String(), `chaperone.toml:20: s.by_name."a.b".tags[3]: m`},
		"an element":  {s.Items[0].Problem("tags[1]", "m").String(), "chaperone.toml:19: s.items[0].tags[1]: m"},
		"deeper":      {s.Problem("anything.nested[0].a", "m").String(), "chaperone.toml:18: s.anything.nested[0].a: m"},
		"no file":     {config.Origin{}.String(), "(no file)"},
		"no origin":   {config.Origin{}.Problem("x", "m").String(), ": x: m"},
		"whole file":  {doc.Problem("", "m").String(), "chaperone.toml: m"},
		"an alias":    {doc.Problem(config.Dotted("s", "by_name", "a.b", "labels"), "m").String(), `chaperone.toml:22: s.by_name."a.b".labels: m`},
		"not written": {doc.Problem("nowhere.at.all", "m").String(), "chaperone.toml: nowhere.at.all: m"},
	} {
		if where.got != where.want {
			t.Errorf("%s stands in %q, want %q", what, where.got, where.want)
		}
	}
	if s.Document() != doc || s.Items[0].Document() != doc {
		t.Error("an origin does not know its document")
	}
	s.Origin, s.Items[0].Origin, s.ByName["a.b"].Origin = config.Origin{}, config.Origin{}, config.Origin{}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("read\n%+v\nwant\n%+v", s, want)
	}
}

func TestAnAbsentKeyLeavesTheDefault(t *testing.T) {
	doc := parse(t, "[s]\ntext = \"new\"\nmust = [\"x\"]\n")
	s := section{Text: "old", Number: 42, Wait: time.Minute}
	if problems := doc.Decode("s", &s); problems != nil {
		t.Fatal(problems)
	}
	if s.Text != "new" || s.Number != 42 || s.Wait != time.Minute {
		t.Errorf("defaults were not kept: %+v", s)
	}
	before := s
	if problems := doc.Decode("absent", &s); problems != nil || !reflect.DeepEqual(s, before) {
		t.Errorf("an absent section changed something: %v", problems)
	}
}

// Everything that can be wrong with one file, with the whole of what is said about it.
func TestEachMistakeHasItsOwnMessage(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{`texd = "a"`, `s.texd: unknown key "texd"; did you mean "text"?`},
		{`zzzzzzz = 1`, `s.zzzzzzz: unknown key "zzzzzzz"; expected anything, by_name, byte, count, day, items, level, maybe, mode, must, number, on, percent, ratio, small, text, tokens or wait`},
		{`untold = 1`, `s.untold: unknown key "untold"; expected anything, by_name, byte, count, day, items, level, maybe, mode, must, number, on, percent, ratio, small, text, tokens or wait`},
		{`"te xt" = 1`, `s."te xt": unknown key "te xt"; did you mean "text"?`},
		{`password = "sk-verysecret"`, `s.password: a password has no place here; name a file in password_file`},
		{`number = "30"`, `s.number: found string "30"; expected an integer`},
		{`number = 1.5`, `s.number: found float 1.5; expected an integer`},
		{`number = true`, `s.number: found boolean true; expected an integer`},
		{`number = [1]`, `s.number: found an array; expected an integer`},
		{`number = { a = 1 }`, `s.number: found a table; expected an integer`},
		{`number = 2027-01-31`, `s.number: found date 2027-01-31; expected an integer`},
		{`small = 128`, `s.small: found integer 128; expected an integer from -128 to 127`},
		{`byte = -1`, `s.byte: found integer -1; expected an integer from 0 to 255`},
		{`count = -1`, `s.count: found integer -1; expected an integer that is not negative`},
		{`ratio = "0.5"`, `s.ratio: found string "0.5"; expected a finite number`},
		{`ratio = nan`, `s.ratio: found float NaN; expected a finite number`},
		{`ratio = -inf`, `s.ratio: found float -Inf; expected a finite number`},
		{`on = "yes"`, `s.on: found string "yes"; expected true or false`},
		{`text = 5`, `s.text: found integer 5; expected a string`},
		{`must = "sk-verysecret"`, `s.must: found a string; expected an array`},
		{`items = "sk-verysecret"`, `s.items: found a string; expected an array`},
		{`by_name = "sk-verysecret"`, `s.by_name: found a string; expected a table`},
		{`by_name = { a = "sk-verysecret" }`, `s.by_name.a: found a string; expected a table`},
		{`items = [{ name = "a" }, 5]`, `s.items[1]: found integer 5; expected a table`},
		{`must = ["a", 5]`, `s.must[1]: found integer 5; expected a string`},
		{`wait = 30`, `s.wait: found integer 30; expected a duration such as "250ms", "30s" or "90d"`},
		{`wait = "30"`, `s.wait: found "30"; expected a number and a unit such as "250ms", "30s", "5m", "12h" or "90d"`},
		{`wait = "999999d"`, `s.wait: found "999999d"; expected at most 106751d`},
		{`wait = "500ms"`, `s.wait: found 500ms; expected at least 1s`},
		{`day = "2027-01-31"`, `s.day: found string "2027-01-31"; expected a date such as 2027-01-31 or 2027-01-31T12:00:00Z`},
		{`day = 12:00:00`, `s.day: found time 12:00:00; expected a date such as 2027-01-31 or 2027-01-31T12:00:00Z`},
		{`level = "hihg"`, `s.level: found "hihg"; did you mean "high"?`},
		{`level = 3`, `s.level: found integer 3; expected a string`},
		{`mode = "medium"`, `s.mode: found "medium"; expected fast or slow`},
		{`maybe = -1`, `s.maybe: found -1; expected at least 0`},
		{`tokens = 0`, `s.tokens: found 0; expected at least 1`},
		{`tokens = 101`, `s.tokens: found 101; expected at most 100`},
		{`percent = -0.5`, `s.percent: found -0.5; expected at least 0`},
		{`items = [{}]`, `s.items[0].name: missing; expected a string`},
		{`items = [{ name = "" }]`, `s.items[0].name: found nothing in it; expected a string that is not empty`},
		{`items = [{ name = "a", tags = ["red", "grean"] }]`, `s.items[0].tags[1]: found "grean"; did you mean "green"?`},
		{`items = [{ name = "a", labels = { x = 1 } }]`, `s.items[0].labels.x: found integer 1; expected a string`},
		{`text = 'x' "`, `s: not TOML: expected a top-level item to end with a newline, comment, or EOF, but got '"' instead`},
		{`text = "a`, `s.text: not TOML: strings cannot contain newlines`},
		{`text = skverysecret`, `s.text: not TOML: found a bare word; expected a value, and text stands in quotes`},
		{"text = 'a'\n\ttext = 'b'", `s.text: not TOML: Key 's.text' has already been defined`},
	} {
		must := "\nmust = ['x']\n"
		if strings.HasPrefix(c.src, "must") {
			must = "\n"
		}
		line := 3 + strings.Count(c.src, "\n")
		doc, problems := config.Parse("chaperone.toml", []byte("# a file\n[s]\n"+c.src+must))
		if problems == nil {
			problems = doc.Decode("s", &section{})
		}
		if problems == nil {
			t.Errorf("%s: accepted", c.src)
		} else if want := fmt.Sprintf("chaperone.toml:%d: %s", line, c.want); problems.Error() != want {
			t.Errorf("%s says\n%s\nwant\n%s", c.src, problems.Error(), want)
		}
	}
}

func TestAllMistakesAreReportedAtOnceInTheirOrder(t *testing.T) {
	doc := parse(t, `
[servr]
[s]
number = "x"
on = 1
[[s.items]]
nam = "a"
[[s.items]]
name = "b"
tags = ["x"]
[s.by_name.c]
`)
	problems := append(doc.Only("s", "server"), doc.Decode("s", &section{})...)
	want := `chaperone.toml:2: servr: unknown key "servr"; did you mean "server"?
chaperone.toml:3: s.must: missing; expected an array
chaperone.toml:4: s.number: found string "x"; expected an integer
chaperone.toml:5: s.on: found integer 1; expected true or false
chaperone.toml:6: s.items[0].name: missing; expected a string
chaperone.toml:7: s.items[0].nam: unknown key "nam"; did you mean "name"?
chaperone.toml:10: s.items[1].tags[0]: found "x"; expected red, green or blue
chaperone.toml:11: s.by_name.c.name: missing; expected a string`
	if got := problems.Err().Error(); got != want {
		t.Errorf("says\n%s\nwant\n%s", got, want)
	}
	var typed config.Problems
	if err := fmt.Errorf("load: %w", problems.Err()); !errors.As(err, &typed) || len(typed) != 8 {
		t.Errorf("%v is not found as Problems", err)
	}
	if err := (config.Problems{}).Err(); err != nil {
		t.Errorf("no problem is the error %v", err)
	}
}

func TestASyntaxErrorIsTheOneProblem(t *testing.T) {
	doc, problems := config.Parse("a.toml", []byte("x = 1\ny = [1,\n"))
	if doc != nil || len(problems) != 1 || problems[0].File != "a.toml" || problems[0].Line == 0 || problems[0].Key != "y" {
		t.Errorf("%v, %+v", doc, problems)
	}
}

func TestHasAndPath(t *testing.T) {
	doc := parse(t, "a.b = 1\n['c d']\n")
	if !doc.Has("a") || !doc.Has("c d") || doc.Has("b") || doc.Path() != "chaperone.toml" {
		t.Errorf("Has or Path is wrong")
	}
	if got := doc.Only("a", "c d"); got != nil {
		t.Errorf("every key is known, and yet: %v", got)
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"90d": 90 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour, "250ms": 250 * time.Millisecond, "0": 0, "-5s": -5 * time.Second,
		"106751d23h": math.MaxInt64 / time.Hour * time.Hour,
	} {
		if got, err := config.ParseDuration(in); err != nil || got != want {
			t.Errorf("%q is %v (%v), want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "d", "5", "1d-5s", "-1d", "1d1d", "1e9d", "99999999999999999999d", "106751d24h", "1 d"} {
		if got, err := config.ParseDuration(in); err == nil {
			t.Errorf("%q is accepted as %v", in, got)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		name  string
		among []string
		want  string
	}{
		{"data_clas", []string{"name", "data_class", "labels"}, "data_class"},
		{"DATA_CLASS", []string{"name", "data_class"}, "data_class"},
		{"tset", []string{"test", "rest"}, "test"},
		{"ab", []string{"ac", "aa"}, "aa"}, // a tie: alphabetical
		{"gpt-4o", []string{"openai/gpt-4o", "openai/gpt-4o-mini"}, "openai/gpt-4o"},
		{"openai/gpt-4p", []string{"openai/gpt-4o", "openai/gpt-5"}, "openai/gpt-4o"},
		{"x", []string{"price"}, ""},
		{"", []string{"a"}, ""},
		{"hello", nil, ""},
		{strings.Repeat("a", 1<<20), []string{"a"}, ""},
	} {
		got, ok := config.Nearest(c.name, c.among)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("Nearest(%.20q) = %q, %v, want %q", c.name, got, ok, c.want)
		}
	}
	if got := config.NearestN("chat-smal", 3, []string{"demo/chat-small", "demo/chat-large", "other/thing"}); !reflect.DeepEqual(got, []string{"demo/chat-small"}) {
		t.Errorf("NearestN = %q", got)
	}
	among := make([]string, 40)
	for i := range among {
		among[i] = fmt.Sprintf("n%02d", i)
	}
	if got := config.UnknownName("thing", "else", among); !strings.HasSuffix(got, ", n28, n29 and 10 more") {
		t.Errorf("a long list is not cut: %s", got)
	}
}

func ExampleDocument_Decode() {
	doc, problems := config.Parse("chaperone.toml", []byte("[server]\nlisten = 8080\nreadtimeout = \"30s\"\n"))
	if problems != nil {
		fmt.Println(problems)
		return
	}
	server := struct {
		Listen      string        `toml:"listen"`
		ReadTimeout time.Duration `toml:"read_timeout"`
	}{Listen: "127.0.0.1:8080"}
	fmt.Println(doc.Decode("server", &server).Err())
	// Output:
	// chaperone.toml:2: server.listen: found integer 8080; expected a string
	// chaperone.toml:3: server.readtimeout: unknown key "readtimeout"; did you mean "read_timeout"?
}
