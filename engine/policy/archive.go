package policy

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone/engine/config"
)

// Texts are the modules of all sources, those of the library and of bundles too, by file as messages show it: what Config.Archive
// makes the set of again.
func (s *Set) Texts() map[string][]byte { return s.texts }

// Shown is what the files of every source of these documents begin with, in Set.Texts.
func Shown(documents []*config.Document) []string {
	var all []string
	for _, doc := range documents {
		var section struct {
			Sources []sourceConfig `toml:"sources"`
		}
		doc.Decode("policy", &section) // its problems are Load's to report
		for _, sc := range section.Sources {
			all = append(all, sc.shown())
		}
	}
	return all
}

// shown is what the names of the source's files begin with.
func (sc *sourceConfig) shown() string {
	switch {
	case sc.Path != "":
		return sc.beside(sc.Path)
	case sc.address():
		return sc.Bundle
	}
	return sc.beside(sc.Bundle)
}

// shipsWith begins the names of the library's files in archives, so that a folder called library is another.
const shipsWith = "chaperone:"

func (s *source) archive(into map[string][]byte) {
	prefix := ""
	if s.name == librarySource {
		prefix = shipsWith
	}
	for file, text := range s.texts {
		into[prefix+file] = text
	}
}

// library is the one that ships, or that of the archive where that is another version's.
func (c *Config) library() (*source, config.Problems) {
	ships, problems := library()
	if c.Archive == nil || len(problems) > 0 {
		return ships, problems
	}
	texts := map[string][]byte{}
	for file, text := range c.Archive {
		if file, ships := strings.CutPrefix(file, shipsWith); ships && Below(file, librarySource) {
			texts[file] = text
		}
	}
	archived, problems := newSource(librarySource, texts)
	if maps.EqualFunc(archived.texts, ships.texts, bytes.Equal) {
		return ships, nil
	}
	return archived, problems
}

// archived is the source as the archive has it. What was signed has been verified when it was loaded.
func (c *Config) archived(sc sourceConfig) (*source, config.Problems) {
	src, problems := below(c.Archive, sc.Name, sc.shown())
	if len(problems) == 0 && len(src.modules) == 0 {
		problems = config.Problems{sc.Problem("name", "the archive holds no module of the source %q (%s)", sc.Name, sc.shown())}
	}
	return src, problems
}

// below is the source of those modules whose files stand below shown.
func below(archive map[string][]byte, name, shown string) (*source, config.Problems) {
	texts := map[string][]byte{}
	for file, text := range archive {
		if Below(file, shown) {
			texts[file] = text
		}
	}
	return newSource(name, texts)
}

// Below says whether a module's file belongs to the source that is shown so.
func Below(file, shown string) bool {
	rest, ok := strings.CutPrefix(file, shown)
	return ok && strings.HasSuffix(file, ".rego") && (strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, string(filepath.Separator)))
}

// newSource parses texts, by file as shown.
func newSource(name string, texts map[string][]byte) (*source, config.Problems) {
	s := &source{name: name, modules: map[string]*ast.Module{}, texts: map[string][]byte{}}
	var problems config.Problems
	for _, file := range slices.Sorted(maps.Keys(texts)) {
		module, err := parse(file, texts[file])
		switch {
		case err != nil:
			problems = append(problems, regoProblems(file, err)...)
		case module == nil:
			problems = append(problems, config.Problem{File: file, Message: "the file holds no Rego; expected a package and its rules"})
		default:
			s.modules[file], s.texts[file] = module, texts[file]
		}
	}
	return s, problems
}

// ReadDirectory reads the modules below a folder, by file as messages show it.
func ReadDirectory(dir string) (map[string][]byte, config.Problems) {
	src, problems := readSource("", os.DirFS(dir), dir)
	switch {
	case src == nil:
		return nil, problems
	case len(problems) == 0 && len(src.texts) == 0:
		problems = config.Problems{{File: dir, Message: "holds no .rego file (tests, _test.rego, do not count)"}}
	}
	return src.texts, problems
}

// ReadSources reads the library and the sources of c, as Load does.
func ReadSources(ctx context.Context, c Config) (map[string][]byte, config.Problems) {
	if c.Bundles == nil {
		c.Bundles = NewBundles("", c.Log)
	}
	if c.Env == nil {
		c.Env = os.LookupEnv
	}
	settings, problems := readSettings(c.Documents, c.Accounts)
	sources, _, found := c.readSources(ctx, settings)
	texts := map[string][]byte{}
	for _, src := range sources {
		src.archive(texts)
	}
	return texts, append(problems, found...)
}

// Packages are those of modules, sorted, and of these the ones that judge: that have a rule of the contract. What cannot be parsed
// is for Load to report.
func Packages(texts map[string][]byte) (all, judging []string) {
	src, _ := newSource("", texts)
	for _, m := range src.modules {
		pkg := strings.TrimPrefix(m.Package.Path.String(), "data.")
		all = append(all, pkg)
		if slices.ContainsFunc(m.Rules, func(r *ast.Rule) bool { return slices.Contains(contract, string(r.Head.Name)) }) {
			judging = append(judging, pkg)
		}
	}
	for _, list := range []*[]string{&all, &judging} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return all, judging
}
