package account

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"chaperone/engine/config"
)

// ErrNoSuchKey is returned for an id that no [[keys]] of the file has.
var ErrNoSuchKey = errors.New("no key with this id")

// AppendKey adds a [[keys]] entry at the end of a TOML file, which is replaced in one step and keeps its mode. Nothing is
// written unless the file reads well before and after.
func AppendKey(path string, k Key) error {
	return edit(path, func(doc *config.Document, src []byte) ([]byte, error) {
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
		return len(after) == len(before)+1 && sameKeys(before, after[:len(before)]) && after[len(before)]["id"] == k.ID
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

var (
	tableHeader  = regexp.MustCompile(`^\s*\[\[`)
	disabledLine = regexp.MustCompile(`^(\s*disabled\s*=\s*)(true|false)`)
)

// RevokeKey writes disabled = true into the entry with that id and leaves the rest of the file byte for byte. The id may
// be missing in the entry: it follows from the sha256. A key that is disabled already stays as it is.
func RevokeKey(path, id string, now time.Time) error {
	place := -1
	return edit(path, func(doc *config.Document, src []byte) ([]byte, error) {
		keys, err := entries(doc)
		if err != nil {
			return nil, err
		}
		place = find(keys, id)
		if place < 0 {
			return nil, fmt.Errorf("%s: %s: %w", path, id, ErrNoSuchKey)
		}
		if keys[place]["disabled"] == true {
			return src, nil
		}
		key := fmt.Sprintf("keys[%d]", place)
		lines := strings.SplitAfter(string(src), "\n")
		header, number := doc.Line(key), doc.Line(key+".disabled")
		note := "true # revoked " + now.UTC().Format(time.RFC3339)
		switch {
		case number != header && disabledLine.MatchString(lines[number-1]):
			lines[number-1] = disabledLine.ReplaceAllString(lines[number-1], "${1}true")
		case number == header && tableHeader.MatchString(lines[header-1]):
			end := "\n"
			if strings.HasSuffix(lines[header-1], "\r\n") {
				end = "\r\n"
			}
			if !strings.HasSuffix(lines[header-1], "\n") {
				lines[header-1] += end
			}
			lines[header-1] += "disabled = " + note + end
		default:
			return nil, fmt.Errorf("%s:%d: %s is not written as a [[keys]] table of lines; write disabled = true there by hand", path, header, id)
		}
		return []byte(strings.Join(lines, "")), nil
	}, func(before, after []map[string]any) bool {
		before[place]["disabled"] = true
		return sameKeys(before, after)
	})
}

func sameKeys(a, b []map[string]any) bool {
	return slices.EqualFunc(a, b, func(x, y map[string]any) bool { return reflect.DeepEqual(x, y) })
}

func entries(doc *config.Document) ([]map[string]any, error) {
	var keys []map[string]any
	ps := doc.Decode("keys", &keys)
	return keys, ps.Err()
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

// edit changes a file in one step: the new content is written beside it, synced and renamed over it. The file beside it
// is also the lock that keeps two edits from losing one. check compares the entries of the file before and after.
func edit(path string, change func(*config.Document, []byte) ([]byte, error), check func(before, after []map[string]any) bool) (err error) {
	target, err := filepath.EvalSymlinks(path) // a rename would replace the link
	if err != nil {
		return err
	}
	info, err := os.Stat(target)
	if err != nil {
		return err
	}
	beside := filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+".new")
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is being edited; if that was interrupted, delete %s and try again", path, beside)
	}
	if err != nil {
		return err
	}
	defer func() {
		_ = f.Close() // closed already where all went well
		if err != nil {
			_ = os.Remove(beside)
		}
	}()
	content, err := changed(path, target, change, check)
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err != nil {
		return err
	}
	if err = keepOwner(f, info); err != nil {
		return err
	}
	if err = f.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(beside, target); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(target))
}

func changed(path, target string, change func(*config.Document, []byte) ([]byte, error), check func(before, after []map[string]any) bool) ([]byte, error) {
	src, err := os.ReadFile(target)
	if err != nil {
		return nil, err
	}
	doc, problems := config.Parse(path, src)
	if problems != nil {
		return nil, problems
	}
	before, err := entries(doc)
	if err != nil {
		return nil, err
	}
	content, err := change(doc, src)
	if err != nil {
		return nil, err
	}
	doc, problems = config.Parse(path, content)
	if problems != nil {
		return nil, fmt.Errorf("nothing was written, the entry would not fit into this file: %w", problems)
	}
	after, err := entries(doc)
	if err != nil || !check(before, after) {
		return nil, fmt.Errorf("%s: nothing was written, the change would touch other keys of the file; edit it by hand", path)
	}
	return content, nil
}
