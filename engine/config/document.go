package config

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/BurntSushi/toml"
)

// Document is one parsed TOML file with the line of every key. It is immutable.
type Document struct {
	path  string
	root  map[string]any
	lines map[string]int // path of a key → line, see index
}

// Parse reads TOML; path is only for messages. A syntax error is the one problem that there is, and the document is then
// nil.
func Parse(path string, src []byte) (doc *Document, problems Problems) {
	// The TOML library panics where it finds a bug in itself; a broken file must not end a running router.
	defer func() {
		if r := recover(); r != nil {
			doc, problems = nil, Problems{{File: path, Message: fmt.Sprintf("not readable as TOML: %v", r)}}
		}
	}()
	if len(src) > maxBytes {
		return nil, Problems{{File: path, Message: fmt.Sprintf("has %d bytes; expected at most %d", len(src), maxBytes)}}
	}
	if line := tooDeep(src); line > 0 {
		return nil, Problems{{File: path, Line: line, Message: fmt.Sprintf("arrays and inline tables stand more than %d deep; expected fewer", maxDepth)}}
	}
	root := map[string]any{}
	if _, err := toml.Decode(string(src), &root); err != nil {
		return nil, Problems{syntaxProblem(path, src, err)}
	}
	return &Document{path: path, root: root, lines: index(src)}, nil
}

// syntaxProblem leaves out the library's excerpt of the source: it could show a secret that should not have been there.
func syntaxProblem(path string, src []byte, err error) Problem {
	var syntax toml.ParseError
	if !errors.As(err, &syntax) {
		return Problem{File: path, Message: "not TOML: " + err.Error()}
	}
	message := strings.TrimSuffix(syntax.Message, ".")
	if bytes.IndexByte(src, 0) < 0 { // how the library's lexer writes the end of its input
		message = strings.ReplaceAll(message, `'\x00'`, "end of file")
	}
	if strings.HasPrefix(message, "expected value but found \"") { // it quotes the word, which may be a key without its quotes
		message = "found a bare word; expected a value, and text stands in quotes"
	}
	return Problem{File: path, Line: syntax.Position.Line, Key: syntax.LastKey, Message: "not TOML: " + message}
}

// Path is the path that Parse was given.
func (d *Document) Path() string { return d.path }

// Has says whether the top-level key is present.
func (d *Document) Has(name string) bool {
	_, ok := d.root[name]
	return ok
}

// Only reports every top-level key that is not one of names, with the nearest that is.
func (d *Document) Only(names ...string) Problems {
	return d.unknownKeys("", d.root, names)
}

// Problem is Origin.Problem for the whole file: key is dotted from the top, see Dotted.
func (d *Document) Problem(key, format string, args ...any) Problem {
	return Origin{doc: d}.Problem(key, format, args...)
}

// Line is where the dotted key is written, 1-based: its own line or else that of the nearest table around it, 0 where
// there is neither.
func (d *Document) Line(key string) int { return d.line(key) }

func (d *Document) line(key string) int {
	for key != "" {
		if line, ok := d.lines[key]; ok {
			return line
		}
		key = parent(key)
	}
	return 0
}

func (d *Document) unknownKeys(path string, table map[string]any, known []string) Problems {
	var ps Problems
	for _, key := range sortedKeys(table) {
		if !contains(known, key) {
			ps = append(ps, Origin{doc: d, path: path}.Problem(Dotted(key), "%s", UnknownName("key", key, known)))
		}
	}
	return ps
}

func sortedKeys(table map[string]any) []string {
	keys := make([]string, 0, len(table))
	for key := range table {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// oneOf writes "a, b or c".
func oneOf(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
