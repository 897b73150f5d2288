package account

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"chaperone/engine/config"
)

// ErrNoSuchKey is returned for an id that no [[keys]] of the file has.
var ErrNoSuchKey = errors.New("no key with this id")

// AppendKey adds a [[keys]] entry at the end of a TOML file, which is replaced in one step and keeps its mode. Nothing is
// written unless the file reads well before and after.
func AppendKey(path string, k Key) error {
	return config.Edit(path, "keys", func(doc *config.Document, src []byte) ([]byte, error) {
		var b bytes.Buffer
		b.Write(src)
		if len(src) > 0 {
			if src[len(src)-1] != '\n' {
				b.WriteByte('\n')
			}
			b.WriteByte('\n')
		}
		writeKey(&b, k)
		return b.Bytes(), nil
	}, func(before, after []map[string]any) bool {
		return len(after) == len(before)+1 && config.SameTables(before, after[:len(before)]) && after[len(before)]["id"] == k.ID
	})
}

func writeKey(b *bytes.Buffer, k Key) {
	b.WriteString("[[keys]]\n")
	line := func(key, value string) { fmt.Fprintf(b, "%s = %s\n", key, value) }
	line("id", config.Quote(k.ID))
	if k.Name != "" {
		line("name", config.Quote(k.Name))
	}
	line("organisation", config.Quote(k.Organisation))
	if k.Team != "" {
		line("team", config.Quote(k.Team))
	}
	line("sha256", fmt.Sprintf("\"%x\"", k.SHA256))
	line("created", k.Created.UTC().Format(time.RFC3339))
	if !k.Expires.IsZero() {
		line("expires", k.Expires.UTC().Format(time.RFC3339))
	}
}

// RevokeKey writes disabled = true into the entry with that id and leaves the rest of the file byte for byte. The id may
// be missing in the entry: it follows from the sha256. A key that is disabled already stays as it is.
func RevokeKey(path, id string, now time.Time) error {
	place := -1
	return config.Edit(path, "keys", func(doc *config.Document, src []byte) ([]byte, error) {
		var keys []map[string]any
		if problems := doc.Decode("keys", &keys); len(problems) > 0 {
			return nil, problems
		}
		place = find(keys, id)
		if place < 0 {
			return nil, fmt.Errorf("%s: %s: %w", path, id, ErrNoSuchKey)
		}
		if keys[place]["disabled"] == true {
			return src, nil
		}
		return config.Disable(doc, src, fmt.Sprintf("keys[%d]", place), id, "revoked "+now.UTC().Format(time.RFC3339))
	}, func(before, after []map[string]any) bool {
		before[place]["disabled"] = true
		return config.SameTables(before, after)
	})
}

func find(keys []map[string]any, id string) int {
	for i, key := range keys {
		sum, _ := key["sha256"].(string)
		if key["id"] == id || len(sum) == 64 && "key_"+strings.ToLower(sum[:12]) == id {
			return i
		}
	}
	return -1
}
