package wire

import (
	"crypto/sha256"
	"fmt"
	"slices"
)

// Skim reads a request strictly, in one pass. It takes the body over; the caller must not change it afterwards. The error
// (400, "invalid_request") names the field and the byte, what was found and what would be right.
//
// A body is refused wherever two parsers could read it differently: see scanner.strict, and folds for keys. A field that
// is null counts as not sent, as providers take it. Fields that are not known are left as they are.
func Skim(shape Shape, head Head, body []byte) (*Request, *Error) {
	if shape == "" {
		shape = Chat
	}
	s := skim{
		scanner: scanner{data: body, strict: true},
		api:     shape.api(),
		r: &Request{
			Shape: shape, Head: head, versions: &versions{},
			Body:           body,
			N:              1,
			ResponseFormat: "text",
			Preferences:    Preferences{AllowFallbacks: true, DataCollection: "allow", Partition: "model"},
			Claims:         Claims{Metadata: map[string]string{}},
		},
	}
	if !s.body() {
		return nil, s.refusal()
	}
	s.r.Digest = sha256.Sum256(body)
	return s.r, nil
}

// skim is one pass over a request.
type skim struct {
	scanner
	api *api
	r   *Request

	param     string // of the fault, where that is not the value at its offset
	outputKey string // the alias that set r.MaxOutputTokens
	route     string // the older word for a partition
	sorted    bool   // provider.sort named a partition
	enabled   *bool  // reasoning.enabled
	query     bool   // of a ranking
	documents bool

	textBytes, toolBytes, messages, mediaParts int // what the estimate of prompt tokens is made of
}

func (s *skim) refusal() *Error {
	param := s.param
	if param == "" {
		param = pathAt(s.data, s.at)
	}
	where := param
	if where == "" {
		where = "body"
	}
	return &Error{Status: 400, Type: "invalid_request", Param: param, Message: fmt.Sprintf("%s (byte %d): %s", where, s.at, s.fault)}
}

// conflict fails for a field that does not fit another one.
func (s *skim) conflict(at int, param, format string, args ...any) bool {
	if s.ok() {
		s.param = param
	}
	return s.fail(at, format, args...)
}

// field is one that a router or a provider knows at the top of a request.
type field struct {
	parameter string // OpenRouter's name for it among supported_parameters; "" where it is none
	read      func(*skim) bool
}

func unread(s *skim) bool { return s.skip() }

func (s *skim) body() bool {
	switch c := s.peek(); {
	case len(s.data) >= 3 && string(s.data[:3]) == "\ufeff":
		return s.fail(0, "found a byte order mark; a body should begin with its JSON object")
	case s.pos == len(s.data):
		return s.fail(0, "found nothing; a body should be one JSON object")
	case c != '{':
		return s.wrong("an object")
	}
	o := s.object()
	for s.member(&o) {
		key, valueAt := o.key, s.pos
		if f, known := s.api.fields[string(key)]; known {
			if !s.null() && s.ok() {
				if !f.read(s) {
					return false
				}
				if f.parameter != "" {
					s.r.Parameters = insert(s.r.Parameters, f.parameter)
				}
			}
		} else if !unlike(&s.scanner, &o, s.api.fields) || !s.skip() {
			return false
		}
		s.r.fields.members = append(s.r.fields.members, member{lead: o.lead, key: o.keyAt, value: valueAt, end: s.pos})
	}
	s.r.fields.start, s.r.fields.end = o.at, s.pos
	return s.end() && s.settle(o.at)
}

// unlike fails where the key of a member is a known one to a parser that folds case, and only to such a parser.
func unlike[V any](s *scanner, o *object, known map[string]V) bool {
	if name, ok := folds(o.key, known); ok {
		return s.fail(o.keyAt, "found a key that some parsers take for %q; write it exactly so, or leave it out", name)
	}
	return true
}

// settle checks and fills what depends on several fields; at is where the body's object begins.
func (s *skim) settle(at int) bool {
	r := s.r
	if r.Model == "" && r.Preset == "" && len(r.Models) > 0 {
		r.Model, r.Models = r.Models[0], r.Models[1:]
	}
	if !s.api.needs(s, at) {
		return false
	}
	if s.route != "" {
		partition := map[string]string{"fallback": "model", "sort": "none"}[s.route]
		if s.sorted && partition != r.Preferences.Partition {
			return s.conflict(at, "route", "found %q, which means partition %q, beside provider.sort.partition %q; send one of them", s.route, partition, r.Preferences.Partition)
		}
		r.Preferences.Partition = partition
	}
	if s.enabled != nil {
		switch idle := r.ReasoningEffort == "none"; {
		case !*s.enabled && (r.ReasoningTokens > 0 || r.ReasoningEffort != "" && !idle):
			return s.conflict(at, "reasoning.enabled", "found false beside an effort or a number of tokens; send one of them")
		case *s.enabled && idle:
			return s.conflict(at, "reasoning.enabled", "found true beside the effort \"none\"; send one of them")
		case !*s.enabled:
			r.ReasoningEffort = "none"
		case r.ReasoningEffort == "" && r.ReasoningTokens == 0:
			r.ReasoningEffort = "medium"
		}
	}
	if r.OutputModalities == nil {
		r.OutputModalities = []string{"text"}
	}
	if r.InputModalities == nil {
		r.InputModalities = []string{"text"}
	}
	r.PromptTokens = EstimateTokens(s.textBytes+s.toolBytes) + int64(s.messages)*messageTokens + int64(s.mediaParts)*mediaTokens
	return true
}

// insert adds a word to a sorted list that holds every word once.
func insert(list []string, word string) []string {
	i, found := slices.BinarySearch(list, word)
	if found {
		return list
	}
	return slices.Insert(list, i, word)
}

func (s *skim) maxOutput(key string, least int64) bool {
	s.peek()
	at := s.pos
	var n int64
	if !s.whole(&n, least) {
		return false
	}
	if s.outputKey != "" && n != s.r.MaxOutputTokens {
		return s.fail(at, "found %d beside %s %d; these limit the same thing and should agree", n, s.outputKey, s.r.MaxOutputTokens)
	}
	s.outputKey, s.r.MaxOutputTokens = key, n
	return true
}

// each reads an object of which only some members are read; the others are skipped.
func (s *skim) each(want string, fields map[string]func(*skim) bool) bool {
	if s.peek() != '{' {
		return s.wrong(want)
	}
	o := s.object()
	for s.member(&o) {
		read, known := fields[string(o.key)]
		switch {
		case !known:
			if !unlike(&s.scanner, &o, fields) || !s.skip() {
				return false
			}
		case s.null():
		case !s.ok() || !read(s):
			return false
		}
	}
	return s.ok()
}

var streamFields = map[string]func(*skim) bool{
	"include_usage": func(s *skim) bool { return s.bool(&s.r.IncludeUsage) },
}

func (s *skim) streamOptions() bool { return s.each("an object", streamFields) }

var formatFields = map[string]func(*skim) bool{
	"type":        func(s *skim) bool { return s.name(&s.r.ResponseFormat) },
	"json_schema": func(s *skim) bool { return s.counted(&s.toolBytes) },
}

func (s *skim) responseFormat() bool {
	at := s.pos
	s.r.ResponseFormat = ""
	if !s.each("an object", formatFields) {
		return false
	}
	switch s.r.ResponseFormat {
	case "":
		return s.fail(at, "found no type; it should say \"text\", \"json_object\" or \"json_schema\"")
	case "json_schema":
		s.r.Parameters = insert(s.r.Parameters, "structured_outputs")
	}
	return true
}

// counted skips a value and adds its length in bytes to n.
func (s *skim) counted(n *int) bool {
	s.peek()
	from := s.pos
	ok := s.skip()
	*n += s.pos - from
	return ok
}

var reasoningFields = map[string]func(*skim) bool{
	"effort":     (*skim).effort,
	"max_tokens": func(s *skim) bool { return s.whole(&s.r.ReasoningTokens, 0) },
	"enabled": func(s *skim) bool {
		s.enabled = new(bool)
		return s.bool(s.enabled)
	},
}

func (s *skim) reasoning() bool { return s.each("an object", reasoningFields) }

func (s *skim) effort() bool {
	s.peek()
	at, before := s.pos, s.r.ReasoningEffort
	if !s.name(&s.r.ReasoningEffort) {
		return false
	}
	if before != "" && before != s.r.ReasoningEffort {
		return s.fail(at, "found %q beside %q; reasoning_effort and reasoning.effort should agree", s.r.ReasoningEffort, before)
	}
	return true
}

func (s *skim) previous() bool {
	switch s.peek() {
	case '"':
		_, ok := s.clean("a string")
		s.r.PreviousResponse = true
		return ok
	case '{':
		s.r.PreviousResponse = true
		return s.skip()
	}
	return s.wrong("a string or an object with an id")
}

func (s *skim) modalities() bool {
	var list []string
	if !s.names(&list) {
		return false
	}
	for _, m := range list {
		s.r.OutputModalities = insert(s.r.OutputModalities, m)
	}
	return true
}

func (s *skim) tags() bool {
	var list []string
	if !s.names(&list) {
		return false
	}
	for _, tag := range list {
		if !slices.Contains(s.r.Claims.Tags, tag) {
			s.r.Claims.Tags = append(s.r.Claims.Tags, tag)
		}
	}
	return true
}

// metadata reads pairs of strings. As the one exception "tags" may be an array, which is how some clients label requests.
func (s *skim) metadata() bool {
	if s.peek() != '{' {
		return s.wrong("an object of strings")
	}
	known := map[string]bool{"tags": true, "data_class": true}
	o := s.object()
	for s.member(&o) {
		name := string(o.key)
		if len(name) > maxMetadataKey {
			return s.fail(o.keyAt, "found a key of %d bytes; metadata may have keys of up to %d", len(name), maxMetadataKey)
		}
		switch {
		case !unlike(&s.scanner, &o, known):
			return false
		case s.null():
			continue
		case name == "tags" && s.peek() == '[':
			if !s.tags() {
				return false
			}
			continue
		}
		var value string
		s.peek()
		at := s.pos
		if !s.string(&value) {
			return false
		}
		if len(value) > maxMetadataValue {
			return s.fail(at, "found %d bytes; a value of metadata may have up to %d", len(value), maxMetadataValue)
		}
		if len(s.r.Claims.Metadata) == maxMetadata {
			return s.fail(o.keyAt, "found more than %d pairs; metadata may have up to that many", maxMetadata)
		}
		s.r.Claims.Metadata[name] = value
		if name == "data_class" {
			s.r.Claims.DataClass = value
		}
	}
	return s.ok()
}
