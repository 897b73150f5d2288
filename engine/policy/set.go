package policy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

// enforceDeny is how a binding's word counts unless it says otherwise: warn and dryrun record and exclude nothing.
const enforceDeny = "deny"

// Set is the compiled policies of one generation. It is immutable and safe for concurrent use.
type Set struct {
	generation    uint64
	digest        string
	requirePolicy bool
	warnings      config.Problems
	unbound       config.Problems
	guard         *guard
	honoured      map[string]bool
	scorers       []string // that rank; nil: they are not known
	stats         *steady
	texts         map[string][]byte // of all sources, by file as shown
	plain         bool              // nothing is remembered: what tests compare with

	principals []*account.Principal // whoever can ask

	rows      []*catalog.Row  // of the catalog
	endpoints []EndpointInput // of those rows, as far as neither day nor statistics change them

	everyone []*binding
	byOrg    map[string][]*binding
	byTeam   map[team][]*binding
	byKey    map[string][]*binding

	opening sync.Mutex
	dockets atomic.Pointer[map[scopeKey]*docket]
}

type team struct{ organisation, team string }

// binding attaches a policy to a scope.
type binding struct {
	name        string // "library.training for org:acme"
	pkg         string // as written: "library.training"
	policy      *policy
	scope       scope
	layer       scope // whose file it stands in; everyone: chaperone.toml
	params      map[string]any
	enforcement string
	until       time.Time
	ended       config.Problem // the warning once until is over
	waivers     []*waiver
	remote      *remote // whose bundle the policy is from; nil: from disk
}

// Config is what Load compiles.
type Config struct {
	Generation uint64
	Documents  []*config.Document // chaperone.toml first, then the files that it includes, each of which names its team
	Accounts   *account.Accounts
	Catalog    *catalog.Catalog
	// Honoured are the obligations, as rules name them, that dispatch carries out. A row for which a policy demands
	// another one is denied.
	Honoured []string
	// Scorers are the names of those that rank, of which policies can prefer some; nil: they are not known.
	Scorers []string
	// Bundles fetches sources that are addresses. Where it is nil they are fetched for this Load alone.
	Bundles *Bundles
	// Archive are sources as Set.Texts once gave them: where it is not nil, they are read from it, the library too, and
	// neither from the disk nor from servers.
	Archive map[string][]byte
	Env     func(string) (string, bool) // os.LookupEnv where nil
	Now     time.Time                   // zero: the clock's
	// Previous is the set that this one takes the place of: statistics are shown on from where it stopped. nil: there is none.
	Previous *Set
	Log      *slog.Logger // of what goes wrong while judging; slog.Default where nil
}

// Load compiles every binding, each source alone.
func Load(ctx context.Context, c Config) (*Set, config.Problems) {
	if c.Bundles == nil {
		c.Bundles = NewBundles("", c.Log)
	}
	if c.Env == nil {
		c.Env = os.LookupEnv
	}
	settings, problems := readSettings(c.Documents, c.Accounts)
	sources, used, found := c.readSources(ctx, settings)
	problems = append(problems, found...)
	settings.incomplete = settings.incomplete || len(found) > 0
	set, found := load(ctx, &c, settings, sources)
	if problems = append(problems, found...); len(problems) > 0 {
		for _, u := range used {
			if u.remote != nil {
				u.remote.reject(u.bundle, problems)
			}
		}
		return nil, problems
	}
	c.Bundles.activate(used)
	return set, nil
}

func load(ctx context.Context, c *Config, settings *settings, sources []*source) (*Set, config.Problems) {
	var problems config.Problems
	owners, found := ownership(sources)
	problems = append(problems, found...)

	s := &Set{
		generation:    c.Generation,
		requirePolicy: settings.requirePolicy,
		guard:         newGuard(settings.guardOneIn, c.Log),
		honoured:      map[string]bool{},
		scorers:       c.Scorers,
		byOrg:         map[string][]*binding{},
		byTeam:        map[team][]*binding{},
		byKey:         map[string][]*binding{},
	}
	s.dockets.Store(&map[scopeKey]*docket{})
	for _, name := range c.Honoured {
		s.honoured[name] = true
	}
	if c.Catalog != nil {
		s.rows = c.Catalog.Rows
		s.endpoints = make([]EndpointInput, len(s.rows))
		for i, row := range s.rows {
			var in Input
			in.fillEndpoint(row)
			s.endpoints[i] = in.Endpoint
		}
	}
	s.texts = map[string][]byte{}
	for _, src := range sources {
		src.archive(s.texts)
	}
	s.stats = c.Previous.continued(s.rows)
	build := builder{sources: map[*source]*compiled{}, checked: map[string]bool{}, policies: map[string]*policy{}, timeout: settings.timeout}
	for _, src := range sources {
		if src.name != librarySource { // a mistake in a source that nobody has bound yet is a mistake all the same
			build.compile(src)
		}
	}
	words := newVocabulary(c)
	digest := sha256.New()
	fmt.Fprintf(digest, "require_policy %t\n", settings.requirePolicy)
	for i := range settings.bindings {
		b := &settings.bindings[i]
		for _, first := range settings.bindings[:i] {
			if first.same(b) {
				s.warnings = append(s.warnings, b.Problem("package", "%s is bound for %s with the same parameters at %s already, so this adds nothing", b.Package, b.scope, first.Origin))
				break
			}
		}
		src, found := b.find(owners, sources, settings.incomplete)
		problems = append(problems, found...)
		if src == nil {
			continue
		}
		if bound := build.bind(ctx, b, src); bound != nil {
			s.add(bound)
			s.warnings = append(s.warnings, build.sources[src].unmatched(words, b, "data."+b.Package)...)
			s.warnings = append(s.warnings, build.sources[src].renamed(c.Catalog, "data."+b.Package)...)
			s.warnings = append(s.warnings, build.sources[src].outranked("data."+b.Package)...)
			s.warnings = append(s.warnings, build.sources[src].halves("data."+b.Package)...)
			s.warnings = append(s.warnings, build.sources[src].unranked(c.Scorers, "data."+b.Package)...)
			writeDigest(digest, b, src)
		}
	}
	problems = append(problems, build.problems...)
	if len(problems) > 0 {
		return nil, problems
	}
	if problems = s.waive(settings.waivers, &build, s.rows); len(problems) > 0 {
		return nil, problems
	}
	for _, w := range settings.waivers {
		fmt.Fprintf(digest, "waiver %q for %q at %q until %s\n", w.Rule, w.For, w.Endpoint, w.Until.UTC().Format(time.RFC3339))
	}
	now := c.Now
	if now.IsZero() {
		now = time.Now()
	}
	problems, overruns := s.checkIndex(ctx, now)
	if len(problems) > 0 {
		return nil, problems
	}
	s.warnings = append(sortedProblems(s.warnings), overruns...)
	for _, src := range sources {
		if src.name != librarySource && src.digest == "" {
			s.unbound = append(s.unbound, build.sources[src].unbound(settings.bindings)...)
		}
	}
	s.enumerate(ctx, now)
	s.principals = principalsOf(c.Accounts, now)
	s.digest = hex.EncodeToString(digest.Sum(nil))
	return s, nil
}

func (s *Set) add(b *binding) {
	switch sc := b.scope; {
	case sc.everyone:
		s.everyone = append(s.everyone, b)
	case sc.key != "":
		s.byKey[sc.key] = append(s.byKey[sc.key], b)
	case sc.team != "":
		t := team{sc.organisation, sc.team}
		s.byTeam[t] = append(s.byTeam[t], b)
	default:
		s.byOrg[sc.organisation] = append(s.byOrg[sc.organisation], b)
	}
}

// all is every binding, in a fixed order.
func (s *Set) all() []*binding {
	found := slices.Clone(s.everyone)
	for _, org := range slices.Sorted(maps.Keys(s.byOrg)) {
		found = append(found, s.byOrg[org]...)
	}
	for _, t := range slices.SortedFunc(maps.Keys(s.byTeam), func(a, b team) int {
		return cmp.Or(strings.Compare(a.organisation, b.organisation), strings.Compare(a.team, b.team))
	}) {
		found = append(found, s.byTeam[t]...)
	}
	for _, key := range slices.Sorted(maps.Keys(s.byKey)) {
		found = append(found, s.byKey[key]...)
	}
	return found
}

// Digest identifies policies, parameters and waivers, SHA-256 in hex.
func (s *Set) Digest() string { return s.digest }

// Generation is Config.Generation.
func (s *Set) Generation() uint64 { return s.generation }

func writeDigest(w io.Writer, b *scopedBinding, src *source) {
	params, _ := json.Marshal(b.Params) // TOML values always marshal
	fmt.Fprintf(w, "%q for %q %s until %s params %s source %q\n", b.Package, b.scope, b.Enforcement, b.Until.UTC().Format(time.RFC3339), params, src.name)
	for _, file := range sortedFiles(src.modules) {
		fmt.Fprintf(w, "%q %x\n", file, sha256.Sum256(src.texts[file]))
	}
}

// library is read and compiled once: it is part of the program.
var library = sync.OnceValues(func() (*source, config.Problems) { return readLibrary() })

func (c *Config) readSources(ctx context.Context, s *settings) (read []*source, used []taken, found config.Problems) {
	lib, problems := c.library()
	sources := []*source{lib}
	byName := map[string]sourceConfig{}
	for _, sc := range s.sources {
		if sc.Name == librarySource {
			problems = append(problems, sc.Problem("name", "%q is the source that ships with Chaperone; choose another name", sc.Name))
			continue
		}
		if first, ok := byName[sc.Name]; ok {
			problems = append(problems, sc.Problem("name", "%q is also the name of the source at %s; choose another", sc.Name, first))
			continue
		}
		byName[sc.Name] = sc
		if sc.Name == "" {
			continue // reported by Decode
		}
		src, from, found := c.readSource(ctx, sc)
		problems = append(problems, found...)
		if src != nil && len(found) == 0 {
			sources = append(sources, src)
		}
		if from != nil {
			used = append(used, *from)
		}
	}
	return sources, used, problems
}

// readSource reads one source, and says what was taken where that is a bundle.
func (c *Config) readSource(ctx context.Context, sc sourceConfig) (*source, *taken, config.Problems) {
	if c.Archive != nil {
		src, problems := c.archived(sc)
		return src, nil, problems
	}
	if sc.Path != "" {
		src, problems := readDirectory(sc)
		return src, nil, problems
	}
	v, problems := sc.verification()
	if len(problems) > 0 {
		return nil, nil, problems
	}
	if !sc.address() {
		src, problems := readBundleFile(sc, v)
		h := c.Bundles.history(sc, v)
		if len(problems) == 0 && h != nil {
			if why := h.refuses(src.digest, src.revision); why != "" {
				problems = config.Problems{sc.Problem("bundle", "found %q: the bundle is refused: %s", sc.Bundle, why)}
			}
		}
		if len(problems) > 0 {
			return src, nil, problems
		}
		return src, &taken{source: src, history: h}, nil
	}
	r, problems := c.Bundles.remote(sc, v, c.Env)
	if len(problems) > 0 {
		return nil, nil, problems
	}
	newest, err := r.newest(ctx, c.Bundles)
	if err != nil {
		return nil, nil, config.Problems{sc.Problem("bundle", "%s: %v", sc.Bundle, err)}
	}
	src := *newest.source
	src.remote = r
	return &src, &taken{&src, r.history, r, newest}, nil
}

// owner is where a package is defined.
type owner struct {
	source *source
	file   string
}

// ownership finds the one source of every package. Rego merges the modules of a package, so a second source could add
// `allow if true` to somebody else's policy; sources are compiled apart, and a claim to another's package is an error.
func ownership(sources []*source) (map[string]owner, config.Problems) {
	owners := map[string]owner{}
	var problems config.Problems
	for _, src := range sources {
		for _, file := range sortedFiles(src.modules) {
			m := src.modules[file]
			pkg := m.Package.Path.String()
			first, taken := owners[pkg]
			switch {
			case taken && first.source != src:
				problems = append(problems, problemAt(m.Package.Location, "package %s belongs to source %q (%s); a second source may not add to it, choose another package",
					strings.TrimPrefix(pkg, "data."), first.source.name, first.file))
			case src.name != librarySource && (pkg == "data.library" || strings.HasPrefix(pkg, "data.library.")):
				problems = append(problems, problemAt(m.Package.Location, "package %s: names below library are kept for the library that ships with Chaperone; choose another package", strings.TrimPrefix(pkg, "data.")))
			case !taken:
				owners[pkg] = owner{src, file}
			}
		}
	}
	return owners, problems
}

// same says whether two bindings say the same of the same principals.
func (b *scopedBinding) same(other *scopedBinding) bool {
	return b.Package == other.Package && b.scope == other.scope && b.Enforcement == other.Enforcement && b.Until.Equal(other.Until) && reflect.DeepEqual(b.Params, other.Params)
}

// find is the source of the binding's package; nil, and why, where there is none. Where a source is missing, because it could
// not be read, a package may be missing for that reason.
func (b *scopedBinding) find(owners map[string]owner, sources []*source, incomplete bool) (*source, config.Problems) {
	if b.Package == "" {
		return nil, nil // reported by Decode
	}
	if b.Source != "" && !incomplete && !slices.ContainsFunc(sources, func(s *source) bool { return s.name == b.Source }) {
		names := make([]string, len(sources))
		for i, s := range sources {
			names[i] = s.name
		}
		return nil, config.Problems{b.Problem("source", "%s", config.UnknownName("source", b.Source, names))}
	}
	o, ok := owners["data."+b.Package]
	if !ok && incomplete {
		return nil, nil
	}
	if !ok {
		var among []string
		for pkg := range owners {
			among = append(among, strings.TrimPrefix(pkg, "data."))
		}
		return nil, config.Problems{b.Problem("package", "%s", config.UnknownName("package", b.Package, among))}
	}
	if b.Source != "" && o.source.name != b.Source {
		return nil, config.Problems{b.Problem("source", "package %s is not in source %q but in %q", b.Package, b.Source, o.source.name)}
	}
	return o.source, nil
}

// builder compiles each source once and each (package, parameters) once.
type builder struct {
	sources  map[*source]*compiled
	checked  map[string]bool // packages found good; false: refused
	policies map[string]*policy
	timeout  time.Duration
	problems config.Problems
}

func (b *builder) compile(src *source) *compiled {
	if c, done := b.sources[src]; done {
		return c
	}
	c, problems := compileSource(src)
	b.problems = append(b.problems, problems...)
	b.sources[src] = c
	return c
}

var compiledLibrary = sync.OnceValues(func() (*compiled, config.Problems) {
	lib, _ := library()
	return compile(lib)
})

func compileSource(src *source) (*compiled, config.Problems) {
	if lib, _ := library(); src == lib {
		return compiledLibrary()
	}
	return compile(src)
}

func (b *builder) bind(ctx context.Context, sb *scopedBinding, src *source) *binding {
	c := b.compile(src)
	if c == nil {
		return nil
	}
	pkg := "data." + sb.Package
	good, done := b.checked[pkg]
	if !done {
		found := append(c.checkPackage(pkg), c.checkDeclaration(pkg)...)
		b.problems = append(b.problems, found...)
		good = len(found) == 0
		b.checked[pkg] = good
	}
	found := c.checkParams(sb, pkg)
	b.problems = append(b.problems, found...)
	if !good || len(found) > 0 {
		return nil
	}
	params, _ := json.Marshal(sb.Params) // TOML values always marshal
	id := pkg + " " + string(params)
	p := b.policies[id]
	if p == nil {
		var err error
		if p, err = newPolicy(ctx, c, pkg, sb.Params, b.timeout); err != nil {
			b.problems = append(b.problems, sb.Problem("package", "%v", err))
			return nil
		}
		b.policies[id] = p
	}
	return &binding{
		name:        sb.Package + " for " + sb.scope.String(),
		pkg:         sb.Package,
		policy:      p,
		scope:       sb.scope,
		layer:       sb.layer,
		params:      sb.Params,
		enforcement: sb.Enforcement,
		until:       sb.Until,
		ended:       sb.Problem("until", "%s ended on %s, and the binding denies since then; remove enforcement and until, or set a later day", sb.Enforcement, sb.Until.UTC().Format(time.DateOnly)),
		remote:      src.remote,
	}
}

func newPolicy(ctx context.Context, c *compiled, pkg string, params map[string]any, timeout time.Duration) (*policy, error) {
	p := &policy{pkg: pkg, metadata: c.graph.metadata, rules: c.described(pkg), places: c.placesOf(pkg), constants: c.constants(pkg, params), timeout: timeout, patterns: newPatterns(ctx)}
	var err error
	if p.store, p.txn, err = newStore(maps.Clone(params)); err != nil {
		return nil, err
	}
	for _, n := range c.graph.packages[pkg] {
		p.demands = p.demands || n.name() == ruleRequire
		if n.name() == ruleAllow && (p.allow == nil || before(n.rule.Location, p.allow)) {
			p.allow = n.rule.Location
		}
	}
	var errs [3]error
	p.row, errs[0] = newQuestion(c, pkg, ruleDeny, ruleAllow, ruleRequire)
	p.request, errs[1] = newQuestion(c, pkg, ruleReject)
	p.prefer, errs[2] = newQuestion(c, pkg, rulePrefer)
	return p, cmp.Or(errs[0], errs[1], errs[2])
}

// keyOf finds a client key by its id; one that is disabled or has expired is found too.
func keyOf(accounts *account.Accounts, id string) *account.Key {
	for _, key := range accounts.Keys() {
		if key.ID == id {
			return key
		}
	}
	return nil
}
