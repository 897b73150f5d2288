package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// expired are the sealed segments of which all was written longer than retention ago; 0 keeps all. A clock that has gone back makes
// nothing older than it is.
func expired(dir string, retention time.Duration, now time.Time) ([]segment, error) {
	all, err := segments(dir)
	if err != nil || retention <= 0 {
		return nil, err
	}
	for i := range all {
		if i+1 == len(all) {
			return all[:i], nil // the last one is being written
		}
		h, err := all[i+1].header()
		if err != nil || !h.Latest.Before(now.Add(-retention)) {
			return all[:i], err
		}
	}
	return nil, nil
}

func remove(past []segment) error {
	if len(past) == 0 {
		return nil
	}
	for _, s := range past {
		if err := os.Remove(s.path); err != nil {
			return err
		}
	}
	return syncFolder(filepath.Dir(past[0].path))
}

// packSealed packs every segment but the last.
func packSealed(dir string) error {
	all, err := segments(dir)
	if err != nil {
		return err
	}
	for i := range max(len(all)-1, 0) {
		if s := all[i]; !s.packed {
			if err := packFile(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// packFile replaces a sealed segment by its packed form, once that has been read back. One that is damaged stays as it is, for
// verify to show.
func packFile(s segment) error {
	frames, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	packed, err := pack(frames)
	if errors.Is(err, errTorn) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := packs(packed, frames); err != nil {
		return fmt.Errorf("%s: packed, it does not read back: %w", s.path, err)
	}
	if err := writeWhole(strings.TrimSuffix(s.path, plainSuffix)+packedSuffix, packed); err != nil {
		return err
	}
	return os.Remove(s.path)
}
