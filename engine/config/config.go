// Package config reads TOML strictly: every mistake in a file is reported at once, with the file, the line, the key,
// what was found and what would be right.
package config

import (
	"fmt"
	"sort"
	"strings"
)

// Problem is one mistake in an input file.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"` // 1-based; 0 where a problem has no line (a missing file)
	Key     string `json:"key,omitempty"`  // dotted path as TOML writes it; the nth table of an array is keys[n], from 0
	Message string `json:"message"`        // what was found, then what would be right
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Key != "" {
		fmt.Fprintf(&b, ": %s", p.Key)
	}
	fmt.Fprintf(&b, ": %s", p.Message)
	return b.String()
}

// Problems is every mistake that was found; it is an error when it is not empty.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns ps sorted by file and line as an error, or nil where there is no problem.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	sort.SliceStable(ps, func(i, j int) bool {
		if ps[i].File != ps[j].File {
			return ps[i].File < ps[j].File
		}
		return ps[i].Line < ps[j].Line
	})
	return ps
}

// Origin is where a table was written. A struct that embeds it has it filled by Decode, so that checks which need the
// whole configuration can still name file, line and key.
type Origin struct {
	doc  *Document
	path string
}

// Problem says what is wrong with a key of the table that o stands for; key "" is the table itself. A key below is dotted
// ("price.prompt"), an element of an array is "regions[1]". A key that is not written gets the line of its table.
func (o Origin) Problem(key, format string, args ...any) Problem {
	p := Problem{Key: join(o.path, key), Message: fmt.Sprintf(format, args...)}
	if o.doc != nil {
		p.File, p.Line = o.doc.path, o.doc.line(p.Key)
	}
	return p
}

// String is "file:line", for a problem elsewhere that has to name this place too.
func (o Origin) String() string {
	if o.doc == nil {
		return "(no file)"
	}
	return fmt.Sprintf("%s:%d", o.doc.path, o.doc.line(o.path))
}

// Document is the file that the table stands in; nil for the zero Origin.
func (o Origin) Document() *Document { return o.doc }
