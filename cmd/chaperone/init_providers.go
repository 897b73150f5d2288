package main

import (
	"fmt"
	"strings"
)

// hosted is a provider that speaks OpenAI's dialect at an address of its own documentation.
type hosted struct {
	id, name, keyEnv, baseURL, headquarters string
	prices                                  string // page of its prices
	parameters                              string // beyond those that every server has
	offers                                  []offer
}

// offer is a model as a provider sells it: an example, in USD per million tokens.
type offer struct{ model, upstream, prompt, completion string }

// startModels are the models of the starting catalog.
var startModels = []struct{ id, name, context, output string }{
	{"openai/gpt-4o-mini", "GPT-4o mini", "128_000", "16_384"},
	{"meta/llama-3.3-70b", "Llama 3.3 70B", "131_072", "16_384"},
	{"mistralai/mistral-small", "Mistral Small", "131_072", "16_384"},
	{"deepseek/deepseek-chat", "DeepSeek Chat", "65_536", "8_192"},
}

const usualParameters = `"tools", "tool_choice", "response_format"`

var startProviders = []hosted{
	{"openai", "OpenAI", "OPENAI_API_KEY", "https://api.openai.com/v1", "US", "https://openai.com/api/pricing",
		usualParameters + `, "structured_outputs", "parallel_tool_calls", "seed"`,
		[]offer{{"openai/gpt-4o-mini", "gpt-4o-mini", "0.15", "0.60"}}},
	{"openrouter", "OpenRouter", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1", "US", "https://openrouter.ai/models", usualParameters,
		[]offer{{"openai/gpt-4o-mini", "openai/gpt-4o-mini", "0.15", "0.60"},
			{"meta/llama-3.3-70b", "meta-llama/llama-3.3-70b-instruct", "0.13", "0.40"}}},
	{"groq", "Groq", "GROQ_API_KEY", "https://api.groq.com/openai/v1", "US", "https://groq.com/pricing", usualParameters,
		[]offer{{"meta/llama-3.3-70b", "llama-3.3-70b-versatile", "0.59", "0.79"}}},
	{"together", "Together AI", "TOGETHER_API_KEY", "https://api.together.xyz/v1", "US", "https://www.together.ai/pricing", usualParameters,
		[]offer{{"meta/llama-3.3-70b", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "0.88", "0.88"}}},
	{"fireworks", "Fireworks AI", "FIREWORKS_API_KEY", "https://api.fireworks.ai/inference/v1", "US", "https://fireworks.ai/pricing", usualParameters,
		[]offer{{"meta/llama-3.3-70b", "accounts/fireworks/models/llama-v3p3-70b-instruct", "0.90", "0.90"}}},
	{"deepinfra", "DeepInfra", "DEEPINFRA_API_KEY", "https://api.deepinfra.com/v1/openai", "US", "https://deepinfra.com/pricing", usualParameters,
		[]offer{{"meta/llama-3.3-70b", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "0.13", "0.40"}}},
	{"mistral", "Mistral AI", "MISTRAL_API_KEY", "https://api.mistral.ai/v1", "FR", "https://mistral.ai/pricing", usualParameters,
		[]offer{{"mistralai/mistral-small", "mistral-small-latest", "0.10", "0.30"}}},
	{"deepseek", "DeepSeek", "DEEPSEEK_API_KEY", "https://api.deepseek.com/v1", "CN", "https://api-docs.deepseek.com/quick_start/pricing", usualParameters,
		[]offer{{"deepseek/deepseek-chat", "deepseek-chat", "0.28", "0.42"}}},
}

// catalogSections are the starting catalog's models and providers: as they are where there is a key, as comments where not.
func catalogSections(hasKey func(variable string) bool) (models, providers []string) {
	offered := map[string]bool{}
	for _, p := range startProviders {
		text := p.section()
		if hasKey(p.keyEnv) {
			for _, o := range p.offers {
				offered[o.model] = true
			}
		} else {
			text = commented(text)
		}
		providers = append(providers, text)
	}
	for _, m := range startModels {
		text := fmt.Sprintf("[models.%q]\nname              = %q\ncontext_length    = %s\nmax_output_tokens = %s\n", m.id, m.name, m.context, m.output)
		if !offered[m.id] {
			text = commented(text)
		}
		models = append(models, text)
	}
	return models, providers
}

func (p *hosted) section() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[providers.%s]\nname         = %q\ndialect      = \"openai\"\nbase_url     = %q\nheadquarters = %q\n\n",
		p.id, p.name, p.baseURL, p.headquarters)
	fmt.Fprintf(&b, "[providers.%s.credentials.paid]\nkey_env = %q\n", p.id, p.keyEnv)
	for _, o := range p.offers {
		fmt.Fprintf(&b, "\n[[endpoints]]\nmodel                = %q\nprovider             = %q\nupstream_model       = %q\n", o.model, p.id, o.upstream)
		fmt.Fprintf(&b, "price                = { prompt = %s, completion = %s }    # example: see %s\n", o.prompt, o.completion, p.prices)
		fmt.Fprintf(&b, "supported_parameters = [\"max_tokens\", \"temperature\", \"top_p\", \"stop\", %s]\n", p.parameters)
	}
	return b.String()
}

func commented(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSuffix("# "+line, " ")
	}
	return strings.Join(lines, "\n") + "\n"
}
