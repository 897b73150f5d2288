package catalog_test

import (
	"fmt"
	"strings"
	"testing"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

const base = `
[providers.a]
dialect = "openai"
base_url = "https://a.example.com/v1"
credentials.paid = { key_env = "A" }
[providers.b]
dialect = "openai"
base_url = "https://b.example.com/v1"
credentials.paid = { key_env = "B" }
[models."x/one"]
context_length = 1000
[models."x/two"]
context_length = 1000
[[endpoints]]
model = "x/one"
provider = "a"
price = { prompt = 1, completion = 1 }
[[endpoints]]
model = "x/one"
provider = "a"
variant = "fast"
price = { prompt = 2, completion = 2 }
[[endpoints]]
model = "x/two"
provider = "b"
price = { prompt = 3, completion = 3 }
[aliases]
one = "x/one"
two = "x/two"
`

func overlaid(t *testing.T, own string) (*catalog.Catalog, config.Problems) {
	t.Helper()
	docs := parse(t, base, own)
	return catalog.LoadOver(docs[:1], docs[1:], environment)
}

func TestAnEntryOfOnesOwnTakesThePlaceOfTheOtherWhole(t *testing.T) {
	for _, c := range []struct {
		what, own string
		want      func(*catalog.Catalog) string
		is        string
	}{
		{"nothing", "", func(c *catalog.Catalog) string { return rowIDs(c) },
			"x/one@a#paid x/one@a/fast#paid x/two@b#paid"},
		{"a provider, with its groups", `[providers.a]
dialect = "openai"
base_url = "https://proxy.example.com/v1"
[providers.a.credentials.eu]
key_env = "OURS"`, func(c *catalog.Catalog) string { return rowIDs(c) + " " + c.Row("x/one@a/fast#eu").BaseURL },
			"x/one@a#eu x/one@a/fast#eu x/two@b#paid https://proxy.example.com/v1"},
		{"a model", `[models."x/one"]
context_length = 500`, func(c *catalog.Catalog) string { return fmt.Sprint(c.Row("x/one@a#paid").ContextLength) }, "500"},
		{"an endpoint and not its variants", `[[endpoints]]
model = "x/one"
provider = "a"
disabled = true
price = { prompt = 9, completion = 9 }`, func(c *catalog.Catalog) string {
			r, v := c.Row("x/one@a#paid"), c.Row("x/one@a/fast#paid")
			return fmt.Sprint(r.Disabled, r.Prices.Prompt, v.Disabled, v.Prices.Prompt)
		}, "true 0.000009 false 0.000002"},
		{"an alias", `aliases.one = "x/two"`, func(c *catalog.Catalog) string { return c.Aliases["one"] + " " + c.Aliases["two"] }, "x/two x/two"},
		{"an alias, by a model of that name", `[models."ours/m"]
context_length = 10
[aliases]
m = "ours/m"`, func(c *catalog.Catalog) string { return c.Aliases["m"] + " " + c.Aliases["one"] }, "ours/m x/one"},
		{"what is added", `[[endpoints]]
model = "x/two"
provider = "a"
price = { prompt = 4, completion = 4 }`, func(c *catalog.Catalog) string { return rowIDs(c) },
			"x/one@a#paid x/one@a/fast#paid x/two@a#paid x/two@b#paid"},
	} {
		cat, problems := overlaid(t, c.own)
		if problems != nil {
			t.Errorf("%s: %v", c.what, problems)
		} else if got := c.want(cat); got != c.is {
			t.Errorf("%s: %s; should be %s", c.what, got, c.is)
		}
	}
}

func rowIDs(c *catalog.Catalog) string {
	var ids []string
	for _, r := range c.Rows {
		ids = append(ids, r.ID)
	}
	return strings.Join(ids, " ")
}

func TestOnlyTheBaseGivesWay(t *testing.T) {
	docs := parse(t, base, `aliases.one = "x/one"`, `aliases.one = "x/two"`)
	_, problems := catalog.LoadOver(docs[:1], docs[1:], environment)
	if got, want := problems.Error(), `catalog2.toml:1: aliases.one: alias "one" is already in catalog1.toml:1; one of the two must go`; got != want {
		t.Errorf("says %s; should say %s", got, want)
	}
}

func TestABaseURLTakesVariablesFromTheEnvironment(t *testing.T) {
	src := `
[providers.a]
dialect = "openai"
base_url = "https://${RESOURCE}.example.com/${NO_PATH}/${NO_PATH}"
credentials.paid = { key_env = "A" }
[providers.own]
dialect = "openai"
base_url = "${SERVER}"
credentials.none = { auth = "none", free = true }
[models."x/one"]
context_length = 1000
[[endpoints]]
model = "x/one"
provider = "a"
price = { prompt = 1, completion = 1 }
[[endpoints]]
model = "x/one"
provider = "own"
`
	values := map[string]string{"RESOURCE": "acme", "A": "sk-a"}
	read := func() (*catalog.Catalog, config.Problems) {
		return catalog.Load(parse(t, src), func(name string) (string, bool) { v, ok := values[name]; return v, ok })
	}
	usable := func() string {
		c, problems := read()
		if problems != nil {
			t.Fatal(problems)
		}
		a, own := c.Providers["a"], c.Providers["own"]
		return fmt.Sprint(a.Missing, a.Groups[0].Usable(), own.Missing, own.Groups[0].Usable(), " ", a.BaseURL, " ", own.BaseURL)
	}
	if got, want := usable(), "[NO_PATH] false [SERVER] false https://${RESOURCE}.example.com/${NO_PATH}/${NO_PATH} ${SERVER}"; got != want {
		t.Errorf("is %s; should be %s", got, want)
	}
	values["NO_PATH"], values["SERVER"] = " v1\n", "http://127.0.0.1:8000/v1/"
	if got, want := usable(), "[] true [] true https://acme.example.com/v1/v1 http://127.0.0.1:8000/v1"; got != want {
		t.Errorf("is %s; should be %s", got, want)
	}
	values["SERVER"] = "127.0.0.1:8000"
	if _, problems := read(); problems == nil || !strings.Contains(problems.Error(), "catalog0.toml:8: providers.own.base_url: found") {
		t.Errorf("a value that is no URL is accepted: %v", problems)
	}
	src = strings.ReplaceAll(src, "${SERVER}", "${sk-secret!}")
	if _, problems := read(); problems == nil || !strings.Contains(problems.Error(), "expected the name of an environment variable in the braces") {
		t.Errorf("a name that is none is accepted: %v", problems)
	}
}

func TestASourceIsCheckedForWhatItIs(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{`price = { as_of = 2026-01-01 }`, "sources.price.evidence: missing"},
		{`price = { evidence = "https://a" }`, "sources.price.as_of: missing"},
		{`prise = { evidence = "https://a", as_of = 2026-01-01 }`, `sources.prise: unknown statement "prise"; did you mean "price"?`},
		{`price = { evidence = "https://a", as_of = 2026-01-02, review_by = 2026-01-01 }`, "sources.price.review_by: found 2026-01-01, before as_of = 2026-01-02"},
	} {
		src := strings.Replace(base, "credentials.paid", "sources."+c.source+"\ncredentials.paid", 1)
		if _, problems := catalog.Load(parse(t, src), environment); problems == nil || !strings.Contains(problems.Error(), c.want) {
			t.Errorf("%s says %v; should say %s", c.source, problems, c.want)
		}
	}
}
