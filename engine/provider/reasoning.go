package provider

import (
	"strconv"
	"strings"

	"chaperone/engine/catalog"
	"chaperone/engine/wire"
)

// reasons says whether a request asks for reasoning.
func reasons(req *wire.Request) bool {
	t := req.Talk()
	if t == nil {
		return false
	}
	_, on := t.Reasoning.Thinking(t.MaxTokens)
	return on
}

// makers are the authors whose models make a form of signed or encrypted reasoning, by the beginning of its name.
var makers = []struct{ format, author string }{
	{"anthropic", "anthropic"}, {"openai", "openai"}, {"azure-openai", "openai"}, {"xai", "x-ai"}, {"google", "google"}, {"bedrock-anthropic", "anthropic"},
}

// sealedElsewhere says which signed or encrypted reasoning of a request a row cannot take, because another author's models made
// it; "" where it can take all. Reasoning whose maker is not said goes to any row of the model that it is sent to.
func sealedElsewhere(row *catalog.Row, req *wire.Request) string {
	author, _, _ := strings.Cut(row.Model.ID, "/")
	for _, format := range req.Sealed() {
		for _, m := range makers {
			if strings.HasPrefix(format, m.format) && author != m.author && !(m.author == "anthropic" && row.Dialect == "anthropic") {
				return "cannot take reasoning that was signed or encrypted as " + format + ": only models of " + m.author + " can read it"
			}
		}
	}
	return ""
}

// effort says an amount of reasoning as OpenAI's API does, in one word, where that is all that a row supports.
func effort(row *catalog.Row, req *wire.Request, said *wire.Version) []wire.Edit {
	if req.Shape == wire.Chat || !said.Has("reasoning") || row.Parameters["reasoning"] {
		return nil
	}
	edits := []wire.Edit{{Field: "reasoning"}}
	if word := effortWord(req); word != "none" || row.Parameters["reasoning_effort"] {
		edits = append(edits, wire.Edit{Field: "reasoning_effort", Value: strconv.AppendQuote(nil, word)})
	}
	return edits
}

// effortWord is an amount of reasoning in one word.
func effortWord(req *wire.Request) string {
	r := req.Talk().Reasoning
	tokens, on := r.Thinking(req.MaxOutputTokens)
	switch {
	case !on:
		return "none"
	case r.Effort != "":
		return r.Effort
	case tokens <= 4096:
		return "low"
	case tokens <= 16384:
		return "medium"
	}
	return "high"
}

// adaptive has Anthropic's newer models choose how much they think, by an effort: a number of tokens is deprecated there
// (https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking). They are those whose row supports
// reasoning_effort.
func adaptive(row *catalog.Row, req *wire.Request, said *wire.Version) []wire.Edit {
	if req.Shape == wire.Messages || req.Shape == wire.CountTokens || !row.Parameters["reasoning_effort"] || !thinks(said) {
		return nil
	}
	word := effortWord(req)
	if word == "minimal" {
		word = "low"
	}
	return []wire.Edit{
		{Field: "thinking", Value: []byte(`{"type":"adaptive"}`)},
		{Field: "output_config.effort", Value: strconv.AppendQuote(nil, word)},
	}
}
