package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// messagesFields are what Anthropic's API knows at the top of a request
// (https://platform.claude.com/docs/en/api/messages/create); it refuses everything else.
var messagesFields = []string{"model", "messages", "system", "max_tokens", "stream", "stop_sequences", "temperature", "top_p", "top_k", "tools",
	"tool_choice", "thinking", "output_config", "metadata", "service_tier", "cache_control", "container", "context_management", "mcp_servers", "inference_geo"}

// messagesBody is what a provider reads of a request of the Messages API.
type messagesBody struct {
	Model       string            `json:"model"`
	Messages    []messagesTurn    `json:"messages"`
	System      json.RawMessage   `json:"system"`
	Stream      bool              `json:"stream"`
	MaxTokens   *int              `json:"max_tokens"`
	Temperature *float64          `json:"temperature"`
	Tools       []messagesTool    `json:"tools"`
	Metadata    map[string]string `json:"metadata"`
	ToolChoice  struct {
		Type string `json:"type"`
		Name string `json:"name"`
	} `json:"tool_choice"`
	Thinking struct {
		Type   string `json:"type"`
		Budget int    `json:"budget_tokens"`
	} `json:"thinking"`
	OutputConfig struct {
		Format struct {
			Type   string          `json:"type"`
			Schema json.RawMessage `json:"schema"`
		} `json:"format"`
	} `json:"output_config"`
}

type messagesTool struct {
	Type   string          `json:"type"`
	Name   string          `json:"name"`
	Schema json.RawMessage `json:"input_schema"`
}

type messagesTurn struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

type messagesBlock struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	Thinking  string          `json:"thinking"`
	Signature string          `json:"signature"`
	Data      string          `json:"data"`
	Content   json.RawMessage `json:"content"`
	Input     json.RawMessage `json:"input"`
}

// parseMessages reads a body of the Messages API as strictly as Anthropic does; the error is fit for the 400 that answers it.
func parseMessages(body []byte, counting bool) (*request, error) {
	var fields map[string]json.RawMessage
	var b messagesBody
	if err := errors.Join(json.Unmarshal(body, &fields), json.Unmarshal(body, &b)); err != nil {
		return nil, fmt.Errorf("the JSON body of your request could not be parsed: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(messagesFields, name) {
			return nil, fmt.Errorf("%s: Extra inputs are not permitted", name)
		}
	}
	switch {
	case b.Model == "":
		return nil, errors.New("model: Field required")
	case len(b.Messages) == 0:
		return nil, errors.New("messages: at least one message is required")
	case b.MaxTokens == nil && !counting:
		return nil, errors.New("max_tokens: Field required")
	case b.MaxTokens != nil && *b.MaxTokens < 0:
		return nil, errors.New("max_tokens: Input should be greater than or equal to 0")
	case b.Temperature != nil && (*b.Temperature < 0 || *b.Temperature > 1):
		return nil, errors.New("temperature: range: 0..1")
	case len(b.Tools) == 0 && b.ToolChoice.Type != "":
		return nil, errors.New("tool_choice may only be specified while providing tools")
	}
	for name := range b.Metadata {
		if name != "user_id" {
			return nil, fmt.Errorf("metadata.%s: Extra inputs are not permitted", name)
		}
	}
	r := &request{Model: b.Model, Stream: b.Stream, MaxTokens: b.MaxTokens, User: b.Metadata["user_id"], messagesAPI: true}
	if err := b.checkThinking(); err != nil {
		return nil, err
	}
	r.thinks = b.Thinking.Type == "enabled" || b.Thinking.Type == "adaptive"
	var turns []map[string]string
	if len(b.System) > 0 {
		text, err := flatten("system", b.System)
		if err != nil {
			return nil, err
		}
		turns = append(turns, map[string]string{"role": "system", "content": text})
	}
	for i, m := range b.Messages {
		if m.Role != "user" && m.Role != "assistant" {
			return nil, fmt.Errorf("messages.%d.role: Input should be 'user' or 'assistant'", i)
		}
		text, err := flatten(fmt.Sprintf("messages.%d.content", i), m.Content)
		if err != nil {
			return nil, err
		}
		if last := i == len(b.Messages)-1; last && m.Role == "assistant" && text != strings.TrimRight(text, " \t\n") {
			return nil, errors.New("messages: final assistant content cannot end with trailing whitespace")
		}
		turns = append(turns, map[string]string{"role": m.Role, "content": text})
	}
	r.Messages = mustJSON(turns)
	b.choose(r)
	if b.OutputConfig.Format.Type == "json_schema" {
		r.ResponseFormat.Type = "json_schema"
		r.ResponseFormat.JSONSchema.Schema = b.OutputConfig.Format.Schema
	}
	return r, nil
}

func (b *messagesBody) checkThinking() error {
	switch t := b.Thinking; t.Type {
	case "", "disabled", "adaptive":
		return nil
	case "enabled":
		switch {
		case t.Budget < 1024:
			return errors.New("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
		case b.MaxTokens != nil && t.Budget >= *b.MaxTokens:
			return errors.New("`max_tokens` must be greater than `thinking.budget_tokens`")
		case b.Temperature != nil && *b.Temperature != 1:
			return errors.New("`temperature` may only be set to 1 when thinking is enabled")
		case b.ToolChoice.Type == "any" || b.ToolChoice.Type == "tool":
			return errors.New("thinking may not be enabled when tool_choice forces tool use")
		}
		return nil
	}
	return fmt.Errorf("thinking.type: %q is not a valid type", b.Thinking.Type)
}

// choose says the tools and which of them is demanded in the words that a generator reads.
func (b *messagesBody) choose(r *request) {
	for _, t := range b.Tools {
		if t.Type == "" || t.Type == "custom" {
			r.Tools = append(r.Tools, tool{Type: "function", Function: function{Name: t.Name, Parameters: t.Schema}})
		}
	}
	switch b.ToolChoice.Type {
	case "any":
		r.ToolChoice = json.RawMessage(`"required"`)
	case "tool":
		r.ToolChoice = mustJSON(map[string]any{"type": "function", "function": map[string]string{"name": b.ToolChoice.Name}})
	}
}

// flatten is the text of a content.
func flatten(path string, content json.RawMessage) (string, error) {
	var text string
	if len(content) == 0 || json.Unmarshal(content, &text) == nil {
		return text, nil
	}
	var blocks []messagesBlock
	if json.Unmarshal(content, &blocks) != nil {
		return "", fmt.Errorf("%s: Input should be a valid string or list of blocks", path)
	}
	for i, b := range blocks {
		switch b.Type {
		case "text":
			if b.Text == "" {
				return "", fmt.Errorf("%s.%d: text content blocks must be non-empty", path, i)
			}
			text += b.Text
		case "thinking":
			if b.Signature != sign(b.Thinking) {
				return "", fmt.Errorf("%s.%d: Invalid `signature` in `thinking` block", path, i)
			}
		case "redacted_thinking":
			if !strings.HasPrefix(b.Data, "sealed-") {
				return "", fmt.Errorf("%s.%d: Invalid `data` in `redacted_thinking` block", path, i)
			}
		case "tool_use":
			if b.Input = bytes.TrimSpace(b.Input); len(b.Input) == 0 || b.Input[0] != '{' {
				return "", fmt.Errorf("%s.%d.tool_use.input: Input should be a valid dictionary", path, i)
			}
		case "tool_result":
			inner, err := flatten(fmt.Sprintf("%s.%d", path, i), b.Content)
			if err != nil {
				return "", err
			}
			text += inner
		case "image", "document", "server_tool_use", "web_search_tool_result":
		default:
			return "", fmt.Errorf("%s.%d: Input tag %q found using 'type' does not match any of the expected tags", path, i, b.Type)
		}
	}
	return text, nil
}

// sign is the signature of a thought.
func sign(thinking string) string {
	sum := sha256.Sum256([]byte("signed by the simulator\x00" + thinking))
	return hex.EncodeToString(sum[:12])
}

// AnswerMessages is Answer for a body of the Messages API.
func AnswerMessages(p Profile, body []byte) (Completion, error) {
	r, err := parseMessages(body, false)
	if err != nil {
		return Completion{}, err
	}
	return answer(&p, r), nil
}

// count answers how many tokens the prompt has.
func (x *exchange) count() bool {
	x.w.Header().Set("Content-Type", "application/json")
	return x.send(http.StatusOK, mustJSON(map[string]int64{"input_tokens": x.request.promptTokens()}))
}

// messagesError is an error in Anthropic's form (https://platform.claude.com/docs/en/api/errors).
func messagesError(status int, e apiError, id string) []byte {
	kind := "api_error"
	switch status {
	case http.StatusUnauthorized:
		kind = "authentication_error"
	case http.StatusPaymentRequired:
		kind = "billing_error"
	case http.StatusForbidden:
		kind = "permission_error"
	case http.StatusNotFound:
		kind = "not_found_error"
	case http.StatusRequestEntityTooLarge:
		kind = "request_too_large"
	case http.StatusTooManyRequests:
		kind = "rate_limit_error"
	case http.StatusServiceUnavailable, 529:
		kind = "overloaded_error"
	case http.StatusGatewayTimeout:
		kind = "timeout_error"
	default:
		if status < 500 && status >= 400 {
			kind = "invalid_request_error"
		}
	}
	return mustJSON(map[string]any{"type": "error", "request_id": id, "error": map[string]string{"type": kind, "message": e.Message}})
}

// messagesRefusals are the words in which Anthropic refuses what is a matter of the request.
var messagesRefusals = map[Kind]string{
	ContextLength:        "prompt is too long: 214000 tokens > 200000 maximum",
	ContentPolicy:        "Output blocked by content filtering policy",
	UnsupportedParameter: "temperature is not supported with this model",
}

// stopReason is Anthropic's word for why a choice ended.
func stopReason(finish string) string {
	return map[string]string{"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "error": "error"}[finish]
}

func messagesUsage(c Completion) map[string]int64 {
	return map[string]int64{"input_tokens": c.PromptTokens - c.CachedTokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": c.CachedTokens,
		"output_tokens": c.CompletionTokens}
}

// message is the whole answer of the Messages API.
func (x *exchange) message(c Completion) []byte {
	choice := c.Choices[0]
	blocks := []any{}
	if choice.Reasoning != "" {
		blocks = append(blocks, map[string]string{"type": "thinking", "thinking": choice.Reasoning, "signature": sign(choice.Reasoning)})
	}
	if choice.Text != "" {
		blocks = append(blocks, map[string]string{"type": "text", "text": choice.Text})
	}
	for _, call := range choice.calls() {
		blocks = append(blocks, map[string]any{"type": "tool_use", "id": call.ID, "name": call.Name, "input": json.RawMessage(call.Arguments)})
	}
	return mustJSON(map[string]any{"id": x.id, "type": "message", "role": "assistant", "model": x.request.Model, "content": blocks,
		"stop_reason": stopReason(choice.FinishReason), "stop_sequence": nil, "usage": messagesUsage(c)})
}

// messageEvents tells a stream of the Messages API.
type messageEvents struct {
	x       *exchange
	so      Completion
	index   int // of the next block
	open    string
	thought strings.Builder
}

func (e *messageEvents) send(kind string, data map[string]any) {
	data["type"] = kind
	// An error shows at the next flush.
	_, _ = fmt.Fprintf(e.x.w, "event: %s\ndata: %s\n\n", kind, mustJSON(data))
}

func (e *messageEvents) begin(int) {
	e.send("message_start", map[string]any{"message": map[string]any{"id": e.x.id, "type": "message", "role": "assistant", "model": e.x.request.Model,
		"content": []any{}, "stop_reason": nil, "stop_sequence": nil, "usage": map[string]int64{"input_tokens": e.so.PromptTokens - e.so.CachedTokens,
			"cache_read_input_tokens": e.so.CachedTokens, "output_tokens": 1}}})
	e.send("ping", map[string]any{})
}

func (e *messageEvents) block(kind string, block map[string]any) {
	if e.open == kind && kind != "tool_use" {
		return
	}
	e.close()
	block["type"] = kind
	e.send("content_block_start", map[string]any{"index": e.index, "content_block": block})
	e.open = kind
	e.index++
}

func (e *messageEvents) close() {
	switch e.open {
	case "":
		return
	case "thinking":
		e.delta(map[string]any{"type": "signature_delta", "signature": sign(e.thought.String())})
	}
	e.send("content_block_stop", map[string]any{"index": e.index - 1})
	e.open = ""
}

func (e *messageEvents) delta(d map[string]any) {
	e.send("content_block_delta", map[string]any{"index": e.index - 1, "delta": d})
}

func (e *messageEvents) name(_ int, g *generator) {
	e.block("tool_use", map[string]any{"id": g.callID, "name": g.call.Name, "input": map[string]any{}})
}

func (e *messageEvents) token(_ int, _ *generator, d delta) {
	e.so.CompletionTokens++
	switch d.kind {
	case textDelta:
		e.block("text", map[string]any{"text": ""})
		e.delta(map[string]any{"type": "text_delta", "text": d.text})
	case reasoningDelta:
		e.so.ReasoningTokens++
		e.block("thinking", map[string]any{"thinking": "", "signature": ""})
		e.thought.WriteString(d.text)
		e.delta(map[string]any{"type": "thinking_delta", "thinking": d.text})
	case callDelta:
		e.delta(map[string]any{"type": "input_json_delta", "partial_json": d.text})
	}
}

func (e *messageEvents) finish(_ int, finish string) {
	e.close()
	e.send("message_delta", map[string]any{"delta": map[string]any{"stop_reason": stopReason(finish), "stop_sequence": nil}, "usage": messagesUsage(e.so)})
}

func (e *messageEvents) done(mark bool) {
	if mark {
		e.mark()
	}
}

func (e *messageEvents) mark() { e.send("message_stop", map[string]any{}) }

func (e *messageEvents) broken() []byte {
	return []byte("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\n\n")
}

func (e *messageEvents) endless() []byte {
	return []byte("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":" + strconv.Itoa(max(0, e.index-1)) + `,"delta":{"type":"text_delta","text":"`)
}

func (e *messageEvents) failed(status int) {
	_, _ = fmt.Fprintf(e.x.w, "event: error\ndata: %s\n\n", messagesError(status, ofStatus(status, e.x.bearer, e.x.request.Model), e.x.id))
}
