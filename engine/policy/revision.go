package policy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A signature says who made a bundle, not when. Whoever can put bundles on the server, or in its place, could serve an old one, which
// lacks what has been tightened since. So where bundles must be signed, none takes the place of one that is newer: by the revision
// in its manifest, which the signature covers, where that can be compared; else by what this router has seen being replaced.

// maxReplaced bounds how many digests of replaced bundles are remembered.
const maxReplaced = 1000

// history is what has been in force of one source.
type history struct {
	file string // where it is kept; "": nowhere

	mu    sync.Mutex
	state historyState
	err   error // of reading it
}

type historyState struct {
	Digest   string   `json:"digest"` // of the bundle in force; "": there has been none
	Revision string   `json:"revision"`
	Replaced []string `json:"replaced"` // digests, the oldest first
}

func readHistory(file string) *history {
	h := &history{file: file}
	if file == "" {
		return h
	}
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		h.err = err
	default:
		h.err = json.Unmarshal(text, &h.state)
	}
	return h
}

// refuses says why a bundle may not come after what has been in force; "" where it may.
func (h *history) refuses(digest, revision string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := &h.state
	switch {
	case h.err != nil:
		return fmt.Sprintf("which bundles have been in force cannot be read from %s (%s), so an old one could not be told; put that right, or remove the file to begin anew", h.file, message(h.err))
	case last.Digest == "" || last.Digest == digest:
		return ""
	case slices.Contains(last.Replaced, digest):
		return "it has been in force before and was replaced since; to go back, sign it again under a newer revision (opa build --revision)"
	case !ordered(last.Revision):
		return ""
	}
	order, ok := compareRevisions(revision, last.Revision)
	switch {
	case !ok:
		return fmt.Sprintf("its revision %q cannot be compared with %q, which has been in force; expected a newer one of that kind (opa build --revision)", revision, last.Revision)
	case order == 0:
		return fmt.Sprintf("its revision %q has been in force with other content; expected a newer one (opa build --revision)", revision)
	case order < 0:
		return fmt.Sprintf("its revision %q is older than %q, which has been in force; to go back, sign it again under a newer revision (opa build --revision)", revision, last.Revision)
	}
	return ""
}

// advance notes that a bundle is in force.
func (h *history) advance(digest, revision string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := &h.state
	if last.Digest == digest {
		return nil
	}
	if last.Digest != "" {
		last.Replaced = append(last.Replaced, last.Digest)
		last.Replaced = last.Replaced[max(0, len(last.Replaced)-maxReplaced):]
	}
	last.Digest, last.Revision = digest, revision
	if h.file == "" {
		return nil
	}
	text, err := json.Marshal(last)
	if err != nil {
		return err
	}
	return writeWhole(h.file, text)
}

// dotted is a number, or a version: 42, 1.12.0, v1.12.
var dotted = regexp.MustCompile(`^v?[0-9]{1,18}(\.[0-9]{1,18})*$`)

func ordered(revision string) bool {
	_, err := time.Parse(time.RFC3339, revision)
	return err == nil || dotted.MatchString(revision)
}

// compareRevisions is false where the two are no numbers, versions or times of RFC 3339, or not of the same kind.
func compareRevisions(a, b string) (order int, ok bool) {
	if dotted.MatchString(a) && dotted.MatchString(b) {
		parts := func(s string) []string { return strings.Split(strings.TrimPrefix(s, "v"), ".") }
		return slices.CompareFunc(parts(a), parts(b), func(x, y string) int {
			m, _ := strconv.ParseInt(x, 10, 64) // at most 18 digits
			n, _ := strconv.ParseInt(y, 10, 64)
			return cmp.Compare(m, n)
		}), true
	}
	at, err1 := time.Parse(time.RFC3339, a)
	bt, err2 := time.Parse(time.RFC3339, b)
	return at.Compare(bt), err1 == nil && err2 == nil
}
