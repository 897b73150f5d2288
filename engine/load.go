package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/policy"
	"chaperone/engine/provider"
	"chaperone/engine/route"
	"chaperone/engine/scorer"
	"chaperone/engine/wasm"
)

// sources are the files of one configuration, read and parsed.
type sources struct {
	settings *Settings
	main     *config.Document
	teams    []*config.Document
	catalogs []*config.Document
	shipped  []*config.Document // where it is laid over the catalog that ships
	files    []string           // every file and folder that was named, for watching
}

// read parses chaperone.toml and every file that it names.
func read(path string) (*sources, config.Problems) {
	doc, problems := parse(disk{}, path)
	if doc == nil {
		return nil, problems
	}
	return readFrom(disk{}, path, doc, []string{path})
}

// literally makes a pattern of a path that nothing but that path fits.
var literally = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`)

// readFrom parses every file that the configuration names; files are those that it stands in.
func readFrom(from tree, path string, doc *config.Document, files []string) (*sources, config.Problems) {
	var problems config.Problems
	src := &sources{main: doc, files: files}
	problems = append(problems, doc.Only(sections...)...)
	settings, more := readSettings(doc)
	problems = append(problems, more...)
	src.settings = settings
	each := func(key string, patterns []string, allowed []string) []*config.Document {
		var docs []*config.Document
		for i, pattern := range patterns {
			at := fmt.Sprintf("%s[%d]", key, i)
			full := beside(path, pattern)
			names, err := from.glob(beside(literally.Replace(path), pattern))
			if err != nil {
				problems = append(problems, doc.Problem(at, "found %q, which is no file pattern: %v", pattern, err))
				continue
			}
			if len(names) == 0 && !strings.ContainsAny(pattern, "*?[") {
				problems = append(problems, doc.Problem(at, "found %q, but there is no such file", pattern))
			}
			src.files = append(src.files, filepath.Dir(full))
			sort.Strings(names)
			for _, name := range names {
				if folder := filepath.Dir(name); !slices.Contains(src.files, folder) { // one of several that the pattern fits
					src.files = append(src.files, folder)
				}
				d, ps := parse(from, name)
				problems = append(problems, ps...)
				if d != nil {
					problems = append(problems, d.Only(allowed...)...)
					docs = append(docs, d)
					src.files = append(src.files, name)
				}
			}
		}
		return docs
	}
	src.teams = each("include", settings.Include, teamSections)
	src.catalogs = each("catalog", settings.Catalog, catalogSections)
	for i := range settings.Scorers {
		if c := &settings.Scorers[i]; c.Plugin != "" {
			module := beside(path, c.Plugin)
			src.files = append(src.files, module, module+wasm.SignatureSuffix)
			if c.Golden != "" {
				src.files = append(src.files, beside(path, c.Golden))
			}
		}
	}
	if settings.ShippedCatalog {
		shipped, more := from.shipped()
		src.shipped, problems = shipped, append(problems, more...)
	}
	return src, problems
}

// read parses the configuration of the options.
func (e *Engine) read() (*sources, config.Problems) {
	if e.options.Config == nil {
		return read(e.options.ConfigPath)
	}
	doc, problems := config.Parse(e.options.ConfigPath, e.options.Config)
	if doc == nil {
		return nil, problems
	}
	return readFrom(disk{}, e.options.ConfigPath, doc, nil)
}

// catalog loads the catalog that the sources make together.
func (s *sources) catalog(env func(string) (string, bool)) (*catalog.Catalog, config.Problems) {
	return catalog.LoadOver(s.shipped, append([]*config.Document{s.main}, s.catalogs...), env)
}

func parse(from tree, path string) (*config.Document, config.Problems) {
	text, err := from.read(path)
	if err != nil {
		return nil, config.Problems{{File: path, Message: plainError(err)}}
	}
	doc, problems := config.Parse(path, text)
	if len(problems) > 0 {
		return nil, problems
	}
	return doc, nil
}

func plainError(err error) string {
	var pe *os.PathError
	if errors.Is(err, errIrregular) {
		return err.Error()
	}
	if errors.Is(err, os.ErrNotExist) {
		return "there is no such file; chaperone init writes one"
	}
	if errors.As(err, &pe) {
		return "cannot be read: " + pe.Err.Error()
	}
	return "cannot be read: " + err.Error()
}

// beside resolves a path of a TOML file relative to its folder.
func beside(file, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}

// build makes a snapshot of everything that path names. On problems what was built is closed again.
func (e *Engine) build(ctx context.Context, generation uint64) (*snapshot, error) {
	src, problems := e.read()
	if src == nil {
		return nil, problems.Err()
	}
	if e.options.Adjust != nil {
		e.options.Adjust(src.settings)
	}
	cat, ps := src.catalog(e.options.Env)
	problems = append(problems, ps...)
	accounts, ps := account.Load([]*config.Document{src.main}, cat)
	problems = append(problems, ps...)
	if cat == nil || accounts == nil { // policies cannot be bound to what is not there
		return nil, problems.Err()
	}
	problems = append(problems, src.settings.Dispatch.check(cat, accounts)...)
	problems = append(problems, src.settings.Journal.checkContent(accounts, src.main)...)
	rules := append([]*config.Document{src.main}, src.teams...)
	var before *policy.Set
	if old := e.current.Load(); old != nil {
		before = old.policies
	}
	policies, ps := policy.Load(ctx, policy.Config{
		Generation: generation, Previous: before, Documents: rules, Accounts: accounts, Catalog: cat, Honoured: honoured, Scorers: src.settings.ranking(),
		Bundles: e.bundles, Env: e.options.Env, Now: e.options.Now(), Log: e.options.Log,
	})
	problems = append(problems, ps...)
	s := &snapshot{generation: generation, settings: src.settings, catalog: cat, accounts: accounts, policies: policies}
	weighted, ps := e.scorers(ctx, s, src)
	problems = append(problems, ps...)
	if err := problems.Err(); err != nil {
		s.close(ctx)
		return nil, err
	}
	s.files = append(append(src.files, cat.KeyFiles...), policy.Directories(rules)...)
	if !e.options.DecideOnly { // commands show them
		logCost(e.options.Log, policies.Cost(e.options.Now()))
		for _, w := range warningsOf(policies, e.options.Now()) {
			e.options.Log.Warn("policy", slog.String("what", w.String()))
		}
	}
	e.metrics.Know(cat, accounts)
	s.path = src.main.Path()
	s.documents, s.shipped = slices.Concat([]*config.Document{src.main}, src.teams, src.catalogs), src.shipped
	s.refs.Store(1)
	s.published = e.published.Bind(cat)
	s.router = &route.Router{
		Generation: generation, Catalog: cat, Policies: policies, Board: e.statistics(src.settings).Bind(cat), Health: e.health, Scorers: weighted,
		Spread:      src.settings.Routing.spread(),
		ValueOfTime: src.settings.Routing.ValueOfTime,
		Cannot:      provider.Cannot,
	}
	return s, nil
}

// honoured are the obligations that are carried out: by the dialect, by the attempt loop, by the journal, or because what
// they forbid is never done.
var honoured = []string{
	policy.ObligationMaxOutputTokens, policy.ObligationStore, policy.ObligationZDR, policy.ObligationNoProviderTools,
	policy.ObligationMaxProcessors, policy.ObligationHedge, policy.ObligationRescue, policy.ObligationCache, policy.ObligationLog,
}

// scorers loads the blend; plugins go into s, which closes them.
func (e *Engine) scorers(ctx context.Context, s *snapshot, src *sources) ([]scorer.Weighted, config.Problems) {
	var out []scorer.Weighted
	problems := e.openPlugins(src)
	if len(problems) > 0 {
		return nil, problems
	}
	for i := range src.settings.Scorers {
		c := &src.settings.Scorers[i]
		weight := 1.0
		if c.Weight != nil {
			weight = *c.Weight
		}
		if c.Plugin == "" {
			native, ok := scorer.Native(c.Name)
			if !ok {
				problems = append(problems, c.Problem("name", "%s, or plugin = \"FILE.wasm\" beside it",
					config.NotOneOf(c.Name, scorer.Natives)))
				continue
			}
			if c.SHA256 != "" || c.Config != nil || c.Golden != "" || c.State != "" || c.Fuel != (wasm.Fuel{}) || c.Instances+int(c.Wait)+int(c.MemoryBytes)+c.CodeBytes != 0 {
				problems = append(problems, c.Problem("", "the native scorer %s takes none of sha256, config, golden, state, fuel, instances, wait, memory_bytes and code_bytes; expected plugin = \"FILE.wasm\" or none of them", c.Name))
			}
			out = append(out, scorer.Weighted{Scorer: native, Weight: weight, Shadow: c.Shadow})
			continue
		}
		if _, err := hex.DecodeString(c.SHA256); err != nil || len(c.SHA256) != 0 && len(c.SHA256) != 64 {
			problems = append(problems, c.Problem("sha256", "found %q; expected 64 hexadecimal digits", c.SHA256))
			continue
		}
		plugin, err := e.loadPlugin(ctx, src, c)
		if err != nil {
			problems = append(problems, c.Problem("plugin", "%s cannot be used: %v", c.Plugin, err))
			continue
		}
		s.plugins = append(s.plugins, plugin)
		if c.Instances > 1 && plugin.Manifest().Stateful {
			problems = append(problems, c.Problem("instances", "found %d; expected 1, since %s is stateful", c.Instances, c.Plugin))
		}
		if absent := plugin.absent(s.catalog); len(absent) > 0 {
			e.options.Log.Warn("a plugin asks for columns that nothing in the catalog has: an attribute reads NaN, anything else 0",
				slog.String("scorer", c.Name), slog.String("columns", strings.Join(absent, ", ")))
		}
		out = append(out, scorer.Weighted{Scorer: plugin, Weight: weight, Shadow: c.Shadow})
	}
	if len(problems) == 0 {
		if err := scorer.Check(out, src.settings.Routing.spread()); err != nil {
			problems = append(problems, src.main.Problem("scorers", "%v", err))
		}
	}
	return out, problems
}
