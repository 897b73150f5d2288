package sim

import (
	"encoding/json"
	"errors"
	"fmt"
)

// listing is a request that is answered with a list: embeddings, or documents in the order in which they fit a query.
type listing struct {
	ranked    bool
	query     string
	items     []json.RawMessage
	firstOnes int // top_n; 0: all
}

// parseEmbeddings reads a request for embeddings.
func parseEmbeddings(body []byte) (*request, error) {
	return parseListing(body, func(fields map[string]json.RawMessage) (*listing, error) {
		raw := fields["input"]
		if len(raw) == 0 {
			return nil, errors.New("you must provide an input")
		}
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil || len(list) > 0 && list[0][0] >= '0' && list[0][0] <= '9' {
			list = []json.RawMessage{raw} // one text, or one in tokens
		}
		return &listing{items: list}, nil
	})
}

// parseRerank reads a request for a ranking.
func parseRerank(body []byte) (*request, error) {
	return parseListing(body, func(fields map[string]json.RawMessage) (*listing, error) {
		l := &listing{ranked: true}
		if json.Unmarshal(fields["query"], &l.query) != nil || json.Unmarshal(fields["documents"], &l.items) != nil {
			return nil, errors.New("you must provide a query and documents")
		}
		if raw := fields["top_n"]; raw != nil && json.Unmarshal(raw, &l.firstOnes) != nil {
			return nil, errors.New("top_n should be a whole number")
		}
		return l, nil
	})
}

func parseListing(body []byte, read func(fields map[string]json.RawMessage) (*listing, error)) (*request, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, fmt.Errorf("the JSON body of your request could not be parsed: %w", err)
	}
	r := &request{}
	if json.Unmarshal(fields["model"], &r.Model) != nil || r.Model == "" {
		return nil, errors.New("you must provide a model parameter")
	}
	if raw := fields["user"]; raw != nil && json.Unmarshal(raw, &r.User) != nil {
		return nil, errors.New("user should be a string")
	}
	var err error
	r.listing, err = read(fields)
	r.Messages = mustJSON(fields["input"])
	return r, err
}

// Vector is the embedding that a provider with that seed gives for an item of an input, as it stands in the request: the same
// for the same item.
func Vector(seed uint64, item []byte) []float64 {
	draw := random(seed, "embedding", item)
	v := make([]float64, 8)
	for i := range v {
		v[i] = draw.NormFloat64()
	}
	return v
}

// answer is the body that answers it.
func (l *listing) answer(x *exchange) []byte {
	tokens := 0
	for _, item := range l.items {
		tokens += (len(item) + 3) / 4
	}
	if !l.ranked {
		data := make([]any, len(l.items))
		for i, item := range l.items {
			data[i] = map[string]any{"object": "embedding", "index": i, "embedding": Vector(x.profile.Seed, item)}
		}
		return mustJSON(map[string]any{"object": "list", "model": x.request.Model, "data": data,
			"usage": map[string]any{"prompt_tokens": tokens, "total_tokens": tokens}})
	}
	n := len(l.items)
	if l.firstOnes > 0 {
		n = min(n, l.firstOnes)
	}
	results := make([]any, n)
	for i := range results {
		results[i] = map[string]any{"index": i, "relevance_score": 1 / float64(1+i), "document": map[string]any{"text": l.items[i]}}
	}
	return mustJSON(map[string]any{"id": x.id, "model": x.request.Model, "results": results, "usage": map[string]any{"search_units": 1, "total_tokens": tokens}})
}
