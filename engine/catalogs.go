package engine

import (
	"chaperone/engine/catalog"
)

// Catalog reads the catalog of a configuration, or a single catalog file, and nothing else of it. The error is
// config.Problems.
func Catalog(path string, env func(string) (string, bool)) (*catalog.Catalog, error) {
	src, problems := read(path)
	if src == nil {
		return nil, problems.Err()
	}
	c, more := src.catalog(env)
	return c, append(problems, more...).Err()
}
