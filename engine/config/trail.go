package config

import (
	"os"
	"path/filepath"
	"strings"
)

// mostLinks is how many links the way to a file may lead over, as Linux has it: beyond that they lead in a circle.
const mostLinks = 40

// Trail is what decides what is found at path: every symbolic link on the way there, and what stands at its end, as names in
// folders that are no links themselves. Whoever watches the folders of these names misses no change: neither an edit behind a link
// nor a link that is made to point elsewhere. Where the way breaks off, the last name is the first that is not there.
func Trail(path string) []string {
	rest, err := filepath.Abs(path)
	if err != nil {
		return []string{path}
	}
	var trail []string
	at, rest := root(rest)
	for rest != "" {
		name, below, _ := strings.Cut(rest, string(filepath.Separator))
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		if err != nil {
			return append(trail, next)
		}
		if info.Mode()&os.ModeSymlink == 0 {
			at, rest = next, below
			continue
		}
		trail = append(trail, next)
		target, err := os.Readlink(next)
		if err != nil || len(trail) > mostLinks {
			return trail
		}
		rest = target + string(filepath.Separator) + below // not cleaned: what comes before .. may be a link
		if filepath.IsAbs(target) {
			at, rest = root(rest)
		}
	}
	return append(trail, at)
}

// root parts an absolute path into the root that it begins with and what is below that.
func root(path string) (root, below string) {
	root = filepath.VolumeName(path) + string(filepath.Separator)
	return root, strings.TrimPrefix(path, root)
}
