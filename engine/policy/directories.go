package policy

import (
	"io/fs"
	"path/filepath"
	"strings"

	"chaperone/engine/config"
)

// Directories are the folders that the sources of these documents are read from, with all below them, and bundles on disk:
// what to watch.
func Directories(documents []*config.Document) []string {
	var found []string
	for _, doc := range documents {
		var section struct {
			Sources []sourceConfig `toml:"sources"`
		}
		doc.Decode("policy", &section) // its problems are Load's to report
		for _, sc := range section.Sources {
			if sc.Bundle != "" && !sc.address() {
				found = append(found, sc.beside(sc.Bundle))
			}
			if sc.Path == "" {
				continue
			}
			root := sc.beside(sc.Path)
			found = append(found, root) // also where it is not there: it may come back
			filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
				switch {
				case err != nil || !entry.IsDir() || path == root:
				case strings.HasPrefix(entry.Name(), "."):
					return fs.SkipDir
				default:
					found = append(found, path)
				}
				return nil // a folder that cannot be read is Load's to report
			})
		}
	}
	return found
}
