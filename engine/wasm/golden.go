package wasm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// Golden is inputs of a plugin with the scores that it must give for them, bit for bit.
type Golden struct {
	Configuration map[string]any `json:"configuration"`
	Cases         []GoldenCase   `json:"cases"`
}

// GoldenCase is one batch. Columns and request fields are by name; those that the manifest has and the case does not are
// NaN. A stateful plugin is told of the attempts in Observe before it scores, and remembers the cases before.
type GoldenCase struct {
	Name    string              `json:"name"`
	NowMS   int64               `json:"now_ms"`
	Seed    uint64              `json:"seed"`
	Columns map[string][]Number `json:"columns"`
	Request map[string]Number   `json:"request"`
	Observe map[string][]Number `json:"observe,omitempty"`
	Scores  []Number            `json:"scores"`
}

// Number is a float64 in JSON: NaN is null, the infinities are "+Inf" and "-Inf". Numbers keep their bits.
type Number float64

// UnmarshalJSON reads a Number.
func (n *Number) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case "null":
		*n = Number(math.NaN())
	case `"+Inf"`:
		*n = Number(math.Inf(1))
	case `"-Inf"`:
		*n = Number(math.Inf(-1))
	default:
		var v float64
		if err := json.Unmarshal(text, &v); err != nil {
			return fmt.Errorf(`should be a number, null, "+Inf" or "-Inf", is %s`, text)
		}
		*n = Number(v)
	}
	return nil
}

// MarshalJSON writes a Number.
func (n Number) MarshalJSON() ([]byte, error) {
	switch v := float64(n); {
	case math.IsNaN(v):
		return []byte("null"), nil
	case math.IsInf(v, 1):
		return []byte(`"+Inf"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Inf"`), nil
	default:
		return json.Marshal(v)
	}
}

// ParseGolden reads golden vectors from JSON, strictly.
func ParseGolden(text []byte) (*Golden, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var g Golden
	if err := decoder.Decode(&g); err == io.EOF {
		return nil, errors.New("golden vectors: is empty; expected a JSON object")
	} else if err != nil {
		return nil, fmt.Errorf("golden vectors: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("golden vectors: something follows the object")
	}
	if len(g.Cases) == 0 {
		return nil, errors.New("golden vectors: there are no cases")
	}
	return &g, nil
}

// Verify loads a module twice with the vectors' own configuration and holds each fresh instance to every case. The error
// wraps ErrGolden where scores differ.
func (g *Golden) Verify(ctx context.Context, h *Host, c Config) error {
	if err := g.verify(ctx, h, c); err != nil {
		return fmt.Errorf("plugin %s %w", c.label(), err)
	}
	return nil
}

func (g *Golden) verify(ctx context.Context, h *Host, c Config) (err error) {
	c.Configuration, c.Pool, c.Golden, c.State = g.Configuration, 1, nil, ""
	for range 2 {
		p, failed := load(ctx, h, c)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, p.Close(ctx)) }() // the first at the end: the second has its compiled code
		if err = g.replay(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (g *Golden) replay(ctx context.Context, p *Plugin) error {
	for _, c := range g.Cases {
		if len(c.Observe) > 0 {
			if err := c.observe(ctx, p); err != nil {
				return fmt.Errorf("%w: case %q: observe: %w", ErrGolden, c.Name, err)
			}
		}
		t, err := c.table(p.manifest)
		if err != nil {
			return fmt.Errorf("%w: case %q: %w", ErrGolden, c.Name, err)
		}
		scores, err := p.ScoreTable(ctx, t, len(c.Scores))
		if err != nil {
			return fmt.Errorf("%w: case %q: %w", ErrGolden, c.Name, err)
		}
		for row, got := range scores {
			want := float64(c.Scores[row])
			if math.Float64bits(got) != math.Float64bits(want) && !(math.IsNaN(got) && math.IsNaN(want)) {
				return fmt.Errorf("%w: case %q: row %d scores %v, should be %v", ErrGolden, c.Name, row, got, want)
			}
		}
	}
	return nil
}

// observe tells a plugin of a case's attempts.
func (c *GoldenCase) observe(ctx context.Context, p *Plugin) error {
	attempts := 0
	for name, values := range c.Observe {
		if !slices.Contains(p.manifest.Observe, name) {
			return fmt.Errorf("%q is not in the manifest", name)
		}
		attempts = len(values) // ObserveTable reports where they differ
	}
	return p.ObserveTable(ctx, inOrder(p.manifest.Observe, c.Observe, attempts), time.UnixMilli(c.NowMS))
}

// inOrder puts columns in a manifest's order; those that are not there are NaN.
func inOrder(names []string, columns map[string][]Number, rows int) [][]float64 {
	var out [][]float64
	for _, name := range names {
		values := slices.Repeat([]float64{math.NaN()}, rows)
		if given, ok := columns[name]; ok {
			values = make([]float64, len(given)) // the wrong length is reported by who reads them
			for i, v := range given {
				values[i] = float64(v)
			}
		}
		out = append(out, values)
	}
	return out
}

// table puts a case in the manifest's order.
func (c *GoldenCase) table(m *Manifest) (*Table, error) {
	t := &Table{Now: time.UnixMilli(c.NowMS), Seed: c.Seed}
	for name := range c.Columns {
		if !slices.Contains(m.Columns, name) {
			return nil, fmt.Errorf("column %q is not in the manifest", name)
		}
	}
	for name := range c.Request {
		if !slices.Contains(m.Request, name) {
			return nil, fmt.Errorf("request field %q is not in the manifest", name)
		}
	}
	t.Columns = inOrder(m.Columns, c.Columns, len(c.Scores))
	for _, name := range m.Request {
		value, ok := c.Request[name]
		if !ok {
			value = Number(math.NaN())
		}
		t.Request = append(t.Request, float64(value))
	}
	return t, nil
}
