package config

import "bytes"

// What a file may be at most: the library reads deeper nesting in quadratic time and memory, and nobody writes either.
const (
	maxBytes = 16 << 20
	maxDepth = 64 // of arrays and inline tables
)

// tooDeep is the line on which nesting exceeds maxDepth, 0 where it never does. Brackets in strings and comments do not count;
// a string that does not end is the library's to report.
func tooDeep(src []byte) int {
	line, depth := 1, 0
	for i := 0; i < len(src); i++ {
		switch c := src[i]; c {
		case '\n':
			line++
		case '#':
			if end := bytes.IndexByte(src[i:], '\n'); end >= 0 {
				i += end - 1
			} else {
				i = len(src)
			}
		case '"', '\'':
			end := stringEnd(src, i)
			line += bytes.Count(src[i:end], []byte{'\n'})
			i = end - 1
		case '[', '{':
			if depth++; depth > maxDepth {
				return line
			}
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return 0
}

// stringEnd is the offset behind the string that begins at i.
func stringEnd(src []byte, i int) int {
	quote, lines := src[i], false
	if bytes.HasPrefix(src[i:], []byte{quote, quote, quote}) {
		i, lines = i+2, true
	}
	for i++; i < len(src); i++ {
		switch {
		case src[i] == '\\' && quote == '"':
			i++
		case src[i] == '\n' && !lines:
			return i
		case src[i] == quote && !lines:
			return i + 1
		case src[i] == quote && bytes.HasPrefix(src[i:], []byte{quote, quote, quote}):
			return i + 3
		}
	}
	return len(src)
}
