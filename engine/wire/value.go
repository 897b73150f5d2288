package wire

import (
	"bytes"
	"strconv"
)

// The reads below are of values that routing or policy acts on: each has one type, and a string one reading.

// maxWhole is 2⁵³: up to there every parser holds a whole number exactly.
const maxWhole = 1 << 53

// wrong fails because the next value is not what it should be.
func (s *scanner) wrong(want string) bool {
	s.peek()
	if !s.ok() {
		return false
	}
	at := s.pos
	if c := s.peek(); s.skip() { // text that is no JSON is worse than a wrong type
		return s.fail(at, "found %s; it should be %s", kind(c), want)
	}
	return false
}

const halfPair = "found half of a surrogate pair, which parsers read differently; every character should be whole"

// clean reads a string that has one reading; want describes it.
func (s *scanner) clean(want string) (text, bool) {
	if s.peek() != '"' {
		return text{}, s.wrong(want)
	}
	at := s.pos
	t, ok := s.text()
	if ok && t.lone {
		return t, s.fail(at, halfPair)
	}
	return t, ok
}

func (s *scanner) string(into *string) bool {
	t, ok := s.clean("a string")
	if ok {
		*into = string(t.decoded())
	}
	return ok
}

// word reads a string that may not be empty.
func (s *scanner) word() (text, bool) {
	s.peek()
	at := s.pos
	t, ok := s.clean("a string that is not empty")
	if ok && t.size == 0 {
		return t, s.fail(at, "found an empty string; it should not be empty")
	}
	return t, ok
}

func (s *scanner) name(into *string) bool {
	t, ok := s.word()
	if ok {
		*into = string(t.decoded())
	}
	return ok
}

// names reads an array of strings that are not empty.
func (s *scanner) names(into *[]string) bool {
	if s.peek() != '[' {
		return s.wrong("an array of strings")
	}
	list := []string{}
	a := s.array()
	for s.element(&a) {
		var one string
		if !s.name(&one) {
			return false
		}
		list = append(list, one)
	}
	*into = list
	return s.ok()
}

// choice reads one of a few words.
func (s *scanner) choice(into *string, words ...string) bool {
	s.peek()
	at := s.pos
	t, ok := s.clean("one of " + quoted(words))
	if !ok {
		return false
	}
	for _, w := range words {
		if t.is(w) {
			*into = w
			return true
		}
	}
	return s.fail(at, "found %s; it should be one of %s", excerpt(t), quoted(words))
}

// excerpt quotes the beginning of a short word that a client sent.
func excerpt(t text) string {
	return strconv.Quote(string(unescape(nil, t.raw, 40)))
}

func quoted(words []string) string {
	var b []byte
	for i, w := range words {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendQuote(b, w)
	}
	return string(b)
}

func (s *scanner) bool(into *bool) bool {
	switch s.peek() {
	case 't':
		*into = true
		return s.literal("true")
	case 'f':
		*into = false
		return s.literal("false")
	}
	return s.wrong("true or false")
}

// whole reads a whole number of least. 1.0 and 1e0 are refused: some parsers take them for whole, others do not.
func (s *scanner) whole(into *int64, least int64) bool {
	c := s.peek()
	if c != '-' && (c < '0' || c > '9') {
		return s.wrong("a whole number")
	}
	at := s.pos
	raw, ok := s.number()
	if !ok {
		return false
	}
	if bytes.ContainsAny(raw, ".eE") {
		return s.fail(at, "found %s; it should be a whole number written without fraction and exponent", shortened(raw))
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n > maxWhole || n < -maxWhole {
		return s.fail(at, "found a number out of range; it should be at most 9007199254740992 (2^53)")
	}
	if n < least || raw[0] == '-' {
		return s.fail(at, "found %s; it should be at least %d", raw, least)
	}
	*into = n
	return true
}

// shortened is the beginning of a number in a message.
func shortened(number []byte) string {
	if len(number) > 40 {
		return string(number[:40]) + "…"
	}
	return string(number)
}
