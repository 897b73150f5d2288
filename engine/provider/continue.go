package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/policy"
	"chaperone/engine/wire"
)

// Continue appends the beginning of the answer as the last message, in the form that the row takes:
// https://api-docs.deepseek.com/guides/chat_prefix_completion (prefix),
// https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html (continue_final_message).
func (d openAI) Continue(ctx context.Context, p policy.Permit, who *account.Principal, req *wire.Request, cred catalog.Credential, beginning []byte, used int64) (*http.Request, error) {
	if err := p.Check(who, req); err != nil {
		return nil, err
	}
	said := req.In(d.Says(req.Shape))
	message := struct {
		Role    string `json:"role"`
		Content string `json:"content"`
		Prefix  bool   `json:"prefix,omitempty"`
	}{Role: "assistant", Content: string(beginning)}
	var edits []wire.Edit
	switch p.Row().Continues {
	case catalog.Prefill:
	case catalog.Prefix:
		message.Prefix = true
	case catalog.ContinueFinalMessage:
		edits = append(edits, wire.Edit{Field: "continue_final_message", Value: []byte("true")},
			wire.Edit{Field: "add_generation_prompt", Value: []byte("false")})
	default:
		return nil, ErrCannotContinue
	}
	last, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	// The skim has seen that the messages are an array, and not empty.
	edits = append(edits, wire.Edit{Field: "messages", Value: appended(said.Value("messages"), last)})
	for _, name := range outputLimits {
		limit, sent := outputLimit(p, req, said, name)
		if !sent {
			continue
		}
		if limit <= used {
			return nil, ErrCannotContinue
		}
		edits = append(edits, wire.Edit{Field: name, Value: strconv.AppendInt(nil, limit-used, 10)})
	}
	return d.request(ctx, p, who, req, cred, edits)
}
