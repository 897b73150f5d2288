// Package scorer is the Go SDK for Chaperone's scorer plugins. It needs nothing but the standard library; a plugin is built
// with the stock toolchain:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags="-s -w" -o plugin.wasm
//
// A plugin embeds its manifest, asks by name for the columns and request fields that it declares there, and hands over a
// function:
//
//	//go:embed manifest.toml
//	var manifest string
//
//	func init() {
//		plugin := scorer.New(manifest)
//		price := plugin.Column("price.expected")
//		plugin.Score(func(b *scorer.Batch) error {
//			prices := b.Column(price)
//			for row := range b.Scores {
//				b.Scores[row] = -prices[row]
//			}
//			return nil
//		})
//	}
//
//	func main() {}
//
// On other platforms than wasip1 the package compiles and runs nothing but tests: see [Plugin.Run].
package scorer

import (
	"errors"
	"math"
	"slices"
)

// ErrAbstain is returned by a scoring function that has no opinion on this request.
var ErrAbstain = errors.New("abstain")

// Plugin is one scorer.
type Plugin struct {
	columns, request, observe []string
	configure                 func(json []byte) error
	score                     func(b *Batch) error
	learn                     func(a *Attempts) error
	save                      func() []byte
	restore                   func(saved []byte) error
}

// New makes the module's one plugin from the text of its manifest. It panics, which refuses the module at load, where the
// manifest's lists cannot be read.
func New(manifest string) *Plugin {
	p := &Plugin{}
	var err error
	if p.columns, err = stringList(manifest, "columns"); err != nil {
		panic(err)
	}
	if p.request, err = stringList(manifest, "request"); err != nil {
		panic(err)
	}
	if p.observe, err = stringList(manifest, "observe"); err != nil {
		panic(err)
	}
	serve(p)
	return p
}

// Column is a column's place in the manifest.
type Column int

// Column finds a column of the manifest; it panics where there is none of that name.
func (p *Plugin) Column(name string) Column {
	i := slices.Index(p.columns, name)
	if i < 0 {
		panic("column " + name + " is not in the manifest's columns")
	}
	return Column(i)
}

// Field is a request field's place in the manifest.
type Field int

// Field finds a request field of the manifest; it panics where there is none of that name.
func (p *Plugin) Field(name string) Field {
	i := slices.Index(p.request, name)
	if i < 0 {
		panic("request field " + name + " is not in the manifest's request")
	}
	return Field(i)
}

// Observed is the place in the manifest of what is observed of finished attempts.
type Observed int

// Observed finds a name of the manifest's observe; it panics where there is none of that name.
func (p *Plugin) Observed(name string) Observed {
	i := slices.Index(p.observe, name)
	if i < 0 {
		panic(name + " is not in the manifest's observe")
	}
	return Observed(i)
}

// Configure sets the function that is given the operator's configuration, a JSON object, once before the first batch. An
// error refuses the plugin at load, with its text in the message.
func (p *Plugin) Configure(f func(json []byte) error) { p.configure = f }

// Score sets the scoring function. It fills b.Scores, which are NaN (no opinion) before; higher is better. An error makes
// the scorer abstain for this request and costs the instance, ErrAbstain costs nothing.
func (p *Plugin) Score(f func(b *Batch) error) { p.score = f }

// Learn sets the function that is told of finished attempts, a stateful plugin's. An error costs the instance, and with it
// what was learned since it was last saved.
func (p *Plugin) Learn(f func(a *Attempts) error) { p.learn = f }

// Keep sets the functions by which what was learned outlives a trap, a reload and a restart: save gives it as bytes, which
// are good until the next call; restore takes over what an earlier instance saved, or says why it cannot.
func (p *Plugin) Keep(save func() []byte, restore func(saved []byte) error) {
	p.save, p.restore = save, restore
}

// Batch is the candidates of one request. It and its slices are good until the scoring function returns; values that are
// not known are NaN.
type Batch struct {
	Scores []float64 // one per row
	NowMS  float64   // Unix time in milliseconds
	Seed   uint64

	columns, request []float64
	capacity         int
}

// Column is the values of a column, one per row.
func (b *Batch) Column(c Column) []float64 {
	at := int(c) * b.capacity
	return b.columns[at : at+len(b.Scores)]
}

// Field is the value of a request field.
func (b *Batch) Field(f Field) float64 { return b.request[f] }

// Attempts is finished attempts. It and its slices are good until the function that it is given to returns; values that are
// not known are NaN.
type Attempts struct {
	Rows  int
	NowMS float64 // Unix time in milliseconds

	columns  []float64
	capacity int
}

// Column is what was observed of the attempts, one value each.
func (a *Attempts) Column(o Observed) []float64 {
	at := int(o) * a.capacity
	return a.columns[at : at+a.Rows]
}

// Run scores a batch without a host, for tests: columns by name with a value per row, request fields by name; what is not
// given is NaN.
func (p *Plugin) Run(nowMS float64, columns map[string][]float64, request map[string]float64) ([]float64, error) {
	rows := 0
	for name, values := range columns {
		if p.Column(name); rows != 0 && len(values) != rows {
			return nil, errors.New("column " + name + " has another number of values than the others")
		}
		rows = len(values)
	}
	b := &Batch{Scores: nans(rows), NowMS: nowMS, columns: nans(rows * len(p.columns)), request: nans(len(p.request)), capacity: rows}
	for name, values := range columns {
		copy(b.Column(p.Column(name)), values)
	}
	for name, value := range request {
		b.request[p.Field(name)] = value
	}
	return b.Scores, p.score(b)
}

func nans(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
	}
	return out
}

// Level is how important a line of the log is.
type Level int32

// The levels.
const (
	Debug Level = iota
	Info
	Warn
	Error
)
