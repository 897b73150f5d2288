package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/wire"
	"chaperone/engine/wire/talk"
)

// anthropic is the Messages API (https://platform.claude.com/docs/en/api/messages/create).
type anthropic struct{}

func init() { register(anthropic{}) }

func (anthropic) Name() string { return "anthropic" }

func (anthropic) Says(shape wire.Shape) wire.Shape {
	switch {
	case shape == wire.CountTokens:
		return shape
	case shape.Conversation():
		return wire.Messages
	}
	return ""
}

func (anthropic) Cannot(row *catalog.Row, req *wire.Request) string {
	switch own := req.Shape == wire.Messages || req.Shape == wire.CountTokens; {
	case own && req.Foreign():
		return "sends back reasoning or sources of another maker, which Anthropic's API refuses"
	case own && req.In(req.Shape).Has("inference_geo"):
		return "does not let a request choose where it is processed: the catalog's endpoints say that, and policy judges them; leave out inference_geo"
	case !own && reasons(req) && !row.Parameters["reasoning"] && !row.Parameters["reasoning_effort"]:
		return "cannot be asked to reason"
	}
	return ""
}

// apiVersion is said where the client has not said one: https://platform.claude.com/docs/en/api/versioning.
const apiVersion = "2023-06-01"

// anthropicRouting are the fields that speak to a router; Anthropic's API refuses what it does not know.
var anthropicRouting = append([]string{"fallbacks", "user", "prompt_cache_key"}, routingFields...)

func (d anthropic) Request(ctx context.Context, p policy.Permit, who *account.Principal, req *wire.Request, cred catalog.Credential) (*http.Request, error) {
	return d.request(ctx, p, who, req, cred, nil, 0)
}

// Continue appends the beginning of the answer as the last message
// (https://platform.claude.com/docs/en/build-with-claude/prompt-engineering/prefill-claudes-response). The API refuses one that
// ends in white space, and one beside thinking.
func (d anthropic) Continue(ctx context.Context, p policy.Permit, who *account.Principal, req *wire.Request, cred catalog.Credential, beginning []byte, used int64) (*http.Request, error) {
	if err := p.Check(who, req); err != nil {
		return nil, err
	}
	said := req.In(wire.Messages)
	if p.Row().Continues != catalog.Prefill || thinks(said) || len(bytes.TrimRight(beginning, " \t\r\n")) < len(beginning) {
		return nil, ErrCannotContinue
	}
	last, err := json.Marshal(map[string]string{"role": talk.Assistant, "content": string(beginning)})
	if err != nil {
		return nil, err
	}
	return d.request(ctx, p, who, req, cred, []wire.Edit{{Field: "messages", Value: appended(said.Value("messages"), last)}}, used)
}

// appended is a JSON array, which is not empty, with one more element.
func appended(array, element []byte) []byte {
	return bytes.Join([][]byte{bytes.TrimSuffix(array, []byte("]")), []byte(","), element, []byte("]")}, nil)
}

// thinks says whether a request in Anthropic's form asks for thinking.
func thinks(said *wire.Version) bool {
	var thinking struct{ Type string }
	// What cannot be read is the API's to refuse.
	return json.Unmarshal(said.Value("thinking"), &thinking) == nil && thinking.Type != "" && thinking.Type != "disabled"
}

func (d anthropic) request(ctx context.Context, p policy.Permit, who *account.Principal, req *wire.Request, cred catalog.Credential, more []wire.Edit, used int64) (*http.Request, error) {
	if err := p.Check(who, req); err != nil {
		return nil, err
	}
	row, said := p.Row(), req.In(d.Says(req.Shape))
	path := "/messages"
	edits := []wire.Edit{model(row)}
	for _, f := range anthropicRouting {
		edits = append(edits, wire.Edit{Field: f})
	}
	edits = append(edits, userOnly(req)...)
	edits = append(edits, adaptive(row, req, said)...)
	var err error
	if req.Shape == wire.CountTokens {
		path += "/count_tokens"
	} else if edits, err = anthropicLimit(edits, p, req, said, used); err != nil {
		return nil, err
	}
	if edits, err = obligeZDR(edits, p); err != nil {
		return nil, err
	}
	h, err := post(ctx, row, path, req, said.AppendEdited(make([]byte, 0, len(said.Body)+256), append(edits, more...)...))
	if err != nil {
		return nil, err
	}
	version := req.Head.AnthropicVersion
	if version == "" {
		version = apiVersion
	}
	h.Header.Set("Anthropic-Version", version)
	if len(req.Head.AnthropicBeta) > 0 {
		h.Header.Set("Anthropic-Beta", strings.Join(req.Head.AnthropicBeta, ","))
	}
	if !row.Group.NoAuth {
		h.Header.Set("X-Api-Key", cred.Secret.Reveal())
	}
	return h, nil
}

// Probe is https://platform.claude.com/docs/en/api/models/list.
func (anthropic) Probe(ctx context.Context, row *catalog.Row, cred catalog.Credential) (*http.Request, error) {
	h, err := list(ctx, row)
	if err != nil {
		return nil, err
	}
	h.Header.Set("Anthropic-Version", apiVersion)
	if !row.Group.NoAuth {
		h.Header.Set("X-Api-Key", cred.Secret.Reveal())
	}
	return h, nil
}

// userOnly leaves of the metadata what Anthropic's API takes, an id of the user: the one under which the router has settled to
// tell providers of that user, wherever the client has said who it is.
func userOnly(req *wire.Request) []wire.Edit {
	if req.UpstreamUser == "" {
		return []wire.Edit{{Field: "metadata"}}
	}
	id, err := json.Marshal(map[string]string{"user_id": req.UpstreamUser})
	if err != nil {
		panic(err) // a string always marshals
	}
	return []wire.Edit{{Field: "metadata", Value: id}}
}

// fallbackLimit is the limit of an answer where neither the request nor the catalog has one: every model of Anthropic's takes it.
const fallbackLimit = 4096

// anthropicLimit adds max_tokens, which the API needs: the request's, the permit's where that is less, else the most that the
// row gives and that fits beside the prompt. Thinking that would leave no room for an answer is cut down.
func anthropicLimit(edits []wire.Edit, p policy.Permit, req *wire.Request, said *wire.Version, used int64) ([]wire.Edit, error) {
	row, limit := p.Row(), req.MaxOutputTokens
	sent := said.Has("max_tokens")
	if !sent {
		limit = row.MaxOutputTokens
		if limit == 0 {
			limit = fallbackLimit
		}
		if room := row.ContextLength - req.PromptTokens; row.ContextLength > 0 && room > 0 {
			limit = min(limit, room)
		}
	}
	if most := p.Obligations().MaxOutputTokens; most > 0 {
		limit = min(limit, most)
	}
	if used > 0 && limit <= used {
		return nil, ErrCannotContinue
	}
	if limit -= used; !sent || limit != req.MaxOutputTokens {
		edits = append(edits, wire.Edit{Field: "max_tokens", Value: strconv.AppendInt(nil, limit, 10)})
	}
	var thinking struct {
		Budget int64 `json:"budget_tokens"`
	}
	if len(adaptive(row, req, said)) > 0 {
		return edits, nil
	}
	if raw := said.Value("thinking"); raw == nil || json.Unmarshal(raw, &thinking) != nil || thinking.Budget < limit || sent && limit == req.MaxOutputTokens {
		return edits, nil // what does not fit as the client has sent it is the API's to refuse
	}
	if limit <= talk.LeastThinking {
		return nil, fmt.Errorf("an answer of at most %d tokens leaves %s no room to reason", limit, row.ID)
	}
	return append(edits, wire.Edit{Field: "thinking.budget_tokens", Value: strconv.AppendInt(nil, max(limit/2, talk.LeastThinking), 10)}), nil
}
