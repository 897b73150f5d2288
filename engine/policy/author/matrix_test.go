package author_test

import (
	"fmt"
	"strings"
	"testing"

	"chaperone/engine/catalog"
	"chaperone/engine/policy/author"
)

func lines(cells []author.Cell) []string {
	var out []string
	for _, c := range cells {
		line := fmt.Sprintf("%s %s %d/%d %d", c.Who, c.Model, len(c.Left), c.Rows, c.Providers)
		for _, r := range c.Removed {
			line += fmt.Sprintf(" %d×%s", r.Rows, r.Package)
		}
		if c.Short {
			line += " short"
		}
		out = append(out, line)
	}
	return out
}

func TestModelsAreAskedForWhatTheyAreFor(t *testing.T) {
	w := world(t, `
[models."acme/embed"]
context_length = 8192
output_modalities = ["embeddings"]
[[endpoints]]
model = "acme/embed"
provider = "beta"
price = { prompt = 0.1, completion = 0 }
[[policy.sources]]
name = "own"
path = "testdata"
[[policy.bindings]]
package = "acme.embeddings"
for = "everyone"
`)
	cells, err := w.Matrix(t.Context(), author.Coverage{Organisation: "open", At: now})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"org:open acme/embed 1/1 1", "org:open acme/large 0/3 0 3×acme.embeddings", "org:open acme/small 0/1 0 1×acme.embeddings"}
	if got := lines(cells); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestMatrixSaysWhatIsLeftAndWhatRemovedTheRest(t *testing.T) {
	w := world(t, bind("training", "")+`
[[policy.bindings]]
package = "library.residency"
for = "team:acme/fraud"
params = { regions = ["us"] }
`)
	for _, test := range []struct {
		name string
		c    author.Coverage
		want []string
	}{
		{"all", author.Coverage{MinProviders: 1}, []string{
			"org:acme acme/large 1/3 1 2×library.training",
			"org:acme acme/small 0/1 0 1×library.training short",
			"team:acme/fraud acme/large 0/3 0 2×library.residency 2×library.training short",
			"team:acme/fraud acme/small 0/1 0 1×library.training short",
			"org:open acme/large 3/3 3",
			"org:open acme/small 1/1 1",
		}},
		{"nothing is asked for", author.Coverage{Organisation: "open"}, []string{"org:open acme/large 3/3 3", "org:open acme/small 1/1 1"}},
		{"a provider is down", author.Coverage{Organisation: "open", MinProviders: 2, Without: []string{"beta"}}, []string{
			"org:open acme/large 2/3 2", "org:open acme/small 0/1 0 short",
		}},
		{"denied on purpose", author.Coverage{Organisation: "acme", MinProviders: 1, Without: []string{"alpha"}, DeniedOnPurpose: true, Model: "acme/large"}, []string{
			"org:acme acme/large 0/3 0 2×library.training short",
		}},
		{"denied on purpose to a team", author.Coverage{Organisation: "acme", MinProviders: 1, DeniedOnPurpose: true, Model: "acme/large"}, []string{
			"org:acme acme/large 1/3 1 2×library.training",
			"team:acme/fraud acme/large 0/3 0 2×library.residency 2×library.training",
		}},
	} {
		test.c.At = now
		cells, err := w.Matrix(t.Context(), test.c)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Join(lines(cells), "\n"), strings.Join(test.want, "\n"); got != want {
			t.Errorf("%s:\n%s\nshould be\n%s", test.name, got, want)
		}
	}
	for _, c := range []author.Coverage{{Organisation: "acne"}, {Model: "acme/larg"}, {Without: []string{"alph"}}} {
		if _, err := w.Matrix(t.Context(), c); err == nil || !strings.Contains(err.Error(), "did you mean") {
			t.Errorf("%+v: %v; should suggest a name", c, err)
		}
	}
}

func TestProvidersAtOneHostAreNotIndependent(t *testing.T) {
	row := func(provider, url string) *catalog.Row {
		return &catalog.Row{Provider: &catalog.Provider{ID: provider}, BaseURL: url}
	}
	a, b := row("a", "https://a.example/v1"), row("b", "https://b.example/v1")
	for _, test := range []struct {
		rows []*catalog.Row
		want int
	}{
		{nil, 0},
		{[]*catalog.Row{a}, 1},
		{[]*catalog.Row{a, a, row("a", "https://eu.a.example/v1")}, 1},
		{[]*catalog.Row{a, b}, 2},
		{[]*catalog.Row{a, row("c", "https://a.example/other")}, 1},
		{[]*catalog.Row{a, b, row("c", "https://a.example/v2"), row("c", "https://b.example/v2")}, 1},
	} {
		if got := author.Independent(test.rows); got != test.want {
			t.Errorf("%d rows have %d independent providers; should be %d", len(test.rows), got, test.want)
		}
	}
}
