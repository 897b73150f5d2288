package server_test

import (
	"net/http"
	"strings"
	"testing"

	"chaperone/engine/sim"
)

func TestModelsComeInTheFormOfWhoeverAsks(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	c := client(t)
	for path, want := range map[string]string{
		"/v1/models":                    `"total_count":1`,
		"/v1/models?q=one&limit=1":      `"id":"m/one"`,
		"/v1/models/user":               `"id":"m/one"`,
		"/v1/models/count":              `{"data":{"count":1}}`,
		"/v1/models/m/one":              `"object":"model"`,
		"/v1/models/m%2Fone":            `"object":"model"`,
		"/v1/models/m%2fone":            `"object":"model"`,
		"/api/v1/models/m%2Fone":        `"object":"model"`,
		"/v1/models/one":                `"id":"m/one"`,
		"/v1/model/m/one":               `{"data":{"id":"m/one"`,
		"/v1/models/m/one/endpoints":    `"uptime_last_5m":null`,
		"/v1/models/m%2Fone/endpoints":  `"tag":"one"`,
		"/v1/providers":                 `"slug":"one"`,
		"/v1/endpoints/zdr":             `{"data":[]}`,
		"/v1/models/m/two":              `\"m/two\" is not a model that this key may use`,
		"/v1/models?limit=none":         `limit: found \"none\"; it should be a whole number`,
		"/v1/models?%":                  `the query of the request target is malformed`,
		"/v1/models/m%2Fone%2Fx":        `may be encoded`,
		"/v1/chat%2Fcompletions":        `may be encoded`,
		"/v1/models/..%2Fone":           `relative segments`,
		"/v1/models/m%2F..":             `relative segments`,
		"/v1/models/m%2F..%2Fdecisions": `may be encoded`,
	} {
		if resp, text := do(t, c, newRequest(t, "GET", w.url(path), "")); !strings.Contains(text, want) {
			t.Errorf("GET %s: %d %s\nwant %s", path, resp.StatusCode, text, want)
		}
	}
	for path, want := range map[string]string{
		"/v1/models": `"has_more":false`, "/v1/models/m%2Fone": `"type":"model"`,
	} {
		r := newRequest(t, "GET", w.url(path), "")
		r.Header.Del("Authorization")
		r.Header.Set("X-Api-Key", key)
		r.Header.Set("Anthropic-Version", "2023-06-01")
		if resp, text := do(t, c, r); !strings.Contains(text, want) || !strings.Contains(text, `"display_name":"One"`) {
			t.Errorf("GET %s: %d %s\nwant %s", path, resp.StatusCode, text, want)
		}
	}
}

func TestAnEndpointTellsWhatWasMeasured(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	c := client(t)
	do(t, c, newRequest(t, "POST", w.url("/v1/chat/completions"), stream))
	_, text := do(t, c, newRequest(t, "GET", w.url("/v1/models/m/one/endpoints"), ""))
	for _, want := range []string{`"uptime_last_5m":100`, `"uptime_last_30m":100`, `"uptime_last_1d":100`, `"latency_last_30m":{"p50":`, `"throughput_last_30m":{"p50":`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

func TestPathsThatOtherAPIsHaveSayWhyThisOneDoesNot(t *testing.T) {
	w := open(t, sim.Profile{}, nil)
	c := client(t)
	for path, want := range map[string]string{
		"/v1/files":                "this router does not route /v1/files: it keeps files at a provider",
		"/v1/audio/speech":         "/v1/audio/speech: speech and transcription are not routed",
		"/v1/batches":              "/v1/batches: batches are not routed",
		"/api/v1/messages/batches": "/api/v1/messages/batches: batches are not routed",
		"/v1/fine_tuning/jobs":     "/v1/fine_tuning/jobs: it keeps state at a provider",
		"/api/beta/batches":        "/api/beta/batches: it is not stable there",
		"/v1/fils":                 "there is no /v1/fils here",
	} {
		resp, text := do(t, c, newRequest(t, "POST", w.url(path), "{}"))
		if resp.StatusCode != http.StatusNotFound || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s\nwant %s", path, resp.StatusCode, text, want)
		}
	}
}
