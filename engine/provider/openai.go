package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/wire"
)

// openAI is the chat completions API that OpenAI made and most providers speak
// (https://platform.openai.com/docs/api-reference/chat).
type openAI struct{}

func init() { register(openAI{}) }

func (openAI) Name() string { return "openai" }

func (openAI) Cannot(*wire.Request) string { return "" }

// routingFields speak to a router and mean nothing, or an error, to a provider.
var routingFields = []string{"models", "provider", "route", "preset", "transforms", "session_id", "trace", "usage"}

func (openAI) Request(ctx context.Context, p policy.Permit, who *account.Principal, req *wire.Request, cred catalog.Credential) (*http.Request, error) {
	if err := p.Check(who, req); err != nil {
		return nil, err
	}
	row := p.Row()
	edits := make([]wire.Edit, 0, len(routingFields)+4)
	model, err := json.Marshal(row.UpstreamModel)
	if err != nil {
		return nil, err
	}
	edits = append(edits, wire.Edit{Field: "model", Value: model})
	for _, f := range routingFields {
		edits = append(edits, wire.Edit{Field: f})
	}
	if req.Stream {
		edits = append(edits, wire.Edit{Field: "stream_options.include_usage", Value: []byte("true")})
	}
	body := req.AppendEdited(make([]byte, 0, len(req.Body)+256), edits...)
	h, err := http.NewRequestWithContext(ctx, http.MethodPost, row.BaseURL+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	// Without GetBody the transport cannot send a body twice on its own: every attempt is ours to count.
	h.GetBody = nil
	h.Header.Set("Content-Type", "application/json")
	if req.Stream {
		h.Header.Set("Accept", "text/event-stream")
	} else {
		h.Header.Set("Accept", "application/json")
	}
	h.Header.Set("Accept-Encoding", "identity")
	h.Header.Set("User-Agent", "chaperone")
	if !row.Group.NoAuth {
		h.Header.Set("Authorization", "Bearer "+cred.Secret.Reveal())
	}
	return h, nil
}

var doneMark = []byte("[DONE]")

func (openAI) Event(ev wire.Event, c *wire.Chunk) (Kind, error) {
	if ev.Comment || len(ev.Data) == 0 {
		return Comment, nil
	}
	if bytes.Equal(bytes.TrimSpace(ev.Data), doneMark) {
		return End, nil
	}
	return Data, wire.ScanChunk(ev.Data, c)
}

func (openAI) Answer(body []byte, c *wire.Chunk) error { return wire.ScanCompletion(body, c) }
