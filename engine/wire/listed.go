package wire

import (
	"maps"

	"chaperone/engine/wire/talk"
)

// Embeddings and rankings are asked for and given in one piece, and passed on as they are: they are no conversations, and the
// APIs that have them have the same.
func init() {
	apis[Embeddings] = &api{
		fields: embeddingsFields(), needs: needEmbeddings,
		answer: func(body []byte, c *Chunk) error { return scanListed(body, c, "data") },
		labels: chatLabels, bill: listedBill, failed: appendEnvelope, broken: appendChatError, alive: ": keep-alive\n\n",
	}
	apis[Rerank] = &api{
		fields: rerankFields(), needs: needRerank,
		answer: func(body []byte, c *Chunk) error { return scanListed(body, c, "results") },
		labels: chatLabels, bill: listedBill, failed: appendEnvelope, broken: appendChatError, alive: ": keep-alive\n\n",
	}
}

// embeddingsFields are those of https://platform.openai.com/docs/api-reference/embeddings/create and
// https://openrouter.ai/docs/api-reference/embeddings.
func embeddingsFields() map[string]field {
	fields := common()
	fields["input"] = field{read: func(s *skim) bool {
		s.messages++
		if s.peek() == '[' && s.objects() {
			s.modality("text")
			return s.embedded()
		}
		s.modality("text")
		return s.texts("a string or an array of strings, tokens or objects with content")
	}}
	fields["stream"] = field{read: (*skim).notStreamed}
	add(fields, nil, []string{"dimensions", "encoding_format", "input_type", "truncate"})
	return fields
}

// objects says whether the array that comes holds objects.
func (s *skim) objects() bool {
	for at := s.pos + 1; at < len(s.data); at++ {
		switch s.data[at] {
		case ' ', '\t', '\n', '\r':
		default:
			return s.data[at] == '{'
		}
	}
	return false
}

// embedded reads inputs that are made of parts.
func (s *skim) embedded() bool {
	a := s.array()
	for s.element(&a) {
		if !s.each("an object with content", map[string]func(*skim) bool{"content": (*skim).content}) {
			return false
		}
	}
	return s.ok()
}

func (s *skim) notStreamed() bool {
	s.peek()
	at, stream := s.pos, false
	if !s.bool(&stream) {
		return false
	}
	if stream {
		return s.fail(at, "found true; this is answered in one piece: leave stream out")
	}
	return true
}

func needEmbeddings(s *skim, at int) bool {
	s.r.OutputModalities = []string{"embeddings"}
	if s.messages == 0 {
		return s.conflict(at, "input", "found no input; it should be what to embed, such as a string")
	}
	return true
}

// rerankFields are those of https://openrouter.ai/docs/api-reference/rerank, which are Cohere's.
func rerankFields() map[string]field {
	fields := common()
	maps.Copy(fields, map[string]field{
		"query": {read: func(s *skim) bool {
			s.messages++
			s.query = true
			s.modality("text")
			return s.peek() == '"' && s.watchText(holdsText) || s.wrong("a string")
		}},
		"documents": {read: (*skim).documentList},
		"stream":    {read: (*skim).notStreamed},
	})
	add(fields, nil, []string{"top_n", "max_tokens_per_doc", "return_documents", "rank_fields"})
	return fields
}

// documentList reads texts, or objects with a text or an image.
func (s *skim) documentList() bool {
	s.documents = true
	if s.peek() != '[' {
		return s.wrong("an array of strings or objects")
	}
	a := s.array()
	for s.element(&a) {
		s.messages++
		if s.peek() != '{' {
			if s.peek() != '"' {
				return s.wrong("a string or an object with a text or an image")
			}
			if !s.watchText(holdsText) {
				return false
			}
			continue
		}
		o := s.object()
		for s.member(&o) {
			if !unlike(&s.scanner, &o, map[string]bool{"text": true, "image": true}) {
				return false
			}
			h := holds(o.key)
			if string(o.key) == "image" {
				s.modality("image")
				s.mediaParts++
				h = holdsData
			}
			if !s.watch(h) {
				return false
			}
		}
	}
	return s.ok()
}

func needRerank(s *skim, at int) bool {
	s.r.OutputModalities = []string{"rerank"}
	switch {
	case !s.query:
		return s.conflict(at, "query", "found no query; it should be the text that documents are ranked by")
	case !s.documents:
		return s.conflict(at, "documents", "found no documents; it should be an array of the texts to rank")
	}
	return true
}

// scanListed reads an answer that is whole where it has a list of that name which is not empty. One without counts was still
// asked for: a price for each request is due.
func scanListed(body []byte, c *Chunk, name string) error {
	if err := ScanChunk(body, c); err != nil || c.Err != nil {
		return err
	}
	i := c.fields.last(body, name)
	if i < 0 {
		return nil
	}
	s := scanner{data: body, pos: c.fields.members[i].value}
	if s.peek() != '[' {
		return nil
	}
	a := s.array()
	if !s.element(&a) {
		return nil
	}
	c.Commits, c.Finished, c.FinishReason = true, 1, talk.Stop
	c.Usage.Known = true
	return nil
}
