package sim

import (
	"net/http"
	"strconv"
	"strings"
)

type usageJSON struct {
	PromptTokens            int64          `json:"prompt_tokens"`
	PromptTokensDetails     *promptDetails `json:"prompt_tokens_details,omitempty"`
	CompletionTokens        int64          `json:"completion_tokens"`
	TotalTokens             int64          `json:"total_tokens"`
	CompletionTokensDetails struct {
		ReasoningTokens int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

type promptDetails struct {
	CachedTokens int64 `json:"cached_tokens"`
}

func usageOf(c Completion) usageJSON {
	u := usageJSON{PromptTokens: c.PromptTokens, CompletionTokens: c.CompletionTokens, TotalTokens: c.PromptTokens + c.CompletionTokens}
	u.CompletionTokensDetails.ReasoningTokens = c.ReasoningTokens
	if c.CachedTokens > 0 {
		u.PromptTokensDetails = &promptDetails{c.CachedTokens}
	}
	return u
}

type messageJSON struct {
	Role      string
	Content   *string
	ToolCalls []callJSON
	reasoning string
	profile   *Profile
}

// MarshalJSON writes reasoning under the profile's name for it.
func (m messageJSON) MarshalJSON() ([]byte, error) {
	b := []byte(`{"role":` + quote(m.Role) + `,"content":`)
	b = append(b, mustJSON(m.Content)...)
	if m.reasoning != "" {
		b = append(b, ","+m.profile.reasoningMembers(m.reasoning)...)
	}
	if len(m.ToolCalls) > 0 {
		b = append(append(b, `,"tool_calls":`...), mustJSON(m.ToolCalls)...)
	}
	return append(b, '}'), nil
}

type callJSON struct {
	ID       string        `json:"id"`
	Type     string        `json:"type"`
	Function *functionJSON `json:"function,omitempty"`
	Custom   *customJSON   `json:"custom,omitempty"`
}

type functionJSON struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type customJSON struct {
	Name  string `json:"name"`
	Input string `json:"input"`
}

// text is what the tool is given.
func (c *callJSON) text() *string {
	if c.Custom != nil {
		return &c.Custom.Input
	}
	return &c.Function.Arguments
}

type choiceJSON struct {
	Index        int         `json:"index"`
	Message      messageJSON `json:"message"`
	Logprobs     *struct{}   `json:"logprobs"`
	FinishReason *string     `json:"finish_reason"`
	Usage        *usageJSON  `json:"usage,omitempty"`
}

type completionJSON struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []choiceJSON `json:"choices"`
	Usage   *usageJSON   `json:"usage,omitempty"`
}

// whole answers in one JSON object, when the last token would have been made.
func (x *exchange) whole() bool {
	c := answer(x.profile, x.request)
	f := x.fate.fault
	body := x.wholeBody(c)
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
		x.w.Header().Set("Content-Type", "application/json")
		return x.send(http.StatusOK, x.errorBody(f.status(), e))
	case Pings: // as OpenRouter does before answers that take long
		return x.send(http.StatusOK, nil) && x.endlessly([]byte(" "))
	case Endless:
		return x.send(http.StatusOK, body[:part]) && x.endlessly([]byte(strings.Repeat(" ", 1000)))
	case EarlyDone, ErrorFinish:
		return x.announce(body, len(body))
	}
	return x.announce(body[:len(body)-1], len(body)-1)
}

// wholeBody is the answer in the form of the API that was asked.
func (x *exchange) wholeBody(c Completion) []byte {
	f := x.fate.fault
	early := f != nil && (f.Kind == EarlyDone || f.Kind == ErrorFinish)
	if x.request.messagesAPI {
		if early {
			c.Choices[0] = Choice{FinishReason: map[bool]string{true: "error"}[f.Kind == ErrorFinish]}
		}
		return x.message(c)
	}
	if x.request.listing != nil {
		return x.request.listing.answer(x)
	}
	out := x.completion(c)
	if early {
		out.end(f)
	}
	return mustJSON(out)
}

// end has every choice end after so many characters, in the way of a fault.
func (c *completionJSON) end(f *Fault) {
	short := func(s *string) {
		runes := []rune(*s)
		*s = string(runes[:min(len(runes), 4*f.AfterTokens)])
	}
	for i := range c.Choices {
		choice := &c.Choices[i]
		choice.FinishReason = nil
		if f.Kind == ErrorFinish {
			reason := "error"
			choice.FinishReason = &reason
		}
		m := &choice.Message
		short(&m.reasoning)
		if m.Content != nil {
			short(m.Content)
		}
		if f.AfterTokens == 0 {
			m.ToolCalls = nil
		}
		for k := range m.ToolCalls {
			short(m.ToolCalls[k].text())
		}
	}
}

// announce sends a body or the first part of one, whose length the header states.
func (x *exchange) announce(part []byte, length int) bool {
	x.w.Header().Set("Content-Length", strconv.Itoa(length))
	return x.send(http.StatusOK, part)
}

func (x *exchange) completion(c Completion) completionJSON {
	usage := usageOf(c)
	out := completionJSON{ID: x.id, Object: "chat.completion", Created: x.start.Unix(), Model: x.request.Model}
	in := x.profile.UsageIn
	if in != "choice" && in != "none" {
		out.Usage = &usage
	}
	for i, choice := range c.Choices {
		message := messageJSON{Role: "assistant", reasoning: choice.Reasoning, profile: x.profile}
		if choice.Call == nil || choice.Text != "" {
			message.Content = &choice.Text
		}
		if choice.Call != nil {
			for _, c := range choice.calls() {
				call := callJSON{ID: c.ID, Type: "function"}
				if c.Custom {
					call.Type, call.Custom = "custom", &customJSON{c.Name, c.Arguments}
				} else {
					call.Function = &functionJSON{c.Name, c.Arguments}
				}
				message.ToolCalls = append(message.ToolCalls, call)
			}
		}
		o := choiceJSON{Index: i, Message: message, FinishReason: &choice.FinishReason}
		if in == "choice" && i == 0 {
			o.Usage = &usage
		}
		out.Choices = append(out.Choices, o)
	}
	return out
}
