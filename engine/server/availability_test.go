package server_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone/engine/sim"
)

type refusal struct {
	ID    string `json:"id"`
	Error struct {
		Code         int            `json:"code"`
		Message      string         `json:"message"`
		Metadata     map[string]any `json:"metadata"`
		Availability struct {
			Code              string   `json:"code"`
			Retryable         *bool    `json:"retryable"`
			RequestedModels   []string `json:"requested_models"`
			DocsURL           string   `json:"docs_url"`
			RetryAfter        int64    `json:"retry_after"`
			AffectedProviders []string `json:"affected_providers"`
			ExcludedBy        []string `json:"excluded_by"`
			FallbackModels    []string `json:"fallback_models"`
			Constraint        struct{ Field, Detail string }
		} `json:"availability"`
	} `json:"error"`
}

func (r *reply) refusal(t *testing.T) refusal {
	t.Helper()
	var e refusal
	if err := json.Unmarshal([]byte(r.body), &e); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return e
}

// Where nothing may serve a request, the error says what keeps each endpoint out and the smallest change that would let one
// through; the request so changed is served.
func TestARefusalNamesTheSmallestChangeThatHelps(t *testing.T) {
	f := openFleet(t, "", `deny contains {"code": "data_region", "message": "not to beta"} if {
	input.endpoint.provider == "beta"
	input.claims.user == "strict"
}`)
	for _, c := range []struct {
		name, fields string
		status       int
		code         string
		excluded     []string
		field        string // of the smallest change
		changed      string // the request with it
	}{
		{"only", `"provider":{"only":["nobody"]}`, 404, "constraint_filtered", []string{"allowed_providers", "service_tier"},
			"provider.only", `"provider":{"only":["nobody","alpha/east"]}`},
		{"zdr and only", `"provider":{"only":["beta"],"zdr":true}`, 404, "constraint_filtered",
			[]string{"allowed_providers", "data_policy:zdr", "service_tier"}, "provider.zdr", `"provider":{"only":["beta"]}`},
		{"max_price", `"provider":{"max_price":{"prompt":0.5}}`, 404, "constraint_filtered", []string{"max_price", "service_tier"},
			"provider.max_price.prompt", `"provider":{"max_price":{"prompt":1}}`},
		{"require_parameters", `"top_k":1,"provider":{"only":["beta"],"require_parameters":true}`, 404, "constraint_filtered",
			[]string{"allowed_providers", "require_parameters", "service_tier"}, "top_k", `"provider":{"only":["beta"],"require_parameters":true}`},
		{"quantizations", `"provider":{"quantizations":["int4"]}`, 404, "constraint_filtered", []string{"quantization", "service_tier"},
			"provider.quantizations", `"provider":{"quantizations":["int4","mxfp4"]}`},
		{"ignore", `"model":"m/three","provider":{"ignore":["delta"]}`, 404, "constraint_filtered", []string{"ignored_providers"},
			"provider.ignore", `"model":"m/three"`},
		{"data_collection", `"model":"m/three","provider":{"data_collection":"deny"}`, 404, "constraint_filtered", []string{"data_policy:training"},
			"provider.data_collection", `"model":"m/three","provider":{"data_collection":"allow"}`},
		{"two changes where no single one helps", `"model":"m/three","provider":{"data_collection":"deny","ignore":["delta"]}`, 404, "constraint_filtered",
			[]string{"ignored_providers"}, "provider.ignore,provider.data_collection", `"model":"m/three"`},
		{"max_tokens", `"model":"m/two","max_tokens":5000`, 404, "constraint_filtered", []string{"context_length"}, "max_tokens", `"model":"m/two","max_tokens":900`},
		{"tools", `"model":"m/three","tools":[{"type":"function","function":{"name":"f"}}]`, 404, "constraint_filtered", []string{"tools"}, "tools", `"model":"m/three"`},
		{"custom tools", `"model":"m/one","tools":[{"type":"custom","custom":{"name":"c"}}]`, 404, "constraint_filtered", []string{"custom_tools", "tools"},
			"tools", `"model":"m/one","tools":[{"type":"function","function":{"name":"c"}}]`},
		{"free", `"model":"m/three:free"`, 404, "free_variant_ended", []string{"free"}, "model", `"model":"m/three"`},
		{"policy and preference: what the caller can change", `"user":"strict","provider":{"only":["beta"]}`, 404, "privacy_restricted",
			[]string{"allowed_providers", "data_region", "service_tier"}, "provider.only", `"user":"strict","provider":{"only":["beta","alpha/east"]}`},
		{"policy alone", `"user":"strict","model":"m/two"`, 404, "privacy_restricted", []string{"data_region"}, "policy", ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := f.ask(t, c.fields)
			e := r.refusal(t)
			a := &e.Error.Availability
			if r.status != c.status || a.Code != c.code || e.Error.Code != c.status || a.Retryable == nil || *a.Retryable || len(a.RequestedModels) == 0 {
				t.Errorf("%d %+v", r.status, e.Error)
			}
			if !slices.Equal(a.ExcludedBy, c.excluded) || a.Constraint.Field != c.field || !strings.Contains(e.Error.Message, a.Constraint.Detail) {
				t.Errorf("excluded by %q, constraint %+v; want %q, %q\n%s", a.ExcludedBy, a.Constraint, c.excluded, c.field, r.body)
			}
			if r.record == nil || e.ID != r.record.ID || a.DocsURL != "/v1/decisions/"+e.ID {
				t.Errorf("the error does not lead to its decision: %q, %q", e.ID, a.DocsURL)
			}
			if c.changed == "" {
				return
			}
			if r := f.ask(t, c.changed); r.status != 200 {
				t.Errorf("with the change: %d %s", r.status, r.body)
			}
		})
	}
}

func TestErrorsSayWhetherToAskAgain(t *testing.T) {
	limited := []sim.Fault{{Kind: sim.Status, Status: 429, RetryAfter: 5 * time.Minute, Share: 1}}
	down := []sim.Fault{{Kind: sim.Status, Status: 503, Share: 1}}
	for _, c := range []struct {
		name   string
		faults []sim.Fault
		status int
		code   string
		after  bool
	}{
		{"rate limited", limited, 429, "capacity_exhausted", true},
		{"down", down, 503, "temporarily_unavailable", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := openFleet(t, "[timeouts]\ntotal = \"1m\"\n", "", sim.Profile{Name: "delta", Faults: c.faults})
			r := f.ask(t, `"model":"m/three"`)
			e := r.refusal(t)
			a := e.Error.Availability
			if r.status != c.status || a.Code != c.code || a.Retryable == nil || !*a.Retryable || !slices.Equal(a.AffectedProviders, []string{"Delta"}) ||
				!slices.Equal(a.RequestedModels, []string{"m/three"}) {
				t.Errorf("%d %+v", r.status, e.Error)
			}
			if (r.header.Get("Retry-After") != "") != c.after || (a.RetryAfter > 0) != c.after {
				t.Errorf("Retry-After %q, retry_after %d", r.header.Get("Retry-After"), a.RetryAfter)
			}
			if r.header.Get("X-Generation-Id") != e.ID || e.ID == "" {
				t.Errorf("id %q, X-Generation-Id %q", e.ID, r.header.Get("X-Generation-Id"))
			}
		})
	}
}

func TestEveryErrorHasAnId(t *testing.T) {
	f := openFleet(t, "", "")
	for name, c := range map[string]struct {
		fields, header, want string
		status               int
	}{
		"unknown key of provider": {`"provider":{"onyl":["beta"]}`, "", `unknown key \"onyl\"; did you mean \"only\"?`, 400},
		"unknown model":           {`"model":"m/tow"`, "", "the nearest that this key may use: m/two", 400},
		"invalid JSON":            {`"model":`, "", "byte", 400},
		"unknown key":             {``, "Authorization: Bearer sk-unknown", "unknown", 401},
	} {
		r := f.ask(t, c.fields, c.header)
		e := r.refusal(t)
		if r.status != c.status || !strings.Contains(r.body, c.want) {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
		if name != "unknown key" && (!strings.HasPrefix(e.ID, "gen-") || r.header.Get("X-Generation-Id") != e.ID) {
			t.Errorf("%s: id %q, X-Generation-Id %q", name, e.ID, r.header.Get("X-Generation-Id"))
		}
	}
}

// Thresholds of live speed move endpoints back and take none away.
func TestSoftThresholds(t *testing.T) {
	slow := sim.Profile{Name: "alpha", TTFT: sim.Distribution{P50: 150}, TPS: sim.Distribution{P50: 400}, OutputTokens: sim.Distribution{P50: 40}}
	f := openFleet(t, "[statistics]\ntick = \"10ms\"\n", "", slow)
	f.ask(t, `"stream":true,"provider":{"only":["alpha/east"]}`)
	for _, c := range []struct{ name, fields, want string }{
		{"none", ``, "alpha/east alpha/west beta gamma"},
		{"preferred_max_latency", `"provider":{"preferred_max_latency":0.05}`, "alpha/west beta gamma alpha/east"},
		{"preferred_max_latency: met", `"provider":{"preferred_max_latency":10}`, "alpha/east alpha/west beta gamma"},
		{"preferred_max_latency: a percentile", `"provider":{"preferred_max_latency":{"p50":10,"p90":0.05}}`, "alpha/west beta gamma alpha/east"},
		{"preferred_min_throughput", `"provider":{"preferred_min_throughput":5000}`, "alpha/west beta gamma alpha/east"},
		{"preferred_min_throughput: met", `"provider":{"preferred_min_throughput":{"p90":1}}`, "alpha/east alpha/west beta gamma"},
		{"order comes before thresholds", `"provider":{"preferred_max_latency":0.05,"order":["alpha/east"]}`, "alpha/east alpha/west beta gamma"},
		{"a fallback model that meets them wins", `"models":["m/one","m/three"],"provider":{"preferred_max_latency":0.05,"only":["alpha/east","delta"]}`, "m/three@delta alpha/east"},
	} {
		deadline := time.Now().Add(patience)
		for { // until the tick has shown what was measured
			got := f.decide(t, c.fields).planned()
			if got == c.want {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%s: planned %s, want %s", c.name, got, c.want)
				break
			}
		}
	}
}

// What a caller says of itself is kept with the decision.
func TestClaimsAreRecorded(t *testing.T) {
	f := openFleet(t, "", "")
	r := f.ask(t, `"user":"u-1","session_id":"s-1","metadata":{"a":"b"},"trace":{"trace_id":"t-1","n":1}`,
		"HTTP-Referer: https://app.example", "X-Title: App", "X-OpenRouter-Categories: coding, cli, more")
	c := r.record.Claims
	if c == nil || c.User != "u-1" || c.Session != "s-1" || c.Metadata["a"] != "b" || c.Trace["trace_id"] != "t-1" || len(c.Trace) != 1 || c.App == nil ||
		c.App.URL != "https://app.example" || c.App.Title != "App" || !slices.Equal(c.App.Categories, []string{"coding", "cli"}) {
		t.Errorf("claims %+v", c)
	}
	if c := f.ask(t, ``, "X-OpenRouter-Title: Newer", "X-Title: Older").record.Claims; c == nil || c.App.Title != "Newer" {
		t.Errorf("claims %+v", c)
	}
	for sent, want := range map[string]string{"tool/1.0 (x86)": "tool/1.0 (x86)", "a\u009b31m\u202eb\u00a0c\t\xff": "a31mb\u00a0c", strings.Repeat("é", 200): strings.Repeat("é", 128)} {
		c := f.ask(t, ``, "User-Agent: "+sent, "Origin: "+sent).record.Claims
		if c == nil || c.App == nil || c.App.UserAgent != want || c.App.Origin != want {
			t.Errorf("%q is kept as %+v", sent, c)
		}
	}
	long := strings.Repeat("v", 513)
	for _, bad := range []string{`"metadata":{"a":"` + long + `"}`, `"metadata":{"` + long[:65] + `":"a"}`,
		`"metadata":{"1":"","2":"","3":"","4":"","5":"","6":"","7":"","8":"","9":"","10":"","11":"","12":"","13":"","14":"","15":"","16":"","17":""}`} {
		if r := f.ask(t, bad); r.status != 400 {
			t.Errorf("%.30s: %d", bad, r.status)
		}
	}
}
