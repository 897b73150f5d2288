//go:build !unix

package journal

import (
	"os"
	"path/filepath"
)

// lock opens the file only: these systems have no advisory lock in the standard library, so that it is on the operator that
// one process alone writes a folder.
func lock(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
}
