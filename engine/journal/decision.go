package journal

import "encoding/hex"

const (
	idBytes  = 12
	idPrefix = "gen-"
)

// decision is the random part of an id such as gen-0123456789abcdef01234567.
type decision [idBytes]byte

func parseID(id string) (d decision, ok bool) {
	if len(id) != len(idPrefix)+2*idBytes || id[:len(idPrefix)] != idPrefix {
		return d, false
	}
	_, err := hex.Decode(d[:], []byte(id[len(idPrefix):]))
	return d, err == nil
}

// decisionID finds the id in a frame without reading the rest: a record begins with it.
func decisionID(frame []byte) (decision, bool) {
	const begin, end = frameHead + 1 + len(`{"id":"`), frameHead + 1 + len(`{"id":"`) + len(idPrefix) + 2*idBytes
	if frame[frameHead] != kindDecision || len(frame) < end {
		return decision{}, false
	}
	return parseID(string(frame[begin:end]))
}
