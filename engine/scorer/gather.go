package scorer

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"sync/atomic"

	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
)

// origin is what decides a column's values, and so how long they stand.
type origin int

const (
	fromRequest    origin = iota // or the time: they are found anew for each batch
	fromStatistics               // they stand for a view
	fromCatalog                  // they stand for a catalog
)

// Gatherer puts the columns of batches where a plugin reads them. What the catalog and the statistics alone decide it keeps
// in a table, so that a batch takes a load and a store for each value. It is safe for concurrent use.
type Gatherer struct {
	columns []gathered
	width   int // of the table: columns that are kept
	making  sync.Mutex
	table   atomic.Pointer[table]
}

type gathered struct {
	value Column
	from  origin
}

// table has the values of kept columns, row after row by Row.Index, as bits of float64.
type table struct {
	catalog *catalog.Catalog
	view    *telemetry.View
	values  []uint64
}

// NewGatherer resolves names of the vocabulary for rows. The error has every one that is not of it.
func NewGatherer(names []string) (*Gatherer, error) {
	g := &Gatherer{}
	var errs []error
	for _, name := range names {
		w, argument, err := find(columns, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		g.columns = append(g.columns, gathered{w.resolve(argument), w.from})
		if w.from != fromRequest {
			g.width++
		}
	}
	return g, errors.Join(errs...)
}

// Fill writes the columns of a batch: the value of column c for row i as a little-endian float64 at into[c*stride+8*i:]. What
// is not known is the one NaN of math.NaN: a payload must not carry anything in.
func (g *Gatherer) Fill(b *Batch, into []byte, stride int) {
	t := g.current(b)
	if t != nil {
		for i, row := range b.Rows {
			kept := t.values[row.Index*g.width : (row.Index+1)*g.width]
			at, k := 8*i, 0
			for c := range g.columns {
				if g.columns[c].from != fromRequest {
					binary.LittleEndian.PutUint64(into[at:], kept[k])
					k++
				}
				at += stride
			}
		}
	}
	for c := range g.columns {
		if t != nil && g.columns[c].from != fromRequest {
			continue
		}
		for i := range b.Rows {
			binary.LittleEndian.PutUint64(into[c*stride+8*i:], bits(g.columns[c].value(b, i)))
		}
	}
}

// current is the table for a batch; nil where the values have to be found one by one: the batch is of no catalog, or of a view
// that another has followed, or somebody else is just making the table.
func (g *Gatherer) current(b *Batch) *table {
	t := g.table.Load()
	if t != nil && t.catalog == b.Catalog && t.view == b.Stats {
		return t
	}
	if b.Catalog == nil || g.width == 0 || t != nil && t.catalog == b.Catalog && older(b.Stats, t.view) || !g.making.TryLock() {
		return nil
	}
	defer g.making.Unlock()
	next := g.make(b, t)
	g.table.Store(next)
	return next
}

func older(a, b *telemetry.View) bool { return b != nil && (a == nil || a.Tick < b.Tick) }

// make makes the table for a batch's catalog and view; what last has of that catalog is taken over.
func (g *Gatherer) make(b *Batch, last *table) *table {
	t := &table{catalog: b.Catalog, view: b.Stats, values: make([]uint64, g.width*len(b.Catalog.Rows))}
	all := Batch{Rows: b.Catalog.Rows, Stats: b.Stats}
	same := last != nil && last.catalog == b.Catalog
	k := 0
	for _, column := range g.columns {
		if column.from == fromRequest {
			continue
		}
		for i := range all.Rows {
			at := i*g.width + k
			if same && column.from == fromCatalog {
				t.values[at] = last.values[at]
			} else {
				t.values[at] = bits(column.value(&all, i))
			}
		}
		k++
	}
	return t
}

// bits are those of a float64, with one NaN.
func bits(v float64) uint64 {
	if v != v {
		v = math.NaN()
	}
	return math.Float64bits(v)
}
