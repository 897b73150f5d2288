package server

import (
	"bytes"
	"slices"

	"github.com/valyala/fasthttp"

	"chaperone/engine/wire"
)

// The fields of Anthropic's clients (https://platform.claude.com/docs/en/api/overview), and OpenRouter's name for one of them.
const (
	versionHeader = "Anthropic-Version"
	betaHeader    = "Anthropic-Beta"
	betaHeaderX   = "X-Anthropic-Beta"
	anthropicID   = "Request-Id"
)

// shapeHead reads what of a request's meaning stands in its header. The names of betas go upstream, so they are held to what
// such names are made of.
func shapeHead(h *fasthttp.RequestHeader) (wire.Head, *wire.Error) {
	head := wire.Head{AnthropicVersion: string(h.Peek(versionHeader))}
	if !isKey([]byte(head.AnthropicVersion)) && head.AnthropicVersion != "" {
		return head, badHeader("%s is no version such as 2023-06-01", versionHeader)
	}
	for _, field := range slices.Concat(h.PeekAll(betaHeader), h.PeekAll(betaHeaderX)) {
		for name := range bytes.SplitSeq(field, []byte{','}) {
			switch name = bytes.Trim(name, " \t"); {
			case len(name) == 0:
			case !isKey(name):
				return head, badHeader("%s is no list of names such as interleaved-thinking-2025-05-14", betaHeader)
			case !slices.Contains(head.AnthropicBeta, string(name)):
				head.AnthropicBeta = append(head.AnthropicBeta, string(name))
			}
		}
	}
	return head, nil
}

// identify says under which id an answer is known, in the fields of the API that was asked.
func identify(h *fasthttp.ResponseHeader, shape wire.Shape, id string) {
	h.Set(generationHeader, id)
	if shape == wire.Messages || shape == wire.CountTokens {
		h.Set(anthropicID, id)
	}
}
