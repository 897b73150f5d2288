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
