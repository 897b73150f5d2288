package catalog_test

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"chaperone/engine/catalog"
)

func nothing(string) (string, bool) { return "", false }

// everything is an environment in which every provider of the shipped catalog can be reached.
func everything(name string) (string, bool) {
	switch {
	case strings.HasSuffix(name, "_BASE_URL"):
		return "http://127.0.0.1:1/v1", true
	case strings.HasSuffix(name, "_RESOURCE"), name == "AWS_REGION":
		return "here", true
	}
	return "sk-" + name, true
}

func TestTheShippedCatalogLoadsWithAndWithoutKeys(t *testing.T) {
	for _, env := range []func(string) (string, bool){nothing, everything} {
		c, problems := catalog.Load(catalog.Shipped(), env)
		if problems != nil {
			t.Fatal(problems)
		}
		for _, id := range []string{"openai", "anthropic", "deepinfra", "parasail", "inference-net", "together", "fireworks", "groq", "mistral",
			"deepseek", "azure", "azure-eu", "bedrock", "openrouter", "vllm", "llama-cpp", "ollama"} {
			p := c.Providers[id]
			if p == nil {
				t.Errorf("there is no %s", id)
				continue
			}
			for _, g := range p.Groups {
				_, with := env("X")
				if g.Usable() != with {
					t.Errorf("%s can be reached: %t; there are keys: %t", id, g.Usable(), with)
				}
			}
		}
		withEndpoints := 0
		for _, m := range c.Models {
			if len(m.Rows) > 0 {
				withEndpoints++
			} else {
				t.Errorf("%s has no endpoint", m.ID)
			}
		}
		if withEndpoints < 20 {
			t.Errorf("%d models have endpoints; should be at least 20", withEndpoints)
		}
	}
}

// Every claim that is better than unknown can be looked up, and lapses.
func TestEveryShippedClaimHasItsEvidence(t *testing.T) {
	files, err := filepath.Glob("shipped/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	claims := 0
	var walk func(file, path string, table map[string]any)
	walk = func(file, path string, table map[string]any) {
		for key, value := range table {
			below, ok := value.(map[string]any)
			if !ok {
				continue
			}
			walk(file, path+"."+key, below)
			if key != "data_policy" {
				continue
			}
			claims++
			text, _ := below["evidence"].(string)
			asOf, hasDate := below["as_of"].(time.Time)
			review, hasReview := below["review_by"].(time.Time)
			if text == "" || !hasDate || !hasReview || !review.After(asOf) {
				t.Errorf("%s%s.data_policy has no evidence, as_of or review_by: %v", file, path, below)
			}
			if u, err := url.Parse(text); (err != nil || u.Scheme != "https") && !strings.HasSuffix(text, "_BASE_URL") {
				t.Errorf("%s%s.data_policy: the evidence %q is no address", file, path, text)
			}
		}
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := toml.Unmarshal(src, &doc); err != nil {
			t.Fatal(err)
		}
		walk(file, "", doc)
	}
	if claims < 15 {
		t.Errorf("found %d data policies", claims)
	}
}

func TestEveryShippedRowStatesWhatItCanProve(t *testing.T) {
	c, problems := catalog.Load(catalog.Shipped(), everything)
	if problems != nil {
		t.Fatal(problems)
	}
	for _, r := range c.Rows {
		if price := r.Sources["price"]; !r.Free && !r.Group.Free && (price.Evidence == "" || price.AsOf.IsZero() || r.Prices == catalog.Prices{}) {
			t.Errorf("the price of %s has no source", r.ID)
		}
		if source := r.Sources["processing_regions"]; len(r.ProcessingRegions) < len(catalog.Regions) && source.Evidence == "" {
			t.Errorf("%s says that it processes in %v, without a source", r.ID, r.ProcessingRegions)
		}
		if source := r.Sources["certifications"]; len(r.Certifications) > 0 && source.Evidence == "" {
			t.Errorf("%s has certifications without a source", r.ID)
		}
		if source := r.Sources["custom_tools"]; r.Parameters["custom_tools"] != (source.Evidence != "") {
			t.Errorf("%s takes custom tools: %t; its source: %+v", r.ID, r.Parameters["custom_tools"], source)
		}
	}
	if r := c.Row("openai/gpt-5@openai#paid"); r == nil || !r.Parameters["custom_tools"] {
		t.Errorf("GPT-5, with which custom tools came, has none: %+v", r)
	}
}

func TestEveryShippedDistillationHasItsEvidence(t *testing.T) {
	c, problems := catalog.Load(catalog.Shipped(), everything)
	if problems != nil {
		t.Fatal(problems)
	}
	said := map[catalog.Tri]int{}
	for _, m := range c.Models {
		said[m.Distillation.Permitted]++
		if d := m.Distillation; d.Permitted != catalog.Unknown && (!strings.HasPrefix(d.Evidence, "https://") || d.AsOf.IsZero()) {
			t.Errorf("whether %s may be distilled has no evidence: %+v", m.ID, d)
		}
	}
	if said[catalog.Yes] == 0 || said[catalog.No] == 0 {
		t.Errorf("found %v", said)
	}
}

// A group of the operator's own must fit every endpoint that ships, so none of them names groups.
func TestShippedEndpointsFitGroupsOfOnesOwn(t *testing.T) {
	own := parse(t, `
[providers.openai]
dialect = "openai"
base_url = "https://proxy.example.com/v1"
credentials.contract-17 = { key_env = "OURS" }
`)
	c, problems := catalog.LoadOver(catalog.Shipped(), own, everything)
	if problems != nil {
		t.Fatal(problems)
	}
	if r := c.Row("openai/gpt-4o@openai#contract-17"); r == nil || r.BaseURL != "https://proxy.example.com/v1" || r.DataPolicy.Training != catalog.Unknown {
		t.Errorf("the row is %+v", r)
	}
}

func TestShippedAliasesLeadToModels(t *testing.T) {
	c, problems := catalog.Load(catalog.Shipped(), everything)
	if problems != nil {
		t.Fatal(problems)
	}
	for name, want := range map[string]string{
		"gpt-4o": "openai/gpt-4o", "gpt-4o-2024-08-06": "openai/gpt-4o", "gpt-4o-mini": "openai/gpt-4o-mini", "gpt-5-mini-2025-08-07": "openai/gpt-5-mini",
		"claude-sonnet-4-5": "anthropic/claude-sonnet-4.5", "claude-sonnet-4-5-20250929": "anthropic/claude-sonnet-4.5",
		"mistral-small-latest": "mistralai/mistral-small", "gpt-oss:20b": "openai/gpt-oss-20b", "llama-3.3-70b-versatile": "meta-llama/llama-3.3-70b-instruct",
	} {
		if m, ok := c.Model(name); !ok || m.ID != want || len(m.Rows) == 0 {
			t.Errorf("%s leads to %v; should lead to %s", name, m, want)
		}
	}
}

func TestVariablesAreWhatAProviderNeeds(t *testing.T) {
	c, problems := catalog.Load(catalog.Shipped(), nothing)
	if problems != nil {
		t.Fatal(problems)
	}
	for id, want := range map[string][]string{
		"openai": {"OPENAI_API_KEY", "OPENAI_ZDR_API_KEY"}, "azure": {"AZURE_OPENAI_RESOURCE", "AZURE_OPENAI_API_KEY"}, "ollama": {"OLLAMA_BASE_URL"},
	} {
		if got := c.Variables()[id]; !slices.Equal(got, want) {
			t.Errorf("%s needs %v; should need %v", id, got, want)
		}
	}
}

// What programs send without knowing of a catalog leads to the model that they mean.
func TestNamesThatProgramsSendLeadToModels(t *testing.T) {
	c, problems := catalog.LoadOver(catalog.Shipped(), nil, func(string) (string, bool) { return "", false })
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"gpt-4o": "openai/gpt-4o", "gpt-4o-mini-2024-07-18": "openai/gpt-4o-mini", "openai/gpt-5-2025-08-07": "openai/gpt-5",
		"claude-sonnet-4-5": "anthropic/claude-sonnet-4.5", "claude-sonnet-4-5-20250929": "anthropic/claude-sonnet-4.5",
		"eu.anthropic.claude-sonnet-4-5-20250929-v1:0": "anthropic/claude-sonnet-4.5", "claude-haiku-4.5": "anthropic/claude-haiku-4.5",
		"llama-3.3-70b-versatile": "meta-llama/llama-3.3-70b-instruct", "Qwen/Qwen3-32B": "qwen/qwen3-32b", "gpt-oss:20b": "openai/gpt-oss-20b",
	} {
		if m := c.Named(name); m == nil || m.ID != want {
			t.Errorf("%s names %v, want %s", name, m, want)
		}
	}
}
