package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

// tree is where the files of a configuration are read from: the disk, or what a journal has archived of it.
type tree interface {
	read(path string) ([]byte, error)
	glob(pattern string) ([]string, error)
	shipped() ([]*config.Document, config.Problems) // the catalog that ships with Chaperone
}

type disk struct{}

var errIrregular = errors.New("is no regular file")

func (disk) read(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errIrregular
	}
	return os.ReadFile(path)
}

func (disk) glob(pattern string) ([]string, error) { return filepath.Glob(pattern) }

func (disk) shipped() ([]*config.Document, config.Problems) { return catalog.Shipped(), nil }

// archive is contents by the paths that they were read from.
type archive map[string][]byte

func (a archive) read(path string) ([]byte, error) {
	text, ok := a[path]
	if !ok {
		return nil, fmt.Errorf("the archive has no %s: %w", path, fs.ErrNotExist)
	}
	return text, nil
}

func (a archive) glob(pattern string) ([]string, error) {
	if _, err := filepath.Match(pattern, ""); err != nil {
		return nil, err
	}
	var names []string
	for path := range a {
		if ok, _ := filepath.Match(pattern, path); ok {
			names = append(names, path)
		}
	}
	return names, nil
}

func (a archive) shipped() (docs []*config.Document, problems config.Problems) {
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if !strings.HasPrefix(name, shipsWith) || filepath.Ext(name) != ".toml" {
			continue
		}
		doc, found := parse(a, name)
		if problems = append(problems, found...); doc != nil {
			docs = append(docs, doc)
		}
	}
	return docs, problems
}

// shipsWith begins the names of what ships with Chaperone in archives.
const shipsWith = "chaperone:"
