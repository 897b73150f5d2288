package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/config"
	"chaperone/engine/journal"
	"chaperone/engine/policy"
	"chaperone/engine/route"
	"chaperone/engine/scorer"
	"chaperone/engine/wasm"
)

// Change is what takes the place of what a journal has archived. Empty fields change nothing.
type Change struct {
	// Policy is a folder of Rego or a configuration. The folder's packages take the place of every source that has one of them;
	// those that nobody has bound yet are bound for everyone. Of a configuration, its [policy] takes the place of the other,
	// and that of the team's files which it includes.
	Policy string
	For    string // whom new packages are bound for, as in [[policy.bindings]]; "everyone" where empty
	Params string // TOML file: a table of parameters for each package, in place of those of all its bindings
	// Catalog is a catalog file, or a configuration with its catalogs.
	Catalog string
	Scorer  string // a plugin's .wasm or the name of a native scorer, in place of all
}

// World is what decisions are made with, made again.
type World struct {
	Router   *route.Router
	Accounts *account.Accounts
	Learned  map[string]bool // scorers that depend on what they had learned, which is gone

	host    *wasm.Host
	plugins []loaded
}

// Rebuild makes the world of a record's configuration digest from what the journal in dir has archived, as change alters it. It
// has no key of any provider. The error is config.Problems where what was named in change is at fault. Close it.
func Rebuild(ctx context.Context, dir, digest string, change Change) (*World, error) {
	list, files, err := journal.ReadArtefacts(dir, digest)
	if err != nil {
		return nil, err
	}
	if files[list.Configuration] == nil {
		return nil, fmt.Errorf("the list of artefacts %s does not say which of them is the configuration", digest)
	}
	log := slog.New(slog.DiscardHandler)
	e := &Engine{options: Options{ConfigPath: list.Configuration, Log: log, Now: time.Now}, archive: files}
	src, problems := e.readArchive()
	if len(problems) > 0 {
		return nil, problems.Err()
	}
	cat, problems := src.catalog(nil)
	checked := cat // aliases of organisations lead to its models
	if change.Catalog != "" {
		if cat, err = Catalog(change.Catalog, nil); err != nil {
			return nil, err
		}
		checked = nil
	}
	accounts, found := account.Load([]*config.Document{src.main}, checked)
	if problems = append(problems, found...); len(problems) > 0 {
		return nil, problems.Err()
	}
	documents, problems := change.policies(ctx, append([]*config.Document{src.main}, src.teams...), accounts, files)
	if len(problems) > 0 {
		return nil, problems.Err()
	}
	if err := change.scorer(src, files); err != nil {
		return nil, err
	}
	policies, problems := policy.Load(ctx, policy.Config{
		Generation: 1, Documents: documents, Accounts: accounts, Catalog: cat, Honoured: honoured, Scorers: src.settings.ranking(), Archive: files, Log: log,
	})
	if len(problems) > 0 {
		return nil, problems.Err()
	}
	if slices.ContainsFunc(src.settings.Scorers, func(c Scorer) bool { return c.Plugin != "" }) {
		if e.wasm, err = wasm.NewHost("", log); err != nil {
			return nil, err
		}
	}
	s := &snapshot{catalog: cat}
	w := &World{Accounts: accounts, Learned: map[string]bool{}, host: e.wasm}
	weighted, problems := e.scorers(ctx, s, src)
	w.plugins = s.plugins
	if err := problems.Err(); err != nil {
		return nil, errors.Join(err, w.Close(ctx))
	}
	for _, p := range w.plugins {
		w.Learned[p.Name()] = p.Manifest().Stateful
	}
	w.Router = &route.Router{
		Generation: 1, Catalog: cat, Policies: policies, Scorers: weighted, Spread: src.settings.Routing.spread(),
		ValueOfTime: src.settings.Routing.ValueOfTime,
	}
	return w, nil
}

// Close lets go of the plugins.
func (w *World) Close(ctx context.Context) error {
	for _, p := range w.plugins {
		p.Close(ctx)
	}
	if w.host == nil {
		return nil
	}
	return w.host.Close(ctx)
}

// readArchive parses the configuration of the options from the archive.
func (e *Engine) readArchive() (*sources, config.Problems) {
	doc, problems := parse(e.archive, e.options.ConfigPath)
	if doc == nil {
		return nil, problems
	}
	return readFrom(e.archive, e.options.ConfigPath, doc, nil)
}

// policies are the documents as the change has them, and files gets the modules that they speak of.
func (c *Change) policies(ctx context.Context, documents []*config.Document, accounts *account.Accounts, files archive) ([]*config.Document, config.Problems) {
	info, err := os.Stat(c.Policy)
	switch {
	case c.Policy == "":
	case err != nil:
		return nil, config.Problems{{File: c.Policy, Message: "there is no such folder of Rego, nor such a configuration"}}
	case info.IsDir():
		var problems config.Problems
		if documents, problems = c.adopt(documents, files); len(problems) > 0 {
			return nil, problems
		}
	default:
		src, problems := read(c.Policy)
		if src == nil || len(problems) > 0 {
			return nil, problems
		}
		documents = append([]*config.Document{src.main}, src.teams...)
		texts, problems := policy.ReadSources(ctx, policy.Config{Documents: documents, Accounts: accounts, Log: slog.New(slog.DiscardHandler)})
		if len(problems) > 0 {
			return nil, problems
		}
		maps.DeleteFunc(files, func(name string, _ []byte) bool { return strings.HasSuffix(name, ".rego") })
		maps.Copy(files, texts)
	}
	if c.Params == "" {
		return documents, nil
	}
	return c.parametrise(documents)
}

// adopt puts the packages of a folder in the place of sources that have any of them, and binds those that are new.
func (c *Change) adopt(documents []*config.Document, files archive) ([]*config.Document, config.Problems) {
	dir, err := filepath.Abs(c.Policy)
	if err != nil {
		return nil, config.Problems{{File: c.Policy, Message: err.Error()}}
	}
	texts, problems := policy.ReadDirectory(dir)
	if len(problems) > 0 {
		return nil, problems
	}
	defined, judging := policy.Packages(texts)
	replaced := map[string]bool{} // sources, as shown
	for _, shown := range policy.Shown(documents) {
		had := map[string][]byte{}
		for file, text := range files {
			if policy.Below(file, shown) {
				had[file] = text
			}
		}
		packages, _ := policy.Packages(had)
		replaced[shown] = slices.ContainsFunc(packages, func(pkg string) bool { return slices.Contains(defined, pkg) })
	}
	bound := map[string]bool{}
	for _, doc := range documents {
		for _, b := range bindings(doc) {
			name, _ := b["package"].(string)
			bound[name] = true
		}
	}
	var changed []*config.Document
	for i, doc := range documents {
		next, found := doc.Change(func(root map[string]any) {
			section := table(root, "policy")
			gone := map[any]bool{}
			sources := slices.DeleteFunc(tables(section["sources"]), func(sc map[string]any) bool {
				for _, key := range []string{"path", "bundle"} {
					at, ok := sc[key].(string)
					if ok && (replaced[beside(doc.Path(), at)] || replaced[at]) {
						gone[sc["name"]] = true
						return true
					}
				}
				return false
			})
			all := tables(section["bindings"])
			for _, b := range all {
				if gone[b["source"]] {
					delete(b, "source")
				}
			}
			if i == 0 {
				sources = append(sources, map[string]any{"name": "adopted:" + c.Policy, "path": dir})
				for _, pkg := range judging {
					if !bound[pkg] {
						all = append(all, map[string]any{"package": pkg, "for": orElse(c.For, "everyone")})
					}
				}
			}
			section["sources"], section["bindings"] = sources, all
		})
		problems, changed = append(problems, found...), append(changed, next)
	}
	maps.Copy(files, texts)
	return changed, problems
}

// parametrise gives bindings the parameters of a file.
func (c *Change) parametrise(documents []*config.Document) ([]*config.Document, config.Problems) {
	doc, problems := parse(disk{}, c.Params)
	if doc == nil {
		return nil, problems
	}
	given := map[string]any{}
	if _, problems = doc.Change(func(root map[string]any) { given = root }); len(problems) > 0 {
		return nil, problems
	}
	used := map[string]bool{}
	var changed []*config.Document
	for _, doc := range documents {
		next, found := doc.Change(func(root map[string]any) {
			section := table(root, "policy")
			all := tables(section["bindings"])
			for _, b := range all {
				if params, ok := given[fmt.Sprint(b["package"])]; ok {
					b["params"], used[fmt.Sprint(b["package"])] = params, true
				}
			}
			if len(all) > 0 {
				section["bindings"] = all
			}
		})
		problems, changed = append(problems, found...), append(changed, next)
	}
	for _, pkg := range slices.Sorted(maps.Keys(given)) {
		if !used[pkg] {
			problems = append(problems, doc.Problem(config.Dotted(pkg), "no binding is of a package %q; expected a table for each package, such as [\"library.residency\"]", pkg))
		}
	}
	return changed, problems
}

// scorer puts the change's in the place of all.
func (c *Change) scorer(src *sources, files archive) error {
	if c.Scorer == "" {
		return nil
	}
	if _, native := scorer.Native(c.Scorer); native {
		src.settings.Scorers = []Scorer{{Name: c.Scorer}}
		return nil
	}
	path, err := filepath.Abs(c.Scorer)
	if err != nil {
		return err
	}
	module, err := os.ReadFile(path)
	if err != nil {
		return config.Problems{{File: c.Scorer, Message: fmt.Sprintf("is neither a plugin that can be read nor one of %s", strings.Join(scorer.Natives, ", "))}}
	}
	files[path] = module
	src.settings.Scorers = []Scorer{{Name: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), Plugin: path}}
	return nil
}

func bindings(doc *config.Document) (all []map[string]any) {
	doc.Change(func(root map[string]any) { all = tables(table(root, "policy")["bindings"]) }) // it has been parsed: it can be
	return all
}

// table is that of a key, which it is put under where there is none.
func table(root map[string]any, key string) map[string]any {
	t, ok := root[key].(map[string]any)
	if !ok {
		t = map[string]any{}
		root[key] = t
	}
	return t
}

// tables are those of an array, however TOML wrote it.
func tables(v any) []map[string]any {
	switch v := v.(type) {
	case []map[string]any:
		return v
	case []any:
		var all []map[string]any
		for _, e := range v {
			if t, ok := e.(map[string]any); ok {
				all = append(all, t)
			}
		}
		return all
	}
	return nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
