package clients

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

// What every client asks; the scripts have the same.
const (
	question = "Tell me about rivers."
	image    = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

var (
	riverSchema = map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}, "km": map[string]any{"type": "integer"}},
		"required": []string{"name", "km"}, "additionalProperties": false}
	lookUpSchema = map[string]any{"type": "object", "properties": map[string]any{"q": map[string]any{"type": "string"}}, "required": []string{"q"}}
)

// askOpenAI asks with OpenAI's Go SDK.
func askOpenAI(t *testing.T, r *router, key, model, what string) told {
	client := openai.NewClient(option.WithBaseURL(r.url+"/v1"), option.WithAPIKey(key), option.WithMaxRetries(0))
	p := openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(question)}}
	switch what {
	case "models":
		var got told
		pages := client.Models.ListAutoPaging(t.Context())
		for pages.Next() {
			got.IDs = append(got.IDs, pages.Current().ID)
		}
		return got.with(pages.Err())
	case "retrieve":
		one, err := client.Models.Get(t.Context(), model)
		if err != nil {
			return told{}.with(err)
		}
		return told{ID: one.ID}
	case "cancel":
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stream := client.Chat.Completions.NewStreaming(ctx, p)
		defer stream.Close()
		var got told
		for got.Chunks < 3 && stream.Next() {
			got.Chunks++
		}
		return got
	case "completion":
		answer, err := client.Completions.New(t.Context(), openai.CompletionNewParams{Model: openai.CompletionNewParamsModel(model),
			Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String(question)}, MaxTokens: openai.Int(24)})
		if err != nil {
			return told{}.with(err)
		}
		return told{Text: answer.Choices[0].Text, Finish: string(answer.Choices[0].FinishReason), Model: answer.Model, CompletionTokens: answer.Usage.CompletionTokens}
	case "embedding":
		answer, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{Model: "m/embed",
			Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{question}}})
		if err != nil {
			return told{}.with(err)
		}
		return told{Model: answer.Model, Vector: answer.Data[0].Embedding, PromptTokens: answer.Usage.PromptTokens}
	case "response", "response_stream", "response_tool", "response_stream_tool", "response_custom", "response_stream_custom":
		return askResponse(t, &client, model, what)
	case "structured":
		p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
			Name: "river", Schema: riverSchema, Strict: openai.Bool(true)}}
	case "tool", "stream_tool":
		p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "look_up", Parameters: lookUpSchema})}
		p.ToolChoice.OfAuto = openai.String("required")
	case "custom", "stream_custom":
		p.Tools = []openai.ChatCompletionToolUnionParam{{OfCustom: &openai.ChatCompletionCustomToolParam{Custom: openai.ChatCompletionCustomToolCustomParam{Name: "look_up"}}}}
		p.ToolChoice.OfCustomToolChoice = &openai.ChatCompletionNamedToolChoiceCustomParam{Custom: openai.ChatCompletionNamedToolChoiceCustomCustomParam{Name: "look_up"}}
	case "image":
		p.MaxTokens = openai.Int(24)
		p.Messages[0] = openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{openai.TextContentPart(question),
			openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "data:image/png;base64," + image})})
	default:
		p.MaxTokens = openai.Int(24)
	}
	if strings.HasPrefix(what, "stream") {
		p.StreamOptions.IncludeUsage = openai.Bool(true)
		stream := client.Chat.Completions.NewStreaming(t.Context(), p)
		defer stream.Close()
		all := openai.ChatCompletionAccumulator{}
		var custom struct{ Name, Input string } // which the SDK does not know in chunks
		for stream.Next() {
			chunk := stream.Current()
			all.AddChunk(chunk)
			for _, c := range chunk.Choices {
				for _, call := range c.Delta.ToolCalls {
					piece := struct{ Name, Input string }{}
					if raw := call.JSON.ExtraFields["custom"].Raw(); raw != "" && json.Unmarshal([]byte(raw), &piece) == nil {
						custom.Name, custom.Input = custom.Name+piece.Name, custom.Input+piece.Input
					}
				}
			}
		}
		got := ofCompletion(&all.ChatCompletion).with(stream.Err())
		if custom.Name != "" {
			got.Name, got.Arguments = custom.Name, custom.Input
		}
		return got
	}
	answer, err := client.Chat.Completions.New(t.Context(), p)
	if err != nil {
		return told{}.with(err)
	}
	return ofCompletion(answer)
}

func ofCompletion(c *openai.ChatCompletion) told {
	got := told{Model: c.Model, PromptTokens: c.Usage.PromptTokens, CompletionTokens: c.Usage.CompletionTokens}
	if len(c.Choices) == 0 {
		return got
	}
	m := c.Choices[0].Message
	got.Text, got.Finish = m.Content, c.Choices[0].FinishReason
	if extra, ok := c.JSON.ExtraFields["provider"]; ok {
		got.Provider = unquoted(extra.Raw())
	}
	if len(m.ToolCalls) == 1 {
		call := &m.ToolCalls[0]
		got.Name, got.Arguments = call.Function.Name+call.Custom.Name, call.Function.Arguments+call.Custom.Input
	}
	return got
}

// with adds what an SDK throws.
func (got told) with(err error) told {
	if err == nil {
		return got
	}
	got.Thrown, got.Message = true, err.Error()
	var failed *openai.Error
	if errors.As(err, &failed) {
		got.Status, got.Message, got.RetryAfter = failed.StatusCode, failed.Message, failed.Response.Header.Get("Retry-After")
	}
	return got
}

// askResponse asks in the Responses API.
func askResponse(t *testing.T, client *openai.Client, model, what string) told {
	p := responses.ResponseNewParams{Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(question)}}
	if strings.HasSuffix(what, "custom") {
		p.Tools = []responses.ToolUnionParam{{OfCustom: &responses.CustomToolParam{Name: "look_up"}}}
		p.ToolChoice.OfAllowedTools = &responses.ToolChoiceAllowedParam{Mode: responses.ToolChoiceAllowedModeRequired, Tools: []map[string]any{{"type": "custom", "name": "look_up"}}}
	} else if strings.HasSuffix(what, "tool") {
		p.Tools = []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{Name: "look_up", Parameters: lookUpSchema}}}
		p.ToolChoice.OfToolChoiceMode = openai.Opt(responses.ToolChoiceOptionsRequired)
	} else {
		p.MaxOutputTokens = openai.Int(24)
	}
	if !strings.HasPrefix(what, "response_stream") {
		answer, err := client.Responses.New(t.Context(), p)
		if err != nil {
			return told{}.with(err)
		}
		return ofResponse(answer)
	}
	stream := client.Responses.NewStreaming(t.Context(), p)
	defer stream.Close()
	var last responses.Response
	text := ""
	for stream.Next() {
		switch ev := stream.Current(); ev.Type {
		case "response.output_text.delta":
			text += ev.Delta
		case "response.completed", "response.incomplete":
			last = ev.Response
		}
	}
	got := ofResponse(&last).with(stream.Err())
	if stream.Err() == nil && got.Text != text {
		t.Errorf("the pieces make %q, the last event says %q", text, got.Text)
	}
	return got
}

func ofResponse(r *responses.Response) told {
	got := told{Text: r.OutputText(), Finish: string(r.Status), Model: r.Model, PromptTokens: r.Usage.InputTokens, CompletionTokens: r.Usage.OutputTokens}
	if why := r.IncompleteDetails.Reason; why != "" {
		got.Finish = why
	}
	for _, item := range r.Output {
		switch item.Type {
		case "function_call":
			got.Name, got.Arguments = item.Name, item.Arguments.OfString
		case "custom_tool_call":
			got.Name, got.Arguments = item.Name, item.Input
		}
	}
	return got
}
