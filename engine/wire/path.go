package wire

import (
	"bytes"
	"strconv"
)

// maxPath bounds a path in a message: keys are the client's and may be long and many.
const maxPath = 200

// pathAt names the value or key at an offset of data, which is valid JSON up to there: "messages[3].content". It is ""
// for the outermost value. It reads the data again, because only a refusal needs it.
func pathAt(data []byte, at int) string {
	type level struct {
		array bool
		index int
		key   []byte // decoded, its beginning; nil before the first
	}
	var levels []level
	wantKey := false
	for i := 0; i <= at && i < len(data); i++ {
		switch data[i] {
		case '{':
			if i < at {
				levels = append(levels, level{})
				wantKey = true
			}
		case '[':
			if i < at {
				levels = append(levels, level{array: true})
				wantKey = false
			}
		case '}', ']':
			if i < at && len(levels) > 0 {
				levels = levels[:len(levels)-1]
				wantKey = false
			}
		case ',':
			if len(levels) == 0 || i == at {
				continue
			}
			if top := &levels[len(levels)-1]; top.array {
				top.index++
			} else {
				top.key, wantKey = nil, true
			}
		case '"':
			end := i + 1
			for end < len(data) && data[end] != '"' {
				if data[end] == '\\' {
					end++
				}
				end++
			}
			if wantKey && len(levels) > 0 {
				levels[len(levels)-1].key = unescape([]byte{}, data[i+1:min(end, len(data))], maxPath)
				wantKey = false
			}
			i = end
		}
	}
	var path []byte
	for _, l := range levels {
		switch {
		case l.array:
			path = append(path, '[')
			path = strconv.AppendInt(path, int64(l.index), 10)
			path = append(path, ']')
		case l.key != nil:
			if len(path) > 0 {
				path = append(path, '.')
			}
			if plain(l.key) {
				path = append(path, l.key...)
			} else {
				path = strconv.AppendQuote(path, string(l.key))
			}
		}
		if len(path) > maxPath {
			return string(bytes.ToValidUTF8(path[:maxPath], nil)) + "…"
		}
	}
	return string(path)
}

// plain reports whether a key can stand in a path without quotes.
func plain(key []byte) bool {
	for _, c := range key {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == ':') {
			return false
		}
	}
	return len(key) > 0
}
