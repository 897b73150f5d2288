package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// request is what a provider reads of a chat completion request.
type request struct {
	Model         string          `json:"model"`
	Messages      json.RawMessage `json:"messages"`
	User          string          `json:"user"`
	Stream        bool            `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	MaxTokens           *int            `json:"max_tokens"`
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	N                   *int            `json:"n"`
	Tools               []tool          `json:"tools"`
	ToolChoice          json.RawMessage `json:"tool_choice"`
	ResponseFormat      struct {
		Type       string `json:"type"`
		JSONSchema struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	} `json:"response_format"`

	ContinueFinalMessage bool `json:"continue_final_message"`

	messagesAPI bool // it came in Anthropic's API
	thinks      bool // and asks for thinking

	listing *listing // nil where it is a chat
}

type tool struct {
	Type     string   `json:"type"`
	Function function `json:"function"`
	Custom   function `json:"custom"`
}

// function is what a call is of: a function, or a custom tool, which takes text.
type function struct {
	Name       string          `json:"name"`
	Parameters json.RawMessage `json:"parameters"`
	custom     bool
}

// called is what a call of the tool is of; nil where the client does not run it.
func (t *tool) called() *function {
	switch t.Type {
	case "function":
		return &t.Function
	case "custom":
		t.Custom.custom = true
		return &t.Custom
	}
	return nil
}

// choice is a tool_choice that is more than a word: a tool, or those that are allowed.
type choice struct {
	tool
	Allowed struct {
		Mode  string `json:"mode"`
		Tools []tool `json:"tools"`
	} `json:"allowed_tools"`
}

// parse reads a body; the error is fit for the 400 that answers it.
func parse(body []byte) (*request, error) {
	var r request
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("the JSON body of your request could not be parsed: %w", err)
	}
	if r.Model == "" {
		return nil, errors.New("you must provide a model parameter")
	}
	var messages []json.RawMessage
	if json.Unmarshal(r.Messages, &messages) != nil || len(messages) == 0 {
		return nil, errors.New("you must provide a messages array that is not empty")
	}
	if r.N != nil && (*r.N < 1 || *r.N > 128) {
		return nil, fmt.Errorf("n is %d; it should be 1 to 128", *r.N)
	}
	if limit, ok := r.limit(); ok && limit < 1 {
		return nil, fmt.Errorf("max_tokens is %d; it should be at least 1", limit)
	}
	return &r, nil
}

// limit is the most output tokens that a choice may have.
func (r *request) limit() (int, bool) {
	switch {
	case r.MaxCompletionTokens != nil:
		return *r.MaxCompletionTokens, true
	case r.MaxTokens != nil:
		return *r.MaxTokens, true
	}
	return 0, false
}

func (r *request) choices() int {
	if r.N == nil {
		return 1
	}
	return *r.N
}

// organisation is the user field up to its first slash.
func (r *request) organisation() string {
	organisation, _, _ := strings.Cut(r.User, "/")
	return organisation
}

// demanded are the tools of which one must be called, in their order: none unless tool_choice is "required" or says which.
func (r *request) demanded() (tools []*function) {
	var c choice
	required := string(bytes.TrimSpace(r.ToolChoice)) == `"required"`
	if !required && (len(r.ToolChoice) == 0 || json.Unmarshal(r.ToolChoice, &c) != nil) {
		return nil
	}
	meant := []tool{c.tool}
	if c.Type == "allowed_tools" {
		meant = nil
		if c.Allowed.Mode == "required" {
			meant = c.Allowed.Tools
		}
	}
	for i := range r.Tools {
		t := r.Tools[i].called()
		named := func(m tool) bool { n := m.called(); return n != nil && n.Name == t.Name && n.custom == t.custom }
		if t != nil && (required || slices.ContainsFunc(meant, named)) {
			tools = append(tools, t)
		}
	}
	return tools
}

// call is the tool that must be called; nil where none must.
func (r *request) call() *function {
	if tools := r.demanded(); len(tools) > 0 {
		return tools[0]
	}
	return nil
}

// others are the tools that are called after the first, so many that there are calls calls.
func (r *request) others(calls int) []*function {
	var rest []*function
	for i := range r.Tools {
		if t := r.Tools[i].called(); t != nil && t != r.call() && len(rest)+1 < calls {
			rest = append(rest, t)
		}
	}
	return rest
}

// anyObject is the schema of an answer that is only said to be JSON.
var anyObject = json.RawMessage(`{"properties":{"answer":{"type":"string"}},"required":["answer"]}`)

// structure is the schema that the answer has to have; false where it may be any text.
func (r *request) structure() (json.RawMessage, bool) {
	switch r.ResponseFormat.Type {
	case "json_object":
		return anyObject, true
	case "json_schema":
		return r.ResponseFormat.JSONSchema.Schema, true
	}
	return nil, false
}

// promptTokens is a quarter of the messages' bytes, rounded up.
func (r *request) promptTokens() int64 { return int64(len(r.messages())+3) / 4 }

// messages is the messages without insignificant space.
func (r *request) messages() []byte {
	var b bytes.Buffer
	if json.Compact(&b, r.Messages) != nil {
		return r.Messages
	}
	return b.Bytes()
}

// random is a source seeded with the hash of a seed, a purpose and what else it depends on.
func random(seed uint64, purpose string, parts ...[]byte) *rand.Rand {
	h := sha256.New()
	var n [8]byte
	write := func(part []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	binary.BigEndian.PutUint64(n[:], seed)
	h.Write(n[:])
	write([]byte(purpose))
	for _, part := range parts {
		write(part)
	}
	sum := h.Sum(nil)
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum), binary.BigEndian.Uint64(sum[8:])))
}
