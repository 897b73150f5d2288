// Package workbench tries plugins out without a router: it holds them to the rules, scores tables with them, measures and
// describes them.
package workbench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"chaperone/engine/scorer"
	"chaperone/engine/wasm"
)

// Table is candidates as numbers: what one call of a plugin is made of.
type Table struct {
	Decision      string                 `json:"decision"` // that it is of; predicates that it does not have are then 0, not unknown
	NowMS         int64                  `json:"now_ms"`
	Seed          uint64                 `json:"seed"`
	Configuration map[string]any         `json:"configuration"`
	Rows          []Row                  `json:"rows"`
	Request       map[string]wasm.Number `json:"request"`
}

// Row is one candidate: its columns by name. A column that is not there is NaN.
type Row struct {
	ID      string
	Columns map[string]wasm.Number
}

// UnmarshalJSON reads a flat object: "id", and the columns.
func (r *Row) UnmarshalJSON(text []byte) error {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(text, &values); err != nil {
		return err
	}
	r.Columns = map[string]wasm.Number{}
	for name, value := range values {
		if name == "id" {
			if err := json.Unmarshal(value, &r.ID); err != nil {
				return fmt.Errorf("id should be a string, is %s", value)
			}
			continue
		}
		var n wasm.Number
		if err := n.UnmarshalJSON(value); err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
		r.Columns[name] = n
	}
	return nil
}

// ParseTable reads a table strictly: every name has to be of the vocabulary. The error says which is not, and what is near.
func ParseTable(text []byte) (*Table, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var t Table
	if err := decoder.Decode(&t); err == io.EOF {
		return nil, errors.New("is empty; expected a JSON object")
	} else if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("something follows the object")
	}
	if len(t.Rows) == 0 {
		return nil, errors.New("rows should have at least one row")
	}
	for i := range t.Rows {
		if t.Rows[i].ID == "" {
			t.Rows[i].ID = strconv.Itoa(i)
		}
		for name := range t.Rows[i].Columns {
			if _, err := scorer.Resolve(name); err != nil {
				return nil, fmt.Errorf("rows[%d]: %w", i, err)
			}
		}
	}
	for name := range t.Request {
		if _, err := scorer.ResolveRequest(name); err != nil {
			return nil, fmt.Errorf("request: %w", err)
		}
	}
	return &t, nil
}

// in puts a table into the order of a plugin's manifest. What the manifest does not name is left out.
func (t *Table) in(m *wasm.Manifest) *wasm.Table {
	number := func(values map[string]wasm.Number, name string) float64 {
		if v, ok := values[name]; ok {
			return float64(v)
		}
		if t.Decision != "" && scorer.Predicate(name) {
			return 0
		}
		return math.NaN()
	}
	out := &wasm.Table{Now: time.UnixMilli(t.NowMS), Seed: t.Seed}
	for _, name := range m.Columns {
		column := make([]float64, len(t.Rows))
		for i := range t.Rows {
			column[i] = number(t.Rows[i].Columns, name)
		}
		out.Columns = append(out.Columns, column)
	}
	for _, name := range m.Request {
		out.Request = append(out.Request, number(t.Request, name))
	}
	return out
}

// Missing is the names of a manifest that no row or the request of the table has: these are NaN.
func (t *Table) Missing(m *wasm.Manifest) []string {
	var missing []string
	for _, name := range m.Columns {
		if t.Decision != "" && scorer.Predicate(name) {
			continue
		}
		if !slices.ContainsFunc(t.Rows, func(r Row) bool { _, ok := r.Columns[name]; return ok }) {
			missing = append(missing, name)
		}
	}
	for _, name := range m.Request {
		if _, ok := t.Request[name]; !ok && !(t.Decision != "" && scorer.Predicate(name)) {
			missing = append(missing, name)
		}
	}
	return missing
}

// Scored is a row with the score that a plugin gave it.
type Scored struct {
	ID    string      `json:"id"`
	Score wasm.Number `json:"score"` // NaN: no opinion
}

// Score has a plugin score a table; the best row is first, those without an opinion are last.
func Score(ctx context.Context, p *wasm.Plugin, t *Table) ([]Scored, error) {
	scores, err := p.ScoreTable(ctx, t.in(p.Manifest()), len(t.Rows))
	if err != nil {
		return nil, err
	}
	out := make([]Scored, len(scores))
	for i, s := range scores {
		out[i] = Scored{t.Rows[i].ID, wasm.Number(s)}
	}
	slices.SortStableFunc(out, func(a, b Scored) int {
		switch x, y := float64(a.Score), float64(b.Score); {
		case x > y, !math.IsNaN(x) && math.IsNaN(y):
			return -1
		case x < y, math.IsNaN(x) && !math.IsNaN(y):
			return 1
		}
		return 0
	})
	return out, nil
}
