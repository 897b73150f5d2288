package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"chaperone/engine/sim"
)

const turn = `{"model":"m/one","max_tokens":20,"messages":[{"role":"user","content":"hello"}]}`

// anthropicRequest is one as Anthropic's clients send it.
func anthropicRequest(t *testing.T, url, body string) *http.Request {
	t.Helper()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	r := newRequest(t, method, url, body)
	r.Header.Del("Authorization")
	r.Header.Set("X-Api-Key", key)
	r.Header.Set("Anthropic-Version", "2023-06-01")
	return r
}

// Every answer here is also held to the OpenAPI document, by the client.
func TestAnthropicsClientsAreAnsweredInTheirForm(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	c := client(t)
	for _, path := range []string{"/v1/messages", "/api/v1/messages"} {
		resp, body := do(t, c, anthropicRequest(t, w.url(path), turn))
		if id := resp.Header.Get("Request-Id"); resp.StatusCode != 200 || id == "" || id != resp.Header.Get("X-Generation-Id") || !strings.Contains(body, `"type":"message"`) {
			t.Errorf("%s: %d %v %s", path, resp.StatusCode, resp.Header, body)
		}
		resp, body = do(t, c, anthropicRequest(t, w.url(path), strings.Replace(turn, "{", `{"stream":true,`, 1)))
		if resp.Header.Get("Request-Id") == "" || !strings.HasPrefix(body, "event: message_start\n") || !strings.HasSuffix(body, "data: {\"type\":\"message_stop\"}\n\n") {
			t.Errorf("%s: %v %s", path, resp.Header, body)
		}
	}
	if resp, body := do(t, c, anthropicRequest(t, w.url("/v1/messages/count_tokens"), `{"model":"m/one","messages":[{"role":"user","content":"hello"}]}`)); resp.StatusCode != 200 || !strings.Contains(body, `"estimated":true`) ||
		!strings.HasPrefix(resp.Header.Get("Server-Timing"), "policy;dur=") {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
}

func TestAnthropicsClientsAreRefusedInTheirForm(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	c := client(t)
	for _, x := range []struct {
		name   string
		change func(*http.Request)
		path   string
		body   string
		status int
		kind   string
	}{
		{"no key", func(r *http.Request) { r.Header.Del("X-Api-Key") }, "/v1/messages", turn, 401, "authentication_error"},
		{"a wrong key", func(r *http.Request) { r.Header.Set("X-Api-Key", "sk-other") }, "/v1/messages", turn, 401, "authentication_error"},
		{"no limit", nil, "/v1/messages", `{"model":"m/one","messages":[{"role":"user","content":"hello"}]}`, 400, "invalid_request_error"},
		{"an unknown model", nil, "/v1/messages", strings.Replace(turn, "m/one", "m/two", 1), 400, "not_found_error"},
		{"a tool that only Anthropic has", nil, "/v1/messages", strings.Replace(turn, "{", `{"tools":[{"type":"web_search_20250305","name":"web_search"}],`, 1), 404, "not_found_error"},
		{"a beta that is no name", func(r *http.Request) { r.Header.Set("Anthropic-Beta", "a b") }, "/v1/messages", turn, 400, "invalid_request_error"},
		{"two keys", func(r *http.Request) { r.Header.Set("Authorization", "Bearer sk-other") }, "/v1/messages", turn, 400, "invalid_request_error"},
		{"no JSON", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, "/v1/messages", turn, 415, "invalid_request_error"},
		{"no such path", nil, "/v1/messages/other", turn, 404, "not_found_error"},
		{"a path that is not routed", nil, "/v1/messages/batches", turn, 404, "not_found_error"},
		{"no such model in a listing", nil, "/v1/models/m/two", "", 404, "not_found_error"},
	} {
		r := anthropicRequest(t, w.url(x.path), x.body)
		if x.change != nil {
			x.change(r)
		}
		resp, body := do(t, c, r)
		var told struct {
			Type  string
			Error struct{ Type, Message string }
		}
		if err := json.Unmarshal([]byte(body), &told); err != nil || resp.StatusCode != x.status || told.Type != "error" || told.Error.Type != x.kind || told.Error.Message == "" {
			t.Errorf("%s: %d %s (%v), want %d %s", x.name, resp.StatusCode, body, err, x.status, x.kind)
		}
	}
}
