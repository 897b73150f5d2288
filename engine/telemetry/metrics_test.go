package telemetry_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	srv := httptest.NewServer(m.Handler())
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %s\n%s", err, res.Status, body)
	}
	return string(body)
}

func knowing() *telemetry.Metrics {
	m := telemetry.NewMetrics()
	m.Know(
		&catalog.Catalog{
			Models:    map[string]*catalog.Model{"openai/gpt-4o": {}},
			Providers: map[string]*catalog.Provider{"deepinfra": {}, "openai": {}},
		},
		&account.Accounts{Organisations: map[string]*account.Organisation{"acme": {}}},
	)
	return m
}

func TestEveryMetricIsServed(t *testing.T) {
	m := knowing()
	m.Begin()
	m.Begin()
	m.End()
	m.Request("acme", "openai/gpt-4o", 200, 1500*time.Millisecond)
	m.Request("acme", "openai/gpt-4o", 502, 40*time.Second)
	m.Request("acme", "", 404, 0)
	m.Attempt("deepinfra", "ok")
	m.Attempt("deepinfra", "rate_limited")
	m.Fallback("deepinfra")
	m.TTFT("openai", 120*time.Millisecond)
	m.Tokens("acme", "openai/gpt-4o", wire.Usage{PromptTokens: 1000, CompletionTokens: 50, CachedTokens: 900, ReasoningTokens: -7})
	m.Cost("acme", "openai/gpt-4o", "openai", 2_500_000_000)
	m.Cost("acme", "openai/gpt-4o", "openai", -1)
	m.Denied("library.training", 3)
	m.Denied("library.training", 0)
	m.Reload(true, time.Unix(1_700_000_000, 0))
	m.Reload(false, time.Unix(1_800_000_000, 0))
	m.Plugin("carbon-aware", false, false)
	m.Plugin("carbon-aware", true, false)
	m.Plugin("carbon-aware", true, true)
	got := scrape(t, m)
	for _, line := range []string{
		`chaperone_requests_in_flight 1`,
		`chaperone_requests_total{model="openai/gpt-4o",organisation="acme",status="2xx"} 1`,
		`chaperone_requests_total{model="openai/gpt-4o",organisation="acme",status="5xx"} 1`,
		`chaperone_requests_total{model="other",organisation="acme",status="4xx"} 1`,
		`chaperone_request_duration_seconds_bucket{model="openai/gpt-4o",le="1"} 0`,
		`chaperone_request_duration_seconds_bucket{model="openai/gpt-4o",le="2"} 1`,
		`chaperone_attempts_total{outcome="ok",provider="deepinfra"} 1`,
		`chaperone_attempts_total{outcome="rate_limited",provider="deepinfra"} 1`,
		`chaperone_fallbacks_total{provider="deepinfra"} 1`,
		`chaperone_ttft_seconds_bucket{provider="openai",le="0.1"} 0`,
		`chaperone_ttft_seconds_bucket{provider="openai",le="0.2"} 1`,
		`chaperone_tokens_total{kind="prompt",model="openai/gpt-4o",organisation="acme"} 1000`,
		`chaperone_tokens_total{kind="cached",model="openai/gpt-4o",organisation="acme"} 900`,
		`chaperone_cost_usd_total{model="openai/gpt-4o",organisation="acme",provider="openai"} 0.0025`,
		`chaperone_denied_rows_total{package="library.training"} 3`,
		`chaperone_reloads_total{result="success"} 1`,
		`chaperone_reloads_total{result="failure"} 1`,
		`chaperone_reload_last_success_timestamp_seconds 1.7e+09`,
		`chaperone_plugin_calls_total{plugin="carbon-aware"} 3`,
		`chaperone_plugin_abstentions_total{plugin="carbon-aware"} 2`,
		`chaperone_plugin_traps_total{plugin="carbon-aware"} 1`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("missing %s", line)
		}
	}
	if !regexp.MustCompile(`chaperone_build_info\{go="go[^"]+",revision="[^"]+",version="[^"]*"\} 1\n`).MatchString(got) {
		t.Error("missing chaperone_build_info")
	}
	if strings.Contains(got, `kind="reasoning"`) {
		t.Error("a negative count should count as none")
	}
}

func TestNoCallerNamesALabel(t *testing.T) {
	m := knowing()
	before := scrape(t, telemetry.NewMetrics())
	for i := range 5000 {
		canary := fmt.Sprintf("sk-canary-%d", i)
		m.Request(canary, canary, 200+i, time.Second)
		m.Attempt(canary, "ok")
		m.Fallback(canary)
		m.TTFT(canary, time.Second)
		m.Tokens(canary, canary, wire.Usage{PromptTokens: 1, CompletionTokens: 1, CachedTokens: 1, CacheWriteTokens: 1, ReasoningTokens: 1})
		m.Cost(canary, canary, canary, 1)
	}
	got := scrape(t, m)
	if strings.Contains(got, "canary") {
		t.Error("an unknown name became a label")
	}
	if added := strings.Count(got, "\n") - strings.Count(before, "\n"); added > 120 {
		t.Errorf("5,000 unknown names added %d lines", added)
	}
	for i := range 5000 {
		name := fmt.Sprintf("name-%d", i)
		m.Denied(name, 1)
		m.Plugin(name, true, true)
		m.Attempt("openai", name)
	}
	for _, metric := range []string{"denied_rows", "plugin_calls", "plugin_abstentions", "plugin_traps", "attempts"} {
		if n := strings.Count(scrape(t, m), "\nchaperone_"+metric+"_total{"); n > 260 {
			t.Errorf("%s has %d series", metric, n)
		}
	}
}
