package wasm

import (
	"regexp"

	"chaperone/engine/config"
	"chaperone/engine/scorer"
)

// manifestSection is the custom section that holds the manifest.
const manifestSection = "chaperone.plugin"

// Manifest is what a plugin says of itself in its custom section chaperone.plugin.
type Manifest struct {
	ABI      int
	Kind     string
	Name     string
	Version  string
	Columns  []string // names of the row vocabulary, in the order in which the plugin finds them
	Request  []string // names of the request vocabulary, likewise
	Rows     int      // the most candidates that it accepts in one call
	Scale    scorer.Scale
	Stateful bool
	Observe  []string
	Fuel     Fuel // what it wants; 0: as the host has it
}

// The bounds of a manifest. They keep an arena far below the smallest memory limit's reach of overflow.
const (
	maxManifestRows  = 65536
	maxManifestNames = 256
)

var pluginName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// parseManifest reads a manifest strictly. The error is config.Problems with every mistake in it.
func parseManifest(path string, src []byte) (*Manifest, error) {
	doc, problems := config.Parse(path, src)
	if len(problems) > 0 {
		return nil, problems.Err()
	}
	var m Manifest
	fields := []struct {
		key      string
		into     any
		required bool
	}{
		{"abi", &m.ABI, true}, {"kind", &m.Kind, true}, {"name", &m.Name, true}, {"version", &m.Version, true},
		{"columns", &m.Columns, true}, {"request", &m.Request, false}, {"rows", &m.Rows, true}, {"scale", &m.Scale, true},
		{"stateful", &m.Stateful, false}, {"observe", &m.Observe, false}, {"fuel", &m.Fuel, false},
	}
	keys := make([]string, len(fields))
	bad := func(key, format string, args ...any) {
		problems = append(problems, doc.Problem(key, format, args...))
	}
	for i, f := range fields {
		keys[i] = f.key
		if f.required && !doc.Has(f.key) {
			bad(f.key, "is missing")
		}
		problems = append(problems, doc.Decode(f.key, f.into)...)
	}
	problems = append(problems, doc.Only(keys...)...)
	if len(problems) > 0 {
		return nil, problems.Err()
	}

	if m.ABI != 1 {
		bad("abi", "is %d, should be 1, the only version that this host speaks", m.ABI)
	}
	switch m.Kind {
	case "scorer":
	case "label":
		bad("kind", `is "label", which is reserved for content classifiers, should be "scorer"`)
	default:
		bad("kind", `is %q, should be "scorer"`, m.Kind)
	}
	if !pluginName.MatchString(m.Name) {
		bad("name", "is %q, should be 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit", m.Name)
	}
	if m.Version == "" || len(m.Version) > 64 || m.Version != oneLine([]byte(m.Version)) {
		bad("version", "is %q, should be 1 to 64 characters that can be printed", m.Version)
	}
	if m.Rows < 1 || m.Rows > maxManifestRows {
		bad("rows", "is %d, should be 1 to %d", m.Rows, maxManifestRows)
	}
	if m.Scale != scorer.MinMax && m.Scale != scorer.Unit {
		bad("scale", `is %q, should be "minmax" or "unit"`, m.Scale)
	}
	unique(m.Columns, "columns", bad)
	unique(m.Request, "request", bad)
	unique(m.Observe, "observe", bad)
	if len(m.Observe) > 0 && !m.Stateful {
		bad("observe", "names %d columns, but stateful is false: only a stateful plugin can learn", len(m.Observe))
	}
	for b := range budgets {
		if n := *m.Fuel.of(b); n < 0 {
			bad("fuel."+b.String(), "is %d, should not be negative", n)
		}
	}
	if len(problems) > 0 {
		return nil, problems.Err()
	}
	return &m, nil
}

// CheckManifest reads a manifest as Load does, and holds its names to the vocabulary. The error is config.Problems.
func CheckManifest(path string, src []byte) error {
	m, err := parseManifest(path, src)
	if err != nil {
		return err
	}
	doc, problems := config.Parse(path, src)
	for _, list := range []struct {
		key     string
		names   []string
		resolve func(name string) error
	}{
		{"columns", m.Columns, func(name string) error { _, err := scorer.Resolve(name); return err }},
		{"request", m.Request, func(name string) error { _, err := scorer.ResolveRequest(name); return err }},
		{"observe", m.Observe, func(name string) error { _, err := resolveObserved(name); return err }},
	} {
		for _, name := range list.names {
			if err := list.resolve(name); err != nil {
				problems = append(problems, doc.Problem(list.key, "%v", err))
			}
		}
	}
	return problems.Err()
}

func unique(names []string, key string, bad func(key, format string, args ...any)) {
	if len(names) > maxManifestNames {
		bad(key, "has %d names, should have at most %d", len(names), maxManifestNames)
	}
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if seen[name] {
			bad(key, "names %q twice", name)
		}
		seen[name] = true
	}
}
