package wire_test

import (
	"slices"
	"strings"
	"testing"

	"chaperone/engine/wire"
)

func TestEveryShapeIsReadForWhatPolicyJudges(t *testing.T) {
	for name, c := range map[string]struct {
		shape wire.Shape
		body  string
		holds func(r *wire.Request) bool
	}{
		"a response": {wire.Responses, `{"model":"m","input":"Hello","max_output_tokens":9,"stream":true,"reasoning":{"effort":"low"},"user":"u"}`,
			func(r *wire.Request) bool {
				return r.Model == "m" && r.MaxOutputTokens == 9 && r.Stream && r.ReasoningEffort == "low" && r.Claims.User == "u" &&
					slices.Equal(r.InputModalities, []string{"text"}) && r.PromptTokens > 4
			}},
		"a response's parts": {wire.Responses, `{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"x"},{"type":"input_image","image_url":"https://a.example/x.png"},
			{"type":"input_file","file_id":"file-1"}]}]}`,
			func(r *wire.Request) bool {
				return slices.Equal(r.InputModalities, []string{"file", "image", "text"}) && slices.Equal(r.EgressHosts, []string{"a.example"}) && r.FileReferences
			}},
		"a response's hosted tools": {wire.Responses, `{"model":"m","input":"x","tools":[{"type":"mcp","server_url":"https://mcp.example/sse"},{"type":"web_search"},
			{"parameters":{"url":"https://nobody.example"},"type":"function","name":"f"}]}`,
			func(r *wire.Request) bool {
				return slices.Equal(r.ToolKinds, []string{"function", "mcp", "web_search"}) && slices.Equal(r.EgressHosts, []string{"mcp.example"}) && r.ToolCount == 3
			}},
		"a response's custom tools": {wire.Responses, `{"model":"m","input":"x","tools":[{"type":"custom","name":"c","description":"d","format":{"type":"grammar","syntax":"lark","definition":"d","url":"https://nobody.example"}}]}`,
			func(r *wire.Request) bool {
				return slices.Equal(r.ToolKinds, []string{"custom"}) && slices.Equal(r.Parameters, []string{"custom_tools", "tools"}) && r.ToolCount == 1 && r.EgressHosts == nil
			}},
		"a response's earlier custom calls": {wire.Responses, `{"model":"m","input":[{"role":"user","content":"x"},{"type":"custom_tool_call","call_id":"a","name":"c","input":"see https://nobody.example, all of it"},
			{"type":"custom_tool_call_output","call_id":"a","output":"y"}]}`,
			func(r *wire.Request) bool {
				return r.ToolKinds == nil && slices.Equal(r.Parameters, []string{"custom_tools"}) && r.PromptTokens > 20 && r.EgressHosts == nil
			}},
		"a message's custom tool is Anthropic's word for a function": {wire.Messages, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"tools":[{"type":"custom","name":"f","input_schema":{}}]}`,
			func(r *wire.Request) bool {
				return slices.Equal(r.ToolKinds, []string{"function"}) && !slices.Contains(r.Parameters, "custom_tools")
			}},
		"a response's format": {wire.Responses, `{"model":"m","input":"x","text":{"format":{"type":"json_schema","name":"n","schema":{}},"verbosity":"low"}}`,
			func(r *wire.Request) bool {
				return r.ResponseFormat == "json_schema" && slices.Equal(r.Parameters, []string{"response_format", "structured_outputs", "verbosity"})
			}},
		"what a response may be asked to hold": {wire.Responses, `{"model":"m","input":"x","seed":1,"top_k":2,"include":["reasoning.encrypted_content","message.output_text.logprobs","web_search_call.action.sources"]}`,
			func(r *wire.Request) bool { return slices.Equal(r.Parameters, []string{"logprobs", "seed", "top_k"}) }},
		"a response's earlier thoughts": {wire.Responses, `{"model":"m","input":[{"role":"user","content":"x"},{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"y"}]},
			{"type":"function_call_output","call_id":"c","output":"z"}]}`,
			func(r *wire.Request) bool { return slices.Equal(r.InputModalities, []string{"text"}) }},
		"what a provider asks by itself": {wire.Chat, `{"model":"m","messages":[{"role":"user","content":"x"}],"data_sources":[{"type":"azure_search","parameters":{"endpoint_url":"https://search.example"}}],
			"connectors":[{"id":"web"}]}`,
			func(r *wire.Request) bool {
				return slices.Equal(r.ToolKinds, []string{"connectors", "data_sources"}) && slices.Equal(r.EgressHosts, []string{"search.example"})
			}},
		"a completion": {wire.Completions, `{"model":"m","prompt":"Once upon a time","max_tokens":7,"n":2}`,
			func(r *wire.Request) bool { return r.MaxOutputTokens == 7 && r.N == 2 && r.PromptTokens == 8 }},
		"a completion of tokens": {wire.Completions, `{"model":"m","prompt":[[1,2,3],[4]]}`, func(r *wire.Request) bool { return r.PromptTokens == 8 }},
		"embeddings": {wire.Embeddings, `{"model":"m","input":["one","two"],"dimensions":8,"provider":{"zdr":true}}`,
			func(r *wire.Request) bool {
				return slices.Equal(r.OutputModalities, []string{"embeddings"}) && r.Preferences.ZDR && r.PromptTokens > 4
			}},
		"embeddings of pictures": {wire.Embeddings, `{"model":"m","input":[{"content":[{"type":"image_url","image_url":{"url":"https://b.example/y.png"}}]}]}`,
			func(r *wire.Request) bool {
				return slices.Contains(r.InputModalities, "image") && slices.Equal(r.EgressHosts, []string{"b.example"})
			}},
		"a ranking": {wire.Rerank, `{"model":"m","query":"q","documents":["a",{"text":"b"},{"image":"https://c.example/z.png"}],"top_n":1}`,
			func(r *wire.Request) bool {
				return slices.Equal(r.OutputModalities, []string{"rerank"}) && slices.Equal(r.InputModalities, []string{"image", "text"}) &&
					slices.Equal(r.EgressHosts, []string{"c.example"})
			}},
	} {
		r, refused := wire.Skim(c.shape, wire.Head{}, []byte(c.body))
		if refused != nil {
			t.Errorf("%s: %v", name, refused)
		} else if !c.holds(r) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestEveryShapeRefusesWhatItCannotRead(t *testing.T) {
	for body, c := range map[string]struct {
		shape wire.Shape
		want  string
	}{
		`{"model":"m"}`:                                                                 {wire.Responses, "input (byte 0): found no input"},
		`{"model":"m","input":[]}`:                                                      {wire.Responses, "input (byte 21): found an empty array"},
		`{"model":"m","input":7}`:                                                       {wire.Responses, "found a number; it should be a string or an array of items"},
		`{"model":"m","input":["x"]}`:                                                   {wire.Responses, "input[0]"},
		`{"model":"m","input":"x","store":true}`:                                        {wire.Responses, "store (byte 0): found true; this router keeps no responses"},
		`{"model":"m","input":"x","background":true}`:                                   {wire.Responses, "background (byte 0): found true"},
		`{"model":"m","input":"x","previous_response_id":"r"}`:                          {wire.Responses, "previous_response_id (byte 0): found a reference"},
		`{"model":"m","input":"x","prompt":{"id":"p"}}`:                                 {wire.Responses, "found a reference to what a provider keeps"},
		`{"model":"m","input":[{"type":"item_reference","id":"i"}]}`:                    {wire.Responses, "found a reference to what a provider keeps"},
		`{"model":"m","input":"x","Input":"y"}`:                                         {wire.Responses, `found a key that some parsers take for "input"`},
		`{"model":"m","input":"x","tools":[{"name":"f"}]}`:                              {wire.Responses, "found a tool without a type"},
		`{"model":"m","input":[{"Content":"x"}]}`:                                       {wire.Responses, `some parsers take for "content"`},
		`{"model":"m","input":"x","include":["message.input_image.image_url"]}`:         {wire.Responses, "include[0] (byte 36): found \"message.input_image.image_url\"; this router's answers do not repeat the request"},
		`{"model":"m","input":"x","include":["computer_call_output.output.image_url"]}`: {wire.Responses, "answers do not repeat the request"},
		`{"model":"m","input":"x","include":["reasoning.encrypted_contents"]}`:          {wire.Responses, `include[0] (byte 36): unknown value "reasoning.encrypted_contents"; did you mean "reasoning.encrypted_content"?`},
		`{"model":"m","input":"x","include":["everything"]}`:                            {wire.Responses, `unknown value "everything"; expected code_interpreter_call.outputs`},
		`{"model":"n"}`:                                                 {wire.Completions, "prompt (byte 0): found no prompt"},
		`{"model":"m","prompt":{}}`:                                     {wire.Completions, "found an object; it should be a string or an array"},
		`{"model":"m","prompt":[true]}`:                                 {wire.Completions, "found a boolean"},
		`{"model":"o"}`:                                                 {wire.Embeddings, "input (byte 0): found no input"},
		`{"model":"m","input":"x","stream":true}`:                       {wire.Embeddings, "found true; this is answered in one piece"},
		`{"model":"m","input":[{"content":5}]}`:                         {wire.Embeddings, "should be a string, null or an array of parts"},
		`{"model":"m","query":"q"}`:                                     {wire.Rerank, "documents (byte 0): found no documents"},
		`{"model":"m","documents":["a"]}`:                               {wire.Rerank, "query (byte 0): found no query"},
		`{"model":"m","query":"q","documents":[1]}`:                     {wire.Rerank, "should be a string or an object with a text or an image"},
		`{"model":"m","query":"q","documents":["a"],"documents":["b"]}`: {wire.Rerank, "found this key a second time"},
	} {
		_, refused := wire.Skim(c.shape, wire.Head{}, []byte(body))
		if refused == nil || !strings.Contains(refused.Message, c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", body, refused, c.want)
		}
	}
}

func TestAListIsWholeWhereItHasSomething(t *testing.T) {
	for body, c := range map[string]struct {
		shape         wire.Shape
		whole, failed bool
	}{
		`{"object":"list","data":[{"embedding":[1]}],"usage":{"prompt_tokens":3,"total_tokens":3}}`: {wire.Embeddings, true, false},
		`{"object":"list","data":[]}`: {wire.Embeddings, false, false},
		`{"object":"list"}`:           {wire.Embeddings, false, false},
		`{"error":{"message":"no"}}`:  {wire.Embeddings, false, true},
		`{"results":[{"index":0}]}`:   {wire.Rerank, true, false},
		`{"results":null}`:            {wire.Rerank, false, false},
	} {
		var chunk wire.Chunk
		if err := c.shape.Answer([]byte(body), &chunk); err != nil {
			t.Fatal(err)
		}
		if chunk.Commits != c.whole || (chunk.Err != nil) != c.failed || c.whole && !chunk.Usage.Known {
			t.Errorf("%s: %+v", body, chunk)
		}
	}
}
