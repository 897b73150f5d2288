package clients

import (
	"errors"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/anthropics/anthropic-sdk-go/packages/ssestream"
)

// askAnthropic asks with Anthropic's Go SDK.
func askAnthropic(t *testing.T, r *router, key, model, what string) told {
	client := anthropic.NewClient(option.WithBaseURL(r.url), option.WithAPIKey(key), option.WithMaxRetries(0))
	p := anthropic.MessageNewParams{Model: anthropic.Model(model), MaxTokens: 200,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(question))}}
	switch what {
	case "models":
		var got told
		pages := client.Models.ListAutoPaging(t.Context(), anthropic.ModelListParams{Limit: anthropic.Int(2)})
		for pages.Next() {
			got.IDs = append(got.IDs, pages.Current().ID)
		}
		return got.ofAnthropic(pages.Err())
	case "retrieve":
		one, err := client.Models.Get(t.Context(), model, anthropic.ModelGetParams{})
		if err != nil {
			return told{}.ofAnthropic(err)
		}
		return told{ID: one.ID}
	case "count":
		n, err := client.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{Model: p.Model, Messages: p.Messages})
		if err != nil {
			return told{}.ofAnthropic(err)
		}
		return told{PromptTokens: n.InputTokens}
	case "cancel":
		p.MaxTokens = 2000
		stream := client.Messages.NewStreaming(t.Context(), p)
		defer stream.Close()
		var got told
		for got.Chunks < 3 && stream.Next() {
			got.Chunks++
		}
		return got
	case "structured":
		p.OutputConfig.Format.Schema = riverSchema
	case "tool", "stream_tool":
		p.Tools = []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{Name: "look_up",
			InputSchema: anthropic.ToolInputSchemaParam{Properties: lookUpSchema["properties"], Required: []string{"q"}}}}}
		p.ToolChoice.OfAny = &anthropic.ToolChoiceAnyParam{}
	case "image":
		p.MaxTokens = 24
		p.Messages[0] = anthropic.NewUserMessage(anthropic.NewTextBlock(question), anthropic.NewImageBlockBase64("image/png", image))
	default:
		p.MaxTokens = 24
	}
	if what == "stream" || what == "stream_tool" {
		return gatherMessage(client.Messages.NewStreaming(t.Context(), p))
	}
	answer, err := client.Messages.New(t.Context(), p)
	if err != nil {
		return told{}.ofAnthropic(err)
	}
	return ofMessage(answer)
}

func gatherMessage(stream *ssestream.Stream[anthropic.MessageStreamEventUnion]) told {
	defer stream.Close()
	var all anthropic.Message
	for stream.Next() {
		if err := all.Accumulate(stream.Current()); err != nil {
			return told{}.ofAnthropic(err)
		}
	}
	return ofMessage(&all).ofAnthropic(stream.Err())
}

func ofMessage(m *anthropic.Message) told {
	got := told{Model: string(m.Model), Finish: string(m.StopReason), PromptTokens: m.Usage.InputTokens, CompletionTokens: m.Usage.OutputTokens}
	if extra, ok := m.JSON.ExtraFields["provider"]; ok {
		got.Provider = unquoted(extra.Raw())
	}
	for _, block := range m.Content {
		switch block.Type {
		case "text":
			got.Text += block.Text
		case "tool_use":
			got.Name, got.Arguments = block.Name, string(block.Input)
		}
	}
	return got
}

// ofAnthropic adds what the SDK throws.
func (got told) ofAnthropic(err error) told {
	if err == nil {
		return got
	}
	got.Thrown, got.Message = true, err.Error()
	var failed *anthropic.Error
	if errors.As(err, &failed) {
		got.Status, got.RetryAfter = failed.StatusCode, failed.Response.Header.Get("Retry-After")
	}
	return got
}
