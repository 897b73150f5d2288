package scorer

import (
	"errors"
	"strconv"
	"strings"
)

// stringList reads one top-level list of strings from a manifest. It knows as much of TOML as that takes, because a TOML
// parser would be most of a plugin; the host has checked the manifest with a whole one.
func stringList(manifest, key string) ([]string, error) {
	rest, ok := value(manifest, key)
	if !ok {
		return nil, nil
	}
	rest, ok = strings.CutPrefix(rest, "[")
	if !ok {
		return nil, errors.New("manifest: " + key + " should be a list of strings")
	}
	var list []string
	for {
		rest = strings.TrimLeft(rest, " \t\r\n,")
		switch {
		case strings.HasPrefix(rest, "]"):
			return list, nil
		case strings.HasPrefix(rest, "#"):
			_, rest, _ = strings.Cut(rest, "\n")
		case strings.HasPrefix(rest, `'`):
			text, after, ok := strings.Cut(rest[1:], `'`)
			if !ok {
				return nil, errors.New("manifest: " + key + " has a string that does not end")
			}
			list, rest = append(list, text), after
		case strings.HasPrefix(rest, `"`):
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, errors.New("manifest: " + key + " has a string that cannot be read")
			}
			text, _ := strconv.Unquote(quoted)
			list, rest = append(list, text), rest[len(quoted):]
		default:
			return nil, errors.New("manifest: " + key + " should be a list of strings")
		}
	}
}

// value is what stands behind a top-level key, and everything after it.
func value(manifest, key string) (string, bool) {
	for rest := manifest; rest != ""; {
		line, after, _ := strings.Cut(rest, "\n")
		name, _, ok := strings.Cut(line, "=")
		if strings.HasPrefix(strings.TrimSpace(line), "[") {
			return "", false // a table: the top level has ended
		}
		if ok && strings.Trim(name, " \t\"'") == key {
			return strings.TrimLeft(rest[len(name)+1:], " \t"), true
		}
		rest = after
	}
	return "", false
}
