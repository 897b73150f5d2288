package config

import (
	"fmt"
	"sort"
	"strings"
)

// Nearest is the name of among that was most likely meant by name, if any comes close enough to suggest.
func Nearest(name string, among []string) (string, bool) {
	found := NearestN(name, 1, among)
	if len(found) == 0 {
		return "", false
	}
	return found[0], true
}

// NearestN are up to n names of among that come close to name, the nearest first, ties in alphabetical order. Letter
// case counts little, and a name that lacks only what stands before its slash ("gpt-4o" for "openai/gpt-4o") is near.
func NearestN(name string, n int, among []string) []string {
	const longest = 200 // names come from requests too: no quadratic work for a megabyte
	if name == "" || len(name) > longest {
		return nil
	}
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	limit := max(1, len(name)/3)
	for _, other := range among {
		if len(other) > longest {
			continue
		}
		d := distance(strings.ToLower(name), strings.ToLower(other))
		if _, slug, ok := strings.Cut(other, "/"); ok && !strings.Contains(name, "/") {
			d = min(d, 1+distance(strings.ToLower(name), strings.ToLower(slug)))
		}
		if d <= limit {
			near = append(near, candidate{other, d})
		}
	}
	sort.Slice(near, func(i, j int) bool {
		if near[i].distance != near[j].distance {
			return near[i].distance < near[j].distance
		}
		return near[i].name < near[j].name
	})
	names := make([]string, 0, n)
	for _, c := range near[:min(n, len(near))] {
		names = append(names, c.name)
	}
	return names
}

// UnknownName says that a name does not exist and which one was meant, or else which there are.
func UnknownName(kind, name string, among []string) string {
	if near, ok := Nearest(name, among); ok {
		return fmt.Sprintf("unknown %s %q; did you mean %q?", kind, name, near)
	}
	const shown = 30
	sorted := append([]string(nil), among...)
	sort.Strings(sorted)
	switch {
	case len(sorted) == 0:
		return fmt.Sprintf("unknown %s %q; there is none here", kind, name)
	case len(sorted) > shown:
		return fmt.Sprintf("unknown %s %q; there are %s and %d more", kind, name, strings.Join(sorted[:shown], ", "), len(sorted)-shown)
	}
	return fmt.Sprintf("unknown %s %q; expected %s", kind, name, oneOf(sorted))
}

// NotOneOf says that a value is none of those that it could be.
func NotOneOf(found string, among []string) string {
	if near, ok := Nearest(found, among); ok {
		return fmt.Sprintf("found %q; did you mean %q?", found, near)
	}
	return fmt.Sprintf("found %q; expected %s", found, oneOf(among))
}

// distance counts the insertions, deletions, substitutions and swaps of neighbours from a to b (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}
