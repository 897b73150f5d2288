package policy

import (
	"encoding/binary"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone/engine/catalog"
)

// kind is the shape of a field of Input that rules can read.
type kind uint8

const (
	kindString kind = iota
	kindBool
	kindInt
	kindFloat
	kindStrings
	kindStringMap // open maps: read only through object.get, so that an absent key has a value
	kindNumberMap
)

// field is one place of Input, as the Go types state it: a group of fields, or one that rules can read.
type field struct {
	name   string // "input.endpoint.price.prompt"
	key    string // the last part of the name
	doc    string
	enum   []string
	most   float64  // the greatest that a number can be; 0: not bounded
	values int      // of a whole number that is 0 or more and less than this; 0: not bounded so
	words  []string // that are all it can be, or all that a list's elements can be; the schema does not publish them
	filled string   // what a list that is never empty holds where nothing is stated; "": the list may be empty, or the field is none
	many   string   // why it has so many values that remembering answers is of little use; "": it has not
	fields []*field // of a group, in the order of the Go type; nil for one that rules can read
	kind   kind
	index  []int   // for reflect
	offset uintptr // from the beginning of an Input
}

// at is where in has f. Its type is the one of f's kind: reflection found both when the program began. To find them anew makes a key
// take more than twice as long.
func (f *field) at(in *Input) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(in), f.offset) }

// inputField is the root of everything that rules can read.
var inputField = func() *field {
	root := fieldOf(reflect.TypeFor[Input](), "input", nil, 0)
	for name, words := range vocabularies {
		root.find(name).words = words
	}
	return root
}()

// vocabularies are the catalog's, of fields that have no enum of their own.
var vocabularies = map[string][]string{
	"input.endpoint.quantization":       catalog.Quantizations,
	"input.endpoint.jurisdiction":       catalog.Jurisdictions,
	"input.endpoint.headquarters":       catalog.Jurisdictions,
	"input.endpoint.processing_regions": append(slices.Clone(catalog.Regions), unknown),
	"input.endpoint.input_modalities":   catalog.Modalities,
	"input.endpoint.output_modalities":  catalog.Modalities,
	"input.endpoint.parameters":         catalog.Parameters,
	"input.request.input_modalities":    catalog.Modalities,
	"input.request.output_modalities":   catalog.Modalities,

	"input.request.preferences.quantizations": catalog.Quantizations,
	"input.request.preferences.sort":          {"exacto", "latency", "price", "throughput", ""},
}

func fieldOf(t reflect.Type, name string, index []int, offset uintptr) *field {
	f := &field{name: name, key: name[strings.LastIndexByte(name, '.')+1:], index: index, offset: offset}
	switch t.Kind() {
	case reflect.String:
		f.kind = kindString
	case reflect.Bool:
		f.kind = kindBool
	case reflect.Int64:
		f.kind = kindInt
	case reflect.Float64:
		f.kind = kindFloat
	case reflect.Slice:
		f.kind = kindStrings
	case reflect.Map:
		f.kind = kindStringMap
		if t.Elem().Kind() == reflect.Float64 {
			f.kind = kindNumberMap
		}
	case reflect.Struct:
		for i := range t.NumField() {
			sf := t.Field(i)
			sub := fieldOf(sf.Type, name+"."+sf.Tag.Get("json"), append(slices.Clone(index), i), offset+sf.Offset)
			sub.doc = sf.Tag.Get("doc")
			sub.many = sf.Tag.Get("many")
			sub.filled = sf.Tag.Get("filled")
			sub.values, _ = strconv.Atoi(sf.Tag.Get("values"))       // absent: 0
			sub.most, _ = strconv.ParseFloat(sf.Tag.Get("most"), 64) // absent: 0
			if sub.values > 0 {
				sub.most = float64(sub.values - 1)
			}
			if enum := sf.Tag.Get("enum"); enum != "" {
				sub.enum = strings.Split(enum, ",")
				sub.words = sub.enum
			}
			f.fields = append(f.fields, sub)
		}
	}
	return f
}

func (f *field) open() bool { return f.kind == kindStringMap || f.kind == kindNumberMap }

func (f *field) child(key string) *field {
	for _, sub := range f.fields {
		if sub.key == key {
			return sub
		}
	}
	return nil
}

func (f *field) names() []string {
	names := make([]string, len(f.fields))
	for i, sub := range f.fields {
		names[i] = sub.key
	}
	return names
}

// find is the field of that name below f; nil where there is none.
func (f *field) find(name string) *field {
	for _, part := range strings.Split(name, ".")[1:] {
		if f = f.child(part); f == nil {
			return nil
		}
	}
	return f
}

// read is one thing that a rule reads: a field, or one key of an open map.
type read struct {
	field *field
	keyed bool
	key   string
}

func (r read) String() string {
	if r.keyed {
		return r.field.name + "[" + ast.String(r.key).String() + "]"
	}
	return r.field.name
}

// readSet is everything that a policy reads, sorted and unique. Evaluation sees nothing else, so that a verdict is a
// function of it by construction.
type readSet []read

// everything is all that Input has.
var everything = newReadSet(leaves(inputField))

func leaves(f *field) []read {
	if f.fields == nil {
		return []read{{field: f}}
	}
	var all []read
	for _, sub := range f.fields {
		all = append(all, leaves(sub)...)
	}
	return all
}

func newReadSet(reads []read) readSet {
	slices.SortFunc(reads, func(a, b read) int {
		if c := strings.Compare(a.field.name, b.field.name); c != 0 {
			return c
		}
		if a.keyed != b.keyed {
			if b.keyed {
				return -1
			}
			return 1
		}
		return strings.Compare(a.key, b.key)
	})
	var set readSet
	for _, r := range reads {
		if n := len(set); n > 0 && set[n-1].field == r.field && (!set[n-1].keyed || set[n-1] == r) {
			continue
		}
		set = append(set, r)
	}
	return set
}

// under is the part of the set below the group of that name.
func (s readSet) under(group string) (in, out readSet) {
	for _, r := range s {
		if strings.HasPrefix(r.field.name, group+".") {
			in = append(in, r)
		} else {
			out = append(out, r)
		}
	}
	return in, out
}

// touches says whether the set reads one of the fields of these names, or something below one.
func (s readSet) touches(names ...string) bool {
	return slices.ContainsFunc(s, func(r read) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(r.field.name+".", name+".") })
	})
}

// appendKey appends the canonical bytes of what the set reads of in. Two inputs have the same bytes exactly where they
// agree on every field of the set: each value is either of fixed size or led by its length.
func (s readSet) appendKey(dst []byte, in *Input) []byte {
	for i := range s {
		r := &s[i]
		at := r.field.at(in)
		switch r.field.kind {
		case kindString:
			dst = appendString(dst, *(*string)(at))
		case kindBool:
			if *(*bool)(at) {
				dst = append(dst, 1)
			} else {
				dst = append(dst, 0)
			}
		case kindInt:
			dst = binary.AppendVarint(dst, *(*int64)(at))
		case kindFloat:
			dst = appendFloat(dst, *(*float64)(at))
		case kindStrings:
			list := *(*[]string)(at)
			dst = binary.AppendUvarint(dst, uint64(len(list)))
			for _, s := range list {
				dst = appendString(dst, s)
			}
		case kindStringMap:
			dst = appendMap(dst, r, *(*map[string]string)(at), appendString)
		case kindNumberMap:
			dst = appendMap(dst, r, *(*map[string]float64)(at), appendFloat)
		}
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendFloat(dst []byte, f float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
}

func appendMap[V any](dst []byte, r *read, m map[string]V, value func([]byte, V) []byte) []byte {
	if r.keyed {
		v, ok := m[r.key]
		if !ok {
			return append(dst, 0)
		}
		return value(append(dst, 1), v)
	}
	dst = binary.AppendUvarint(dst, uint64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		dst = value(appendString(dst, k), m[k])
	}
	return dst
}

// shown is what the set reads of in, by name.
func (s readSet) shown(in *Input) map[string]any {
	root := reflect.ValueOf(in).Elem()
	values := map[string]any{}
	for _, r := range s {
		v := root.FieldByIndex(r.field.index)
		if !r.keyed {
			values[r.String()] = v.Interface()
		} else if e := v.MapIndex(reflect.ValueOf(r.key)); e.IsValid() {
			values[r.String()] = e.Interface()
		} else {
			values[r.String()] = nil
		}
	}
	return values
}

// value builds the input document that holds what the set reads, and nothing else.
func (s readSet) value(in *Input) ast.Value {
	root := reflect.ValueOf(in).Elem()
	return s.object(root, "input")
}

func (s readSet) object(root reflect.Value, group string) ast.Object {
	obj := ast.NewObject()
	for i := 0; i < len(s); {
		rest := s[i].field.name[len(group)+1:]
		key, _, nested := strings.Cut(rest, ".")
		name := group + "." + key
		j := i + 1
		for j < len(s) && (s[j].field.name == name || strings.HasPrefix(s[j].field.name, name+".")) {
			j++
		}
		if nested {
			obj.Insert(ast.InternedTerm(key), ast.NewTerm(s[i:j].object(root, name)))
		} else {
			obj.Insert(ast.InternedTerm(key), ast.NewTerm(s[i:j].leaf(root.FieldByIndex(s[i].field.index))))
		}
		i = j
	}
	return obj
}

// leaf is the value of one field; s holds it once, or once for each key of an open map.
func (s readSet) leaf(v reflect.Value) ast.Value {
	switch s[0].field.kind {
	case kindString:
		return ast.String(v.String())
	case kindBool:
		return ast.Boolean(v.Bool())
	case kindInt:
		return ast.InternedTerm(int(v.Int())).Value
	case kindFloat:
		return ast.FloatNumberTerm(v.Float()).Value
	case kindStrings:
		terms := make([]*ast.Term, v.Len())
		for i := range terms {
			terms[i] = ast.StringTerm(v.Index(i).String())
		}
		return ast.NewArray(terms...)
	case kindStringMap:
		return mapValue(s, v.Interface().(map[string]string), func(v string) *ast.Term { return ast.StringTerm(v) })
	default:
		return mapValue(s, v.Interface().(map[string]float64), ast.FloatNumberTerm)
	}
}

func mapValue[V any](s readSet, m map[string]V, term func(V) *ast.Term) ast.Value {
	obj := ast.NewObject()
	if !s[0].keyed {
		for k, v := range m {
			obj.Insert(ast.StringTerm(k), term(v))
		}
		return obj
	}
	for _, r := range s {
		if v, ok := m[r.key]; ok {
			obj.Insert(ast.StringTerm(r.key), term(v))
		}
	}
	return obj
}
