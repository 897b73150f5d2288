package openapi

// Schema is a JSON Schema (2020-12), which OpenAPI 3.1 takes as it is.
type Schema map[string]any

// fields are the members of an object by name.
type fields map[string]Schema

var (
	text    = Schema{"type": "string"}
	whole   = Schema{"type": "integer"}
	number  = Schema{"type": "number"}
	truth   = Schema{"type": "boolean"}
	nothing = Schema{"type": "null"}
	decimal = Schema{"type": "string", "pattern": `^-?[0-9]+(\.[0-9]+)?$`, "description": "USD, exact"}
)

// object holds at least the required members; what else it holds is not described.
func object(members fields, required ...string) Schema {
	s := Schema{"type": "object"}
	if len(members) > 0 {
		s["properties"] = members
	}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// closed holds nothing but the members.
func closed(members fields, required ...string) Schema {
	s := object(members, required...)
	s["additionalProperties"] = false
	return s
}

// dictionary holds any names.
func dictionary(of Schema) Schema { return Schema{"type": "object", "additionalProperties": of} }

func list(of Schema) Schema { return Schema{"type": "array", "items": of} }

func oneOf(words ...string) Schema { return Schema{"type": "string", "enum": words} }

func always(word string) Schema { return Schema{"const": word} }

// or is a value of any of the schemas.
func or(of ...Schema) Schema { return Schema{"anyOf": of} }

func nullable(s Schema) Schema {
	if kind, ok := s["type"].(string); ok && s["enum"] == nil {
		n := Schema{}
		for k, v := range s {
			n[k] = v
		}
		n["type"] = []string{kind, "null"}
		return n
	}
	return or(s, nothing)
}

func about(s Schema, what string) Schema {
	d := Schema{"description": what}
	for k, v := range s {
		d[k] = v
	}
	return d
}

func ref(name string) Schema { return Schema{"$ref": "#/components/schemas/" + name} }

// with is the union of members; the later win.
func with(all ...fields) fields {
	out := fields{}
	for _, f := range all {
		for k, v := range f {
			out[k] = v
		}
	}
	return out
}

// schemas are all of them, by name.
var schemas = map[string]Schema{}

func define(name string, s Schema) { schemas[name] = s }
