package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
)

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

// frameID is what a frame is found by without reading the rest of it: a record begins with its id, and rows with their catalog.
func frameID(frame []byte) (decision, bool) {
	const begin, end = frameHead + 1 + len(`{"id":"`), frameHead + 1 + len(`{"id":"`) + len(idPrefix) + 2*idBytes
	switch {
	case frame[frameHead] == kindRows:
		body, _ := bytes.CutPrefix(frame[frameHead+1:], []byte(`{"catalog_digest":"`))
		digest, _, ok := bytes.Cut(body, []byte{'"'})
		return rowsID(string(digest)), ok
	case frame[frameHead] != kindDecision || len(frame) < end:
		return decision{}, false
	}
	return parseID(string(frame[begin:end]))
}

// rowsID is no decision's id: both are random.
func rowsID(catalog string) (d decision) {
	sum := sha256.Sum256([]byte("rows of " + catalog))
	copy(d[:], sum[:])
	return d
}
