package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tetratelabs/wazero"

	"chaperone/engine/scorer"
	"chaperone/engine/wasm/binary"
	"chaperone/engine/wasm/meter"
)

// Load verifies, compiles and starts a plugin: what it returns has a full pool. h may be nil. The error wraps one of this
// package's; where the manifest is at fault, config.Problems too.
func Load(ctx context.Context, h *Host, c Config) (*Plugin, error) {
	p, err := load(ctx, h, c)
	if err != nil {
		return nil, fmt.Errorf("plugin %s %w", c.label(), err)
	}
	return p, nil
}

// label names a plugin in a message.
func (c Config) label() string {
	if c.Name != "" && c.Path == "" {
		return c.Name
	}
	return strings.TrimSpace(c.Name + " " + c.Path)
}

func load(ctx context.Context, h *Host, c Config) (*Plugin, error) {
	module := c.Bytes // those that are verified are those that are compiled
	if module == nil {
		var err error
		if module, err = ReadModule(c.Path); err != nil {
			return nil, err
		}
	}
	if len(module) > meter.Default.Bytes {
		return nil, errLarge
	}
	sum := sha256.Sum256(module)
	digest := hex.EncodeToString(sum[:])
	if c.SHA256 != "" && !strings.EqualFold(c.SHA256, digest) {
		return nil, fmt.Errorf("%w: its SHA-256 is %s, should be %s", ErrPin, digest, strings.ToLower(c.SHA256))
	}
	signer, signature, err := c.checkSignature(module)
	if err != nil {
		return nil, err
	}
	wasi, manifestText, err := inspect(module)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(c.Path+"["+manifestSection+"]", manifestText)
	if err != nil {
		return nil, fmt.Errorf("%w:\n%w", ErrManifest, err)
	}
	p := &Plugin{
		name: c.Name, digest: digest, signer: signer, signature: signature, manifest: m, limits: c.Limits.withDefaults(wasi),
		statePath: c.State, borrows: c.Borrowed,
		closed: make(chan struct{}),
	}
	p.fuel = fuelFor(m.Fuel, p.limits.Fuel)
	if p.name == "" {
		p.name = m.Name
	}
	if err := p.resolve(); err != nil {
		return nil, err
	}
	if p.configuration, err = configurationJSON(c.Configuration); err != nil {
		return nil, err
	}
	p.layout = newLayout(m, len(p.configuration))
	limits := meter.Default
	limits.MemoryPages, limits.CodeBytes = p.limits.MemoryPages, p.limits.CodeBytes
	metered, err := meter.Rewrite(module, limits, often...)
	if err != nil {
		return nil, fmt.Errorf("%w: it %w%s", ErrModule, err, raised(err))
	}

	if p.host = h; h == nil {
		if p.host, err = NewHost("", nil); err != nil {
			return nil, err
		}
		p.ownsHost = true
	}
	p.log = p.host.log
	p.runtime = newRuntime(ctx, p.host.cache)
	size := c.Pool
	if size <= 0 {
		size = defaultPool()
	}
	if m.Stateful {
		size = 1
	}
	p.pool = newPool(size)
	err = p.start(ctx, metered, len(c.Configuration) > 0)
	if err == nil && c.Golden != nil {
		again := c
		again.Bytes, again.Trusted = module, nil // what has been verified, whatever the files hold by now
		err = c.Golden.verify(ctx, p.host, again)
	}
	if err != nil {
		for _, in := range p.pool.free {
			in.close()
		}
		p.release()
		return nil, err
	}
	if m.Stateful {
		p.learner.stop, p.learner.stopped = make(chan struct{}), make(chan struct{})
		go p.learn()
	}
	return p, nil
}

// raised says which setting raises the limit that a module exceeds, where one does.
func raised(err error) string {
	switch {
	case errors.Is(err, meter.ErrCode):
		return "; code_bytes under [[scorers]] raises that"
	case errors.Is(err, meter.ErrMemory):
		return "; memory_bytes under [[scorers]] raises that"
	default:
		return ""
	}
}

// often is the exports that are called often.
var often = []string{"chaperone_score", "chaperone_observe"}

// open opens a file that is one: a pipe would keep its reader waiting, and a device does not end.
func open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is no regular file", path)
	}
	return os.Open(path)
}

// ReadModule reads a module's file, no more of it than a module may have.
func ReadModule(path string) ([]byte, error) {
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRead, err)
	}
	defer f.Close()
	module, err := io.ReadAll(io.LimitReader(f, int64(meter.Default.Bytes)+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRead, err)
	}
	if len(module) > meter.Default.Bytes {
		return nil, errLarge
	}
	return module, nil
}

var errLarge = fmt.Errorf("%w: it is larger than %d bytes", ErrModule, meter.Default.Bytes)

// What a module brings that a message tells, and what its manifest may be.
const (
	maxTold     = 10
	maxManifest = 64 << 10
)

// inspect checks what can be told from the sections: it finds the manifest, refuses imports that there are not, and says
// whether the module uses WASI.
func inspect(module []byte) (wasi bool, manifest []byte, err error) {
	all, err := binary.Sections(module)
	if err != nil {
		return false, nil, fmt.Errorf("%w: it %w", ErrModule, err)
	}
	manifests, refusals := 0, 0
	var refused []string
	for _, s := range all {
		if s.ID == binary.Custom && s.Name == manifestSection {
			manifest = s.Content
			manifests++
		}
		if s.ID != binary.Import {
			continue
		}
		wanted, err := binary.Imports(s.Content)
		if err != nil {
			return false, nil, fmt.Errorf("%w: %w", ErrModule, err)
		}
		for _, i := range wanted {
			if _, ok := hostFunctions[i.Module][i.Name]; !ok || i.Kind != binary.KindFunction {
				if refusals++; refusals <= maxTold {
					refused = append(refused, fmt.Sprintf("%s (%s)", shown(i.String()), i.KindName()))
				}
			}
			wasi = wasi || i.Module == wasiModule
		}
	}
	if manifests != 1 {
		return false, nil, fmt.Errorf("%w: it has %d custom sections %q, should have exactly one (chaperone plugin pack adds it)",
			ErrManifest, manifests, manifestSection)
	}
	if more := refusals - maxTold; more > 0 {
		refused = append(refused, fmt.Sprintf("and %d more", more))
	}
	if len(manifest) > maxManifest {
		return false, nil, fmt.Errorf("%w: it has %d bytes, at most %d are read", ErrManifest, len(manifest), maxManifest)
	}
	if len(refused) > 0 {
		return false, nil, fmt.Errorf("%w: %s; there are chaperone.log and the functions of %s for clock, randomness, "+
			"standard output and files", ErrImport, strings.Join(refused, ", "), wasiModule)
	}
	return wasi, manifest, nil
}

// resolve looks the manifest's names up in the vocabulary.
func (p *Plugin) resolve() error {
	m := p.manifest
	var wrong []string
	var err error
	if p.columns, err = scorer.NewGatherer(m.Columns); err != nil {
		wrong = append(wrong, "columns: "+strings.ReplaceAll(err.Error(), "\n", "; columns: "))
	}
	for _, name := range m.Request {
		field, err := scorer.ResolveRequest(name)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("request: %v", err))
		}
		p.request = append(p.request, field)
	}
	for _, name := range m.Observe {
		value, err := resolveObserved(name)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("observe: %v", err))
		}
		p.observed = append(p.observed, value)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s", ErrManifest, strings.Join(wrong, "; "))
	}
	return nil
}

func configurationJSON(configuration map[string]any) ([]byte, error) {
	if configuration == nil {
		return []byte("{}"), nil
	}
	text, err := json.Marshal(configuration)
	if err != nil {
		return nil, fmt.Errorf("%w: the configuration cannot be said in JSON: %w", ErrInit, err)
	}
	return text, nil
}

// start compiles the module, checks its shape and fills the pool.
func (p *Plugin) start(ctx context.Context, metered []byte, configured bool) (err error) {
	if p.compiled, err = compile(ctx, p.runtime, metered); err != nil && p.host.dir != "" {
		// A crash or a disk may have damaged what was kept, which must not keep a plugin from loading.
		first := err
		_ = p.runtime.Close(ctx) // of which nothing has come yet
		p.runtime = newRuntime(ctx, nil)
		if p.compiled, err = compile(ctx, p.runtime, metered); err == nil {
			p.log.Error("the plugin cache is damaged and was not used; delete it", "plugin", p.name, "cache", p.host.dir, "error", first)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrModule, err)
	}
	if err := checkShape(p.compiled); err != nil {
		return err
	}
	if err := p.checkExports(configured); err != nil {
		return err
	}
	if err := offer(ctx, p.runtime); err != nil {
		return fmt.Errorf("%w: %w", ErrInit, err)
	}
	var state []byte
	if p.manifest.Stateful {
		if state, err = p.readState(); err != nil {
			return err
		}
		p.learner = &learner{wake: make(chan struct{}, 1), state: state, kept: state, owns: !p.borrows}
	}
	for range cap(p.pool.tokens) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", ErrInit, err)
		}
		in, err := p.newInstance(state)
		if err != nil && len(state) > 0 {
			in, err = p.startAnew(err)
		}
		if err != nil {
			return err
		}
		p.pool.put(in)
	}
	return nil
}

// checkExports holds what the manifest and the operator ask of the module to what it exports.
func (p *Plugin) checkExports(configured bool) error {
	functions := p.compiled.ExportedFunctions()
	_, p.configures = functions["chaperone_configure"]
	_, p.saves = functions["chaperone_save"]
	_, p.restores = functions["chaperone_restore"]
	_, observes := functions["chaperone_observe"]
	switch {
	case configured && !p.configures:
		return fmt.Errorf("%w: there is a configuration, but the plugin takes none: it does not export chaperone_configure", ErrExport)
	case len(p.observed) > 0 && !observes:
		return fmt.Errorf("%w: its manifest has observe, but it does not export chaperone_observe", ErrExport)
	case p.statePath != "" && !(p.manifest.Stateful && p.saves && p.restores):
		return fmt.Errorf("%w: there is a file for its state, but it keeps none: that takes stateful = true, chaperone_save and "+
			"chaperone_restore", ErrExport)
	}
	return nil
}

// newRuntime makes a runtime that compiles by way of a cache; nil: without one.
func newRuntime(ctx context.Context, cache wazero.CompilationCache) wazero.Runtime {
	config := wazero.NewRuntimeConfig().WithDebugInfoEnabled(false)
	if cache != nil {
		config = config.WithCompilationCache(cache)
	}
	return wazero.NewRuntimeWithConfig(ctx, config)
}

// compile turns a panic of the compiler, which no module should be able to cause, into an error: a plugin must not end the
// router.
func compile(ctx context.Context, rt wazero.Runtime, module []byte) (compiled wazero.CompiledModule, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the compiler panicked: %v", r)
		}
	}()
	return rt.CompileModule(ctx, module)
}
