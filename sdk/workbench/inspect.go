package workbench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode"

	"github.com/tetratelabs/wazero"

	"chaperone/engine/scorer"
	"chaperone/engine/wasm"
	"chaperone/engine/wasm/meter"
)

// Description is what can be told of a module.
type Description struct {
	Name     string       `json:"name"`
	Version  string       `json:"version"`
	SHA256   string       `json:"sha256"` // of the file: what a pin says
	Bytes    int          `json:"bytes"`
	Columns  []string     `json:"columns"`
	Request  []string     `json:"request"`
	Rows     int          `json:"rows"`
	Scale    scorer.Scale `json:"scale"`
	Stateful bool         `json:"stateful"`
	Observe  []string     `json:"observe"`
	Imports  []string     `json:"imports"`
	Exports  []string     `json:"exports"`
	May      []string     `json:"may"`  // what it can do, in words
	Fuel     []Fuel       `json:"fuel"` // what made-up batches take
}

// Fuel is the instructions that a batch of so many rows takes.
type Fuel struct {
	Rows         int   `json:"rows"`
	Instructions int64 `json:"instructions"`
}

// Inspect describes a module that loads.
func Inspect(ctx context.Context, h *wasm.Host, module []byte, c wasm.Config) (*Description, error) {
	c.Bytes, c.Pool = module, 1
	p, err := wasm.Load(ctx, h, c)
	if err != nil {
		return nil, err
	}
	m := p.Manifest()
	fuel, err := burn(ctx, p)
	if err := errors.Join(err, p.Close(ctx)); err != nil {
		return nil, err
	}
	d := &Description{Name: m.Name, Version: m.Version, SHA256: p.Digest(), Bytes: len(module), Columns: m.Columns,
		Request: m.Request, Rows: m.Rows, Scale: m.Scale, Stateful: m.Stateful, Observe: m.Observe, Fuel: fuel}
	if err := d.boundary(ctx, module); err != nil {
		return nil, err
	}
	d.May = d.may()
	return d, nil
}

// burn measures what a row and the most rows take.
func burn(ctx context.Context, p *wasm.Plugin) ([]Fuel, error) {
	r := rand.New(rand.NewPCG(1, 0))
	var all []Fuel
	for _, rows := range slices.Compact([]int{1, p.Manifest().Rows}) {
		used := p.Stats().Fuel
		if _, err := p.ScoreTable(ctx, plausible(r, p.Manifest(), rows), rows); err != nil && !errors.Is(err, wasm.ErrAbstained) {
			return nil, err
		}
		all = append(all, Fuel{rows, p.Stats().Fuel - used})
	}
	return all, nil
}

// boundary lists what a module imports and exports. It looks at the module as the router would run it: an engine believes what a
// damaged name section says of its length.
func (d *Description) boundary(ctx context.Context, module []byte) error {
	limits := meter.Default
	limits.CodeBytes = limits.Bytes // it has been loaded with the limit that it has
	module, err := meter.Rewrite(module, limits)
	if err != nil {
		return err
	}
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer rt.Close(ctx)
	compiled, err := rt.CompileModule(ctx, module)
	if err != nil {
		return err
	}
	for _, f := range compiled.ImportedFunctions() {
		from, name, _ := f.Import()
		d.Imports = append(d.Imports, from+"."+name)
	}
	for name := range compiled.ExportedFunctions() {
		if !strings.HasPrefix(name, meter.Reserved) {
			d.Exports = append(d.Exports, printable(name))
		}
	}
	slices.Sort(d.Imports)
	slices.Sort(d.Exports)
	return nil
}

// printable is a name that a module has brought, in quotes where a terminal would take it for more than a name.
func printable(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%.100q", name)
	}
	return fmt.Sprintf("%.100s", name)
}

func (d *Description) may() []string {
	may := []string{fmt.Sprintf("read %d numbers of each permitted row, and %d of the request", len(d.Columns), len(d.Request)),
		"give each permitted row a score"}
	if slices.Contains(d.Imports, "chaperone.log") || slices.Contains(d.Imports, "wasi_snapshot_preview1.fd_write") {
		may = append(may, "write to the log, a few lines a second")
	}
	if slices.Contains(d.Imports, "wasi_snapshot_preview1.clock_time_get") {
		may = append(may, "ask for the time, which is the request's")
	}
	if slices.Contains(d.Imports, "wasi_snapshot_preview1.random_get") {
		may = append(may, "ask for randomness, which comes from the request's seed")
	}
	if d.Stateful {
		may = append(may, "keep what it learns from one request to the next")
	}
	return may
}
