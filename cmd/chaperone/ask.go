package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// past fetches a decision that a running router has made.
func (q *question) past(ctx context.Context, id string) ([]byte, error) {
	return q.send(ctx, http.MethodGet, "/v1/decisions/"+url.PathEscape(id), nil)
}

// ask has a running router decide.
func (q *question) ask(ctx context.Context, body []byte) ([]byte, error) {
	return q.send(ctx, http.MethodPost, "/v1/route?api="+url.QueryEscape(q.api), body)
}

// askRows has it decide and tell the numbers by which scorers ranked.
func (q *question) askRows(ctx context.Context, body []byte) (record, table []byte, err error) {
	text, err := q.send(ctx, http.MethodPost, "/v1/rows?api="+url.QueryEscape(q.api), body)
	if err != nil {
		return nil, nil, fmt.Errorf("--rows asks the router's private address (server.private_listen): %w", err)
	}
	var both struct{ Decision, Table json.RawMessage }
	if err := json.Unmarshal(text, &both); err != nil {
		return nil, nil, fmt.Errorf("the router's answer cannot be read: %w", err)
	}
	return both.Decision, both.Table, nil
}

// mostAnswer bounds what is read of a router, or of what turns out to be none.
const mostAnswer = 64 << 20

func (q *question) send(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	key := os.Getenv(q.keyEnv)
	if key == "" {
		return nil, inputErrorf("the environment variable %s is empty; it should hold an API key of the router (--key-env names another)", q.keyEnv)
	}
	base, err := routerURL("--url", q.url)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/v1")+path, bytes.NewReader(body))
	if err != nil {
		return nil, inputErrorf("--url: %v", err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return fetch(request)
}

// routerURL is the address of a router without a slash at its end.
func routerURL(flag, text string) (string, error) {
	base, err := url.Parse(text)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return "", inputErrorf("%s: found %q; expected the address of a router, such as http://127.0.0.1:8080", flag, text)
	}
	return strings.TrimSuffix(text, "/"), nil
}

// fetch is what a router answers.
func fetch(request *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("the router does not answer: %w; chaperone serve starts one", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return nil, fmt.Errorf("the router's answer ends early: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return bytes.TrimSpace(text), nil
	}
	var refused struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &refused) != nil || refused.Error.Message == "" {
		return nil, fmt.Errorf("%s answered %s, and not as a router would", request.URL, resp.Status)
	}
	if resp.StatusCode >= 500 {
		return nil, fmt.Errorf("the router answered %s: %s", resp.Status, refused.Error.Message)
	}
	return nil, inputErrorf("the router answered %s: %s", resp.Status, refused.Error.Message)
}
