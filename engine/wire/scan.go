package wire

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of what is read, the same for requests and answers.
const (
	maxDepth   = 512     // nested containers, the outermost one included
	maxMembers = 1 << 17 // of all objects that are open at once: bounds the memory of the index and the duplicate check
)

// scanner reads JSON (RFC 8259) in one pass, front to back. Its methods return false after the first fault and do
// nothing from then on, so a caller only has to stop.
//
// strict adds what keeps two parsers from reading one text differently: valid UTF-8, no key twice, no lone surrogate in
// a key, no number outside float64.
type scanner struct {
	data   []byte
	pos    int
	depth  int
	open   int // members of the objects that are open
	strict bool
	keys   []key // of the objects that are open, innermost last; only when strict

	at    int    // byte offset of the fault
	fault string // what was found and what would be right; "" while there is no fault
}

func (s *scanner) ok() bool { return s.fault == "" }

func (s *scanner) fail(at int, format string, args ...any) bool {
	if s.fault == "" {
		s.at, s.fault = at, fmt.Sprintf(format, args...)
	}
	return false
}

// invalid is fail for text that is not JSON.
func (s *scanner) invalid(at int, want string) bool {
	return s.fail(at, "invalid JSON: found %s where %s should be", found(s.data, at), want)
}

// found describes the byte at an offset without quoting more of the text than one character.
func found(data []byte, at int) string {
	if at >= len(data) {
		return "the end"
	}
	r, size := utf8.DecodeRune(data[at:])
	if r == utf8.RuneError && size == 1 {
		return fmt.Sprintf("byte 0x%02x", data[at])
	}
	return strconv.QuoteRune(r)
}

// kind names the type of the value that begins with c.
func kind(c byte) string {
	switch c {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// peek skips white space and returns the byte after it, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// end reports whether nothing but white space is left.
func (s *scanner) end() bool {
	s.peek()
	if s.ok() && s.pos < len(s.data) {
		return s.fail(s.pos, "invalid JSON: found %s after the end of the value; a body is one JSON value", found(s.data, s.pos))
	}
	return s.ok()
}

// skip reads a value of any type and keeps nothing of it.
func (s *scanner) skip() bool {
	switch c := s.peek(); c {
	case '"':
		_, ok := s.text()
		return ok
	case '{':
		o := s.object()
		for s.member(&o) {
			if !s.skip() {
				return false
			}
		}
	case '[':
		a := s.array()
		for s.element(&a) {
			if !s.skip() {
				return false
			}
		}
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		_, ok := s.number()
		return ok
	}
	return s.ok()
}

func (s *scanner) literal(word string) bool {
	for i := range len(word) {
		if s.pos+i >= len(s.data) || s.data[s.pos+i] != word[i] {
			return s.invalid(s.pos+i, "the rest of "+word)
		}
	}
	s.pos += len(word)
	return true
}

// null reads a null if the next value is one.
func (s *scanner) null() bool { return s.peek() == 'n' && s.literal("null") }

// object is one object while its members are read:
//
//	o := s.object()
//	for s.member(&o) {
//		… read exactly one value, at s.pos …
//	}
type object struct {
	at      int    // offset of its opening brace
	key     []byte // of the member, decoded
	keyAt   int    // offset of the key's opening quote
	lead    int    // offset after the '{' or ',' before the member
	members int
	base    int // of its keys in scanner.keys
}

func (s *scanner) object() object {
	s.peek()
	o := object{at: s.pos, base: len(s.keys)}
	if s.enter('{', "an object") {
		o.lead = s.pos
	}
	return o
}

func (s *scanner) enter(c byte, want string) bool {
	if !s.ok() {
		return false
	}
	if s.pos >= len(s.data) || s.data[s.pos] != c {
		return s.invalid(s.pos, want)
	}
	if s.depth == maxDepth {
		return s.fail(s.pos, "found more than %d objects and arrays inside one another; a body may nest at most %d deep", maxDepth, maxDepth)
	}
	s.depth++
	s.pos++
	return true
}

// member moves to the value of the next member; false at the end of the object and after a fault.
func (s *scanner) member(o *object) bool {
	if !s.ok() {
		return false
	}
	c := s.peek()
	switch {
	case c == '}':
		s.pos++
		s.depth--
		s.open -= o.members
		if s.strict {
			s.unique(o)
		}
		return false
	case o.members == 0:
	case c == ',':
		s.pos++
		o.lead = s.pos
		c = s.peek()
	default:
		return s.invalid(s.pos, "',' or '}'")
	}
	o.keyAt = s.pos
	if c != '"' {
		if o.members == 0 {
			return s.invalid(s.pos, "a key in double quotes or '}'")
		}
		return s.invalid(s.pos, "a key in double quotes")
	}
	if s.open == maxMembers {
		return s.fail(s.pos, "found more than %d members in the objects around this one; a body may have at most that many", maxMembers)
	}
	t, ok := s.text()
	if !ok {
		return false
	}
	if s.strict && t.lone {
		return s.fail(o.keyAt, halfPair)
	}
	o.key = t.decoded()
	o.members++
	s.open++
	if s.strict {
		s.keys = append(s.keys, newKey(o.keyAt, s.pos, o.key))
	}
	if s.peek() != ':' {
		return s.invalid(s.pos, "':'")
	}
	s.pos++
	s.peek()
	return true
}

// array is one array while its elements are read, as object is.
type array struct {
	at       int
	elements int
}

func (s *scanner) array() array {
	s.peek()
	a := array{at: s.pos}
	s.enter('[', "an array")
	return a
}

// element moves to the next element; false at the end of the array and after a fault.
func (s *scanner) element(a *array) bool {
	if !s.ok() {
		return false
	}
	c := s.peek()
	switch {
	case c == ']':
		s.pos++
		s.depth--
		return false
	case a.elements == 0:
	case c == ',':
		s.pos++
		if s.peek() == ']' {
			return s.invalid(s.pos, "a value")
		}
	default:
		return s.invalid(s.pos, "',' or ']'")
	}
	a.elements++
	return true
}

// text is a string as it stands in the data.
type text struct {
	raw     []byte // between the quotes
	size    int    // bytes of the decoded string
	escaped bool   // raw holds escapes
	lone    bool   // an escape is half of a surrogate pair
}

// decoded is the string's bytes; they share memory with the data unless there are escapes.
func (t text) decoded() []byte {
	if !t.escaped {
		return t.raw
	}
	return unescape(make([]byte, 0, t.size), t.raw, t.size)
}

// is reports whether the string is want, without decoding it where it can tell.
func (t text) is(want string) bool {
	if !t.escaped {
		return string(t.raw) == want
	}
	return t.size == len(want) && string(t.decoded()) == want
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special has a high bit where a byte of w ends a run of plain characters: a quote, a backslash, a control character or
// a byte of a longer UTF-8 sequence. The lowest bit set is exact, those above it may not be.
func special(w uint64) uint64 {
	quote, backslash := w^(ones*'"'), w^(ones*'\\')
	return ((quote-ones)&^quote | (backslash-ones)&^backslash | (w-ones*0x20)&^w | w) & highs
}

// text reads a string.
func (s *scanner) text() (t text, ok bool) {
	d, start := s.data, s.pos+1
	i := start
	for {
		for i+8 <= len(d) {
			if m := special(binary.LittleEndian.Uint64(d[i:])); m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(d) {
			return text{}, s.invalid(i, "the '\"' that ends the string")
		}
		switch c := d[i]; {
		case c == '"':
			t.raw = d[start:i]
			t.size += i - start
			s.pos = i + 1
			return t, true
		case c == '\\':
			t.escaped = true
			raw, size, lone := escape(d[i:])
			if raw == 0 {
				return text{}, s.fail(i, `invalid JSON: found a '\' before %s; an escape is one of \" \\ \/ \b \f \n \r \t or \u and four hex digits`, found(d, i+1))
			}
			t.lone = t.lone || lone
			t.size -= raw - size
			i += raw
		case c < 0x20:
			return text{}, s.fail(i, "invalid JSON: found the control character 0x%02x inside a string; write it as \\u%04x", c, c)
		case c < utf8.RuneSelf:
			i++
		default:
			r, size := utf8.DecodeRune(d[i:])
			if r == utf8.RuneError && size == 1 && s.strict {
				return text{}, s.fail(i, "found byte 0x%02x, which is not valid UTF-8; a body should be UTF-8", c)
			}
			i += size
		}
	}
}

// escape measures the escape that b begins with: its length, that of the character that it stands for, and whether it is
// half of a surrogate pair (three bytes then: U+FFFD). raw is 0 where it is none.
func escape(b []byte) (raw, size int, lone bool) {
	if len(b) < 2 {
		return 0, 0, false
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, 1, false
	case 'u':
	default:
		return 0, 0, false
	}
	r := hex4(b[2:])
	switch {
	case r < 0:
		return 0, 0, false
	case !utf16.IsSurrogate(r):
		return 6, utf8.RuneLen(r), false
	case len(b) >= 12 && b[6] == '\\' && b[7] == 'u' && utf16.DecodeRune(r, hex4(b[8:])) != utf8.RuneError:
		return 12, 4, false
	}
	return 6, 3, true
}

// hex4 reads four hex digits; -1 where there are none.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// unescape appends the string whose inside is raw, and stops once it has appended limit bytes or just over, and at what is
// no escape.
func unescape(dst, raw []byte, limit int) []byte {
	limit += len(dst)
	for i := 0; i < len(raw) && len(dst) < limit; {
		if raw[i] != '\\' {
			dst = append(dst, raw[i])
			i++
			continue
		}
		n, size, lone := escape(raw[i:])
		if n == 0 {
			return dst
		}
		switch c := raw[i+1]; {
		case lone:
			dst = utf8.AppendRune(dst, utf8.RuneError)
		case size == 4:
			dst = utf8.AppendRune(dst, utf16.DecodeRune(hex4(raw[i+2:]), hex4(raw[i+8:])))
		case c == 'u':
			dst = utf8.AppendRune(dst, hex4(raw[i+2:]))
		case c == 'b':
			dst = append(dst, '\b')
		case c == 'f':
			dst = append(dst, '\f')
		case c == 'n':
			dst = append(dst, '\n')
		case c == 'r':
			dst = append(dst, '\r')
		case c == 't':
			dst = append(dst, '\t')
		default:
			dst = append(dst, c)
		}
		i += n
	}
	return dst
}

// number reads a number and returns it as it stands.
func (s *scanner) number() (raw []byte, ok bool) {
	d, i := s.data, s.pos
	digits := func() bool {
		from := i
		for i < len(d) && d[i] >= '0' && d[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(d) && d[i] == '-' {
		i++
	}
	from := i
	switch {
	case i < len(d) && d[i] == '0':
		i++
		if i < len(d) && d[i] >= '0' && d[i] <= '9' {
			return nil, s.fail(i-1, "invalid JSON: found a number with a leading zero; write it without")
		}
	case !digits():
		if i > s.pos {
			return nil, s.invalid(i, "a digit")
		}
		return nil, s.invalid(i, "a value")
	}
	whole := i - from
	if i < len(d) && d[i] == '.' {
		i++
		if !digits() {
			return nil, s.invalid(i, "a digit")
		}
	}
	exponent := i < len(d) && (d[i] == 'e' || d[i] == 'E')
	if exponent {
		i++
		if i < len(d) && (d[i] == '+' || d[i] == '-') {
			i++
		}
		if !digits() {
			return nil, s.invalid(i, "a digit")
		}
	}
	raw = d[s.pos:i]
	// 308 digits cannot overflow a float64 without an exponent.
	if s.strict && (exponent || whole > 308) {
		if _, err := strconv.ParseFloat(string(raw), 64); err != nil {
			return nil, s.fail(s.pos, "found a number out of range; a number should be less than 1.8e308 either way")
		}
	}
	s.pos = i
	return raw, true
}
