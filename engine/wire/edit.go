package wire

import (
	"bytes"
	"strings"
)

// fieldIndex is where the members of one object stand, so that it can be edited without being read again.
type fieldIndex struct {
	start, end int // of the object, with its braces
	members    []member
}

// member is one member of an object, by offsets.
type member struct {
	lead  int // after the '{' or ',' before it
	key   int // its opening quote
	value int
	end   int // of its value
}

// AppendEdited appends Body with the edits applied, one after the other, to dst, which must not share memory with Body.
// The bytes that no edit names are copied verbatim; a field that is added goes to the front. Where an edit sets
// a field one level below something that is no object, an object takes its place. Values are not checked: they must be
// JSON.
func (r *Request) AppendEdited(dst []byte, edits ...Edit) []byte {
	return r.fields.appendEdited(dst, r.Body, edits)
}

func (x *fieldIndex) appendEdited(dst, data []byte, edits []Edit) []byte {
	if len(edits) == 0 || x.end == 0 {
		return append(dst, data...)
	}
	dst = append(dst, data[:x.start+1]...)
	first := len(dst)
	comma := func() {
		if len(dst) > first {
			dst = append(dst, ',')
		}
	}
	for i, e := range edits {
		name, _, _ := strings.Cut(e.Field, ".")
		if names(edits[:i], name) || x.last(data, name) >= 0 {
			continue
		}
		if value := edited(nil, name, edits); value != nil {
			comma()
			dst = appendString(dst, name)
			dst = append(dst, ':')
			dst = append(dst, value...)
		}
	}
	for i, m := range x.members {
		end := x.end - 1
		if i+1 < len(x.members) {
			end = x.members[i+1].lead - 1
		}
		name, ok := x.named(data, i, edits)
		if !ok {
			comma()
			dst = append(dst, data[m.lead:end]...)
			continue
		}
		if x.last(data, name) != i {
			continue // an answer may hold a key twice: the last one counts, and editing leaves only that
		}
		if value := edited(data[m.value:m.end], name, edits); value != nil {
			comma()
			dst = append(dst, data[m.lead:m.value]...)
			dst = append(dst, value...)
			dst = append(dst, data[m.end:end]...)
		}
	}
	if len(x.members) == 0 {
		dst = append(dst, data[x.start+1:x.end-1]...)
	}
	return append(dst, data[x.end-1:]...)
}

// edited returns what the edits make of the value of the field name, nil for a field that is absent.
func edited(value []byte, name string, edits []Edit) []byte {
	var below []Edit
	sets := false
	for _, e := range edits {
		switch head, rest, nested := strings.Cut(e.Field, "."); {
		case head != name:
		case !nested:
			value, below, sets = e.Value, nil, false
			if len(value) == 0 {
				value = nil
			}
		default:
			below = append(below, Edit{Field: rest, Value: e.Value})
			sets = sets || len(e.Value) > 0
		}
	}
	if below == nil {
		return value
	}
	var x fieldIndex
	s := scanner{data: value}
	if s.peek() != '{' || !s.index(&x) {
		if !sets {
			return value
		}
		value = []byte("{}")
		x = fieldIndex{end: 2}
	}
	return x.appendEdited(nil, value, below)
}

// names reports whether one of the edits is of the field name or of something below it.
func names(edits []Edit, name string) bool {
	for _, e := range edits {
		if head, _, _ := strings.Cut(e.Field, "."); head == name {
			return true
		}
	}
	return false
}

// named returns the field of edits that member i is.
func (x *fieldIndex) named(data []byte, i int, edits []Edit) (name string, ok bool) {
	for _, e := range edits {
		if head, _, _ := strings.Cut(e.Field, "."); x.is(data, i, head) {
			return head, true
		}
	}
	return "", false
}

// last returns the last member of that name, -1 where there is none.
func (x *fieldIndex) last(data []byte, name string) int {
	for i := len(x.members) - 1; i >= 0; i-- {
		if x.is(data, i, name) {
			return i
		}
	}
	return -1
}

func (x *fieldIndex) is(data []byte, i int, name string) bool {
	raw := data[x.members[i].key+1 : x.members[i].value]
	if len(raw) > len(name) && raw[len(name)] == '"' && string(raw[:len(name)]) == name {
		return true
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return false
	}
	s := scanner{data: data, pos: x.members[i].key}
	t, _ := s.text()
	return t.is(name)
}

// index reads an object and fills x with where its members stand.
func (s *scanner) index(x *fieldIndex) bool {
	x.members = x.members[:0]
	o := s.object()
	for s.member(&o) {
		value := s.pos
		if !s.skip() {
			return false
		}
		x.members = append(x.members, member{lead: o.lead, key: o.keyAt, value: value, end: s.pos})
	}
	x.start, x.end = o.at, s.pos
	return s.ok()
}
