package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Dotted writes the parts of a key as TOML does: those that are not bare are quoted.
func Dotted(parts ...string) string {
	quoted := make([]string, len(parts))
	for i, part := range parts {
		if isBare(part) {
			quoted[i] = part
		} else {
			quoted[i] = Quote(part)
		}
	}
	return strings.Join(quoted, ".")
}

func isBare(part string) bool {
	for i := 0; i < len(part); i++ {
		if !isBareByte(part[i]) {
			return false
		}
	}
	return part != ""
}

func isBareByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// Quote writes s as a TOML basic string on one line. Invalid UTF-8 becomes U+FFFD: TOML has no other bytes.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// join puts a dotted key below a path; either may be empty.
func join(path, key string) string {
	switch {
	case path == "":
		return key
	case key == "" || strings.HasPrefix(key, "["):
		return path + key
	}
	return path + "." + key
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// parent is the path of the table or array that a path stands in; "" for a top-level key.
func parent(path string) string {
	if strings.HasSuffix(path, "]") {
		if i := strings.LastIndexByte(path, '['); i >= 0 {
			return path[:i]
		}
	}
	cut, quoted := 0, false
	for i := 0; i < len(path); i++ {
		switch {
		case quoted && path[i] == '\\':
			i++
		case path[i] == '"':
			quoted = !quoted
		case !quoted && path[i] == '.':
			cut = i
		}
	}
	return path[:cut]
}
