package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tetratelabs/wazero"

	"chaperone/engine/scorer"
)

// What a module may have at most.
const (
	maxModuleBytes   = 32 << 20
	maxFunctions     = 50_000
	maxTables        = 16
	maxTableElements = 65_536
)

// Load verifies, compiles and starts a plugin: what it returns has a full pool. h may be nil. The error wraps one of this
// package's; where the manifest is at fault, config.Problems too.
func Load(ctx context.Context, h *Host, c Config) (*Plugin, error) {
	p, err := load(ctx, h, c)
	if err != nil {
		label := c.Name
		if label == "" || c.Path != "" {
			label = strings.TrimSpace(c.Name + " " + c.Path)
		}
		return nil, fmt.Errorf("plugin %s %w", label, err)
	}
	return p, nil
}

func load(ctx context.Context, h *Host, c Config) (*Plugin, error) {
	module, err := read(c)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(module)
	digest := hex.EncodeToString(sum[:])
	if c.SHA256 != "" && !strings.EqualFold(c.SHA256, digest) {
		return nil, fmt.Errorf("%w: its SHA-256 is %s, should be %s", ErrPin, digest, strings.ToLower(c.SHA256))
	}
	guarded, wasi, manifestText, err := inspect(module)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(c.Path+"["+manifestSection+"]", manifestText)
	if err != nil {
		return nil, fmt.Errorf("%w:\n%w", ErrManifest, err)
	}
	p := &Plugin{
		name: c.Name, digest: digest, manifest: m, limits: c.Limits.withDefaults(wasi), closed: make(chan struct{}),
	}
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

	if p.host = h; h == nil {
		if p.host, err = NewHost("", nil); err != nil {
			return nil, err
		}
		p.ownsHost = true
	}
	p.log = p.host.log
	p.runtime = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().
		WithCompilationCache(p.host.cache).
		WithMemoryLimitPages(p.limits.MemoryPages).
		WithDebugInfoEnabled(false).
		WithCloseOnContextDone(true))
	size := c.Pool
	if size <= 0 {
		size = defaultPool()
	}
	p.pool = newPool(size)
	if err := p.start(ctx, guarded, len(c.Configuration) > 0); err != nil {
		p.pool.mu.Lock()
		for _, in := range p.pool.free {
			in.close()
		}
		p.pool.mu.Unlock()
		p.release()
		return nil, err
	}
	return p, nil
}

// read gives the module's bytes: those that are verified are those that are compiled.
func read(c Config) ([]byte, error) {
	module := c.Bytes
	if module == nil {
		f, err := os.Open(c.Path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRead, err)
		}
		defer f.Close()
		if module, err = io.ReadAll(io.LimitReader(f, maxModuleBytes+1)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRead, err)
		}
	}
	if len(module) > maxModuleBytes {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrModule, maxModuleBytes)
	}
	return module, nil
}

// inspect checks what can be told without compiling, and returns the module with its tables capped and its functions made
// interruptible, and its manifest.
func inspect(module []byte) (guarded []byte, wasi bool, manifest []byte, err error) {
	all, err := sections(module)
	if err != nil {
		return nil, false, nil, fmt.Errorf("%w: it %w", ErrModule, err)
	}
	manifests := 0
	guarded = append(make([]byte, 0, len(module)+len(module)/16), preamble...)
	for _, s := range all {
		content := s.content
		switch s.id {
		case sectionCustom:
			if s.name == manifestSection {
				manifest = s.content
				manifests++
			}
			// The name section is kept: traps then say in which function.
			if s.name == "name" {
				guarded = append(guarded, s.raw...)
			}
			continue
		case sectionTable:
			if n, _ := count(content); n > maxTables {
				return nil, false, nil, fmt.Errorf("%w: it has %d tables, at most %d are allowed", ErrModule, n, maxTables)
			}
			content, err = capTables(content, maxTableElements)
		case sectionFunction:
			var n uint32
			if n, err = count(content); err == nil && n > maxFunctions {
				err = fmt.Errorf("it has %d functions, at most %d are allowed", n, maxFunctions)
			}
		case sectionCode:
			content, err = checkEntries(content)
		}
		if err != nil {
			return nil, false, nil, fmt.Errorf("%w: %w", ErrModule, err)
		}
		guarded = appendSection(guarded, s.id, content)
	}
	if manifests != 1 {
		return nil, false, nil, fmt.Errorf("%w: it has %d custom sections %q, should have exactly one (chaperone plugin pack adds it)",
			ErrManifest, manifests, manifestSection)
	}
	wanted, err := imports(find(all, sectionImport).content)
	if err != nil {
		return nil, false, nil, fmt.Errorf("%w: %w", ErrModule, err)
	}
	var refused []string
	for _, i := range wanted {
		if _, ok := hostFunctions[i.module][i.name]; !ok || i.kind != 0 {
			refused = append(refused, fmt.Sprintf("%s (%s)", i, i.kindName()))
		}
		wasi = wasi || i.module == wasiModule
	}
	if len(refused) > 0 {
		return nil, false, nil, fmt.Errorf("%w: %s; there are chaperone.log and the functions of %s for clock, randomness, "+
			"standard output and files", ErrImport, strings.Join(refused, ", "), wasiModule)
	}
	return guarded, wasi, manifest, nil
}

// resolve looks the manifest's names up in the vocabulary.
func (p *Plugin) resolve() error {
	m := p.manifest
	if m.Stateful {
		return fmt.Errorf("%w: stateful = true: this host has no support for plugins that keep state, should be false", ErrManifest)
	}
	var wrong []string
	for _, name := range m.Columns {
		column, err := scorer.Resolve(name)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("columns: %v", err))
		}
		p.columns = append(p.columns, column)
	}
	for _, name := range m.Request {
		field, err := scorer.ResolveRequest(name)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("request: %v", err))
		}
		p.request = append(p.request, field)
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
func (p *Plugin) start(ctx context.Context, guarded []byte, configured bool) (err error) {
	if p.compiled, err = compile(ctx, p.runtime, guarded); err != nil {
		return fmt.Errorf("%w: %w", ErrModule, err)
	}
	if err := checkShape(p.compiled); err != nil {
		return err
	}
	_, p.configures = p.compiled.ExportedFunctions()["chaperone_configure"]
	if configured && !p.configures {
		return fmt.Errorf("%w: there is a configuration, but the plugin takes none: it does not export chaperone_configure", ErrExport)
	}
	if err := offer(ctx, p.runtime); err != nil {
		return fmt.Errorf("%w: %w", ErrInit, err)
	}
	for range cap(p.pool.tokens) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", ErrInit, err)
		}
		in, err := p.newInstance()
		if err != nil {
			return err
		}
		p.pool.put(in)
	}
	return nil
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
