package config

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// index finds the line of every key, table and array element of a valid document; the TOML library keeps them to itself.
// Only Parse calls it, after the library has accepted src, so it need not check anything again: on other bytes it
// returns something, without panicking. Paths are as in Problem.Key.
func index(src []byte) map[string]int {
	for _, mark := range []string{"\xff\xfe", "\xfe\xff", "\xef\xbb\xbf"} {
		if bytes.HasPrefix(src, []byte(mark)) {
			src = src[len(mark):]
			break
		}
	}
	s := scanner{src: string(src), at: 1, lines: map[string]int{}, tables: map[string]int{}}
	table := ""
	for {
		s.skip(true)
		switch {
		case s.pos >= len(s.src):
			return s.lines
		case s.peek() == '[':
			table = s.header()
		default:
			s.keyValue(table)
		}
	}
}

type scanner struct {
	src    string
	pos    int
	at     int            // the line of pos
	lines  map[string]int // the result
	tables map[string]int // path of an array of tables → how many tables it has so far
}

func (s *scanner) peek() byte {
	if s.pos < len(s.src) {
		return s.src[s.pos]
	}
	return 0
}

func (s *scanner) next() byte {
	c := s.peek()
	if c == '\n' {
		s.at++
	}
	s.pos++
	return c
}

// skip passes over blanks and, with lines, over line ends and comments.
func (s *scanner) skip(lines bool) {
	for s.pos < len(s.src) {
		switch c := s.peek(); {
		case c == ' ' || c == '\t':
		case lines && (c == '\n' || c == '\r'):
		case lines && c == '#':
			for s.pos < len(s.src) && s.peek() != '\n' {
				s.pos++
			}
			continue
		default:
			return
		}
		s.next()
	}
}

// record keeps the first line of a path, but the header or assignment of a table wins over keys that merely imply it.
func (s *scanner) record(path string, explicit bool, line int) {
	if _, known := s.lines[path]; explicit || !known {
		s.lines[path] = line
	}
}

// header reads [a.b] or [[a.b]] and returns the path that the keys after it stand in.
func (s *scanner) header() string {
	line := s.at
	s.next()
	array := s.peek() == '['
	if array {
		s.next()
	}
	parts := s.key()
	for s.pos < len(s.src) && s.peek() == ']' {
		s.next()
	}
	path := ""
	for i, part := range parts {
		path = join(path, Dotted(part))
		last := i == len(parts)-1
		if array && last {
			s.record(path, s.tables[path] == 0, line)
			s.tables[path]++
		} else {
			s.record(path, last, line)
		}
		// Below an array of tables, a header speaks of the table that was opened last.
		if n := s.tables[path]; n > 0 {
			path = element(path, n-1)
			s.record(path, array && last, line)
		}
	}
	return path
}

func (s *scanner) keyValue(table string) {
	line := s.at
	path := table
	start := s.pos
	for _, part := range s.key() {
		path = join(path, Dotted(part))
		s.record(path, false, line)
	}
	s.record(path, true, line)
	s.skip(false)
	if s.peek() == '=' {
		s.next()
	}
	s.skip(false)
	s.value(path)
	if s.pos == start { // no valid document gets here
		s.next()
	}
}

// key reads a dotted key.
func (s *scanner) key() []string {
	var parts []string
	for {
		s.skip(false)
		switch c := s.peek(); {
		case c == '"' || c == '\'':
			parts = append(parts, s.str())
		default:
			start := s.pos
			for s.pos < len(s.src) && isBareByte(s.src[s.pos]) {
				s.pos++
			}
			parts = append(parts, s.src[start:s.pos])
		}
		s.skip(false)
		if s.peek() != '.' {
			return parts
		}
		s.next()
	}
}

func (s *scanner) value(path string) {
	switch s.peek() {
	case '"', '\'':
		s.str()
	case '[':
		s.next()
		for i := 0; s.more(']'); i++ {
			s.record(element(path, i), true, s.at)
			s.value(element(path, i))
			s.separator(']')
		}
	case '{':
		s.next()
		for s.more('}') {
			s.keyValue(path)
			s.separator('}')
		}
	default: // a number, boolean or date
		for s.pos < len(s.src) && !strings.ContainsRune(",]}#\n", rune(s.src[s.pos])) {
			s.pos++
		}
	}
}

// more passes over blanks and says whether something stands before the closing byte, which it consumes.
func (s *scanner) more(closing byte) bool {
	s.skip(true)
	if s.pos >= len(s.src) {
		return false
	}
	if s.peek() == closing {
		s.next()
		return false
	}
	return true
}

// separator passes over the comma after an element.
func (s *scanner) separator(closing byte) {
	s.skip(true)
	if c := s.peek(); c == ',' || c != closing {
		s.next()
	}
}

// str reads a string of any of the four kinds; only keys need its content, and those are never multi-line.
func (s *scanner) str() string {
	quote := s.peek()
	if triple := strings.Repeat(string(rune(quote)), 3); strings.HasPrefix(s.src[s.pos:], triple) {
		s.pos += 3
		for s.pos < len(s.src) && !strings.HasPrefix(s.src[s.pos:], triple) {
			if s.next() == '\\' && quote == '"' {
				s.next()
			}
		}
		s.pos = min(s.pos+3, len(s.src))
		for i := 0; i < 2 && s.peek() == quote; i++ { // up to two quotes may stand before the closing three
			s.pos++
		}
		return ""
	}
	s.next()
	start := s.pos
	for s.pos < len(s.src) && s.peek() != quote {
		if s.next() == '\\' && quote == '"' {
			s.next()
		}
	}
	text := s.src[start:min(s.pos, len(s.src))]
	s.next()
	if quote == '"' {
		return unescape(text)
	}
	return text
}

var escapes = map[byte]rune{'b': '\b', 't': '\t', 'n': '\n', 'f': '\f', 'r': '\r', 'e': 0x1b, '"': '"', '\\': '\\'}

func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[text[i]]
		if digits == 0 {
			b.WriteRune(escapes[text[i]])
			continue
		}
		end := min(i+1+digits, len(text))
		code, err := strconv.ParseUint(text[i+1:end], 16, 32)
		if err != nil || code > utf8.MaxRune {
			code = utf8.RuneError
		}
		b.WriteRune(rune(code))
		i = end - 1
	}
	return b.String()
}
