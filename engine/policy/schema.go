package policy

import (
	"encoding/json"
	"slices"
)

// Schema is the closed JSON Schema of what rules read: with endpoint for those that judge a row, without for those that
// judge the whole request.
func Schema(endpoint bool) []byte {
	s := inputField.schema(endpoint)
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["title"] = "What a policy reads of a request"
	if endpoint {
		s["title"] = "What a policy reads of a request and of the row that could serve it"
	}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // maps, strings and slices of them always marshal
	}
	return append(out, '\n')
}

func (f *field) schema(endpoint bool) map[string]any {
	s := map[string]any{}
	if f.doc != "" {
		s["description"] = f.doc
	}
	if f.enum != nil {
		s["enum"] = f.enum
	}
	if f.fields != nil {
		properties, required := map[string]any{}, []string{}
		for _, sub := range f.fields {
			if endpoint || sub.name != "input.endpoint" {
				properties[sub.key] = sub.schema(endpoint)
				required = append(required, sub.key)
			}
		}
		slices.Sort(required)
		s["type"], s["properties"], s["required"], s["additionalProperties"] = "object", properties, required, false
		return s
	}
	switch f.kind {
	case kindString:
		s["type"] = "string"
	case kindBool:
		s["type"] = "boolean"
	case kindInt:
		s["type"] = "integer"
	case kindFloat:
		s["type"] = "number"
	case kindStrings:
		s["type"], s["items"] = "array", map[string]any{"type": "string"}
	case kindStringMap:
		s["type"], s["additionalProperties"] = "object", map[string]any{"type": "string"}
	case kindNumberMap:
		s["type"], s["additionalProperties"] = "object", map[string]any{"type": "number"}
	}
	return s
}
