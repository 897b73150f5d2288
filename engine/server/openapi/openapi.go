// Package openapi describes the router's HTTP interface as an OpenAPI document (https://spec.openapis.org/oas/v3.1.1). The
// server makes it from the table of its own paths, and tests hold every answer to its schemas.
package openapi

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Operation is what one path does.
type Operation struct {
	Pattern string // "/v1/models/{author}/{slug}"
	Method  string
	Keyed   bool // needs an API key
	Doc
}

// Doc says of an operation what its table of paths does not. Names are those of schemas.
type Doc struct {
	Summary string
	Body    string           // of the request; "" for none
	Answer  string           // of the answer with status 200
	Event   string           // of the data of each event, where the answer can be streamed; "" where it cannot
	Error   string           // of every other answer
	Query   []QueryParameter // beside those of the path
}

// QueryParameter is one of the query.
type QueryParameter struct {
	Name   string
	About  string
	Schema Schema
}

// Document is the whole description, as JSON.
func Document(operations []Operation) []byte {
	paths := map[string]map[string]any{}
	for _, o := range operations {
		if paths[o.Pattern] == nil {
			paths[o.Pattern] = map[string]any{}
		}
		paths[o.Pattern][strings.ToLower(o.Method)] = o.describe()
	}
	text, err := json.Marshal(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title":   "Chaperone",
			"version": "1",
			"license": map[string]any{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "A router for language models that speaks the APIs of OpenAI, OpenRouter and Anthropic. Every path under /v1 " +
				"is also there under /api/v1. Answers carry whatever else a provider says beside what is described here.",
		},
		"servers": []any{map[string]any{"url": "/"}, map[string]any{"url": "/api"}},
		"paths":   paths,
		"components": map[string]any{
			"schemas": schemas,
			"securitySchemes": map[string]any{
				"bearer": map[string]any{"type": "http", "scheme": "bearer"},
				"apiKey": map[string]any{"type": "apiKey", "in": "header", "name": "x-api-key"},
			},
		},
	})
	if err != nil {
		panic(err) // there is nothing in it that has no JSON form
	}
	return text
}

var brace = regexp.MustCompile(`\{([a-z]+)\}`)

func (o *Operation) describe() map[string]any {
	d := map[string]any{"summary": o.Summary, "operationId": o.id()}
	if o.Keyed {
		d["security"] = []any{map[string]any{"bearer": []any{}}, map[string]any{"apiKey": []any{}}}
	} else {
		d["security"] = []any{}
	}
	parameters := []any{}
	for _, m := range brace.FindAllStringSubmatch(o.Pattern, -1) {
		parameters = append(parameters, map[string]any{"name": m[1], "in": "path", "required": true, "schema": text})
	}
	for _, q := range o.Query {
		parameters = append(parameters, map[string]any{"name": q.Name, "in": "query", "description": q.About, "schema": q.Schema})
	}
	if len(parameters) > 0 {
		d["parameters"] = parameters
	}
	if o.Body != "" {
		d["requestBody"] = map[string]any{"required": true, "content": content("application/json", ref(o.Body))}
	}
	answers := content("application/json", ref(o.Answer))
	if o.Event != "" {
		maps.Copy(answers, content("text/event-stream", ref(o.Event)))
	}
	d["responses"] = map[string]any{
		"200":     map[string]any{"description": "done", "content": answers},
		"default": map[string]any{"description": "it could not be done; the message says why", "content": content("application/json", ref(o.Error))},
	}
	return d
}

// id is the operation's name for generators of clients: "getV1ModelsAuthorSlug".
func (o *Operation) id() string {
	var b strings.Builder
	b.WriteString(strings.ToLower(o.Method))
	for _, word := range strings.FieldsFunc(o.Pattern, func(r rune) bool { return strings.ContainsRune("/{}_.", r) }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func content(media string, s Schema) map[string]any {
	return map[string]any{media: map[string]any{"schema": s}}
}

// Names are the names of all schemas, sorted.
func Names() []string { return slices.Sorted(maps.Keys(schemas)) }

// Of is a schema by its name.
func Of(name string) (Schema, bool) {
	s, ok := schemas[name]
	return s, ok
}
