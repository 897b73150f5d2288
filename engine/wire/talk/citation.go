package talk

import (
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// Citation is a source that a text names.
type Citation struct {
	URL        string
	Title      string
	Content    string // of the source; "" where not said
	Start, End int64  // the characters of the text that it is the source of; both 0 where not said
}

// readCitations reads the annotations of an answer. Those of files hold what a router read in them, so that it need not do so
// again: no answer depends on them.
func readCitations(in *reading, path string, items []json.RawMessage) (list []Citation) {
	for i, raw := range items {
		o := in.parse(index(path, i), raw)
		switch kind := o.text("type"); kind {
		case "url_citation":
			x := o.object("url_citation")
			if x == nil {
				x = o // as the Responses API has it, and some servers of chat completions
			}
			list = append(list, Citation{URL: x.text("url"), Title: x.text("title"), Content: x.text("content"), Start: x.whole("start_index"), End: x.whole("end_index")})
		case "file":
		default:
			in.say(o.path, "is an annotation of type %q, which this router cannot translate", kind)
		}
	}
	return list
}

// cite puts the citations and the log probabilities of a whole answer to its text.
func cite(parts []Part, citations []Citation, logprobs []json.RawMessage) []Part {
	if len(citations)+len(logprobs) == 0 {
		return parts
	}
	at := -1
	for i := range parts {
		if parts[i].Kind == Text {
			at = i
		}
	}
	if at < 0 {
		parts = append(parts, Part{Kind: Text})
		at = len(parts) - 1
	}
	parts[at].Citations, parts[at].LogProbs = citations, logprobs
	return parts
}

// annotation is a citation in the Responses API.
func (c *Citation) annotation() members {
	x := members{"type": "url_citation", "url": c.URL, "title": c.Title, "start_index": c.Start, "end_index": c.End}
	x.text("content", c.Content)
	return x
}

// chat is a citation in a chat completion.
func (c *Citation) chat() members {
	x := c.annotation()
	delete(x, "type")
	return members{"type": "url_citation", "url_citation": x}
}

// block is a citation in Anthropic's API, which has a source by its URL only as what its own search found. The mark says that no
// model of Anthropic's can take it back. Where in the answer it belongs is said there by the block that it stands in; the
// characters, counted through all blocks of text, stand beside it.
func (c *Citation) block() members {
	x := members{"type": "web_search_result_location", "url": c.URL, "title": orNull(c.Title), "cited_text": c.Content, "encrypted_index": maker{}.wrap()}
	if c.End > 0 {
		x["start_index"], x["end_index"] = c.Start, c.End
	}
	return x
}

// citedBlocks are a text with its sources as blocks, each of which ends where a source's characters do. Sources that do not
// say where they belong, or say what cannot be, stand in the last.
func citedBlocks(text string, citations []Citation) (blocks []members) {
	length := int64(utf8.RuneCountInString(text))
	ends := func(c *Citation) int64 {
		if c.End <= 0 || c.End > length {
			return length
		}
		return c.End
	}
	sorted := slices.Clone(citations)
	slices.SortStableFunc(sorted, func(a, b Citation) int { return int(ends(&a) - ends(&b)) })
	rest, at := text, int64(0) // what no block holds yet, and the characters before it
	for len(sorted) > 0 {
		end := ends(&sorted[0])
		n := 1
		for n < len(sorted) && ends(&sorted[n]) == end {
			n++
		}
		cut := 0
		for ; at < end; at++ {
			_, size := utf8.DecodeRuneInString(rest[cut:])
			cut += size
		}
		blocks = append(blocks, members{"type": "text", "text": rest[:cut], "citations": listed(sorted[:n], (*Citation).block)})
		rest, sorted = rest[cut:], sorted[n:]
	}
	if rest != "" {
		blocks = append(blocks, members{"type": "text", "text": rest})
	}
	return blocks
}

func listed[E, T any](list []E, form func(*E) T) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = form(&list[i])
	}
	return out
}

// tokens is a list that is never null.
func tokens(list []json.RawMessage) []json.RawMessage {
	if list == nil {
		return []json.RawMessage{}
	}
	return list
}

// chatLogProbs is the field of a choice; null where there are none.
func chatLogProbs(list []json.RawMessage) any {
	if len(list) == 0 {
		return nil
	}
	return members{"content": list, "refusal": nil}
}
