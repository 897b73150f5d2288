package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Artefacts is what decided: everything that an old decision needs to be made again. The contents are archived beside the
// journal under their digests. So is this list, but for At and Generation, under the configuration_digest of records.
type Artefacts struct {
	At            *time.Time        `json:"at,omitempty"`         // when it came into force here
	Generation    uint64            `json:"generation,omitempty"` // of the snapshot; counts from 1 with every start
	Configuration string            `json:"configuration"`        // name of chaperone.toml among Files
	Policy        string            `json:"policy_digest"`
	Catalog       string            `json:"catalog_digest"`
	Program       string            `json:"program"` // version of Chaperone
	Files         map[string]string `json:"files"`   // name → SHA-256 of its content, hex
}

// list is the content that is archived of a, with its digest.
func (a Artefacts) list() (digest string, text []byte) {
	a.At, a.Generation = nil, 0
	text, err := json.Marshal(a)
	if err != nil {
		panic("journal: artefacts: " + err.Error()) // strings always marshal
	}
	return digestOf(text), text
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func artefactPath(dir, digest string) string { return filepath.Join(dir, "artefacts", digest) }

// archive keeps contents by digest; those that are there already stay as they are.
func archive(dir string, contents map[string][]byte) error {
	if err := os.MkdirAll(filepath.Join(dir, "artefacts"), 0o700); err != nil {
		return err
	}
	for digest, content := range contents {
		path := artefactPath(dir, digest)
		_, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = writeWhole(path, content)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Artefact is the content that has the digest, as it was archived in dir.
func Artefact(dir, digest string) ([]byte, error) {
	if b, err := hex.DecodeString(digest); err != nil || len(b) != sha256.Size {
		return nil, fmt.Errorf("%q is no digest: expected 64 hexadecimal digits", digest)
	}
	content, err := os.ReadFile(artefactPath(dir, digest))
	if err != nil {
		return nil, err
	}
	if got := digestOf(content); got != digest {
		return nil, fmt.Errorf("artefact %s was changed: its content now has the digest %s", digest, got)
	}
	return content, nil
}

// ReadArtefacts is the list under a record's Configuration, with the contents of its files.
func ReadArtefacts(dir, digest string) (a Artefacts, files map[string][]byte, err error) {
	text, err := Artefact(dir, digest)
	if err != nil {
		return a, nil, err
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, nil, fmt.Errorf("artefact %s is no list of artefacts: %w", digest, err)
	}
	files = make(map[string][]byte, len(a.Files))
	for name, digest := range a.Files {
		if files[name], err = Artefact(dir, digest); err != nil {
			return a, nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return a, files, nil
}
