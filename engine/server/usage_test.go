package server_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone/engine/sim"
)

// withBooks opens a world with a journal, and so with a ledger, and a key of another organisation.
func withBooks(t *testing.T) *world {
	return openWith(t, sim.Profile{}, fmt.Sprintf("[journal]\ndir = %q\n[organisations.other]\n[[keys]]\norganisation = \"other\"\nsha256 = \"%x\"\n",
		filepath.Join(t.TempDir(), "journal"), sha256.Sum256([]byte("sk-other"))), nil)
}

func TestUsageIsToldInOpenRoutersForms(t *testing.T) {
	w, c := withBooks(t), client(t)
	var ids []string
	for range 3 {
		resp, _ := do(t, c, newRequest(t, "POST", w.url("/v1/chat/completions"), `{"model":"m/one","user":"ann","tags":["red"],"messages":[{"role":"user","content":"hi"}]}`))
		ids = append(ids, resp.Header.Get("X-Generation-Id"))
	}
	get := func(method, path, body, key string, into any) string {
		t.Helper()
		r := newRequest(t, method, w.url(path), body)
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		resp, text := do(t, c, r)
		if resp.StatusCode == http.StatusOK && into != nil {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
		return text
	}
	var g struct {
		Data struct {
			ID                string
			Provider          string      `json:"provider_name"`
			Cost              json.Number `json:"total_cost"`
			Prompt            int64       `json:"tokens_prompt"`
			Completion        int64       `json:"tokens_completion"`
			User              string      `json:"external_user"`
			Tags              []string
			ProviderResponses []struct {
				Status int
				Sent   string `json:"body_sent"`
			} `json:"provider_responses"`
		}
	}
	text := get("GET", "/v1/generation?id="+ids[0], "", "", &g)
	// One dollar a million prompt tokens, two a million others.
	cost := float64(g.Data.Prompt+2*g.Data.Completion) / 1e6
	if got, _ := g.Data.Cost.Float64(); got != cost || g.Data.ID != ids[0] || g.Data.Provider != "One" || g.Data.User != "ann" || g.Data.Prompt == 0 ||
		fmt.Sprint(g.Data.Tags, g.Data.ProviderResponses) != "[red] [{200 all}]" {
		t.Error(text)
	}
	var k struct {
		Data struct{ Usage, Usage_Daily, Usage_Weekly, Usage_Monthly float64 }
	}
	text = get("GET", "/v1/key", "", "", &k)
	for _, usage := range []float64{k.Data.Usage, k.Data.Usage_Daily, k.Data.Usage_Weekly, k.Data.Usage_Monthly} {
		if d := usage - 3*cost; d > 1e-12 || d < -1e-12 {
			t.Errorf("%s: want %v", text, 3*cost)
		}
	}
	if old := get("GET", "/api/v1/auth/key", "", "", nil); old != text {
		t.Errorf("the older path says %s", old)
	}
	if text := get("GET", "/v1/credits", "", "", nil); !strings.HasPrefix(text, `{"data":{"total_credits":null,"total_usage":0.`) {
		t.Error(text)
	}
	if text := get("GET", "/v1/activity", "", "", nil); text != `{"data":[]}` { // today is not complete
		t.Error(text)
	}
	ask := `{"metrics":["request_count","total_usage","tokens_total","cache_hit_rate"],"dimensions":["external_user","tag"],"granularity":"day",
		"filters":[{"field":"model","operator":"in","value":["m/one"]},{"field":"provider","operator":"neq","value":"two"},{"field":"api_key_id","operator":"eq","value":"` +
		fmt.Sprintf("%x", sha256.Sum256([]byte(key))) + `"}],"order_by":{"field":"total_usage","direction":"desc"},"time_range":{"start":"2020-01-01T00:00:00Z","end":"2100-01-01T00:00:00Z"}}`
	var a struct {
		Data struct {
			Data     []map[string]any
			Metadata struct {
				Rows int `json:"row_count"`
			}
		}
	}
	text = get("POST", "/v1/analytics/query", ask, "", &a)
	if len(a.Data.Data) != 1 || a.Data.Metadata.Rows != 1 || a.Data.Data[0]["request_count"] != "3" || a.Data.Data[0]["external_user"] != "ann" ||
		a.Data.Data[0]["date__day"] != time.Now().UTC().Format(time.DateOnly) {
		t.Error(text)
	}
	if text := get("GET", "/v1/analytics/meta", "", "", nil); !strings.Contains(text, `"total_usage"`) || !strings.Contains(text, `"not_in"`) {
		t.Error(text)
	}

	// Another organisation sees nothing of it.
	if text := get("GET", "/v1/generation?id="+ids[0], "", "sk-other", nil); !strings.Contains(text, "no generation") {
		t.Error(text)
	}
	for path, want := range map[string]string{"/v1/key": `"usage":0,`, "/v1/credits": `"total_usage":0}`} {
		if text := get("GET", path, "", "sk-other", nil); !strings.Contains(text, want) {
			t.Errorf("%s: %s", path, text)
		}
	}
	if text := get("POST", "/v1/analytics/query", ask, "sk-other", nil); !strings.Contains(text, `"data":[]`) {
		t.Error(text)
	}

	for body, want := range map[string]string{
		`{`:                              `body: expected a JSON object`,
		`{"metrics":[]}`:                 `metrics: missing; expected one or more of request_count`,
		`{"metrics":["request_counts"]}`: `did you mean \"request_count\"?`,
		`{"metrics":["request_count"],"dimensions":["model","provider","tag"]}`:                                    `dimensions: found 3; expected at most 2`,
		`{"metrics":["request_count"],"dimensions":["model","model"]}`:                                             `is there twice`,
		`{"metrics":["request_count"],"granularity":"year"}`:                                                       `granularity: found`,
		`{"metrics":["request_count"],"colour":1}`:                                                                 `unknown field`,
		`{"metrics":"request_count"}`:                                                                              `body: found string as metrics`,
		`{"metrics":["request_count"],"limit":0}`:                                                                  `limit: found 0; expected 1 to 10000`,
		`{"metrics":["request_count"],"order_by":{"field":"model"}}`:                                               `order_by:`,
		`{"metrics":["request_count"],"filters":[{"field":"model","operator":"gt","value":"a"}]}`:                  `expected eq, neq, in or not_in`,
		`{"metrics":["request_count"],"filters":[{"field":"model","operator":"eq","value":["a"]}]}`:                `the value of model is not right`,
		`{"metrics":["request_count"],"time_range":{"start":"2026-01-02T00:00:00Z","end":"2026-01-01T00:00:00Z"}}`: `expected a start before the end`,
		`{"metrics":["request_count"],"filters":[{"field":"organisation","operator":"eq","value":"acme"}]}`:        `organisation`,
		`{"metrics":["request_count"]} {}`:                                                                         `something follows`,
		`{"metrics":["request_count"],"order_by":{"field":"request_count","direction":"up"}}`:                      `expected asc or desc`,
		`{"metrics":["request_count"],"dimensions":["modell"]}`:                                                    `did you mean \"model\"?`,
	} {
		r := newRequest(t, "POST", w.url("/v1/analytics/query"), body)
		if resp, text := do(t, c, r); resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s, want %s", body, resp.StatusCode, text, want)
		}
	}
	for path, want := range map[string]string{
		"/v1/activity?date=today":       `date: found`,
		"/v1/activity?api_key_hash=abc": `api_key_hash: found`,
		"/v1/activity?group_by=model":   `group_by: found`,
		"/v1/generation":                `id: missing`,
		"/v1/generation?%":              `malformed`,
	} {
		if resp, text := do(t, c, newRequest(t, "GET", w.url(path), "")); resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s, want %s", path, resp.StatusCode, text, want)
		}
	}
}

func TestWithoutALedgerGenerationsAreFoundAndUsageIsNot(t *testing.T) {
	w, c := open(t, sim.Profile{}, nil), client(t)
	resp, _ := do(t, c, newRequest(t, "POST", w.url("/v1/chat/completions"), `{"model":"m/one","messages":[{"role":"user","content":"hi"}]}`))
	if resp, text := do(t, c, newRequest(t, "GET", w.url("/v1/generation?id="+resp.Header.Get("X-Generation-Id")), "")); resp.StatusCode != http.StatusOK {
		t.Error(text)
	}
	for _, path := range []string{"/v1/key", "/v1/credits", "/v1/activity"} {
		if resp, text := do(t, c, newRequest(t, "GET", w.url(path), "")); resp.StatusCode != http.StatusNotImplemented || !strings.Contains(text, "journal.dir") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
}
