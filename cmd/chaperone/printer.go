package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// printer writes what a command has found out to standard output.
type printer struct {
	w    io.Writer
	json bool
}

// print writes v as JSON where that is asked for, else calls table.
func (p *printer) print(v any, table func(io.Writer)) error {
	if p.json {
		e := json.NewEncoder(p.w)
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	table(t)
	return t.Flush()
}

// row writes the cells of one line of a table.
func row(w io.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = fmt.Sprint(c)
	}
	fmt.Fprintln(w, strings.Join(texts, "\t"))
}
