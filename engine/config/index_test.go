package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestIndexFindsEveryForm(t *testing.T) {
	const src = "\xef\xbb\xbf# a comment with [brackets]\r\n" + // 1
		"top.dotted . \"quo ted\" = 1\r\n" + // 2
		"list = [ # [x]\n" + // 3
		"  'a', \"]\",\n" + // 4
		"  [1, 2], # }\n" + // 5
		"  { x = 1, y.z = [ { w = 2 } ] },\n" + // 6
		"]\n" + // 7
		"text = \"\"\"\n" + // 8
		"[not.a.table]\n" + // 9
		"no = \"key\" \\\"\"\"\" # text = \"\"\"\"\"\n" + // 10
		"raw = '''\n" + // 11
		"'' [[neither]]'''''\n" + // 12
		"when = 1979-05-27 07:32:00 # date\n" + // 13
		"[ table . 'sub table' ]\n" + // 14
		"\"esc\\u0061pe\" = 1\n" + // 15
		"[table]\n" + // 16
		"own = 2\n" + // 17
		"[[array]]\n" + // 18
		"id = 1\n" + // 19
		"[array.sub]\n" + // 20
		"x = 1\n" + // 21
		"[[array.deep]]\n" + // 22
		"[[array]]\n" + // 23
		"id = 2\n" + // 24
		"[[array.deep]]\n" + // 25
		"y = 1\n" + // 26
		"[[array.deep]]\n" + // 27
		"inline = { a = { b = { c = 1 } },\n" + // 28
		" d = 2 }\n" // 29
	doc, problems := Parse("x.toml", []byte(src))
	if problems != nil {
		t.Fatal(problems)
	}
	for path, line := range map[string]int{
		"top": 2, "top.dotted": 2, `top.dotted."quo ted"`: 2,
		"list": 3, "list[0]": 4, "list[1]": 4, "list[2]": 5, "list[2][1]": 5, "list[3]": 6, "list[3].x": 6, "list[3].y.z[0].w": 6,
		"text": 8, "raw": 11, "when": 13,
		`table."sub table"`: 14, "table": 16, "table.own": 17, `table."sub table".escape`: 15,
		"array": 18, "array[0]": 18, "array[0].id": 19, "array[0].sub": 20, "array[0].sub.x": 21, "array[0].deep": 22, "array[0].deep[0]": 22,
		"array[1]": 23, "array[1].id": 24, "array[1].deep": 25, "array[1].deep[0].y": 26, "array[1].deep[1]": 27,
		"array[1].deep[1].inline.a.b.c": 28, "array[1].deep[1].inline.d": 29,
	} {
		if got := doc.lines[path]; got != line {
			t.Errorf("%s is said to stand in line %d, want %d", path, got, line)
		}
	}
	for path := range doc.lines {
		if strings.Contains(path, "not") || strings.Contains(path, "neither") || path == "no" {
			t.Errorf("%s is text and no key", path)
		}
	}
}

var indices = regexp.MustCompile(`\[[0-9]+\]`)

// checkIndex holds the index against the keys that the TOML library reports, and against the text of the lines.
func checkIndex(t *testing.T, src []byte) {
	doc, problems := Parse("x.toml", src)
	if problems != nil {
		return
	}
	var root map[string]any
	meta, err := toml.Decode(string(src), &root)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(src), "\n")
	found := map[string]bool{}
	for path, number := range doc.lines {
		if number < 1 || number > len(lines) {
			t.Fatalf("%s is said to stand in line %d of %d", path, number, len(lines))
		}
		// A key's text has its last part, unless that is written with escapes.
		text := lines[number-1]
		parts := lastPart(path)
		if !strings.HasSuffix(path, "]") && !strings.Contains(text, parts) && !strings.Contains(text, `\`) {
			t.Fatalf("%s is said to stand in line %d, which is %q", path, number, text)
		}
		found[strip(path)] = true
	}
	for _, key := range meta.Keys() {
		if path := Dotted(key...); !found[strip(path)] {
			t.Fatalf("%s has no line in\n%s\nbut these have: %v", path, src, doc.lines)
		}
	}
}

// strip takes the indices away: the library does not tell the tables of an array apart.
func strip(path string) string { return indices.ReplaceAllString(path, "") }

func lastPart(path string) string {
	last := strings.TrimPrefix(path[len(parent(path)):], ".")
	if strings.HasPrefix(last, `"`) {
		return unescape(last[1 : len(last)-1])
	}
	return last
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte("a = 1\n[b.c]\nd.\"e f\" = [{g = 1}, [2]]\n[[h]]\ni = '''x\n'''\n[[h]]\n[h.j]\nk = {l = 1, m = \"}\"}"))
	f.Add([]byte("\"a\\\"b\" = \"\"\"\\\"\"\"\"\n'' = 1\n\"\" . x = 1"))
	f.Add([]byte("a = [\n# ]\n1, # [\n\n{x = 1979-05-27 07:32:00, y=[]}]\r\n[ a1 . b ]"))
	f.Add([]byte("\xff\xfea=1\n[[a.b]]\n[[a.b.c]]\n[a.b.c.d]\n"))
	for _, path := range corpus(f) {
		src, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		index(src) // whatever the bytes are, it comes to an end and does not panic
		checkIndex(t, src)
		doc, problems := Parse("x.toml", src)
		if problems != nil {
			return
		}
		for name := range doc.root {
			var any any
			doc.Decode(name, &any)
			var strict map[string][]struct {
				Origin
				A int `toml:"a" check:"required,min=1"`
			}
			doc.Decode(name, &strict)
			for _, tables := range strict {
				for _, table := range tables {
					if p := table.Problem("", "x"); p.Line == 0 {
						t.Fatalf("%s has no line", p.Key)
					}
				}
			}
		}
	})
}

// corpus are the TOML files of the repository's test data.
func corpus(f *testing.F) []string {
	f.Helper()
	var paths []string
	for _, pattern := range []string{"../../testdata/config/*.toml", "../../testdata/config/*/*.toml"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		paths = append(paths, found...)
	}
	if len(paths) == 0 {
		f.Fatal("no TOML files in testdata/config")
	}
	return paths
}

func FuzzQuote(f *testing.F) {
	f.Add("plain", "a b")
	f.Add("\"\\\n\r\t\x00\x7f", "é漢\u2028")
	f.Fuzz(func(t *testing.T, key, value string) {
		key, value = strings.ToValidUTF8(key, "\ufffd"), strings.ToValidUTF8(value, "\ufffd")
		var got map[string]string
		if _, err := toml.Decode(Dotted(key)+" = "+Quote(value), &got); err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[key] != value {
			t.Fatalf("wrote %q = %q, read %q", key, value, got)
		}
	})
}
