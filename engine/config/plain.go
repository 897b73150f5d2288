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

// Change is a copy of the document with its tables as change leaves them. What it says of lines is of Plain, not of the file.
func (d *Document) Change(change func(root map[string]any)) (*Document, Problems) {
	text, err := d.Plain()
	if err != nil {
		return nil, Problems{{File: d.path, Message: err.Error()}}
	}
	root := map[string]any{}
	if _, err := toml.Decode(string(text), &root); err != nil {
		return nil, Problems{{File: d.path, Message: err.Error()}}
	}
	change(root)
	changed := Document{path: d.path, root: root}
	if text, err = changed.Plain(); err != nil {
		return nil, Problems{{File: d.path, Message: err.Error()}}
	}
	return Parse(d.path, text)
}
