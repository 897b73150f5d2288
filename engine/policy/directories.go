package policy

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"chaperone/engine/config"
)

// Directories are the folders that the sources of these documents are read from, with all below them, bundles on disk, and the files of
// keys, tokens and certificates: what to watch. A file of a source that is a link is named beside its folder, because what it leads
// to may be elsewhere.
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
			for _, name := range []string{sc.VerificationKey, sc.TokenFile, sc.Certificate, sc.Key, sc.CA} {
				if name != "" {
					found = append(found, sc.beside(name))
				}
			}
			if sc.Path == "" {
				continue
			}
			root := sc.beside(sc.Path)
			found = append(found, root) // also where it is not there: it may come back
			_ = fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
				switch {
				case err != nil || path == ".":
				case strings.HasPrefix(entry.Name(), "."):
					if entry.IsDir() {
						return fs.SkipDir
					}
				case entry.IsDir() || entry.Type()&fs.ModeSymlink != 0:
					found = append(found, filepath.Join(root, filepath.FromSlash(path)))
				}
				return nil // what cannot be read is Load's to report
			})
		}
	}
	return found
}
