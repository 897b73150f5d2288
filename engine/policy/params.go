package policy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone/engine/config"
)

// A package declares its parameters in its metadata, as stock OPA reads them:
//
//	# METADATA
//	# schemas:
//	#   - data.params: {type: object, properties: {regions: {type: array, items: {type: string}}}, required: [regions]}
//
// so that a rule which misspells one, and a binding which gives one of the wrong type, are refused at load.

// declaration is the JSON Schema of a package's parameters.
type declaration struct {
	properties map[string]any
	required   []string
	schema     map[string]any
}

// declared is what a package's metadata says of its parameters; nil where it says nothing.
func declared(a *ast.Annotations) (*declaration, error) {
	for _, s := range a.Schemas {
		if !s.Path.Equal(paramsRef) {
			continue
		}
		if s.Definition == nil {
			return nil, fmt.Errorf("the schema of data.params must be written out in the metadata")
		}
		schema, _ := (*s.Definition).(map[string]any)
		if err := supportedSchema(schema, "object"); err != nil {
			return nil, fmt.Errorf("the schema of data.params: %w", err)
		}
		d := &declaration{properties: map[string]any{}, schema: schema}
		d.properties, _ = schema["properties"].(map[string]any)
		for _, name := range list(schema["required"]) {
			s, _ := name.(string)
			d.required = append(d.required, s)
		}
		return d, nil
	}
	return nil, nil
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

var schemaKeywords = []string{"type", "description", "title", "default", "examples", "properties", "required", "additionalProperties", "items", "enum", "minimum", "maximum", "minItems", "minProperties"}

// supportedSchema refuses what valueProblem does not check: a bound that is written and not held would mislead.
func supportedSchema(schema map[string]any, want string) error {
	if schema == nil {
		return fmt.Errorf("found no schema; expected {type: …}")
	}
	for key := range schema {
		if !slices.Contains(schemaKeywords, key) {
			return fmt.Errorf("%s", config.UnknownName("keyword", key, schemaKeywords))
		}
	}
	t, _ := schema["type"].(string)
	switch t {
	case "object":
		properties, _ := schema["properties"].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			sub, _ := properties[name].(map[string]any)
			if err := supportedSchema(sub, ""); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if extra, ok := schema["additionalProperties"]; ok && extra != false {
			return fmt.Errorf("additionalProperties must be false: a misspelt parameter would go unnoticed")
		}
	case "array":
		items, _ := schema["items"].(map[string]any)
		return supportedSchema(items, "")
	case "string", "number", "integer", "boolean":
	default:
		return fmt.Errorf("type: %s", config.NotOneOf(t, []string{"string", "number", "integer", "boolean", "array", "object"}))
	}
	if want != "" && t != want {
		return fmt.Errorf("found type %s; expected %s", t, want)
	}
	return nil
}

// valueProblem says where in v, named key, the schema is not kept; "" where it is.
func valueProblem(key string, v any, schema map[string]any) (at, why string) {
	t, _ := schema["type"].(string)
	if enum, ok := schema["enum"]; ok && !slices.Contains(list(enum), v) {
		var words []string
		for _, word := range list(enum) {
			if s, isText := word.(string); isText {
				words = append(words, s)
			}
		}
		if s, isText := v.(string); isText && len(words) == len(list(enum)) {
			return key, config.NotOneOf(s, words)
		}
		return key, fmt.Sprintf("found %s; expected one of %s", show(v), show(enum))
	}
	switch v := v.(type) {
	case string:
		if t == "string" {
			return "", ""
		}
	case bool:
		if t == "boolean" {
			return "", ""
		}
	case int64, float64:
		f, whole := number(v)
		if t == "number" || t == "integer" && whole {
			if lowest, ok := bound(schema["minimum"]); ok && f < lowest {
				return key, fmt.Sprintf("found %s; expected %v or more", show(v), lowest)
			}
			if highest, ok := bound(schema["maximum"]); ok && f > highest {
				return key, fmt.Sprintf("found %s; expected %v or less", show(v), highest)
			}
			return "", ""
		}
	case []any:
		if t == "array" {
			if least, ok := bound(schema["minItems"]); ok && float64(len(v)) < least {
				return key, fmt.Sprintf("found %d elements; expected at least %v", len(v), least)
			}
			items, _ := schema["items"].(map[string]any)
			for i, e := range v {
				if at, why := valueProblem(fmt.Sprintf("%s[%d]", key, i), e, items); why != "" {
					return at, why
				}
			}
			return "", ""
		}
	case map[string]any:
		if t == "object" {
			return objectProblem(key, v, schema)
		}
	}
	return key, fmt.Sprintf("found %s; expected %s", show(v), t)
}

func objectProblem(key string, v map[string]any, schema map[string]any) (at, why string) {
	properties, _ := schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(v)) {
		sub, ok := properties[name].(map[string]any)
		if !ok {
			return key + "." + name, config.UnknownName("parameter", name, slices.Collect(maps.Keys(properties)))
		}
		if at, why := valueProblem(key+"."+name, v[name], sub); why != "" {
			return at, why
		}
	}
	if why := tooFew(v, schema); why != "" {
		return key, why
	}
	for _, name := range list(schema["required"]) {
		if s, _ := name.(string); s != "" {
			if _, ok := v[s]; !ok {
				return key + "." + s, "missing"
			}
		}
	}
	return "", ""
}

// tooFew says why v has not as many entries as the schema wants; "" where it has.
func tooFew(v, schema map[string]any) string {
	least, ok := bound(schema["minProperties"])
	if !ok || float64(len(v)) >= least {
		return ""
	}
	properties, _ := schema["properties"].(map[string]any)
	return fmt.Sprintf("found %d entries; expected at least %v of %s", len(v), least, strings.Join(slices.Sorted(maps.Keys(properties)), ", "))
}

func number(v any) (f float64, whole bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, v == float64(int64(v))
	}
	return 0, false
}

// bound reads a number of a schema, which YAML gives in several types.
func bound(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func (d *declaration) names() []string { return slices.Sorted(maps.Keys(d.properties)) }

// shapes is what the parameter of that name may be.
func (d *declaration) shapes(name string) shapes {
	schema, _ := d.properties[name].(map[string]any)
	switch schema["type"] {
	case "string":
		return shapeString
	case "number", "integer":
		return shapeNumber
	case "boolean":
		return shapeBoolean
	case "array":
		return shapeArray
	case "object":
		return shapeObject
	}
	return anyShape
}

// checkParams holds the parameters of a binding against what its package declares and reads.
func (c *compiled) checkParams(b *scopedBinding, pkg string) config.Problems {
	d := c.graph.params[pkg]
	if d == nil {
		if len(b.Params) > 0 {
			return config.Problems{b.Problem("params", "%s declares no parameters; leave it out, or declare them in the metadata of the package:\n%s", b.Package, declarationFor(b.Params))}
		}
		return nil
	}
	var problems config.Problems
	for _, name := range slices.Sorted(maps.Keys(b.Params)) {
		schema, ok := d.properties[name].(map[string]any)
		if !ok {
			problems = append(problems, b.Problem("params."+name, "%s", config.UnknownName("parameter of "+b.Package, name, d.names())))
			continue
		}
		if at, why := valueProblem("params."+name, b.Params[name], schema); why != "" {
			problems = append(problems, b.Problem(at, "%s", why))
		}
	}
	for _, name := range d.required {
		if _, ok := b.Params[name]; !ok {
			schema, _ := d.properties[name].(map[string]any)
			problems = append(problems, b.Problem("params."+name, "missing; %s needs it: %v", b.Package, cmp.Or(schema["description"], schema["type"])))
		}
	}
	if why := tooFew(b.Params, d.schema); why != "" && len(problems) == 0 {
		problems = append(problems, b.Problem("params", "%s", why))
	}
	return append(problems, c.checkWords(b, pkg)...)
}

// checkDeclaration holds what a package reads of its parameters against what it declares.
func (c *compiled) checkDeclaration(pkg string) config.Problems {
	var problems config.Problems
	d, read := c.graph.params[pkg], c.params(pkg)
	switch {
	case d == nil && len(read) == 0:
		return nil
	case d == nil:
		return config.Problems{problemAt(read[0].loc, "data.params.%s is read, and the package declares no parameters; declare them above its package line, so that a binding which misspells one or gives it the wrong type is refused:\n%s", read[0].what.name, declarationFor(map[string]any{read[0].what.name: "…"}))}
	}
	for _, p := range read {
		switch {
		case d.properties[p.what.name] == nil:
			problems = append(problems, problemAt(p.loc, "%s", config.UnknownName("parameter", p.what.name, d.names())))
		case !p.what.optional && !slices.Contains(d.required, p.what.name):
			problems = append(problems, problemAt(p.loc, "data.params.%s may be left out, and then this rule silently does not fire; write object.get(data.params, %q, …) or list it under required", p.what.name, p.what.name))
		}
	}
	return problems
}

// declarationFor is the metadata that declares these parameters.
func declarationFor(params map[string]any) string {
	var properties []string
	names := slices.Sorted(maps.Keys(params))
	for _, name := range names {
		properties = append(properties, name+": "+schemaFor(params[name]))
	}
	return fmt.Sprintf("# METADATA\n# schemas:\n#   - data.params: {type: object, additionalProperties: false, properties: {%s}, required: [%s]}",
		strings.Join(properties, ", "), strings.Join(names, ", "))
}

func schemaFor(v any) string {
	switch v := v.(type) {
	case bool:
		return "{type: boolean}"
	case int64, float64:
		return "{type: number}"
	case []any:
		if len(v) > 0 {
			return "{type: array, items: " + schemaFor(v[0]) + "}"
		}
		return "{type: array, items: {type: string}}"
	case map[string]any:
		return "{type: object}"
	}
	return "{type: string}"
}
