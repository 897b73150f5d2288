package openapi

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

// differences are where this router's answers may hold what the official SDK of an API does not expect in a field that both
// have, or lack what it requires, each with the reason.
var differences = func() map[string]string {
	all := map[string]string{
		"openai EmbeddingList.data[].embedding: may be string": "with encoding_format base64, which the SDK decodes itself where it asks for it",
		"openrouter Credits.data.total_credits: may be null":   "nobody buys credits here",
	}
	const relayed = "answers of providers are relayed as they are, and some write null where they have nothing"
	for _, at := range []string{
		"ChatChunk.choices[].delta.", "ChatCompletion.choices[].message.",
	} {
		for _, field := range []string{"audio", "reasoning_details", "role", "tool_calls", "tool_calls[].function.arguments", "tool_calls[].function.name",
			"tool_calls[].id", "tool_calls[].type"} {
			all["openrouter "+at+field+": may be null"] = relayed
		}
	}
	for _, field := range []string{
		"ChatChunk.system_fingerprint", "ChatChunk.usage.prompt_tokens_details.audio_tokens", "ChatChunk.usage.prompt_tokens_details.cache_write_tokens",
		"ChatChunk.usage.prompt_tokens_details.cached_tokens", "ChatCompletion.choices[].message.images",
		"ChatCompletion.usage.prompt_tokens_details.audio_tokens", "ChatCompletion.usage.prompt_tokens_details.cache_write_tokens",
		"ChatCompletion.usage.prompt_tokens_details.cached_tokens",
	} {
		all["openrouter "+field+": may be null"] = relayed
	}
	return all
}()

// TestAnswersAgreeWithTheOfficialSDKs compares the schemas with the types of the official SDKs on the fields that both have.
// What SDKs have and this router never sends is no difference, unless it is required.
func TestAnswersAgreeWithTheOfficialSDKs(t *testing.T) {
	var found []string
	compared := 0
	compare := func(sdk, name string, theirs map[string]any) {
		c := comparison{sdk: sdk, root: theirs, note: func(at, what string) { found = append(found, sdk+" "+at+": "+what) }}
		ours, ok := Of(name)
		if !ok {
			t.Fatalf("there is no schema %s", name)
		}
		c.hold(name, ours, theirs)
		compared += c.fields
	}
	for name, of := range map[string]any{
		"ChatCompletion": openai.ChatCompletion{}, "ChatChunk": openai.ChatCompletionChunk{}, "Completion": openai.Completion{},
		"EmbeddingList": openai.CreateEmbeddingResponse{}, "Response": responses.Response{}, "Model": openai.Model{},
	} {
		compare("openai", name, schemaOf(reflect.TypeOf(of)))
	}
	for name, of := range map[string]any{
		"Message": anthropic.Message{}, "AnthropicModel": anthropic.ModelInfo{}, "TokenCount": anthropic.MessageTokensCount{},
	} {
		compare("anthropic", name, schemaOf(reflect.TypeOf(of)))
	}
	theirs := openRouters(t, "ChatResult", "ChatStreamChunk", "ModelsListResponse", "ModelsCountResponse", "Model", "PublicEndpoint", "ListProvidersResponse",
		"CreateEmbeddingsResponseBody", "CreateRerankResponseBody", "OpenResponsesResult", "GenerationResponse", "GetCurrentKeyResponse", "GetCreditsResponse", "ActivityResponse")
	for name, of := range map[string]string{
		"ChatCompletion": "ChatResult", "ChatChunk": "ChatStreamChunk", "ModelList": "ModelsListResponse", "ModelCount": "ModelsCountResponse",
		"Model": "Model", "Endpoint": "PublicEndpoint", "ProviderList": "ListProvidersResponse", "EmbeddingList": "CreateEmbeddingsResponseBody",
		"Ranking": "CreateRerankResponseBody", "Response": "OpenResponsesResult", "Generation": "GenerationResponse", "Key": "GetCurrentKeyResponse",
		"Credits": "GetCreditsResponse", "Activity": "ActivityResponse",
	} {
		if theirs != nil {
			compare("openrouter", name, theirs[of])
		}
	}
	sort.Strings(found)
	for _, f := range slices.Compact(found) {
		if differences[f] == "" {
			t.Errorf("%s", f)
		}
	}
	for d := range differences {
		if !slices.Contains(found, d) && (theirs != nil || !strings.HasPrefix(d, "openrouter ")) {
			t.Errorf("%s is listed as a difference and is none", d)
		}
	}
	t.Logf("%d fields were compared, %d differ with a reason", compared, len(differences))
}

// openRouters are schemas of OpenRouter's SDK, nil where that is not installed.
func openRouters(t *testing.T, names ...string) (schemas map[string]map[string]any) {
	t.Helper()
	dir, err := filepath.Abs("../../../testdata/clients/node")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@openrouter", "sdk")); err != nil {
		if os.Getenv("CHAPERONE_TEST_REQUIRE") != "" {
			t.Fatal("this needs Node.js 20 or later, and: npm ci --prefix testdata/clients/node")
		}
		t.Log("OpenRouter's SDK is left out: it needs Node.js 20 or later, and: npm ci --prefix testdata/clients/node")
		return nil
	}
	cmd := exec.CommandContext(t.Context(), "node", append([]string{"schemas.mjs"}, names...)...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &schemas); err != nil {
		t.Fatal(err)
	}
	return schemas
}

// schemaOf is the schema of a type of an SDK in Go, in which anything may be null.
func schemaOf(of reflect.Type) map[string]any {
	switch of.Kind() {
	case reflect.Pointer:
		return schemaOf(of.Elem())
	case reflect.String:
		return map[string]any{"type": []any{"string", "null"}}
	case reflect.Bool:
		return map[string]any{"type": []any{"boolean", "null"}}
	case reflect.Int64:
		return map[string]any{"type": []any{"integer", "null"}}
	case reflect.Float64:
		return map[string]any{"type": []any{"number", "null"}}
	case reflect.Slice:
		return map[string]any{"type": []any{"array", "null"}, "items": schemaOf(of.Elem())}
	case reflect.Struct:
		properties := map[string]any{}
		if !strings.HasSuffix(of.Name(), "Union") {
			for i := range of.NumField() {
				name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
				if name != "" && name != "-" {
					properties[name] = schemaOf(of.Field(i).Type)
				}
			}
		}
		if len(properties) > 0 {
			return map[string]any{"type": []any{"object", "null"}, "properties": properties}
		}
	}
	return map[string]any{} // a union, or a form of the SDK's own
}

// comparison goes through one schema of ours beside one of theirs.
type comparison struct {
	sdk    string
	root   map[string]any // theirs, for its references
	note   func(at, what string)
	fields int
}

func (c *comparison) hold(at string, ours Schema, theirs map[string]any) {
	mine, other := alternatives(resolve(ours)), c.their(theirs)
	for _, m := range mine {
		kind := kindOf(m)
		if kind == "" {
			continue
		}
		fits := slices.DeleteFunc(slices.Clone(other), func(o map[string]any) bool { return !accepts(o, kind) })
		if len(fits) == 0 && len(other) > 0 {
			c.note(at, "may be "+kind)
			continue
		}
		for _, o := range fits {
			c.inside(at, kind, m, o)
		}
	}
}

// inside compares what two alternatives of one kind hold. A union of objects is compared with the one that has its type.
func (c *comparison) inside(at, kind string, mine Schema, theirs map[string]any) {
	switch kind {
	case "array":
		if items, ok := mine["items"].(Schema); ok {
			if t, ok := theirs["items"].(map[string]any); ok {
				c.hold(at+"[]", items, t)
			}
		}
	case "object":
		properties, _ := theirs["properties"].(map[string]any)
		members, _ := mine["properties"].(fields)
		if a, b := wordOf(members["type"]), constantOf(properties["type"]); a != "" && b != "" && a != b {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if t, ok := properties[name].(map[string]any); ok {
				c.fields++
				c.hold(at+"."+name, members[name], t)
			}
		}
		required, _ := theirs["required"].([]any)
		for _, name := range required {
			if _, ok := members[name.(string)]; !ok && len(members) > 0 {
				c.note(at, "lacks "+name.(string))
			}
		}
	}
}

func wordOf(s Schema) string {
	word, _ := s["const"].(string)
	return word
}

func constantOf(s any) string {
	m, _ := s.(map[string]any)
	word, _ := m["const"].(string)
	return word
}

// resolve follows a reference of ours.
func resolve(s Schema) Schema {
	for {
		to, ok := s["$ref"].(string)
		if !ok {
			return s
		}
		s, _ = Of(strings.TrimPrefix(to, "#/components/schemas/"))
	}
}

// alternatives are the schemas of a union, each of one type.
func alternatives(s Schema) (out []Schema) {
	if list, ok := s["anyOf"].([]Schema); ok {
		for _, one := range list {
			out = append(out, alternatives(resolve(one))...)
		}
		return out
	}
	if kinds, ok := s["type"].([]string); ok {
		for _, kind := range kinds {
			one := maps.Clone(s)
			one["type"] = kind
			out = append(out, one)
		}
		return out
	}
	return []Schema{s}
}

// their are the alternatives of one of theirs; none where it may be anything.
func (c *comparison) their(s map[string]any) (out []map[string]any) {
	if to, ok := s["$ref"].(string); ok {
		at := any(c.root)
		for part := range strings.SplitSeq(strings.TrimPrefix(to, "#/"), "/") {
			m, _ := at.(map[string]any)
			at = m[part]
		}
		m, _ := at.(map[string]any)
		return c.their(m)
	}
	for _, union := range []string{"anyOf", "oneOf"} {
		if list, ok := s[union].([]any); ok {
			for _, one := range list {
				more := c.their(one.(map[string]any))
				if len(more) == 0 {
					return nil
				}
				out = append(out, more...)
			}
			return out
		}
	}
	if s["type"] == nil && s["const"] == nil && s["enum"] == nil {
		return nil
	}
	return []map[string]any{s}
}

func kindOf(s Schema) string {
	if kind, ok := s["type"].(string); ok {
		return kind
	}
	switch s["const"].(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	}
	return ""
}

// accepts says whether a schema of theirs takes values of a kind.
func accepts(s map[string]any, kind string) bool {
	fits := func(t any) bool { return t == kind || t == "number" && kind == "integer" }
	switch t := s["type"].(type) {
	case string:
		return fits(t)
	case []any:
		return slices.ContainsFunc(t, fits)
	}
	_, word := s["const"].(string)
	return word && kind == "string" || s["const"] == nil && s["enum"] != nil && kind == "string"
}
