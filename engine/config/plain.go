package config

import (
	"bytes"
	"maps"
	"strings"

	"github.com/BurntSushi/toml"
)

// Plain is the document as TOML without comments, which may say anything, and without what is in without: keys such as "journal",
// or those of tables, "organisations.*.presets", where * stands for every key.
func (d *Document) Plain(without ...string) ([]byte, error) {
	root := d.root
	for _, path := range without {
		root = less(root, path)
	}
	var out bytes.Buffer
	err := toml.NewEncoder(&out).Encode(root)
	return out.Bytes(), err
}

func less(table map[string]any, path string) map[string]any {
	name, rest, deeper := strings.Cut(path, ".")
	out := maps.Clone(table)
	for key, value := range table {
		if key != name && name != "*" {
			continue
		}
		if inner, ok := value.(map[string]any); ok && deeper {
			out[key] = less(inner, rest)
		} else if !deeper {
			delete(out, key)
		}
	}
	return out
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
