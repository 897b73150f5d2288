package config

import (
	"encoding"
	"fmt"
	"maps"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Decode fills into (a pointer) from the top-level key name, and reports every unknown key, wrong type and bad value
// below it, all at once. An absent key leaves into as it is.
//
// Keys go to the struct fields that name them in a toml tag: structs, maps with string keys, slices, pointers, strings,
// integers, floats (finite), booleans, time.Duration ("30s", "90d"), time.Time (dates and date-times, UTC where no offset is
// written), encoding.TextUnmarshaler, and any, which takes string, int64, float64, bool, []any, map[string]any and has dates as
// strings (RFC 3339). A struct that embeds Origin learns where it stands; another embedded struct lends its fields.
//
// Further tags, separated by commas in check: required (present and not empty), oneof=a|b|c (a string or each of an array),
// min=N, max=N (numbers, durations).
func (d *Document) Decode(name string, into any) Problems {
	value, ok := d.root[name]
	if !ok {
		return nil
	}
	dec := decoder{doc: d}
	dec.value(Dotted(name), value, reflect.ValueOf(into).Elem(), "")
	return dec.problems
}

// A Refuser is a struct for Decode that has a word to say on keys which people write but must not: why, by key. The message
// never shows the value.
type Refuser interface{ Refused() map[string]string }

type decoder struct {
	doc      *Document
	problems Problems
}

func (d *decoder) problem(path, format string, args ...any) {
	d.problems = append(d.problems, d.doc.Problem(path, format, args...))
}

var (
	originType   = reflect.TypeFor[Origin]()
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func (d *decoder) value(path string, in any, out reflect.Value, checks string) {
	before := len(d.problems)
	d.fill(path, in, out, checks)
	if len(d.problems) == before {
		d.check(path, out, checks)
	}
}

func (d *decoder) fill(path string, in any, out reflect.Value, checks string) {
	switch t := out.Type(); {
	case t == timeType:
		d.date(path, in, out)
		return
	case t == durationType:
		d.duration(path, in, out)
		return
	case reflect.PointerTo(t).Implements(textType):
		d.text(path, in, out)
		return
	}
	switch out.Kind() {
	case reflect.Pointer:
		target := reflect.New(out.Type().Elem())
		d.value(path, in, target.Elem(), checks)
		out.Set(target)
	case reflect.Struct:
		if table, ok := in.(map[string]any); ok {
			d.table(path, table, out)
		} else {
			d.mismatch(path, in, "a table")
		}
	case reflect.Map:
		d.mapping(path, in, out)
	case reflect.Slice:
		d.slice(path, in, out)
	case reflect.Interface:
		out.Set(reflect.ValueOf(plain(in)))
	default:
		d.scalar(path, in, out)
	}
}

func (d *decoder) table(path string, table map[string]any, out reflect.Value) {
	known := d.fields(path, table, out)
	if refuser, ok := out.Addr().Interface().(Refuser); ok {
		refused := refuser.Refused()
		for _, key := range sortedKeys(table) {
			if why, ok := refused[key]; ok {
				d.problem(join(path, Dotted(key)), "%s", why)
				table = without(table, key)
			}
		}
	}
	d.problems = append(d.problems, d.doc.unknownKeys(path, table, known)...)
}

func without(table map[string]any, key string) map[string]any {
	rest := maps.Clone(table)
	delete(rest, key)
	return rest
}

// fields fills the fields of a struct and returns the keys that it knows.
func (d *decoder) fields(path string, table map[string]any, out reflect.Value) []string {
	var known []string
	t := out.Type()
	for i := range t.NumField() {
		field := t.Field(i)
		name := field.Tag.Get("toml")
		switch {
		case field.Type == originType && field.Anonymous:
			out.Field(i).Set(reflect.ValueOf(Origin{doc: d.doc, path: path}))
		case name == "" && field.Anonymous && field.Type.Kind() == reflect.Struct:
			known = append(known, d.fields(path, table, out.Field(i))...)
		case name != "":
			known = append(known, name)
			at := join(path, Dotted(name))
			checks := field.Tag.Get("check")
			if in, ok := table[name]; ok {
				d.value(at, in, out.Field(i), checks)
			} else if hasCheck(checks, "required") {
				d.problem(at, "missing; expected %s", expected(field.Type))
			}
		}
	}
	return known
}

func (d *decoder) mapping(path string, in any, out reflect.Value) {
	table, ok := in.(map[string]any)
	if !ok {
		d.mismatch(path, in, "a table")
		return
	}
	t := out.Type()
	if out.IsNil() {
		out.Set(reflect.MakeMapWithSize(t, len(table)))
	}
	for _, key := range sortedKeys(table) {
		v := reflect.New(t.Elem()).Elem()
		if d.element(join(path, Dotted(key)), table[key], v) {
			out.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), v)
		}
	}
}

func (d *decoder) slice(path string, in any, out reflect.Value) {
	list, ok := elements(in)
	if !ok {
		d.mismatch(path, in, "an array")
		return
	}
	filled := reflect.MakeSlice(out.Type(), 0, len(list))
	for i, in := range list {
		v := reflect.New(out.Type().Elem()).Elem()
		if d.element(element(path, i), in, v) {
			filled = reflect.Append(filled, v)
		}
	}
	out.Set(filled)
}

// element fills an element of a map or slice and says whether it can be kept: a table with problems still has an Origin
// and other fields to check, but anything else that is wrong would only be reported a second time.
func (d *decoder) element(path string, in any, out reflect.Value) bool {
	before := len(d.problems)
	d.value(path, in, out, "")
	_, isTable := in.(map[string]any)
	kind := out.Kind()
	if kind == reflect.Pointer {
		kind = out.Type().Elem().Kind()
	}
	return len(d.problems) == before || isTable && kind == reflect.Struct
}

// elements unites the two forms of an array that the TOML library has.
func elements(in any) ([]any, bool) {
	switch list := in.(type) {
	case []any:
		return list, true
	case []map[string]any:
		all := make([]any, len(list))
		for i, table := range list {
			all[i] = table
		}
		return all, true
	}
	return nil, false
}

func (d *decoder) text(path string, in any, out reflect.Value) {
	s, ok := in.(string)
	if !ok {
		d.mismatch(path, in, "a string")
		return
	}
	if err := out.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
		d.problem(path, "%v", err)
	}
}

func (d *decoder) duration(path string, in any, out reflect.Value) {
	s, ok := in.(string)
	if !ok {
		d.mismatch(path, in, expected(durationType))
		return
	}
	span, err := ParseDuration(s)
	if err != nil {
		d.problem(path, "%v", err)
		return
	}
	out.SetInt(int64(span))
}

func (d *decoder) date(path string, in any, out reflect.Value) {
	when, ok := in.(time.Time)
	if !ok || when.Location().String() == localTime {
		d.mismatch(path, in, expected(timeType))
		return
	}
	out.Set(reflect.ValueOf(universal(when)))
}

// The TOML library marks what was written without an offset by the names of these zones.
const (
	localDatetime = "datetime-local"
	localDate     = "date-local"
	localTime     = "time-local"
)

// universal reads a date or time without an offset as UTC: what a configuration means must not depend on the machine.
func universal(when time.Time) time.Time {
	switch when.Location().String() {
	case localDatetime, localDate, localTime:
		return time.Date(when.Year(), when.Month(), when.Day(), when.Hour(), when.Minute(), when.Second(), when.Nanosecond(), time.UTC)
	}
	return when.UTC()
}

func writeTime(when time.Time) string {
	switch when.Location().String() {
	case localDate:
		return when.Format(time.DateOnly)
	case localTime:
		return when.Format("15:04:05.999999999")
	}
	return universal(when).Format(time.RFC3339Nano)
}

func plain(in any) any {
	switch v := in.(type) {
	case time.Time:
		return writeTime(v)
	case map[string]any:
		table := make(map[string]any, len(v))
		for key, e := range v {
			table[key] = plain(e)
		}
		return table
	}
	if list, ok := elements(in); ok {
		all := make([]any, len(list))
		for i, e := range list {
			all[i] = plain(e)
		}
		return all
	}
	return in
}

func (d *decoder) scalar(path string, in any, out reflect.Value) {
	switch out.Kind() {
	case reflect.String:
		if s, ok := in.(string); ok {
			out.SetString(s)
			return
		}
	case reflect.Bool:
		if b, ok := in.(bool); ok {
			out.SetBool(b)
			return
		}
	case reflect.Float32, reflect.Float64:
		switch v := in.(type) {
		case int64:
			out.SetFloat(float64(v))
			return
		case float64:
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				out.SetFloat(v)
				return
			}
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n, ok := in.(int64); ok && !out.OverflowInt(n) {
			out.SetInt(n)
			return
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n, ok := in.(int64); ok && n >= 0 && !out.OverflowUint(uint64(n)) {
			out.SetUint(uint64(n))
			return
		}
	default:
		panic("config: no TOML value fits a Go " + out.Type().String())
	}
	d.mismatch(path, in, expected(out.Type()))
}

// mismatch shows a string only where a plain value belongs: what stands in place of a table may well be a secret.
func (d *decoder) mismatch(path string, in any, want string) {
	found := describe(in)
	if _, isString := in.(string); isString && (want == "a table" || want == "an array") {
		found = "a string"
	}
	d.problem(path, "found %s; expected %s", found, want)
}

func describe(in any) string {
	switch v := in.(type) {
	case string:
		return "string " + Quote(shorten(v))
	case int64:
		return "integer " + strconv.FormatInt(v, 10)
	case float64:
		return "float " + strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return "boolean " + strconv.FormatBool(v)
	case time.Time:
		if v.Location().String() == localTime {
			return "time " + writeTime(v)
		}
		return "date " + writeTime(v)
	case map[string]any:
		return "a table"
	}
	return "an array"
}

func shorten(s string) string {
	const longest = 60
	if r := []rune(s); len(r) > longest {
		return string(r[:longest]) + "…"
	}
	return s
}

func expected(t reflect.Type) string {
	switch {
	case t == timeType:
		return "a date such as 2027-01-31 or 2027-01-31T12:00:00Z"
	case t == durationType:
		return `a duration such as "250ms", "30s" or "90d"`
	case reflect.PointerTo(t).Implements(textType):
		return "a string"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return expected(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a finite number"
	case reflect.Int, reflect.Int64:
		return "an integer"
	case reflect.Int8, reflect.Int16, reflect.Int32:
		return fmt.Sprintf("an integer from %d to %d", -(int64(1) << (t.Bits() - 1)), int64(1)<<(t.Bits()-1)-1)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return fmt.Sprintf("an integer from 0 to %d", uint64(1)<<t.Bits()-1)
	case reflect.Uint, reflect.Uint64:
		return "an integer that is not negative"
	case reflect.Slice:
		return "an array"
	case reflect.Interface:
		return "a value"
	}
	return "a table"
}

func hasCheck(checks, name string) bool {
	return contains(strings.Split(checks, ","), name)
}

// check holds a value that has the right type against the check tag of its field.
func (d *decoder) check(path string, v reflect.Value, checks string) {
	if checks == "" || v.Kind() == reflect.Pointer { // what it points to was checked when that was filled
		return
	}
	for _, check := range strings.Split(checks, ",") {
		name, arg, _ := strings.Cut(check, "=")
		switch name {
		case "required":
			if (v.Kind() == reflect.String || v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 {
				d.problem(path, "found nothing in it; expected %s that is not empty", expected(v.Type()))
			}
		case "oneof":
			d.oneOf(path, v, strings.Split(arg, "|"))
		case "min":
			if number(v) < bound(v, arg) {
				d.problem(path, "found %s; expected at least %s", written(v), arg)
			}
		case "max":
			if number(v) > bound(v, arg) {
				d.problem(path, "found %s; expected at most %s", written(v), arg)
			}
		default:
			panic("config: unknown check " + strconv.Quote(check))
		}
	}
}

func (d *decoder) oneOf(path string, v reflect.Value, among []string) {
	if v.Kind() == reflect.Slice {
		for i := range v.Len() {
			d.oneOf(element(path, i), v.Index(i), among)
		}
		return
	}
	if !contains(among, v.String()) {
		d.problem(path, "%s", NotOneOf(v.String(), among))
	}
}

func number(v reflect.Value) float64 {
	switch {
	case v.CanInt():
		return float64(v.Int())
	case v.CanUint():
		return float64(v.Uint())
	}
	return v.Float()
}

func bound(v reflect.Value, arg string) float64 {
	if v.Type() == durationType {
		span, err := ParseDuration(arg)
		if err != nil {
			panic("config: check bound: " + err.Error())
		}
		return float64(span)
	}
	limit, err := strconv.ParseFloat(arg, 64)
	if err != nil {
		panic("config: check bound: " + err.Error())
	}
	return limit
}

func written(v reflect.Value) string {
	return fmt.Sprint(v.Interface())
}
