package author

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone/engine/config"
	"chaperone/engine/policy"
)

// Description is what a package's metadata says of it.
type Description struct {
	Package     string      `json:"package"`
	Title       string      `json:"title"`
	Description string      `json:"description,omitempty"`
	Control     string      `json:"control,omitempty"`
	Severity    string      `json:"severity,omitempty"`
	File        string      `json:"file"`
	Parameters  []Parameter `json:"parameters"`
}

// Parameter is one that a binding gives.
type Parameter struct {
	Name        string `json:"name"`
	Type        string `json:"type"` // as in JSON Schema; "array of string"
	Description string `json:"description,omitempty"`
	Required    bool   `json:"required"`
	Default     any    `json:"default,omitempty"` // where the metadata states one
}

// Describe reads the metadata of every module below files that is no test; file names start with shown. Packages without
// metadata are listed too.
func Describe(files fs.FS, shown string) ([]Description, config.Problems) {
	var all []Description
	var problems config.Problems
	seen := map[string]int{}
	err := policy.EachModule(files, func(p string) error {
		file := path.Join(shown, p)
		text, err := fs.ReadFile(files, p)
		if err != nil {
			return err
		}
		m, found := policy.ParseModule(file, text)
		problems = append(problems, found...)
		if m == nil {
			return nil
		}
		d := describe(m, file)
		at, again := seen[d.Package]
		switch {
		case !again:
			seen[d.Package] = len(all)
			all = append(all, d)
		case d.Title != "" && all[at].Title == "": // a package in several files is described in one of them
			all[at] = d
		}
		return nil
	})
	if err != nil {
		problems = append(problems, config.Problem{File: shown, Message: err.Error()})
	}
	slices.SortFunc(all, func(a, b Description) int { return strings.Compare(a.Package, b.Package) })
	return all, problems
}

func describe(m *ast.Module, file string) Description {
	d := Description{Package: strings.TrimPrefix(m.Package.Path.String(), "data."), File: file, Parameters: []Parameter{}}
	for _, a := range m.Annotations {
		if a.Scope != "package" {
			continue
		}
		d.Title, d.Description = a.Title, strings.Join(strings.Fields(a.Description), " ")
		d.Control, d.Severity = custom(a, "control"), custom(a, "severity")
		for _, s := range a.Schemas {
			if s.Definition != nil && s.Path.String() == "data.params" {
				schema, _ := (*s.Definition).(map[string]any)
				d.Parameters = parameters(schema)
			}
		}
	}
	return d
}

func custom(a *ast.Annotations, name string) string {
	if v, ok := a.Custom[name]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

// parameters are those that a schema declares: the required ones first, each kind by name.
func parameters(schema map[string]any) []Parameter {
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	out := []Parameter{}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		s, _ := properties[name].(map[string]any)
		p := Parameter{Name: name, Required: slices.Contains(required, any(name)), Default: s["default"]}
		p.Type, _ = s["type"].(string)
		if items, ok := s["items"].(map[string]any); ok {
			p.Type += fmt.Sprintf(" of %v", items["type"])
		}
		p.Description, _ = s["description"].(string)
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b Parameter) int {
		switch {
		case a.Required == b.Required:
			return 0
		case a.Required:
			return -1
		}
		return 1
	})
	return out
}
