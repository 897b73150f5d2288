package clients

import (
	"context"
	"errors"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
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
	client := openai.NewClient(option.WithBaseURL(r.url+"/v1"), option.WithAPIKey(key), option.WithMaxRetries(0), option.WithHTTPClient(r.client(t)))
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
	case "structured":
		p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
			Name: "river", Schema: riverSchema, Strict: openai.Bool(true)}}
	case "tool", "stream_tool":
		p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "look_up", Parameters: lookUpSchema})}
		p.ToolChoice.OfAuto = openai.String("required")
	case "image":
		p.MaxTokens = openai.Int(24)
		p.Messages[0] = openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{openai.TextContentPart(question),
			openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "data:image/png;base64," + image})})
	default:
		p.MaxTokens = openai.Int(24)
	}
	if what == "stream" || what == "stream_tool" {
		p.StreamOptions.IncludeUsage = openai.Bool(true)
		stream := client.Chat.Completions.NewStreaming(t.Context(), p)
		defer stream.Close()
		all := openai.ChatCompletionAccumulator{}
		for stream.Next() {
			all.AddChunk(stream.Current())
		}
		return ofCompletion(&all.ChatCompletion).with(stream.Err())
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
		got.Name, got.Arguments = m.ToolCalls[0].Function.Name, m.ToolCalls[0].Function.Arguments
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
		got.Status, got.Message = failed.StatusCode, failed.Message
	}
	return got
}
