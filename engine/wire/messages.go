package wire

import (
	"bytes"
	"slices"
)

func (s *skim) messageList() bool {
	if s.peek() != '[' {
		return s.wrong("an array of messages")
	}
	a := s.array()
	for s.element(&a) {
		s.messages++
		if !s.message() {
			return false
		}
	}
	if s.ok() && a.elements == 0 {
		return s.fail(a.at, "found an empty array; it should hold at least one message")
	}
	return s.ok()
}

var messageFields = map[string]bool{
	"role": true, "content": true, "name": true, "refusal": true, "reasoning": true, "reasoning_content": true,
	"tool_calls": true, "function_call": true, "tool_call_id": true, "images": true, "audio": true, "annotations": true,
	"reasoning_details": true,
}

func (s *skim) message() bool {
	if s.peek() != '{' {
		return s.wrong("a message object")
	}
	role, instructs := false, false
	o := s.object()
	for s.member(&o) {
		if !unlike(&s.scanner, &o, messageFields) {
			return false
		}
		if s.null() {
			continue
		}
		ok := false
		switch string(o.key) {
		case "role":
			var t text
			t, ok = s.word()
			role, instructs = true, t.is("system") || t.is("developer")
		case "content":
			ok = s.content()
		case "images":
			ok = s.parts()
		case "audio": // an earlier spoken answer, by its id
			s.r.FileReferences = true
			s.modality("audio")
			ok = s.skip()
		case "refusal", "reasoning", "reasoning_content", "function_call":
			ok = s.counted(&s.textBytes)
		case "tool_calls":
			s.peek()
			from := s.pos
			ok = s.calls()
			s.textBytes += s.pos - from
		case "annotations": // an earlier answer's sources, sent back: nobody fetches them
			ok = s.skip()
		case "reasoning_details":
			ok = s.reasoningDetails()
		default:
			ok = s.watch(holds(o.key))
		}
		if !ok {
			return false
		}
	}
	if s.ok() && !role {
		return s.fail(o.at, "found a message without a role; it should have one, such as \"user\"")
	}
	which := 1
	if instructs {
		which = 0
	}
	if s.r.opening[which].to == 0 {
		s.r.opening[which] = span{o.at, s.pos}
	}
	return s.ok()
}

// reasoningDetails reads an earlier answer's thoughts, which nobody fetches, and notes who can read those that are sealed.
func (s *skim) reasoningDetails() bool {
	if s.peek() != '[' {
		return s.skip()
	}
	a := s.array()
	for s.element(&a) {
		if s.peek() != '{' {
			if !s.skip() {
				return false
			}
			continue
		}
		format, sealed := "unknown", ""
		o := s.object()
		for s.member(&o) {
			key := string(o.key)
			if (key == "format" || key == "signature" || key == "data") && s.peek() == '"' {
				t, ok := s.text()
				switch {
				case !ok:
					return false
				case t.size == 0:
				case key == "format":
					format = string(t.decoded())
				default:
					sealed = string(t.decoded())
				}
			} else if !s.skip() {
				return false
			}
		}
		if sealed != "" {
			s.r.noteSeal(format, sealed)
		}
	}
	return s.ok()
}

func (s *skim) content() bool {
	switch s.peek() {
	case '"':
		t, ok := s.text()
		s.textBytes += t.size
		s.modality("text")
		return ok
	case '[':
		return s.parts()
	}
	return s.wrong("a string, null or an array of parts")
}

func (s *skim) parts() bool {
	if s.peek() != '[' {
		return s.wrong("an array of parts")
	}
	a := s.array()
	for s.element(&a) {
		if !s.part() {
			return false
		}
	}
	return s.ok()
}

// media is the modality that a part has by its type, or by holding a member of that name: some providers go by the one,
// some by the other. A part of a type that is not listed adds the type itself, which no row supports.
var media = map[string]string{
	"text": "text", "input_text": "text", "output_text": "text", "refusal": "text", "thinking": "text", "reasoning": "text",
	"reasoning_text": "text", "summary_text": "text",
	"image_url": "image", "input_image": "image", "image": "image",
	"input_audio": "audio", "audio_url": "audio", "audio": "audio",
	"file": "file", "input_file": "file", "file_url": "file", "document": "file", "document_url": "file",
	"video_url": "video", "input_video": "video", "video": "video",
}

var partFields = func() map[string]bool {
	known := map[string]bool{"type": true, "url": true, "uri": true, "file_id": true, "file_data": true, "data": true}
	for name := range media {
		known[name] = true
	}
	return known
}()

func (s *skim) part() bool {
	if s.peek() != '{' {
		return s.wrong("a part object such as {\"type\": \"text\", \"text\": …}")
	}
	typed, other, image := false, false, false
	o := s.object()
	for s.member(&o) {
		if string(o.key) == "type" {
			t, ok := s.word()
			if !ok {
				return false
			}
			typed = true
			name := t.decoded()
			m, known := media[string(name)]
			if !known {
				m = string(name)
			}
			other, image = other || m != "text", image || m == "image"
			s.modality(m)
			continue
		}
		if !unlike(&s.scanner, &o, partFields) {
			return false
		}
		if s.null() {
			continue
		}
		if string(o.key) == "cache_control" {
			if !s.cacheControl() {
				return false
			}
			continue
		}
		if m, known := media[string(o.key)]; known {
			other, image = other || m != "text", image || m == "image"
			s.modality(m)
		}
		if string(o.key) == "text" && s.peek() != '"' {
			return s.wrong("a string")
		}
		if !s.ok() || !s.watch(holds(o.key)) {
			return false
		}
	}
	if s.ok() && !typed {
		return s.fail(o.at, "found a part without a type; it should have one, such as \"text\"")
	}
	if other {
		s.mediaParts++
	}
	if image {
		s.r.Images++
	}
	return s.ok()
}

func (s *skim) modality(m string) { s.r.InputModalities = insert(s.r.InputModalities, m) }

// holding is what a member of a part or tool holds, by its key.
type holding int

const (
	holdsOther holding = iota
	holdsText
	holdsURL  // something that the provider fetches or calls
	holdsData // base64, or a URL
	holdsFile // ids of files that the provider keeps
)

func holds(key []byte) holding {
	var buf [64]byte
	k, _ := foldKey(buf[:0], key)
	switch string(k) {
	case "text", "thinking", "refusal":
		return holdsText
	case "url", "uri", "urls", "uris":
		return holdsURL
	case "data", "file_data":
		return holdsData
	case "file_id", "file_ids", "vector_store_ids":
		return holdsFile
	}
	for _, end := range []string{"_url", "_uri", "_urls", "_uris"} {
		if bytes.HasSuffix(k, []byte(end)) {
			return holdsURL
		}
	}
	return holdsOther
}

// watch reads a value of any shape and notes what it would make the provider contact or look up.
func (s *skim) watch(h holding) bool {
	switch s.peek() {
	case '{':
		o := s.object()
		for s.member(&o) {
			if !s.watch(holds(o.key)) {
				return false
			}
		}
		return s.ok()
	case '[':
		a := s.array()
		for s.element(&a) {
			if !s.watch(h) {
				return false
			}
		}
		return s.ok()
	case '"':
		return s.watchText(h)
	}
	return s.skip()
}

func (s *skim) watchText(h holding) bool {
	at := s.pos
	t, ok := s.text()
	if !ok {
		return false
	}
	if t.lone && h != holdsOther && h != holdsText {
		return s.fail(at, halfPair)
	}
	switch h {
	case holdsText:
		s.textBytes += t.size
	case holdsFile:
		s.r.FileReferences = true
	case holdsURL, holdsData:
		head := t.raw[:min(len(t.raw), maxHead)]
		if t.escaped {
			head = unescape(nil, t.raw, maxHead)
		}
		if h == holdsData && !slices.Contains(head[:min(len(head), 16)], ':') {
			return true // base64 has no colon
		}
		host, problem := hostOf(head)
		if problem != "" {
			return s.fail(at, "%s", problem)
		}
		if host != "" {
			s.r.EgressHosts = insert(s.r.EgressHosts, host)
		}
	}
	return true
}
