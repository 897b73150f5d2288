package wasm

import (
	"context"
	"fmt"
	"time"
)

// Table is the input of one call as numbers, without a catalog: for golden vectors and for trying a plugin out.
type Table struct {
	Columns [][]float64 // one per name of the manifest's columns, each with a value per row
	Request []float64   // one per name of the manifest's request
	Now     time.Time
	Seed    uint64
}

// ScoreTable scores rows candidates that are given as numbers.
func (p *Plugin) ScoreTable(ctx context.Context, t *Table, rows int) ([]float64, error) {
	if err := p.checkTable(t, rows); err != nil {
		return nil, err
	}
	scores := make([]float64, rows)
	if err := p.run(ctx, rows, t.Now, t.Seed, nil, t, scores); err != nil {
		return nil, err
	}
	return scores, nil
}

func (p *Plugin) checkTable(t *Table, rows int) error {
	if len(t.Columns) != len(p.manifest.Columns) {
		return fmt.Errorf("a table of %d columns, the plugin has %d", len(t.Columns), len(p.manifest.Columns))
	}
	for i, c := range t.Columns {
		if len(c) != rows {
			return fmt.Errorf("column %s has %d values for %d rows", p.manifest.Columns[i], len(c), rows)
		}
	}
	if len(t.Request) != len(p.request) {
		return fmt.Errorf("a table of %d request fields, the plugin has %d", len(t.Request), len(p.request))
	}
	return nil
}

func (t *Table) fill(a arena) {
	for c, values := range t.Columns {
		into := a.column(c, len(values))
		for row, v := range values {
			putFloat(into[8*row:], v)
		}
	}
	for i, v := range t.Request {
		putFloat(a.requestField(i), v)
	}
}
