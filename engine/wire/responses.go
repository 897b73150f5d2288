package wire

import (
	"maps"
	"slices"
	"strconv"

	"chaperone/engine/config"
	"chaperone/engine/wire/talk"
)

// The Responses API is only a front, and a stateless one, as OpenRouter's is: whoever answers next may be another provider,
// which has no earlier answers to go back to.
func init() {
	apis[Responses] = &api{
		fields: responsesFields(), needs: (*skim).needInput, instruct: instructIn("instructions"), put: putResponses, differs: []string{"tool_choice", "verbosity"},
		failed: appendEnvelope, broken: appendResponsesError, alive: ": keep-alive\n\n",
		readRequest: talk.ReadResponses, writeAnswer: talk.WriteResponsesAnswer, writer: talk.NewResponsesWriter,
	}
}

func responsesFields() map[string]field {
	fields := common()
	maps.Copy(fields, map[string]field{
		"input":             {read: (*skim).input},
		"instructions":      {read: (*skim).instructions},
		"stream":            {read: func(s *skim) bool { return s.bool(&s.r.Stream) }},
		"stream_options":    {read: (*skim).streamOptions},
		"max_output_tokens": {"max_tokens", func(s *skim) bool { return s.maxOutput("max_output_tokens", 1) }},
		"tools":             {"tools", func(s *skim) bool { return s.toolList((*skim).flatTool) }},
		"tool_choice":       {"tool_choice", unread},
		"text":              {read: (*skim).textOptions},
		"reasoning":         {"reasoning", (*skim).reasoning},
		"prompt":            {read: (*skim).template},
		"include":           {read: (*skim).include},
	})
	add(fields,
		[]string{"temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias",
			"logprobs", "top_logprobs", "prediction", "seed", "verbosity", "parallel_tool_calls"},
		[]string{"max_tool_calls", "safety_identifier", "truncation", "context_management"})
	return fields
}

func (s *skim) instructions() bool {
	if s.peek() != '"' {
		return s.wrong("a string")
	}
	from := s.pos
	ok := s.watchText(holdsText)
	s.r.opening[0] = span{from, s.pos}
	return ok
}

func (s *skim) input() bool {
	switch s.peek() {
	case '"':
		s.messages++
		from := s.pos
		ok := s.content()
		s.r.opening[1] = span{from, s.pos}
		return ok
	case '[':
		a := s.array()
		for s.element(&a) {
			s.messages++
			if !s.item() {
				return false
			}
		}
		if s.ok() && a.elements == 0 {
			return s.fail(a.at, "found an empty array; it should hold at least one item")
		}
		return s.ok()
	}
	return s.wrong("a string or an array of items")
}

var itemFields = map[string]bool{
	"type": true, "role": true, "content": true, "output": true, "arguments": true, "input": true, "encrypted_content": true, "summary": true,
	"file_id": true, "signature": true, "format": true,
}

// item reads one element of the input: a message, a call, what a tool answered, a thought.
func (s *skim) item() bool {
	if s.peek() != '{' {
		return s.wrong("an item object")
	}
	kind, format, sealed, which := "", talk.ResponsesFormat, "", 1
	o := s.object()
	for s.member(&o) {
		if !unlike(&s.scanner, &o, itemFields) {
			return false
		}
		if s.null() {
			continue
		}
		ok := false
		switch string(o.key) {
		case "type":
			ok = s.name(&kind)
			switch kind {
			case "item_reference":
				s.r.PreviousResponse = true
			case "custom_tool_call", "custom_tool_call_output":
				s.customTools()
			}
		case "role":
			var t text
			if t, ok = s.clean("a string"); t.is("system") || t.is("developer") {
				which = 0
			}
		case "content", "output":
			ok = s.content()
		case "arguments", "input", "summary":
			ok = s.counted(&s.textBytes)
		case "encrypted_content", "signature", "format":
			if s.peek() != '"' {
				ok = s.skip()
				break
			}
			var t text
			t, ok = s.text()
			switch {
			case !ok || t.size == 0:
			case string(o.key) == "format":
				format = string(t.decoded())
			default:
				sealed = string(t.decoded())
				s.textBytes += t.size
			}
		default:
			ok = s.watch(holds(o.key))
		}
		if !ok {
			return false
		}
	}
	if sealed != "" && kind == "reasoning" {
		s.r.noteSeal(format, sealed)
	}
	if s.r.opening[which].to == 0 {
		s.r.opening[which] = span{o.at, s.pos}
	}
	return s.ok()
}

// flatTool reads a tool whose members stand beside its type. Those that describe a function or a custom tool of the client's
// are contacted by nobody, so its type has to be known first.
func (s *skim) flatTool() bool {
	if s.peek() != '{' {
		return s.wrong("a tool object such as {\"type\": \"function\", \"name\": …}")
	}
	from, kind := s.pos, ""
	if !s.each("a tool object", map[string]func(*skim) bool{"type": func(s *skim) bool { return s.name(&kind) }}) {
		return false
	}
	if kind == "" {
		return s.fail(from, "found a tool without a type; it should have one, such as \"function\"")
	}
	s.toolKind(kind)
	switch kind {
	case "custom":
		s.customTools()
		return true
	case "function":
		return true
	}
	s.pos = from
	return s.watch(holdsOther)
}

var textFields = map[string]func(*skim) bool{
	"format": func(s *skim) bool {
		s.r.Parameters = insert(s.r.Parameters, "response_format")
		return s.responseFormat()
	},
	"verbosity": func(s *skim) bool {
		s.r.Parameters = insert(s.r.Parameters, "verbosity")
		return s.skip()
	},
}

func (s *skim) textOptions() bool { return s.each("an object", textFields) }

// An answer can be asked to hold more than it does by itself. All of included is there: encrypted reasoning always, and what is
// of the calls of tools that providers run wherever there are such calls, which is in no answer, since a request with such a tool
// is not translated. What repeated asks for is of the request.
var (
	included = []string{
		"code_interpreter_call.outputs", "file_search_call.results", talk.TokensIncluded, "reasoning.encrypted_content",
		"web_search_call.action.sources", "web_search_call.results",
	}
	repeated = []string{"computer_call_output.output.image_url", "message.input_image.image_url"}
)

func (s *skim) include() bool {
	if s.peek() != '[' {
		return s.wrong("an array of strings")
	}
	a := s.array()
	for s.element(&a) {
		s.peek()
		at, what := s.pos, ""
		if !s.name(&what) {
			return false
		}
		switch {
		case slices.Contains(repeated, what):
			return s.fail(at, "found %q; this router's answers do not repeat the request: leave it out", what)
		case !slices.Contains(included, what):
			return s.fail(at, "%s", config.UnknownName("value", what[:min(len(what), 64)], included))
		case what == talk.TokensIncluded:
			s.r.Parameters = insert(s.r.Parameters, "logprobs")
		}
	}
	return s.ok()
}

// template is a prompt that a provider keeps.
func (s *skim) template() bool {
	if s.peek() != '{' {
		return s.wrong("an object with an id")
	}
	s.r.PreviousResponse = true
	return s.watch(holdsOther)
}

func (s *skim) needInput(at int) bool {
	switch {
	case s.messages == 0:
		return s.conflict(at, "input", "found no input; it should be a string or an array of items")
	case s.r.Store:
		return s.conflict(at, "store", "found true; this router keeps no responses: leave store out, or send false")
	case s.r.Background:
		return s.conflict(at, "background", "found true; this router answers at once: leave background out, or send false")
	case s.r.PreviousResponse:
		return s.conflict(at, "previous_response_id", "found a reference to what a provider keeps (previous_response_id, conversation, prompt or item_reference); "+
			"this router keeps no responses: send the earlier items in input")
	}
	return true
}

// appendResponsesError appends the events that end a response which broke off: the error, which clients raise, and the
// response that has failed (https://platform.openai.com/docs/api-reference/responses-streaming).
func appendResponsesError(dst []byte, e *Error, l *talk.Label) []byte {
	dst = append(dst, "event: error\ndata: "...)
	dst = append(dst, `{"type":"error","sequence_number":`...)
	dst = strconv.AppendInt(dst, int64(l.Sequence), 10)
	dst = append(dst, `,"code":`...)
	dst = appendString(dst, responsesCode(e))
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.Message)
	dst = append(dst, `,"param":null,"error":`...)
	dst = e.appendObject(dst)
	dst = append(dst, "}\n\nevent: response.failed\ndata: "...)
	dst = append(dst, `{"type":"response.failed","sequence_number":`...)
	dst = strconv.AppendInt(dst, int64(l.Sequence)+1, 10)
	dst = append(dst, `,"response":{"id":`...)
	dst = appendString(dst, l.ID)
	dst = append(dst, `,"object":"response","created_at":`...)
	dst = strconv.AppendInt(dst, l.Created, 10)
	dst = append(dst, `,"model":`...)
	dst = appendString(dst, l.Model)
	dst = append(dst, `,"provider":`...)
	dst = appendString(dst, l.Provider)
	dst = append(dst, `,"status":"failed","output":[],"incomplete_details":null,"usage":null,"error_type":`...)
	dst = appendString(dst, e.Type)
	dst = append(dst, `,"error":{"code":`...)
	dst = appendString(dst, responsesCode(e))
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.Message)
	return append(dst, "}}}\n\n"...)
}

// responsesCode is the error in the vocabulary of the Responses API, which has few words.
func responsesCode(e *Error) string {
	switch e.Type {
	case "rate_limit_exceeded":
		return e.Type
	case "invalid_request", "context_length_exceeded":
		return "invalid_prompt"
	}
	return "server_error"
}
