package wire_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"chaperone/engine/wire"
	"chaperone/engine/wire/talk"
)

// OpenAI's own client finds its fields in the envelope and in the event that ends a broken stream.
func TestOpenAIsClientReadsOurErrors(t *testing.T) {
	e := &wire.Error{Status: 404, Type: "not_found", Message: "no endpoint may serve this", Param: "model", DecisionID: "gen-1"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(body), `"stream":true`) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(e.Status)
			w.Write(wire.Chat.AppendError(nil, e))
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Write([]byte("data: " + string(contentChunk) + "\n\n"))
		w.Write(wire.Chat.AppendErrorEvent(nil, e, talk.Label{ID: "gen-1", Model: "m", Provider: "Acme", Created: 1}))
	}))
	defer server.Close()
	client := openai.NewClient(option.WithBaseURL(server.URL), option.WithAPIKey("sk-test"), option.WithMaxRetries(0))
	ask := openai.ChatCompletionNewParams{Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hi")}}

	_, err := client.Chat.Completions.New(t.Context(), ask)
	var api *openai.Error
	if !errors.As(err, &api) {
		t.Fatalf("%T: %v", err, err)
	}
	if api.StatusCode != 404 || api.Message != e.Message || api.Type != "not_found" || api.Param != "model" || api.Code != "404" {
		t.Errorf("the client reads %d, %q, %q, %q, %q", api.StatusCode, api.Message, api.Type, api.Param, api.Code)
	}

	stream := client.Chat.Completions.NewStreaming(t.Context(), ask)
	text := ""
	for stream.Next() {
		for _, c := range stream.Current().Choices {
			text += c.Delta.Content
		}
	}
	if err := stream.Err(); text != " hello" || err == nil || !strings.Contains(err.Error(), e.Message) {
		t.Errorf("the client reads %q and then the error %v", text, err)
	}
}
