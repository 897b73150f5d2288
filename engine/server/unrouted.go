package server

import (
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"

	"chaperone/engine/wire"
)

// unrouted are paths that OpenAI's, OpenRouter's or Anthropic's API has and this router does not, with what they are for: a
// program that asks for one should not look for its mistake in the address.
var unrouted = []struct{ prefix, what string }{
	{"agents", "it keeps state at a provider"},
	{"alpha", "it is not stable there"},
	{"assistants", "it keeps state at a provider"},
	{"audio", "speech and transcription are not routed; audio can be a part of a chat message"},
	{"auth", "keys are made with chaperone key new"},
	{"batches", "batches are not routed; send the requests one by one"},
	{"benchmarks", "it is a service of OpenRouter"},
	{"beta", "it is not stable there"},
	{"byok", "provider keys are stated in the catalog"},
	{"chat/completions/", "it keeps state at a provider"},
	{"chatkit", "it keeps state at a provider"},
	{"classifications", "it is a service of OpenRouter"},
	{"coinbase", "it is a service of OpenRouter"},
	{"complete", "it is deprecated; send /v1/messages"},
	{"containers", "it keeps state at a provider"},
	{"content_provenance_checks", "it is a service of OpenAI"},
	{"conversations", "it keeps state at a provider"},
	{"datasets", "it is a service of OpenRouter"},
	{"decisions", "it is a service of OpenAI; GET /v1/decisions/{id} tells of this router's own"},
	{"deployment_runs", "it keeps state at a provider"},
	{"deployments", "it keeps state at a provider"},
	{"dreams", "it keeps state at a provider"},
	{"edits", "it is deprecated; send /v1/chat/completions"},
	{"embeddings/models", "GET /v1/models?output_modalities=embeddings lists them"},
	{"environments", "it keeps state at a provider"},
	{"evals", "it keeps state at a provider"},
	{"files", "it keeps files at a provider, where no later request's policy would be asked; send files as parts of a message"},
	{"fine_tuning", "it keeps state at a provider"},
	{"fine-tunes", "it keeps state at a provider"},
	{"generation/content", "prompts and answers are given to nobody over HTTP; an operator may keep them, as [journal] says"},
	{"generation/feedback", "it is a service of OpenRouter"},
	{"guardrails", "what may be sent where is said by policies"},
	{"images", "pictures are not routed; send /v1/chat/completions to a model with image output"},
	{"interns", "it is a service of OpenRouter"},
	{"keys", "keys are made with chaperone key new"},
	{"live", "speech and sockets are not routed"},
	{"memory_stores", "it keeps state at a provider"},
	{"messages/batches", "batches are not routed; send the requests one by one"},
	{"moderations", "moderation is not routed"},
	{"observability", "decisions are exported as [journal] says"},
	{"oauth", "keys are made with chaperone key new"},
	{"organization", "organisations are stated in chaperone.toml"},
	{"organizations", "organisations are stated in chaperone.toml"},
	{"presets", "presets are stated in chaperone.toml"},
	{"projects", "organisations are stated in chaperone.toml"},
	{"realtime", "speech and sockets are not routed"},
	{"responses/compact", "a conversation is not shortened here; send what is to be kept of it"},
	{"responses/input_tokens", "tokens are counted by POST /v1/messages/count_tokens"},
	{"responses/", "it keeps state at a provider"},
	{"safety", "it is a service of OpenAI"},
	{"scim", "organisations are stated in chaperone.toml"},
	{"sessions", "it keeps state at a provider"},
	{"skills", "it keeps state at a provider"},
	{"systemone", "it is a service of OpenRouter"},
	{"threads", "it keeps state at a provider"},
	{"tunnels", "it keeps state at a provider"},
	{"uploads", "it keeps files at a provider"},
	{"user_profiles", "it keeps state at a provider"},
	{"vault", "it is a service of OpenRouter"},
	{"vaults", "it keeps state at a provider"},
	{"vector_stores", "it keeps state at a provider"},
	{"videos", "pictures are not routed"},
	{"webhook_endpoints", "it keeps state at a provider"},
	{"webhook_event_types", "it keeps state at a provider"},
	{"workspaces", "organisations are stated in chaperone.toml"},
}

// notRouted is the error for a path that another API has; nil where none does.
func notRouted(segments []string) *wire.Error {
	within := segments
	if len(within) > 0 && within[0] == "api" {
		within = within[1:]
	}
	if len(within) > 0 && within[0] == "v1" {
		within = within[1:]
	}
	if len(within) == len(segments) {
		return nil
	}
	asked := strings.Join(within, "/")
	for _, u := range unrouted {
		if asked == u.prefix || strings.HasPrefix(asked, strings.TrimSuffix(u.prefix, "/")+"/") {
			return &wire.Error{Status: fasthttp.StatusNotFound, Type: "not_found",
				Message: fmt.Sprintf("this router does not route /%s: %s", clip([]byte(strings.Join(segments, "/"))), u.what),
				Metadata: map[string]any{"availability": map[string]any{
					"code": "wrong_endpoint", "retryable": false, "requested_models": []string{},
				}}}
		}
	}
	return nil
}
