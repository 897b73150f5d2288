package catalog

import (
	"embed"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"

	"chaperone/engine/config"
)

//go:embed shipped/*.toml
var shipped embed.FS

// Shipped are the documents of the catalog that ships with Chaperone, for LoadOver.
var Shipped = sync.OnceValue(func() []*config.Document {
	entries, err := shipped.ReadDir("shipped")
	if err != nil {
		panic(err) // it is part of the program
	}
	var docs []*config.Document
	for _, e := range entries {
		name := path.Join("shipped", e.Name())
		src, err := shipped.ReadFile(name)
		if err != nil {
			panic(err)
		}
		doc, problems := config.Parse(name, src)
		if err := problems.Err(); err != nil {
			panic(fmt.Sprint("the catalog that ships cannot be read: ", err))
		}
		docs = append(docs, doc)
	}
	return docs
})

// Variables are the environment variables that each provider of c needs to be reached under some group of credentials,
// given that c was loaded without any environment: those of its base URL, then those of its keys.
func (c *Catalog) Variables() map[string][]string {
	all := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(c.Providers)) {
		p := c.Providers[id]
		names := slices.Clone(p.Missing)
		for _, g := range p.Groups {
			names = append(names, g.Missing...)
		}
		all[id] = names
	}
	return all
}
