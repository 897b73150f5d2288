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
			if strings.HasPrefix(format, m.format) && author != m.author {
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
	r := req.Talk().Reasoning
	tokens, on := r.Thinking(req.MaxOutputTokens)
	word := r.Effort
	switch {
	case !on:
		word = "none"
	case word != "":
	case tokens <= 4096:
		word = "low"
	case tokens <= 16384:
		word = "medium"
	default:
		word = "high"
	}
	if on || row.Parameters["reasoning_effort"] {
		edits = append(edits, wire.Edit{Field: "reasoning_effort", Value: strconv.AppendQuote(nil, word)})
	}
	return edits
}
