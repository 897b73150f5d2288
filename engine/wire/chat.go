package wire

import (
	"bytes"
	"maps"
	"strconv"

	"chaperone/engine/wire/talk"
)

func init() {
	apis[Chat] = &api{
		fields: chatFields(), needs: (*skim).needMessages, instruct: instructChat,
		event: chatEvent, answer: ScanCompletion, text: appendChatText, labels: chatLabels, bill: chatBill, absent: chatAbsent,
		failed: appendEnvelope, broken: appendChatError, alive: ": keep-alive\n\n",
		readRequest: talk.ReadChat, writeRequest: talk.WriteChat,
		readAnswer: talk.ReadChatAnswer, writeAnswer: talk.WriteChatAnswer,
		reader: talk.NewChatReader, writer: talk.NewChatWriter,
	}
}

func chatFields() map[string]field {
	fields := common()
	maps.Copy(fields, map[string]field{
		"messages": {read: (*skim).messageList},

		"stream":         {read: func(s *skim) bool { return s.bool(&s.r.Stream) }},
		"stream_options": {read: (*skim).streamOptions},
		"n":              {read: func(s *skim) bool { return s.whole(&s.r.N, 1) }},

		"max_tokens":            {"max_tokens", func(s *skim) bool { return s.maxOutput("max_tokens", 1) }},
		"max_completion_tokens": {"max_tokens", func(s *skim) bool { return s.maxOutput("max_completion_tokens", 1) }},
		"max_output_tokens":     {"max_tokens", func(s *skim) bool { return s.maxOutput("max_output_tokens", 1) }},

		"tools":         {"tools", func(s *skim) bool { return s.toolList((*skim).tool) }},
		"functions":     {"tools", func(s *skim) bool { return s.toolList((*skim).function) }},
		"tool_choice":   {"tool_choice", unread},
		"function_call": {"tool_choice", unread},

		"modalities":       {read: (*skim).modalities},
		"response_format":  {"response_format", (*skim).responseFormat},
		"reasoning":        {"reasoning", (*skim).reasoning},
		"reasoning_effort": {"reasoning_effort", (*skim).effort},
	})
	add(fields,
		[]string{"temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty", "repetition_penalty",
			"logit_bias", "logprobs", "top_logprobs", "prediction", "seed", "structured_outputs", "stop", "parallel_tool_calls",
			"include_reasoning", "verbosity"},
		[]string{"audio", "image_config", "prompt_cache_options", "safety_identifier"})
	return fields
}

func (s *skim) needMessages(at int) bool {
	if s.messages == 0 {
		return s.conflict(at, "messages", "found no messages; it should be an array of at least one message")
	}
	return true
}

var doneMark = []byte("[DONE]")

func chatEvent(ev Event, c *Chunk) (Kind, error) {
	if ev.Comment || len(ev.Data) == 0 {
		return Comment, nil
	}
	if bytes.Equal(bytes.TrimSpace(ev.Data), doneMark) {
		return End, nil
	}
	err := ScanChunk(ev.Data, c)
	if err == nil && c.Err == nil && (string(ev.Name) == "error" || !c.HasChoices && !c.Usage.Known) {
		c.Err = ScanError(ev.Data) // an error in another form than OpenAI's
	}
	return Data, err
}

func chatLabels(_ *Chunk, l *Labels) []Edit { return l.top }

// chatAbsent: OpenAI writes null usage into every chunk but the last, which OpenRouter's SDK refuses, and few providers have the
// fingerprint that it requires of a whole answer.
func chatAbsent(c *Chunk, data []byte, whole bool) []Edit {
	switch {
	case whole && !c.Has(data, "system_fingerprint"):
		return []Edit{{"system_fingerprint", []byte("null")}}
	case !whole && !c.Usage.Known && string(c.value(data, "usage")) == "null":
		return []Edit{{"usage", nil}}
	}
	return nil
}

// appendChatError appends the event that ends a stream which failed after its first content
// (https://openrouter.ai/docs/api_reference/streaming), with the blank line after it.
func appendChatError(dst []byte, e *Error, l *talk.Label) []byte {
	return appendBroken(dst, e, l, "chat.completion.chunk", `"delta":{"content":""}`)
}

// appendBroken appends it in the form of chat completions and of those before them, whose chunks differ in their name and in
// what a choice holds.
func appendBroken(dst []byte, e *Error, l *talk.Label, object, output string) []byte {
	dst = append(dst, `data: {"id":`...)
	dst = appendString(dst, l.ID)
	dst = append(append(append(dst, `,"object":"`...), object...), `","created":`...)
	dst = strconv.AppendInt(dst, l.Created, 10)
	dst = append(dst, `,"model":`...)
	dst = appendString(dst, l.Model)
	dst = append(dst, `,"provider":`...)
	dst = appendString(dst, l.Provider)
	dst = append(dst, `,"error":`...)
	dst = e.appendObject(dst)
	dst = append(append(dst, `,"choices":[{"index":0,`...), output...)
	return append(dst, `,"finish_reason":"error"}]}`+"\n\n"...)
}
