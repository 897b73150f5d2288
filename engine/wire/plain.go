package wire

import (
	"encoding/json"
	"maps"
)

var (
	plainText = json.RawMessage(`"."`)
	plainTurn = json.RawMessage(`[{"role":"user","content":"."}]`)
)

// least is what has at least to be asked in each shape.
var least = map[Shape]map[string]json.RawMessage{
	Chat:        {"messages": plainTurn},
	Completions: {"prompt": plainText},
	CountTokens: {"messages": plainTurn},
	Embeddings:  {"input": plainText},
	Messages:    {"messages": plainTurn, "max_tokens": json.RawMessage(`1024`)},
	Rerank:      {"query": plainText, "documents": json.RawMessage(`["."]`)},
	Responses:   {"input": plainText},
}

// Plain is the fields of a request in the shape that asks model for something and wants nothing special.
func (s Shape) Plain(model string) map[string]json.RawMessage {
	fields := maps.Clone(least[Shape(s.String())])
	fields["model"], _ = json.Marshal(model) // a string always marshals
	return fields
}
