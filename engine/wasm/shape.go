package wasm

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// exported is the functions that the ABI knows, in the order in which the host calls them.
var exported = []struct {
	name            string
	params, results []api.ValueType
	required        bool
}{
	{"_initialize", nil, nil, false},
	{"chaperone_init", types("i"), types("i"), true},
	{"chaperone_configure", types("i"), types("i"), false},
	{"chaperone_score", types("i"), types("i"), true},
	{"chaperone_observe", types("i"), types("i"), false},
	{"chaperone_save", nil, types("I"), false},
	{"chaperone_restore", types("i"), types("i"), false},
}

// checkShape compares a module's exports and imports with the ABI and reports every difference with the expected form.
func checkShape(m wazero.CompiledModule) error {
	var wrong []string
	functions := m.ExportedFunctions()
	for _, want := range exported {
		f, ok := functions[want.name]
		switch {
		case !ok && want.required:
			wrong = append(wrong, fmt.Sprintf("%s %s is missing", want.name, signature(want.params, want.results)))
		case ok && !(slices.Equal(f.ParamTypes(), want.params) && slices.Equal(f.ResultTypes(), want.results)):
			wrong = append(wrong, fmt.Sprintf("%s should be %s, is %s", want.name,
				signature(want.params, want.results), signature(f.ParamTypes(), f.ResultTypes())))
		}
	}
	if _, ok := functions["_start"]; ok {
		wrong = append(wrong, "_start should not be there: build a reactor, not a command (Go: -buildmode=c-shared; C: -mexec-model=reactor)")
	}
	if _, ok := m.ExportedMemories()["memory"]; !ok {
		wrong = append(wrong, "a memory named memory is missing")
	}
	var err error
	if len(wrong) > 0 {
		err = fmt.Errorf("%w: %s", ErrExport, strings.Join(wrong, "; "))
	}
	return errors.Join(err, checkImports(m))
}

// checkImports compares the types of imports; that they may be imported is known by now.
func checkImports(m wazero.CompiledModule) error {
	var wrong []string
	for _, f := range m.ImportedFunctions() {
		module, name, _ := f.Import()
		want := hostFunctions[module][name]
		if !slices.Equal(f.ParamTypes(), want.params) || !slices.Equal(f.ResultTypes(), want.results) {
			wrong = append(wrong, fmt.Sprintf("%s.%s should be %s, is %s", module, name,
				signature(want.params, want.results), signature(f.ParamTypes(), f.ResultTypes())))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s", ErrImport, strings.Join(wrong, "; "))
	}
	return nil
}

func signature(params, results []api.ValueType) string {
	list := func(types []api.ValueType) string {
		names := make([]string, len(types))
		for i, t := range types {
			names[i] = api.ValueTypeName(t)
		}
		return "(" + strings.Join(names, ",") + ")"
	}
	return list(params) + " -> " + list(results)
}
