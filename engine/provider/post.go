package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"chaperone/engine/catalog"
	"chaperone/engine/wire"
)

// post makes the request to an endpoint, without the credential.
func post(ctx context.Context, row *catalog.Row, path string, req *wire.Request, body []byte) (*http.Request, error) {
	h, err := http.NewRequestWithContext(ctx, http.MethodPost, row.BaseURL+path, bytes.NewReader(body))
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
	return h, nil
}

// list makes the request for the models of an endpoint, without the credential.
func list(ctx context.Context, row *catalog.Row) (*http.Request, error) {
	h, err := http.NewRequestWithContext(ctx, http.MethodGet, row.BaseURL+"/models", nil)
	if err != nil {
		return nil, err
	}
	h.Header.Set("Accept", "application/json")
	h.Header.Set("Accept-Encoding", "identity")
	h.Header.Set("User-Agent", "chaperone")
	return h, nil
}

// model is the edit that names the model as the endpoint does.
func model(row *catalog.Row) wire.Edit {
	name, err := json.Marshal(row.UpstreamModel)
	if err != nil {
		panic(err) // a string always marshals
	}
	return wire.Edit{Field: "model", Value: name}
}
