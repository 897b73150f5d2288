package sim

import (
	"net/http"
	"strconv"
)

type usageJSON struct {
	PromptTokens            int64 `json:"prompt_tokens"`
	CompletionTokens        int64 `json:"completion_tokens"`
	TotalTokens             int64 `json:"total_tokens"`
	CompletionTokensDetails struct {
		ReasoningTokens int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

func usageOf(c Completion) usageJSON {
	u := usageJSON{PromptTokens: c.PromptTokens, CompletionTokens: c.CompletionTokens, TotalTokens: c.PromptTokens + c.CompletionTokens}
	u.CompletionTokensDetails.ReasoningTokens = c.ReasoningTokens
	return u
}

type messageJSON struct {
	Role      string     `json:"role"`
	Content   *string    `json:"content"`
	Reasoning string     `json:"reasoning_content,omitempty"`
	ToolCalls []callJSON `json:"tool_calls,omitempty"`
}

type callJSON struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

type choiceJSON struct {
	Index        int         `json:"index"`
	Message      messageJSON `json:"message"`
	Logprobs     *struct{}   `json:"logprobs"`
	FinishReason string      `json:"finish_reason"`
}

type completionJSON struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []choiceJSON `json:"choices"`
	Usage   usageJSON    `json:"usage"`
}

// whole answers in one JSON object, when the last token would have been made.
func (x *exchange) whole() bool {
	c := answer(x.profile, x.request)
	body := mustJSON(x.completion(c))
	f := x.fate.fault
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	if f != nil && f.Kind == ContentType {
		h.Set("Content-Type", "text/plain")
	}

	longest := 0
	for _, choice := range c.Choices {
		longest = max(longest, choice.Tokens)
	}
	if f == nil || !takes[f.Kind].tokens {
		if !x.wait(x.due(longest)) {
			return false
		}
		if !x.announce(body, len(body)) {
			return false
		}
		x.tokens = int(c.CompletionTokens)
		return true
	}

	// A fault after so many tokens comes after the same part of the body.
	after := min(f.AfterTokens, longest)
	part := len(body) * after / (longest + 1)
	if !x.wait(x.due(after)) {
		return false
	}
	switch f.Kind {
	case Stall:
		return x.announce(body[:part], len(body)) && x.forever()
	case Cut:
		return x.announce(body[:part], len(body)) && x.hangUp(false)
	case Truncate:
		return x.announce(body[:part], part)
	case ErrorEvent:
		e := ofStatus(f.status(), x.bearer, x.request.Model)
		e.Code = f.status()
		return x.refuse(http.StatusOK, e)
	}
	return x.announce(body[:len(body)-1], len(body)-1)
}

// announce sends a body or the first part of one, whose length the header states.
func (x *exchange) announce(part []byte, length int) bool {
	x.w.Header().Set("Content-Length", strconv.Itoa(length))
	return x.send(http.StatusOK, part)
}

func (x *exchange) completion(c Completion) completionJSON {
	out := completionJSON{ID: x.id, Object: "chat.completion", Created: x.start.Unix(), Model: x.request.Model, Usage: usageOf(c)}
	for i, choice := range c.Choices {
		message := messageJSON{Role: "assistant", Reasoning: choice.Reasoning}
		if choice.Call == nil {
			message.Content = &choice.Text
		} else {
			call := callJSON{ID: choice.Call.ID, Type: "function"}
			call.Function.Name, call.Function.Arguments = choice.Call.Name, choice.Call.Arguments
			message.ToolCalls = []callJSON{call}
		}
		out.Choices = append(out.Choices, choiceJSON{Index: i, Message: message, FinishReason: choice.FinishReason})
	}
	return out
}
