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
	Key     string `json:"key,omitempty"`  // dotted path as TOML writes it
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
