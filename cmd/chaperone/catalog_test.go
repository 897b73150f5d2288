package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCatalogListsShowsAndCompares(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"list"}, []string{"mistral", "free", "yes", "openai", "30 days"}},
		{[]string{"list", "models"}, []string{"openai/gpt-4o-mini", "128000"}},
		{[]string{"list", "endpoints"}, []string{"openai/gpt-4o-mini@openai#paid", "0.15", "0.6", "2026-05-27"}},
		{[]string{"list", "aliases"}, []string{"gpt-4o-2024-08-06"}},
		{[]string{"show", "gpt-4o"}, []string{"model openai/gpt-4o context_length", "endpoint openai/gpt-4o@azure#paid data_policy.evidence", "alias gpt-4o"}},
		{[]string{"show", "groq"}, []string{"provider groq credentials.zdr.zdr", "https://console.groq.com/docs/your-data.md"}},
	} {
		code, stdout, stderr := chaperone(t, append([]string{"catalog"}, c.args...)...)
		for _, want := range c.want {
			if code != exitDone || !strings.Contains(stdout, want) {
				t.Errorf("%v exited with %d, %s and lacks %q:\n%.2000s", c.args, code, stderr, want, stdout)
			}
		}
	}
	code, stdout, _ := chaperone(t, "catalog", "list", "--json")
	var listed entries
	if err := json.Unmarshal([]byte(stdout), &listed); err != nil || code != exitDone || len(listed.Providers) < 17 || len(listed.Models) < 20 || len(listed.Aliases) == 0 {
		t.Errorf("exited with %d, %v and %d providers", code, err, len(listed.Providers))
	}
	if code, _, stderr := chaperone(t, "catalog", "show", "grok"); code != exitInput || !strings.Contains(stderr, `did you mean "groq"?`) {
		t.Errorf("exited with %d: %s", code, stderr)
	}
	if code, _, stderr := chaperone(t, "catalog", "list", "modles"); code != exitInput || !strings.Contains(stderr, `did you mean "models"?`) {
		t.Errorf("exited with %d: %s", code, stderr)
	}
	if code, stdout, _ := chaperone(t, "catalog", "diff", "shipped", "shipped"); code != exitDone || stdout != "" {
		t.Errorf("exited with %d: %s", code, stdout)
	}
	own := write(t, "chaperone.toml", "shipped_catalog = true\n[models.\"openai/gpt-4o\"]\nname = \"Ours\"\ncontext_length = 64000\nmax_output_tokens = 16384\ninput_modalities = [\"text\", \"image\"]\n")
	code, stdout, stderr := chaperone(t, "catalog", "diff", "shipped", own)
	if code != exitRefused || !strings.Contains(strings.Join(strings.Fields(stdout), " "), "model openai/gpt-4o context_length 128000 64000") || strings.Contains(stdout, "gpt-4o-mini") {
		t.Errorf("exited with %d: %s%s", code, stdout, stderr)
	}
}

// Whatever is changed in an endpoint, a comparison shows it.
func TestCatalogComparesAllOfAnEndpoint(t *testing.T) {
	const catalog = `[providers.p]
dialect = "openai"
base_url = "https://p.example/v1"
credentials.paid.key_env = "P"
[models."a/b"]
context_length = 1000
max_output_tokens = 900
input_modalities = ["text", "image"]
[[endpoints]]
model = "a/b"
provider = "p"
price = { prompt = 1, completion = 2 }
`
	before := write(t, "before.toml", catalog)
	for key, value := range map[string]string{
		"service_tier": `"flex"`, "upstream_model": `"c"`, "base_url": `"https://q.example/v1"`, "only": `["x"]`, "quantization": `"fp8"`,
		"processing_regions": `["eu"]`, "jurisdiction": `"DE"`, "context_length": "950", "max_output_tokens": "5", "input_modalities": `["text"]`,
		"supported_parameters": `["tools"]`, "continues": `"prefill"`, "cache_ttl": `"5m"`, "attributes": "{ a = 1 }", "labels": `{ a = "b" }`,
		"certifications": `["soc2"]`, "data_policy": `{ training = "no" }`, "distillation": `{ permitted = "no" }`,
		"sources": `{ price = { evidence = "https://p.example/prices", as_of = 2026-01-01 } }`, "expected": "{ ttft_ms = 5 }", "in_flight": "4", "disabled": "true",
	} {
		after := write(t, "after.toml", catalog+key+" = "+value+"\n")
		if code, stdout, stderr := chaperone(t, "catalog", "diff", before, after); code != exitRefused || !strings.Contains(stdout, " "+key) {
			t.Errorf("%s = %s: exited with %d and shows\n%s%s", key, value, code, stdout, stderr)
		}
	}
}
