package scorer

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

// Column is one resolved name of the vocabulary for rows: its value for b.Rows[row], NaN where it is not known.
type Column func(b *Batch, row int) float64

// RequestField is one resolved name of the vocabulary for requests, NaN where it is not known.
type RequestField func(b *Batch) float64

// Entry is one name of the vocabulary, or a family of names: "attr.NAME" stands for every name that begins with "attr.".
type Entry struct {
	List    string // where a plugin's manifest has it: columns | request
	Name    string
	Prefix  string // what the names of a family begin with; "" for a single name
	Unit    string
	Meaning string
	NaN     string // when it is NaN; "" for never
}

// Vocabulary is every name that Resolve and ResolveRequest know, in the order of the documentation.
func Vocabulary() []Entry {
	var all []Entry
	for i := range columns {
		all = append(all, columns[i].Entry)
	}
	for i := range fields {
		all = append(all, fields[i].Entry)
	}
	return all
}

// Resolve finds a name of the vocabulary for rows. The error lists the names that are near.
func Resolve(name string) (Column, error) {
	w, argument, err := find(columns, name)
	if err != nil {
		return nil, err
	}
	return w.resolve(argument), nil
}

// ResolveRequest finds a name of the vocabulary for requests. The error lists the names that are near.
func ResolveRequest(name string) (RequestField, error) {
	w, argument, err := find(fields, name)
	if err != nil {
		return nil, err
	}
	return w.resolve(argument), nil
}

// Absent says whether a column, though of the vocabulary, names something that no row of the catalog has: an attribute, a
// provider, a region, a quantization or a label. It is worth a warning.
func Absent(name string, cat *catalog.Catalog) bool {
	w, argument, err := find(columns, name)
	if err != nil || w.has == nil {
		return false
	}
	return !slices.ContainsFunc(cat.Rows, func(row *catalog.Row) bool { return w.has(row, argument) })
}

// word is an entry with what it stands for.
type word[F Column | RequestField] struct {
	Entry
	lower   bool                    // the rest of the name is an identifier in lower case
	from    origin                  // of rows: what decides their values
	resolve func(argument string) F // argument is the name without Prefix
	has     func(row *catalog.Row, argument string) bool
}

// listed says of words which list they belong to.
func listed[F Column | RequestField](list string, words []word[F]) []word[F] {
	for i := range words {
		words[i].List = list
	}
	return words
}

func find[F Column | RequestField](words []word[F], name string) (*word[F], string, error) {
	for i := range words {
		w := &words[i]
		argument, ok := strings.CutPrefix(name, w.Prefix)
		if w.Prefix == "" {
			ok = name == w.Name
		}
		if ok {
			return w, argument, w.check(name, argument)
		}
	}
	return nil, "", unknown(words[0].List, name)
}

// check says what is wrong with the rest of a family's name.
func (w *word[F]) check(name, argument string) error {
	if w.Prefix == "" {
		return nil
	}
	if key, _, _ := strings.Cut(argument, "="); key == "" {
		return fmt.Errorf("%q names nothing; it should be like %s", name, w.Name)
	}
	for _, r := range argument {
		if r == ' ' || !unicode.IsPrint(r) {
			return fmt.Errorf("%q has %q in it; a name has neither spaces nor control characters", name, r)
		}
	}
	if lower := strings.ToLower(argument); w.lower && argument != lower {
		return fmt.Errorf("%q would never hold, since such identifiers are in lower case; it should be %q", name, w.Prefix+lower)
	}
	return nil
}

func unknown(list, name string) error {
	// What stands behind the first dot or colon is taken for a family's argument, so that "provder:x" is near "provider:x".
	head := strings.IndexAny(name, ".:") + 1
	var there, close []string
	for _, e := range Vocabulary() {
		switch {
		case e.List == list && e.Prefix == "":
			there, close = append(there, e.Name), append(close, e.Name)
		case e.List == list:
			there = append(there, e.Name)
			if head > 0 {
				close = append(close, e.Prefix+name[head:])
			}
		case name == e.Name, e.Prefix != "" && strings.HasPrefix(name, e.Prefix):
			return fmt.Errorf("%q cannot stand under %s; it belongs under %s", name, list, e.List)
		}
	}
	if near := config.NearestN(name, 3, close); len(near) > 0 {
		return fmt.Errorf("%q is not known under %s; near it are %s", name, list, strings.Join(near, ", "))
	}
	return fmt.Errorf("%q is not known under %s, where there can be %s", name, list, strings.Join(there, ", "))
}
