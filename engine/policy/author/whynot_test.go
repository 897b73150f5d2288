package author_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chaperone/engine/policy/author"
	"chaperone/engine/wire"
)

// bind is a binding of a policy of the library for acme.
func bind(name, params string) string {
	b := "[[policy.bindings]]\npackage = \"library." + name + "\"\nfor = \"org:acme\"\n"
	if params != "" {
		b += "params = " + params + "\n"
	}
	return b
}

func TestWhyNotFindsTheSmallestChangeForEveryPolicyOfTheLibraryThatDenies(t *testing.T) {
	for _, test := range []struct {
		policy, params, provider, body string
		field, to                      string
	}{
		{"training", "", "beta", "", "endpoint.data_policy.training", "no"},
		{"training", "", "gamma", "", "endpoint.data_policy.training", "no"},
		{"retention", "{ max_days = 7 }", "beta", "", "endpoint.data_policy.retention_days", "7"},
		{"zero_retention", "", "beta", "", "endpoint.data_policy.zdr_option", "true"},
		{"evidence", "{ max_days = 365 }", "beta", "", "endpoint.data_policy.as_of", "2026-06-01"},
		{"residency", `{ regions = ["ch"] }`, "beta", "", "endpoint.processing_regions", `["ch"]`},
		{"jurisdiction", `{ jurisdictions = ["DE", "FR"] }`, "beta", "", "endpoint.jurisdiction", "DE"},
		{"headquarters", `{ countries = ["FR"] }`, "gamma", "", "endpoint.headquarters", "FR"},
		{"certifications", `{ required = ["soc2", "hipaa"] }`, "alpha", "", "endpoint.certifications", `["hipaa" "iso27001" "soc2"]`},
		{"certifications", `{ required = ["soc2", "hipaa"] }`, "beta", "", "endpoint.certifications", `["hipaa" "soc2"]`},
		{"quantization", `{ allow = ["fp8"] }`, "beta", "", "endpoint.quantization", "fp8"},
		{"price", "{ prompt = 3 }", "beta", "", "endpoint.price.prompt", "3"},
		{"performance", "{ max_ttft_ms = 2000 }", "beta", "", "endpoint.stats.ttft_ms", "1883"},
		{"performance", "{ min_tps = 50 }", "beta", "", "endpoint.stats.tps", "53.09"},
		{"performance", "{ min_uptime = 0.999 }", "beta", "", "endpoint.stats.uptime", "1"},
		{"provider_tools", "", "alpha", `{"tools": [{"type": "web_search"}]}`, "request.tool_kinds", "[]"},
		{"provider_state", "", "alpha", `{"store": true}`, "request.store", "false"},
		{"self_hosted", `{ from = "confidential" }`, "alpha", `{"metadata": {"data_class": "restricted"}}`, "request.claims.data_class", "none"},
		{"office_hours", `{ from_hour = 14, to_hour = 15, weekdays = ["monday"] }`, "alpha", "", "time", "Mon 14:00 UTC"},
		{"office_hours", `{ from_hour = 7, to_hour = 10, weekdays = ["monday", "friday"] }`, "alpha", "", "time", "Fri 07:00 UTC"},
		{"free_credentials", "", "gamma", `{"metadata": {"data_class": "internal"}}`, "endpoint.free", "false"},
	} {
		w := world(t, bind(test.policy, test.params))
		n := whyNot(t, w, test.provider, test.body)
		if n.Permitted || len(n.Denials) == 0 || n.Denials[0].File == "" || n.Denials[0].Line == 0 {
			t.Errorf("%s: %+v should be denied by a rule with its place", test.policy, n)
			continue
		}
		at := slices.IndexFunc(n.Alone, func(c author.Change) bool { return c.Field == test.field })
		if at < 0 || n.Alone[at].To != test.to {
			t.Errorf("%s at %s: %+v; should have %s → %s", test.policy, test.provider, n.Alone, test.field, test.to)
		}
		if len(n.Together) > 0 {
			t.Errorf("%s: %+v together, where one change is enough", test.policy, n.Together)
		}
	}
}

// Rules of one's own compare with values that no parameter names.
func TestWhyNotTriesWhatRulesCompareWith(t *testing.T) {
	for _, test := range []struct{ rule, provider, body, field, to string }{
		{`deny contains "x" if object.get(input.principal.labels, "tier", "none") != "gold"`, "alpha", "", `principal.labels["tier"]`, "gold"},
		{`deny contains "x" if object.get(input.claims.metadata, "case", "") != "approved"`, "alpha", `{"metadata": {"case": "open"}}`, `request.claims.metadata["case"]`, "approved"},
		{`deny contains "x" if object.get(input.claims.metadata, "case", "") == "open"`, "alpha", `{"metadata": {"case": "open"}}`, `request.claims.metadata["case"]`, "none"},
		{`deny contains "x" if object.get(input.endpoint.labels, "audited", "no") != "yes"`, "beta", "", `endpoint.labels["audited"]`, "yes"},
		{`deny contains "x" if input.request.prompt_tokens >= 3`, "alpha", `{"messages": [{"role": "user", "content": "one two three four five six seven"}]}`, "request.prompt_tokens", "2"},
		{`deny contains "x" if "seed" in input.request.parameters`, "alpha", `{"seed": 1}`, "request.parameters", "[]"},
		{`deny contains "x" if input.request.reasoning.effort == "high"`, "alpha", `{"reasoning_effort": "high"}`, "request.reasoning.effort", "none"},
		{`deny contains "x" if not input.request.preferences.zdr`, "alpha", "", "request.preferences.zdr", "true"},
		{`deny contains "x" if input.endpoint.data_policy.training == "no"`, "alpha", "", "endpoint.data_policy.training", "yes"},
		{`deny contains "x" if input.endpoint.data_policy.retention_days >= 30`, "beta", "", "endpoint.data_policy.retention_days", "29"},
		{`deny contains "x" if input.endpoint.headquarters != "FR"`, "beta", "", "endpoint.headquarters", "FR"},
		{`deny contains "x" if input.endpoint.price.prompt > 4`, "beta", "", "endpoint.price.prompt", "4"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "own.rego"), []byte("package own\n\n"+test.rule+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		w := world(t, fmt.Sprintf("[[policy.sources]]\nname = \"own\"\npath = %q\n[[policy.bindings]]\npackage = \"own\"\nfor = \"everyone\"\n", dir))
		n := whyNot(t, w, test.provider, test.body)
		at := slices.IndexFunc(n.Alone, func(c author.Change) bool { return c.Field == test.field })
		if n.Permitted || at < 0 || n.Alone[at].To != test.to {
			t.Errorf("%s: permitted %t, %+v; should have %s → %s", test.rule, n.Permitted, n.Alone, test.field, test.to)
		}
	}
}

func TestWhyNotKnowsWhereNothingWouldHelp(t *testing.T) {
	w := world(t, bind("providers", `{ deny = ["alpha"] }`))
	if n := whyNot(t, w, "alpha", ""); n.Permitted || len(n.Alone)+len(n.Together) > 0 {
		t.Errorf("%+v: no change of a request or of terms helps a provider that is denied by name", n)
	}
	if n := whyNot(t, w, "beta", ""); !n.Permitted || len(n.Denials) > 0 {
		t.Errorf("%+v should be permitted", n)
	}
}

func TestWhyNotChangesTogetherWhatOneChangeCannot(t *testing.T) {
	w := world(t, bind("training", "")+bind("residency", `{ regions = ["eu"] }`)+bind("provider_tools", "")+bind("price", "{ prompt = 3, completion = 15 }"))
	n := whyNot(t, w, "beta", `{"tools": [{"type": "web_search"}, {"type": "function", "function": {"name": "f"}}]}`)
	var fields []string
	for _, c := range n.Together {
		fields = append(fields, c.Field+" "+c.To)
	}
	slices.Sort(fields)
	want := []string{"endpoint.data_policy.training no", "endpoint.price.completion 15", "endpoint.price.prompt 3", `endpoint.processing_regions ["eu"]`, `request.tool_kinds ["function"]`}
	if len(n.Alone) > 0 || !slices.Equal(fields, want) {
		t.Errorf("alone %+v, together %q; should be none and %q", n.Alone, fields, want)
	}
}

func TestARequestThatIsNoneIsRefusedInPlainWords(t *testing.T) {
	for _, body := range []string{"[]", "null", "{", `{"messages": 3}`, `{"input": "Hello"}`, `{"prompt": "Hello"}`, `{"query": "Hello", "documents": ["a"]}`} {
		if _, err := author.Request(wire.Chat, "acme/large", body); err == nil || !strings.HasPrefix(err.Error(), "the request") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// Each request says with a tool of the API's own that a search would run at the provider.
func TestRequestsOfEveryAPIAreRead(t *testing.T) {
	w := world(t, bind("provider_tools", ""))
	who, err := w.Who("acme", "", "", now)
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.Model(who, "acme/large")
	if err != nil {
		t.Fatal(err)
	}
	searches := map[wire.Shape]string{
		wire.Chat:        `{"tools": [{"type": "web_search"}]}`,
		wire.Messages:    `{"tools": [{"type": "web_search_20250305", "name": "web_search"}], "system": "Be brief."}`,
		wire.CountTokens: `{"tools": [{"type": "web_search_20250305", "name": "web_search"}]}`,
		wire.Responses:   `{"tools": [{"type": "web_search"}], "input": [{"role": "user", "content": "Hello"}]}`,
	}
	for _, name := range wire.Shapes() {
		api, err := author.API(name, m)
		if err != nil {
			t.Fatal(err)
		}
		for body, permitted := range map[string]bool{"": true, searches[api]: searches[api] == ""} {
			req, err := author.Request(api, "acme/large", body)
			if err != nil {
				t.Errorf("%s %s: %v", name, body, err)
				continue
			}
			n := w.WhyNot(t.Context(), who, req, m.Rows, now)[0]
			if req.Shape != api || n.Permitted != permitted {
				t.Errorf("%s %s: read as %s, permitted %t", name, body, req.Shape, n.Permitted)
			}
			if !permitted && (len(n.Alone) == 0 || n.Alone[0].Field != "request.tool_kinds") {
				t.Errorf("%s: %+v", name, n)
			}
		}
	}
	if _, err := author.API("message", m); err == nil || !strings.Contains(err.Error(), `did you mean "messages"?`) {
		t.Error(err)
	}
}
