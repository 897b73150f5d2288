package author_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone/engine/policy/author"
	"chaperone/engine/wire"
)

const hq = `# METADATA
# schemas:
#   - data.params: {type: object, additionalProperties: false, required: [seat], properties: {seat: {type: string}}}
package acme.seat

deny contains "its seat is elsewhere" if input.endpoint.headquarters != data.params.seat
`

func trial(t *testing.T, w *author.World, text, params string) (*author.Trial, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "seat.rego")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	tr, problems := author.NewTrial(t.Context(), w, file, []byte(text), params)
	return tr, problems.Err()
}

func TestATrialStandsBesideWhatIsBound(t *testing.T) {
	w := world(t, bind("training", ""))
	tr, err := trial(t, w, hq, `{ seat = "US" }`)
	if err != nil {
		t.Fatal(err)
	}
	who, err := w.Who("acme", "", "", now)
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.Model(who, "acme/large")
	if err != nil {
		t.Fatal(err)
	}
	req, err := author.Request(wire.Chat, "acme/large", "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range tr.Judge(t.Context(), who, req, m.Rows, now) {
		got = append(got, fmt.Sprintf("%s %t %t %t", r.Bound.Row.Provider.ID, r.Bound.Permitted, r.Trial.Permitted, r.Permitted()))
	}
	want := "alpha true false false, beta false true false, gamma false false false"
	if strings.Join(got, ", ") != want || tr.Package != "acme.seat" {
		t.Errorf("%s: %q; should be %q", tr.Package, got, want)
	}
}

func TestATrialThatCannotBeLoadedSaysWhy(t *testing.T) {
	w := world(t, "")
	for _, test := range []struct{ text, params, want string }{
		{hq, "", "seat: missing"},
		{hq, "{ seat = 1 }", "seat: found 1; expected string"},
		{hq, "{ set = 1 }", `unknown parameter of acme.seat "set"; did you mean "seat"?`},
		{hq, "{ seat = ", "expected TOML such as"},
		{"package a\n\ndeny contains 1 if {", "", "seat.rego:3: rego_parse_error"},
		{"package a\n\ndeny contains \"x\" if input.endpoint.hq == \"US\"", "", "seat.rego:3: "},
		{"", "", "seat.rego: "},
		{"package library.training\n\ndeny contains \"x\" if false", "", "belongs to source \"library\""},
	} {
		if _, err := trial(t, w, test.text, test.params); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q with %q: %v; should have %q", test.text, test.params, err, test.want)
		}
	}
}
