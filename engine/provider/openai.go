package provider

import (
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
)

// openAI is the chat completions API that OpenAI made and most providers speak
// (https://platform.openai.com/docs/api-reference/chat).
type openAI struct{}

func init() { register(openAI{}) }

func (openAI) Name() string { return "openai" }

func (openAI) Says(shape wire.Shape) wire.Shape {
	switch {
	case shape.Conversation():
		return wire.Chat
	case paths[shape] != "":
		return shape
	}
	return ""
}

// paths are where the API has what is asked for, below its base.
var paths = map[wire.Shape]string{wire.Chat: "/chat/completions", wire.Embeddings: "/embeddings", wire.Rerank: "/rerank"}

func (openAI) Cannot(row *catalog.Row, req *wire.Request) string {
	if req.Shape != wire.Chat && reasons(req) && !row.Parameters["reasoning"] && !row.Parameters["reasoning_effort"] {
		return "cannot be asked to reason"
	}
	return ""
}

// routingFields speak to a router and mean nothing, or an error, to a provider.
// max_output_tokens is the Responses API's name of the limit: a provider would ignore it here, and with it what policy judged.
var routingFields = []string{"max_output_tokens", "models", "provider", "route", "preset", "transforms", "plugins", "tags", "session_id", "trace", "usage", "debug"}

func (d openAI) Request(ctx context.Context, p policy.Permit, who *account.Principal, req *wire.Request, cred catalog.Credential) (*http.Request, error) {
	return d.request(ctx, p, who, req, cred, nil)
}

func (d openAI) request(ctx context.Context, p policy.Permit, who *account.Principal, req *wire.Request, cred catalog.Credential, more []wire.Edit) (*http.Request, error) {
	if err := p.Check(who, req); err != nil {
		return nil, err
	}
	shape := d.Says(req.Shape)
	row, said := p.Row(), req.In(shape)
	edits := make([]wire.Edit, 0, len(routingFields)+6)
	edits = append(edits, model(row))
	for _, f := range routingFields {
		edits = append(edits, wire.Edit{Field: f})
	}
	if req.Stream {
		edits = append(edits, wire.Edit{Field: "stream_options.include_usage", Value: []byte("true")})
	}
	if shape == wire.Chat {
		edits = limitOutput(append(edits, effort(row, req, said)...), p, req, said)
		edits = append(edits, tier(row, req, said)...)
	}
	edits = append(edits, about(req, said)...)
	edits, err := oblige(edits, p, said)
	if err != nil {
		return nil, err
	}
	if len(row.Only) > 0 {
		names, err := json.Marshal(row.Only)
		if err != nil {
			return nil, err
		}
		edits = append(edits, wire.Edit{Field: "provider.only", Value: names})
	}
	h, err := post(ctx, row, paths[shape], req, said.AppendEdited(make([]byte, 0, len(said.Body)+256), append(edits, more...)...))
	if err == nil {
		bear(h, row, cred)
	}
	return h, err
}

func bear(h *http.Request, row *catalog.Row, cred catalog.Credential) {
	if !row.Group.NoAuth {
		h.Header.Set("Authorization", "Bearer "+cred.Secret.Reveal())
	}
}

// Probe is https://platform.openai.com/docs/api-reference/models/list.
func (openAI) Probe(ctx context.Context, row *catalog.Row, cred catalog.Credential) (*http.Request, error) {
	h, err := list(ctx, row)
	if err == nil {
		bear(h, row, cred)
	}
	return h, err
}

// outputLimits are the names under which the limit of the answer is sent, newest last.
var outputLimits = []string{"max_tokens", "max_completion_tokens"}

// outputLimit is the limit of the answer that goes out under that name, and whether one does: the request's own, the
// permit's where that is less, under the names that the request uses or else under the one that the row is sure to know.
func outputLimit(p policy.Permit, req *wire.Request, said *wire.Version, name string) (limit int64, sent bool) {
	limit = req.MaxOutputTokens
	obliged := p.Obligations().MaxOutputTokens
	if obliged > 0 && (limit == 0 || obliged < limit) {
		limit = obliged
	}
	if said.Has(outputLimits[0]) || said.Has(outputLimits[1]) {
		return limit, said.Has(name)
	}
	known := outputLimits[0]
	if supported := p.Row().Parameters; !supported[known] && supported[outputLimits[1]] {
		known = outputLimits[1]
	}
	return limit, limit > 0 && name == known
}

// limitOutput adds the edits by which an answer becomes no longer than the permit lets it be.
func limitOutput(edits []wire.Edit, p policy.Permit, req *wire.Request, said *wire.Version) []wire.Edit {
	for _, name := range outputLimits {
		if limit, sent := outputLimit(p, req, said, name); sent && (limit != req.MaxOutputTokens || !said.Has(name)) {
			edits = append(edits, wire.Edit{Field: name, Value: strconv.AppendInt(nil, limit, 10)})
		}
	}
	return edits
}

// oblige adds the edits that the permit's other obligations ask for.
func oblige(edits []wire.Edit, p policy.Permit, said *wire.Version) ([]wire.Edit, error) {
	if p.Obligations().NoStore && said.Has("store") {
		edits = append(edits, wire.Edit{Field: "store", Value: []byte("false")})
	}
	return obligeZDR(edits, p)
}

// obligeZDR switches zero retention on where the permit asks for it and the row does not have it anyway.
func obligeZDR(edits []wire.Edit, p policy.Permit) ([]wire.Edit, error) {
	row := p.Row()
	if !p.Obligations().ZDR || row.DataPolicy.ZDR == catalog.Yes {
		return edits, nil
	}
	field, value, ok := strings.Cut(row.DataPolicy.ZDROption, "=")
	if !ok || !json.Valid([]byte(value)) {
		return nil, fmt.Errorf("the zero-retention option %q of %s is not FIELD=JSON", row.DataPolicy.ZDROption, row.ID)
	}
	return append(edits, wire.Edit{Field: field, Value: []byte(value)}), nil
}
