package config

import (
	"bytes"
	"maps"
	"slices"

	"github.com/BurntSushi/toml"
)

// Plain is the document as TOML without comments, which may say anything, and without the top-level keys in without.
func (d *Document) Plain(without ...string) ([]byte, error) {
	root := maps.Clone(d.root)
	maps.DeleteFunc(root, func(name string, _ any) bool { return slices.Contains(without, name) })
	var out bytes.Buffer
	err := toml.NewEncoder(&out).Encode(root)
	return out.Bytes(), err
}
