package wire

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strings"

	"chaperone/engine/wire/talk"
)

// The shapes of Anthropic's API.
const (
	Messages    Shape = "messages"     // https://platform.claude.com/docs/en/api/messages/create
	CountTokens Shape = "count_tokens" // https://platform.claude.com/docs/en/api/messages/count_tokens
)

func init() {
	apis[Messages] = &api{
		fields: messagesFields(), needs: (*skim).needTurns, instruct: instructIn("system"), put: putMessages, differs: []string{"max_tokens", "tool_choice"},
		event: messagesEvent, answer: messagesAnswer, text: appendMessagesText, labels: messagesLabels, bill: messagesBill,
		failed: appendMessagesError, broken: appendMessagesErrorEvent, alive: "event: ping\ndata: {\"type\": \"ping\"}\n\n",
		readRequest: talk.ReadMessages, writeRequest: talk.WriteMessages,
		readAnswer: talk.ReadMessagesAnswer, writeAnswer: talk.WriteMessagesAnswer,
		reader: talk.NewMessagesReader, writer: talk.NewMessagesWriter,
	}
	count := messagesFields()
	count["stream"] = field{read: (*skim).notStreamed}
	apis[CountTokens] = &api{
		fields: count, needs: (*skim).needMessages, instruct: instructIn("system"), put: putCount, differs: []string{"max_tokens", "tool_choice", "temperature", "top_p", "top_k"},
		answer: countAnswer, labels: func(*Chunk, *Labels) []Edit { return nil },
		bill: func(*Chunk, []byte, *talk.Bill) []Edit { return nil }, failed: appendMessagesError,
	}
}

func messagesFields() map[string]field {
	fields := common()
	maps.Copy(fields, map[string]field{
		"messages": {read: func(s *skim) bool { return s.list("an array of messages", s.turn) }},
		"system":   {read: (*skim).systemPrompt},

		"stream":     {read: func(s *skim) bool { return s.bool(&s.r.Stream) }},
		"max_tokens": {"max_tokens", func(s *skim) bool { return s.maxOutput("max_tokens", 0) }}, // 0 fills the prompt's cache

		"tools":       {"tools", func(s *skim) bool { return s.toolList((*skim).namedTool) }},
		"tool_choice": {"tool_choice", unread},
		"container":   {read: (*skim).container},
		"fallbacks":   {read: (*skim).fallbacks}, // OpenRouter's

		"thinking":      {"reasoning", func(s *skim) bool { return s.each("an object", thinkingFields) }},
		"output_config": {read: func(s *skim) bool { return s.each("an object", outputConfigFields) }},
		"output_format": {read: (*skim).outputFormat},
		"speed":         {read: (*skim).speed},
	})
	fields["stop_sequences"] = field{"stop", unread}
	add(fields, []string{"temperature", "top_p", "top_k"}, []string{"context_management", "inference_geo"})
	return fields
}

func (s *skim) needTurns(at int) bool {
	if !s.needMessages(at) {
		return false
	}
	if s.outputKey == "" && !s.r.unfinished() {
		return s.conflict(at, "max_tokens", "found no max_tokens; it should be the most tokens that the answer may have")
	}
	if s.r.Claims.User == "" {
		s.r.Claims.User = s.r.Claims.Metadata["user_id"]
	}
	return true
}

// list reads an array of objects; one of them is read by each.
func (s *skim) list(want string, each func() bool) bool {
	if s.peek() != '[' {
		return s.wrong(want)
	}
	a := s.array()
	for s.element(&a) {
		if !each() {
			return false
		}
	}
	return s.ok()
}

func (s *skim) systemPrompt() bool {
	s.peek()
	from := s.pos
	ok := s.blockContent()
	s.r.opening[0] = span{from, s.pos}
	return ok
}

var turnFields = map[string]bool{"role": true, "content": true}

func (s *skim) turn() bool {
	if s.peek() != '{' {
		return s.wrong("a message object")
	}
	s.messages++
	role := false
	o := s.object()
	for s.member(&o) {
		ok := false
		switch string(o.key) {
		case "role":
			_, ok = s.word()
			role = true
		case "content":
			ok = s.blockContent()
		default:
			ok = unlike(&s.scanner, &o, turnFields) && s.watch(holds(o.key))
		}
		if !ok {
			return false
		}
	}
	if s.ok() && !role {
		return s.fail(o.at, "found a message without a role; it should have one, such as \"user\"")
	}
	if s.r.opening[1].to == 0 {
		s.r.opening[1] = span{o.at, s.pos}
	}
	return s.ok()
}

func (s *skim) blockContent() bool {
	switch s.peek() {
	case '"':
		t, ok := s.text()
		s.textBytes += t.size
		s.modality("text")
		return ok
	case '[':
		return s.list("an array of content blocks", s.block)
	}
	return s.wrong("a string or an array of content blocks")
}

// blocks are the modalities of Anthropic's content blocks, by type. What its own tools gave in earlier turns is text. A
// block of a type that is not here adds the type itself, which no row supports.
var blocks = map[string]string{
	"text": "text", "thinking": "text", "redacted_thinking": "text", "tool_use": "text", "tool_result": "text",
	"server_tool_use": "text", "mcp_tool_use": "text", "search_result": "text", "tool_reference": "text", "compaction": "text",
	"image": "image", "document": "file", "container_upload": "file",
}

var blockFields = map[string]bool{
	"type": true, "source": true, "text": true, "thinking": true, "content": true, "input": true, "data": true, "file_id": true,
	"signature": true, "citations": true, "cache_control": true, "title": true, "context": true, "url": true,
}

// block reads a content block, or one inside what a tool gave.
func (s *skim) block() bool {
	if s.peek() != '{' {
		return s.wrong("a content block such as {\"type\": \"text\", \"text\": …}")
	}
	kind, source := "", ""
	o := s.object()
	for s.member(&o) {
		if !unlike(&s.scanner, &o, blockFields) {
			return false
		}
		if s.null() {
			continue
		}
		ok := false
		switch string(o.key) {
		case "type":
			ok = s.name(&kind)
		case "source":
			ok = s.source(&source)
		case "text", "thinking", "title", "context", "input": // a call's input is what a model wrote: nobody fetches what it names
			ok = s.counted(&s.textBytes)
		case "content":
			ok = s.inner()
		case "signature", "data":
			ok = s.seal()
		case "citations":
			ok = s.citations()
		case "cache_control":
			ok = s.cacheControl()
		case "url":
			ok = s.skip() // of a search result; what is to be fetched stands in a source
		default:
			ok = s.watch(holds(o.key))
		}
		if !ok {
			return false
		}
	}
	if !s.ok() {
		return false
	}
	if kind == "" {
		return s.fail(o.at, "found a content block without a type; it should have one, such as \"text\"")
	}
	m, known := blocks[kind]
	switch {
	case known && m == "file" && (source == "text" || source == "content"):
		m = "text"
	case !known && (strings.HasSuffix(kind, "_result") || strings.HasSuffix(kind, "_error") || strings.HasSuffix(kind, "_output")):
		m = "text"
	case !known:
		m = kind
	}
	s.modality(m)
	if m != "text" {
		s.mediaParts++
	}
	if m == "image" {
		s.r.Images++
	}
	return true
}

// inner reads what a tool gave: a text, blocks, or an object of a tool of Anthropic's own.
func (s *skim) inner() bool {
	if s.peek() == '{' {
		return s.block()
	}
	return s.blockContent()
}

// source reads where the contents of an image or a document are.
func (s *skim) source(kind *string) bool {
	fields := map[string]func(*skim) bool{
		"type":    func(s *skim) bool { return s.name(kind) },
		"data":    func(s *skim) bool { return s.counted(new(int)) },
		"url":     func(s *skim) bool { return s.watch(holdsURL) },
		"file_id": func(s *skim) bool { return s.watch(holdsFile) },
		"content": (*skim).inner,
	}
	if s.peek() != '{' {
		return s.wrong("a source object such as {\"type\": \"base64\", …}")
	}
	o := s.object()
	for s.member(&o) {
		read, known := fields[string(o.key)]
		switch {
		case !known:
			if !unlike(&s.scanner, &o, fields) || !s.watch(holds(o.key)) {
				return false
			}
		case s.null():
		case !s.ok() || !read(s):
			return false
		}
	}
	return s.ok()
}

// seal reads a signature or encrypted reasoning, and notes who can read it.
func (s *skim) seal() bool {
	if s.peek() != '"' {
		return s.skip()
	}
	t, ok := s.text()
	if !ok || t.size == 0 {
		return ok
	}
	sealed := string(t.decoded())
	s.r.foreign = s.r.foreign || talk.Foreign(sealed)
	if format := talk.SealedFormat(sealed); format != "" {
		s.r.noteSeal(format, talk.SealedText(sealed))
	}
	return true
}

// citations reads the sources of a text, or whether a document is to be cited.
func (s *skim) citations() bool {
	if s.peek() != '[' {
		return s.skip()
	}
	a := s.array()
	for s.element(&a) {
		if s.peek() != '{' {
			return s.wrong("a citation object")
		}
		o := s.object()
		for s.member(&o) {
			if string(o.key) != "encrypted_index" || s.peek() != '"' {
				s.skip() // URLs among it were fetched when the answer was made
				continue
			}
			if t, ok := s.text(); ok {
				s.r.foreign = s.r.foreign || talk.Foreign(string(t.decoded()))
			}
		}
	}
	return s.ok()
}

// dated is the date at the end of the type of one of Anthropic's own tools: web_search_20250305.
var dated = regexp.MustCompile(`_20\d{6}$`)

var namedToolFields = map[string]bool{"type": true, "name": true, "description": true, "input_schema": true, "cache_control": true}

// namedTool reads a tool of Anthropic's form. Its kind is "function" where the client runs it, else its type without the
// date.
func (s *skim) namedTool() bool {
	if s.peek() != '{' {
		return s.wrong("a tool object such as {\"name\": …, \"input_schema\": {…}}")
	}
	kind := "custom"
	o := s.object()
	for s.member(&o) {
		if !unlike(&s.scanner, &o, namedToolFields) {
			return false
		}
		if s.null() {
			continue
		}
		ok := false
		switch string(o.key) {
		case "type":
			ok = s.name(&kind)
		case "input_schema", "description", "input_examples": // of the client's own function: URLs in it are contacted by nobody
			ok = s.skip()
		case "cache_control":
			ok = s.cacheControl()
		default:
			ok = s.watch(holds(o.key))
		}
		if !ok {
			return false
		}
	}
	switch kind = dated.ReplaceAllString(kind, ""); kind {
	case "custom", "bash", "text_editor", "computer", "memory": // the latter are described by Anthropic, and run by the client
		kind = "function"
	case "mcp_toolset":
		kind = "mcp"
	}
	s.toolKind(kind)
	return s.ok()
}

// container reads where code is to run: an id is of something that the provider keeps, skills are code that it runs.
func (s *skim) container() bool {
	if s.peek() != '{' {
		s.r.PreviousResponse = true
		_, ok := s.clean("a string or an object")
		return ok
	}
	s.toolKind("code_execution")
	return s.each("an object", map[string]func(*skim) bool{"id": (*skim).previous})
}

func (s *skim) fallbacks() bool {
	return s.list("an array of objects with a model", func() bool {
		name := ""
		if !s.closed("an object with a model", map[string]func(*skim) bool{"model": func(s *skim) bool { return s.name(&name) }}) {
			return false
		}
		s.r.Models = append(s.r.Models, name)
		return true
	})
}

var thinkingFields = map[string]func(*skim) bool{
	"type": func(s *skim) bool {
		kind := ""
		if !s.name(&kind) {
			return false
		}
		if kind == "disabled" || kind == "adaptive" {
			on := kind == "adaptive"
			s.enabled = &on
		}
		return true
	},
	"budget_tokens": func(s *skim) bool { return s.whole(&s.r.ReasoningTokens, 0) },
}

var outputConfigFields = map[string]func(*skim) bool{
	"effort": func(s *skim) bool {
		s.r.Parameters = insert(s.r.Parameters, "reasoning")
		return s.name(&s.r.ReasoningEffort)
	},
	"format": (*skim).outputFormat,
}

func (s *skim) outputFormat() bool {
	s.r.Parameters = insert(insert(s.r.Parameters, "response_format"), "structured_outputs")
	return s.each("an object", map[string]func(*skim) bool{
		"type":   func(s *skim) bool { return s.name(&s.r.ResponseFormat) },
		"schema": func(s *skim) bool { return s.counted(&s.toolBytes) },
	})
}

// speed is Anthropic's word for a tier.
func (s *skim) speed() bool {
	speed := ""
	if !s.choice(&speed, "standard", "fast") {
		return false
	}
	if speed == "fast" && s.r.ServiceTier == "" {
		s.r.ServiceTier = "priority"
	}
	return true
}

// Sealed are the forms of signed or encrypted reasoning that the request sends back, by OpenRouter's names ("unknown" where it
// is not said), sorted. Only those who made it can take it.
func (r *Request) Sealed() []string { return r.sealed }

// Foreign says whether a request in Anthropic's form sends back reasoning that this router put into it for another maker.
func (r *Request) Foreign() bool { return r.foreign }

// anthropicTypes are Anthropic's words (https://platform.claude.com/docs/en/api/errors) for the vocabulary of Error.Type.
var anthropicTypes = map[string]string{
	"authentication": "authentication_error", "permission_denied": "permission_error", "payment_required": "billing_error",
	"not_found": "not_found_error", "payload_too_large": "request_too_large", "rate_limit_exceeded": "rate_limit_error",
	"provider_overloaded": "overloaded_error", "timeout": "timeout_error",
}

// anthropicType is Anthropic's word for an error.
func (e *Error) anthropicType() string {
	if t, ok := anthropicTypes[e.Type]; ok {
		return t
	}
	switch {
	case e.Status == 404:
		return "not_found_error"
	case e.Status == 403:
		return "permission_error"
	case e.Status >= 500:
		return "api_error"
	}
	return "invalid_request_error"
}

// appendMessagesError appends Anthropic's envelope with OpenRouter's fields in it, always as valid JSON in UTF-8:
//
//	{"type":"error","error":{"type":"invalid_request_error","message":"…","error_type":"invalid_request","param":"model","metadata":{…}},"request_id":"gen-…"}
func appendMessagesError(dst []byte, e *Error) []byte {
	dst = append(dst, `{"type":"error","error":{"type":`...)
	dst = appendString(dst, e.anthropicType())
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.Message)
	dst = append(dst, `,"error_type":`...)
	dst = appendString(dst, e.Type)
	if e.Param != "" {
		dst = append(dst, `,"param":`...)
		dst = appendString(dst, e.Param)
	}
	if len(e.Metadata) > 0 {
		dst = append(dst, `,"metadata":`...)
		dst = e.appendMetadata(dst)
	}
	dst = e.appendAvailability(dst)
	dst = append(dst, `},"request_id":`...)
	if e.DecisionID == "" {
		dst = append(dst, "null"...)
	} else {
		dst = appendString(dst, e.DecisionID)
	}
	return append(dst, '}')
}

func appendMessagesErrorEvent(dst []byte, e *Error, l *talk.Label) []byte {
	said := *e
	said.DecisionID = l.ID
	dst = append(dst, "event: error\ndata: "...)
	dst = appendMessagesError(dst, &said)
	return append(dst, "\n\n"...)
}

// The forms of a chunk that is relabelled.
const (
	plainChunk = iota
	startOfMessage
	wholeMessage
)

// messagesLabels are the edits of those events that say who serves.
func messagesLabels(c *Chunk, l *Labels) []Edit {
	switch c.form {
	case startOfMessage:
		return l.in("message")
	case wholeMessage:
		return l.top
	}
	return nil
}

// output is what of Anthropic's events is output, which commits an attempt where it is not empty: the field that holds it, by
// the type of a content block at its start or of a delta. What is not here (message_start, ping, content_block_stop,
// message_delta) is none. A block of another type is the work of one of the provider's own tools, and commits.
var output = map[string]string{
	"text": "text", "text_delta": "text",
	"thinking": "thinking", "thinking_delta": "thinking",
	"signature_delta":   "signature",
	"redacted_thinking": "data",
	"tool_use":          "name", "input_json_delta": "partial_json",
}

func messagesEvent(ev Event, c *Chunk) (Kind, error) {
	if ev.Comment || len(ev.Data) == 0 {
		return Comment, nil
	}
	kind := ""
	if err := scanMessages(ev.Data, c, &kind); err != nil {
		return Data, err
	}
	switch kind {
	case "ping":
		return Comment, nil
	case "message_stop":
		return End, nil
	case "error":
		if c.Err == nil {
			c.Err = &UpstreamError{Type: "api_error"}
		}
	case "message_start":
		c.form, c.Usage.Known, c.Usage.CompletionTokens = startOfMessage, false, 0 // the count of the output is only begun
	case "":
		c.Err = ScanError(ev.Data) // not one of Anthropic's events
	}
	return Data, nil
}

func messagesAnswer(body []byte, c *Chunk) error {
	kind := ""
	if err := scanMessages(body, c, &kind); err != nil {
		return err
	}
	c.form = wholeMessage
	if kind != "message" && c.Err == nil {
		c.Err = ScanError(body)
	}
	c.Commits = c.Commits || c.FinishReason != ""
	return nil
}

func countAnswer(body []byte, c *Chunk) error {
	kind := ""
	if err := scanMessages(body, c, &kind); err != nil {
		return err
	}
	if c.Err == nil {
		c.Err = ScanError(body)
	}
	s := scanner{data: body}
	o := s.object()
	for s.member(&o) {
		if string(o.key) == "input_tokens" {
			c.Commits, c.Finished, c.FinishReason = true, 1, talk.Stop
		}
		s.skip()
	}
	return nil
}

// scanMessages reads an event or a whole message of Anthropic's tolerantly.
func scanMessages(data []byte, c *Chunk, kind *string) error {
	*c = Chunk{fields: fieldIndex{members: c.fields.members[:0]}}
	a := answer{scanner: scanner{data: data}, c: c}
	if a.peek() != '{' {
		a.wrong("an object")
		return a.malformed()
	}
	x := &c.fields
	o := a.object()
	for a.member(&o) {
		at := a.pos
		switch string(o.key) {
		case "type":
			a.maybe(kind)
		case "message":
			a.startUsage()
		case "content_block", "delta":
			a.block()
		case "content":
			if a.peek() != '[' {
				a.skip()
				break
			}
			list := a.array()
			for a.element(&list) {
				a.block()
			}
		case "stop_reason":
			a.stopReason()
		case "usage":
			a.messagesUsage()
		case "error":
			a.errorValue(&c.Err)
		default:
			a.skip()
		}
		x.members = append(x.members, member{lead: o.lead, key: o.keyAt, value: at, end: a.pos})
	}
	if !a.end() {
		return a.malformed()
	}
	x.start, x.end = o.at, a.pos
	for x.end > 0 && a.data[x.end-1] != '}' {
		x.end--
	}
	return nil
}

// events are the words of Anthropic's events that are looked for, so that reading one allocates nothing.
var events = func() map[string]string {
	words := map[string]string{}
	for _, w := range []string{"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
		"ping", "error", "message"} {
		words[w] = w
	}
	for w := range output {
		words[w] = w
	}
	return words
}()

// maybe reads a string where there is one.
func (a *answer) maybe(into *string) {
	if a.peek() != '"' {
		a.skip()
		return
	}
	t, ok := a.text()
	if !ok {
		return
	}
	if known, ok := events[string(t.raw)]; ok && !t.escaped {
		*into = known
		return
	}
	*into = string(t.decoded())
}

// startUsage reads the usage inside the message of a message_start.
func (a *answer) startUsage() {
	if a.peek() != '{' {
		a.skip()
		return
	}
	o := a.object()
	for a.member(&o) {
		if string(o.key) == "usage" {
			a.messagesUsage()
		} else {
			a.skip()
		}
	}
}

// block reads a content block, or a delta of one or of the message.
func (a *answer) block() {
	if a.peek() != '{' {
		a.skip()
		return
	}
	var kind string
	var size [len(outputFields)]int
	o := a.object()
	for a.member(&o) {
		at := a.pos
		switch i := slices.Index(outputFields[:], string(o.key)); {
		case i >= 0:
			size[i] = a.words()
		case string(o.key) == "type":
			a.maybe(&kind)
		case string(o.key) == "input":
			a.skip()
			if a.pos-at > len("{}") {
				a.commit(a.pos - at)
			}
		case string(o.key) == "stop_reason":
			a.stopReason()
		default:
			a.skip()
		}
	}
	field, known := output[kind]
	switch {
	case known:
		if n := size[slices.Index(outputFields[:], field)]; n > 0 {
			a.c.Commits = true
			if generatedField[field] {
				a.c.OutputBytes += n
			}
		}
	case kind != "": // of one of the provider's own tools
		a.c.Commits = true
	}
}

// outputFields are those that output names; generatedField those of them that hold text which a model wrote.
var (
	outputFields   = [...]string{"text", "thinking", "signature", "data", "name", "partial_json"}
	generatedField = map[string]bool{"text": true, "thinking": true, "partial_json": true}
)

func (a *answer) stopReason() {
	reason := ""
	a.maybe(&reason)
	if reason != "" {
		a.c.FinishReason, a.c.NativeReason, a.c.Finished = talk.FinishOf(reason), reason, 1
	}
}

// messagesUsage reads Anthropic's usage, whose input_tokens are without those of the cache.
func (a *answer) messagesUsage() {
	if a.peek() != '{' {
		a.skip()
		return
	}
	var u Usage
	var plain int64
	o := a.object()
	for a.member(&o) {
		var into *int64
		switch string(o.key) {
		case "input_tokens":
			into = &plain
		case "output_tokens":
			into = &u.CompletionTokens
		case "cache_read_input_tokens":
			into = &u.CachedTokens
		case "cache_creation_input_tokens":
			into = &u.CacheWriteTokens
		case "output_tokens_details":
			a.only("thinking_tokens", &u.ReasoningTokens)
			continue
		case "cache_creation":
			a.only("ephemeral_1h_input_tokens", &u.CacheWrite1hTokens)
			continue
		case "service_tier":
			a.tier()
			continue
		default:
			a.skip()
			continue
		}
		u.Known = a.tokens(into) || u.Known
	}
	u.PromptTokens = plain + u.CachedTokens + u.CacheWriteTokens
	if u.Known {
		a.c.Usage = u
	}
}

// only reads one count of an object.
func (a *answer) only(name string, into *int64) {
	if a.peek() != '{' {
		a.skip()
		return
	}
	o := a.object()
	for a.member(&o) {
		if string(o.key) == name {
			a.tokens(into)
		} else {
			a.skip()
		}
	}
}

// appendMessagesText is AppendText for Anthropic's events. Only the text of the first block can be gone on with.
func appendMessagesText(dst, data []byte) (text []byte, whole bool) {
	s := scanner{data: data}
	var kind, block, delta string
	index := "0"
	whole = true
	piece := func(kind *string) {
		if s.peek() != '{' {
			s.skip()
			return
		}
		o := s.object()
		for s.member(&o) {
			switch string(o.key) {
			case "type":
				if t, ok := s.clean("a string"); ok {
					*kind = string(t.decoded())
				}
			case "text":
				if t, ok := s.clean("a string"); ok {
					dst = append(dst, t.decoded()...)
				}
			default:
				s.skip()
			}
		}
	}
	if !bytes.Contains(data, []byte("content_block_")) {
		return dst, true
	}
	o := s.object()
	for s.member(&o) {
		switch string(o.key) {
		case "type":
			if t, ok := s.clean("a string"); ok {
				kind = string(t.decoded())
			}
		case "index":
			n, _ := s.number()
			index = string(n)
		case "content_block":
			piece(&block)
		case "delta":
			piece(&delta)
		default:
			s.skip()
		}
	}
	switch kind {
	case "content_block_start":
		whole = block == "text" && index == "0"
	case "content_block_delta":
		whole = delta == "text_delta" && index == "0"
	}
	return dst, whole && s.ok()
}
