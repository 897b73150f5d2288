package sim_test

import (
	"context"
	"errors"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"chaperone/engine/sim"
)

// OpenAI's own client reads everything that a provider says.
func TestOpenAIsClientUnderstands(t *testing.T) {
	profile := sim.Profile{
		Seed:         4,
		Models:       []string{"large"},
		Credentials:  []sim.Credential{{Name: "paid", Key: "sk-paid"}},
		OutputTokens: fixed(30),
	}
	p := start(t, profile)
	client := openai.NewClient(option.WithBaseURL(p.URL()), option.WithAPIKey("sk-paid"), option.WithMaxRetries(0))
	params := openai.ChatCompletionNewParams{
		Model:    "large",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("How wide is the harbour?")},
		User:     openai.String("acme/1"),
	}
	want := wholeAnswer(t, profile, `{"model":"large","messages":[{"content":"How wide is the harbour?","role":"user"}]}`)

	whole, err := client.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if whole.Choices[0].Message.Content != want.Choices[0].Text || whole.Usage.CompletionTokens != 30 || whole.Choices[0].FinishReason != "stop" {
		t.Errorf("got %+v, should be %+v", whole.Choices, want)
	}

	params.StreamOptions.IncludeUsage = openai.Bool(true)
	stream := client.Chat.Completions.NewStreaming(t.Context(), params)
	var all openai.ChatCompletionAccumulator
	for stream.Next() {
		all.AddChunk(stream.Current())
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if all.Choices[0].Message.Content != want.Choices[0].Text || all.Usage.CompletionTokens != 30 {
		t.Errorf("streamed %+v, %+v; should be %+v", all.Choices, all.Usage, want)
	}

	call := params
	call.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
	call.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
		Name: "weather",
		Parameters: openai.FunctionParameters{
			"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}, "required": []string{"city"},
		},
	})}
	call.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: openai.String("required")}
	called, err := client.Chat.Completions.New(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	all = openai.ChatCompletionAccumulator{}
	for stream = client.Chat.Completions.NewStreaming(t.Context(), call); stream.Next(); {
		all.AddChunk(stream.Current())
	}
	if len(called.Choices[0].Message.ToolCalls) != 1 || len(all.Choices[0].Message.ToolCalls) != 1 {
		t.Fatalf("got %+v whole and %+v streamed; should be one call each", called.Choices, all.Choices)
	}
	a, b := called.Choices[0].Message.ToolCalls[0], all.Choices[0].Message.ToolCalls[0]
	if a.Function.Name != "weather" || a.ID == "" || a.ID != b.ID || a.Function.Name != b.Function.Name || a.Function.Arguments != b.Function.Arguments {
		t.Errorf("called %+v whole and %+v streamed; should be the same", a, b)
	}

	params.Model = "absent"
	var refused *openai.Error
	if _, err := client.Chat.Completions.New(t.Context(), params); !errors.As(err, &refused) || refused.StatusCode != 404 || refused.Code != "model_not_found" {
		t.Errorf("got %v, should be 404 model_not_found", err)
	}

	slow := profile
	slow.Name, slow.TPS = "simulated", fixed(5)
	if err := p.SetProfile(slow); err != nil {
		t.Fatal(err)
	}
	params.Model = "large"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream = client.Chat.Completions.NewStreaming(ctx, params)
	for stream.Next() {
		if c := stream.Current(); len(c.Choices) > 0 && c.Choices[0].Delta.Content != "" {
			cancel()
		}
	}
	log := settled(t, p)
	if last := log[len(log)-1]; !last.Cancelled || last.Tokens >= 30 {
		t.Errorf("logged as %+v; should be cancelled before its end", last)
	}
	models, err := client.Models.List(t.Context())
	if err != nil || len(models.Data) != 1 || models.Data[0].ID != "large" {
		t.Errorf("models are %+v (%v)", models, err)
	}
}
