package scorer

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Numbers reads a configuration that is one flat JSON object of numbers. It is strict: a key that is not in into, a key
// twice and anything but a number is an error that says what would be right. For a configuration of more structure there is
// encoding/json, which adds about 2 MB to a plugin.
func Numbers(json []byte, into map[string]*float64) error {
	rest, ok := next(string(json), "{")
	if !ok {
		return errors.New("the configuration should be a JSON object")
	}
	if after, empty := next(rest, "}"); empty {
		return end(after)
	}
	seen := map[string]bool{}
	for {
		quoted, err := strconv.QuotedPrefix(strings.TrimLeft(rest, jsonSpace))
		if err != nil {
			return errors.New("the configuration should have a key in quotes at " + strconv.Quote(excerpt(rest)))
		}
		rest = strings.TrimLeft(rest, jsonSpace)[len(quoted):]
		key, _ := strconv.Unquote(quoted)
		target := into[key]
		switch {
		case target == nil:
			return errors.New("there is no setting " + quoted + "; there are " +
				strings.Join(slices.Sorted(maps.Keys(into)), ", "))
		case seen[key]:
			return errors.New(quoted + " is there twice")
		}
		seen[key] = true
		if rest, ok = next(rest, ":"); !ok {
			return errors.New("a colon should follow " + quoted)
		}
		rest = strings.TrimLeft(rest, jsonSpace)
		number := rest[:len(rest)-len(strings.TrimLeft(rest, "+-.0123456789eE"))]
		value, err := strconv.ParseFloat(number, 64)
		if err != nil || number[0] == '+' {
			return errors.New(key + " should be a number, is " + excerpt(rest))
		}
		*target, rest = value, rest[len(number):]
		if after, more := next(rest, ","); more {
			rest = after
			continue
		}
		after, done := next(rest, "}")
		if !done {
			return errors.New("a comma or brace should follow the value of " + quoted)
		}
		return end(after)
	}
}

const jsonSpace = " \t\r\n"

func next(text, token string) (rest string, ok bool) {
	return strings.CutPrefix(strings.TrimLeft(text, jsonSpace), token)
}

func end(rest string) error {
	if strings.Trim(rest, jsonSpace) != "" {
		return errors.New("something follows the configuration's object")
	}
	return nil
}

// excerpt is the value or whatever else stands at the beginning of a text, at most 20 bytes of it.
func excerpt(text string) string {
	text, _, _ = strings.Cut(text, ",")
	return strings.Trim(text[:min(len(text), 20)], jsonSpace+"}")
}
