package talk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// reading is one text that is read into the inner form, with what of it has no place there.
type reading struct {
	unknown []string
}

func (in *reading) say(path, format string, args ...any) {
	in.unknown = append(in.unknown, path+": "+fmt.Sprintf(format, args...))
}

// object is a JSON object while its fields are taken out of it. Keys are taken exactly as they are written, which
// encoding/json does not do for structs. What nobody has taken is unknown to us: leftover notes it.
type object struct {
	in     *reading
	path   string
	fields map[string]json.RawMessage
}

// parse reads an object; fields of it that are null count as absent. An object that is none has no fields, and is noted.
func (in *reading) parse(path string, data json.RawMessage) *object {
	o := &object{in: in, path: path}
	if json.Unmarshal(data, &o.fields) != nil {
		in.say(orBody(path), "should be an object")
	}
	return o
}

func orBody(path string) string {
	if path == "" {
		return "body"
	}
	return path
}

func (o *object) at(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

// take is a field's value; nil where it is absent or null.
func (o *object) take(name string) json.RawMessage {
	v := o.fields[name]
	delete(o.fields, name)
	if string(v) == "null" {
		return nil
	}
	return v
}

// ignore takes fields of which nothing depends.
func (o *object) ignore(names ...string) {
	for _, n := range names {
		delete(o.fields, n)
	}
}

// leftover notes the fields that nobody has taken.
func (o *object) leftover() {
	for _, name := range slices.Sorted(maps.Keys(o.fields)) {
		if string(o.fields[name]) != "null" {
			o.in.say(o.at(name), "is not a field that this router can translate")
		}
	}
}

func (o *object) into(name string, v any, want string) bool {
	raw := o.take(name)
	if raw == nil {
		return false
	}
	if json.Unmarshal(raw, v) != nil {
		o.in.say(o.at(name), "should be %s", want)
		return false
	}
	return true
}

func (o *object) text(name string) (s string) {
	raw := o.take(name)
	if raw == nil {
		return ""
	}
	s, ok := readString(raw)
	if !ok {
		o.in.say(o.at(name), "should be a string of whole characters")
	}
	return s
}

// readString decodes a string; false where it is none or holds half of a surrogate pair, which has no other spelling.
func readString(raw json.RawMessage) (s string, ok bool) {
	if json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	if strings.ContainsRune(s, '\ufffd') && bytes.Contains(bytes.ToLower(raw), []byte(`\ud`)) {
		return s, false
	}
	return s, true
}

// is takes the type where it is that one.
func (o *object) is(kind string) bool {
	s, ok := readString(o.fields["type"])
	if ok = ok && s == kind; ok {
		o.ignore("type")
	}
	return ok
}

func (o *object) whole(name string) (n int64) {
	o.into(name, &n, "a whole number")
	return n
}

func (o *object) flag(name string) *bool {
	b := false
	if !o.into(name, &b, "true or false") {
		return nil
	}
	return &b
}

func (o *object) list(name string) (items []json.RawMessage) {
	o.into(name, &items, "an array")
	return items
}

func (o *object) texts(name string) (list []string) {
	o.into(name, &list, "an array of strings")
	return list
}

// object is a field's value as an object; nil where it is absent.
func (o *object) object(name string) *object {
	raw := o.take(name)
	if raw == nil {
		return nil
	}
	return o.in.parse(o.at(name), raw)
}

func isString(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '"' }

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// members is a JSON object that is being written.
type members map[string]any

// set adds a field unless it is the zero value.
func (m members) text(name, value string) {
	if value != "" {
		m[name] = value
	}
}

// encode writes JSON without the escapes that HTML would need.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // maps, strings and JSON that was read: always marshals
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// writing is a request that is written in one API's words, with what that has no words for.
type writing struct {
	unsaid []string
}

func (w *writing) cannot(path, format string, args ...any) {
	w.unsaid = append(w.unsaid, path+": "+fmt.Sprintf(format, args...))
}
