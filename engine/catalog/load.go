package catalog

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"chaperone/engine/config"
)

// Load reads the sections providers, models, endpoints and aliases of all documents, in their order, and resolves credentials through env
// (os.LookupEnv in production; nil: none is resolved, from files neither). A section may be spread over documents but each entry has one place. Where there is a
// problem there is no catalog.
func Load(docs []*config.Document, env func(string) (string, bool)) (*Catalog, config.Problems) {
	return LoadOver(nil, docs, env)
}

// LoadOver reads docs as Load does and adds what base has besides: of a provider, model, alias or endpoint (its model,
// provider and variant) that both have, the entry in docs takes the place of the other whole.
func LoadOver(base, docs []*config.Document, env func(string) (string, bool)) (*Catalog, config.Problems) {
	keyless := env == nil
	if keyless {
		env = func(string) (string, bool) { return "", false }
	}
	l := loader{
		env:       env,
		keyless:   keyless,
		cat:       &Catalog{Providers: map[string]*Provider{}, Models: map[string]*Model{}, Aliases: map[string]string{}, rows: map[string]*Row{}},
		places:    map[string]place{},
		providers: map[string]*providerTable{},
		base:      map[*config.Document]bool{},
	}
	for _, doc := range base {
		l.base[doc] = true
	}
	docs = slices.Concat(docs, base) // in this order: the first entry of a name has its place
	for _, doc := range docs {
		l.readProviders(doc)
		l.readModels(doc)
	}
	// Endpoints refer to both, wherever they stand, and aliases to models.
	for _, doc := range docs {
		l.readEndpoints(doc)
		l.readAliases(doc)
	}
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	l.cat.KeyFiles = sorted(l.cat.KeyFiles)
	l.cat.order()
	l.cat.nameModels()
	l.cat.Digest = digest(l.cat)
	return l.cat, nil
}

// order gives rows their places.
func (c *Catalog) order() {
	slices.SortStableFunc(c.Rows, func(a, b *Row) int { return strings.Compare(a.Model.ID, b.Model.ID) })
	for i, row := range c.Rows {
		row.Index = i
		row.Model.Rows = append(row.Model.Rows, row)
	}
}

type loader struct {
	env       func(string) (string, bool)
	keyless   bool // no key is read
	cat       *Catalog
	problems  config.Problems
	places    map[string]place // "provider x" → where it was first written
	providers map[string]*providerTable
	base      map[*config.Document]bool // documents whose entries give way to others
}

// place is where an entry is written.
type place struct {
	doc *config.Document
	at  string // "file:line"
}

func placeOf(o config.Origin) place { return place{o.Document(), o.String()} }

func (l *loader) add(ps ...config.Problem) { l.problems = append(l.problems, ps...) }

// once says whether this is the first entry of that name, and otherwise reports both places unless it gives way.
func (l *loader) once(kind, id string, here place, at func(format string, args ...any) config.Problem) bool {
	if first, ok := l.places[kind+" "+id]; ok {
		if !l.givesWay(here, first) {
			l.add(at("%s %q is already in %s; one of the two must go", kind, id, first.at))
		}
		return false
	}
	l.places[kind+" "+id] = here
	return true
}

// givesWay says whether an entry is replaced by an earlier one.
func (l *loader) givesWay(entry, earlier place) bool {
	return l.base[entry.doc] && !l.base[earlier.doc]
}

type modelTable struct {
	config.Origin
	Name             string            `toml:"name"`
	Description      string            `toml:"description"`
	Created          time.Time         `toml:"created"`
	ContextLength    int64             `toml:"context_length" check:"required,min=1"`
	MaxOutputTokens  int64             `toml:"max_output_tokens" check:"min=0"`
	InputModalities  []string          `toml:"input_modalities"`
	OutputModalities []string          `toml:"output_modalities"`
	Distillation     distillationTable `toml:"distillation"`
}

// Ids may hold neither @ nor #, which separate the parts of a row's id.
var (
	modelID    = regexp.MustCompile(`^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(:[a-z]+)?$`)
	providerID = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
)

// catalogSuffixes make a model of its own; every other suffix is an instruction to the router and never part of an id.
var catalogSuffixes = []string{"free", "batch", "thinking", "extended"}

func (l *loader) readModels(doc *config.Document) {
	var tables map[string]*modelTable
	l.add(doc.Decode("models", &tables)...)
	for _, id := range slices.Sorted(maps.Keys(tables)) {
		t := tables[id]
		if !l.once("model", id, placeOf(t.Origin), func(f string, a ...any) config.Problem { return t.Problem("", f, a...) }) {
			continue
		}
		if !modelID.MatchString(id) {
			l.add(t.Problem("", `found %q; a model's id is author/slug, of letters, digits, ".", "_" and "-"`, id))
		}
		if _, suffix, ok := strings.Cut(id, ":"); ok && !slices.Contains(catalogSuffixes, suffix) {
			l.add(t.Problem("", "found the suffix %q; a model's id ends in none or one of :%s", ":"+suffix, strings.Join(catalogSuffixes, ", :")))
		}
		if t.MaxOutputTokens > t.ContextLength && t.ContextLength > 0 {
			l.add(t.Problem("max_output_tokens", "found %d; expected at most context_length = %d", t.MaxOutputTokens, t.ContextLength))
		}
		m := &Model{
			ID: id, Name: t.Name, Description: t.Description, Created: t.Created,
			ContextLength: t.ContextLength, MaxOutputTokens: t.MaxOutputTokens, Distillation: t.Distillation.claim(),
		}
		l.add(t.Distillation.problems()...)
		if m.Name == "" {
			m.Name = id
		}
		m.InputModalities = l.modalities(t.Origin, "input_modalities", t.InputModalities, inputModalities)
		m.OutputModalities = l.modalities(t.Origin, "output_modalities", t.OutputModalities, Modalities)
		l.cat.Models[id] = m
	}
}

// modalities are text where nothing is stated.
func (l *loader) modalities(o config.Origin, key string, stated, vocabulary []string) []string {
	if stated == nil {
		return []string{"text"}
	}
	if len(stated) == 0 {
		l.add(o.Problem(key, "found nothing in it; expected some of %s", strings.Join(vocabulary, ", ")))
	}
	l.add(checkEach(o, key, stated, vocabulary)...)
	return sorted(stated)
}

func (l *loader) readAliases(doc *config.Document) {
	var aliases map[string]string
	l.add(doc.Decode("aliases", &aliases)...)
	for _, name := range slices.Sorted(maps.Keys(aliases)) {
		key, target := config.Dotted("aliases", name), aliases[name]
		at := func(f string, a ...any) config.Problem { return doc.Problem(key, f, a...) }
		here := place{doc, fmt.Sprintf("%s:%d", doc.Path(), doc.Line(key))}
		if !l.once("alias", name, here, at) {
			continue
		}
		if m, ok := l.cat.Models[name]; ok {
			if l.givesWay(here, l.places["model "+name]) {
				continue
			}
			l.add(at("hides the model %q; expected a name that no model has", m.ID))
		}
		if _, ok := l.cat.Models[target]; !ok && target != "" {
			l.add(at("%s", config.UnknownName("model", target, l.cat.ModelIDs())))
		} else if target == "" {
			l.add(at("found nothing in it; expected the id of a model"))
		}
		l.cat.Aliases[name] = target
	}
}

// checkURL accepts an absolute http(s) URL. Of what could be a secret in it nothing is shown.
func checkURL(raw string, base bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return fmt.Errorf("found what is no URL; expected one such as https://api.example.com/v1")
	case u.User != nil:
		return fmt.Errorf("found a URL with a user name; credentials go into key_env or key_file")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Hostname() == "":
		return fmt.Errorf("found %q; expected an absolute URL such as https://api.example.com/v1", raw)
	case base && (u.RawQuery != "" || u.ForceQuery || u.Fragment != ""):
		return fmt.Errorf("found a URL with a query or fragment; expected one that a path can be appended to")
	}
	return nil
}
