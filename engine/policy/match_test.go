package policy

import (
	"strings"
	"testing"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
)

// A rule, or a parameter, that names what nothing has is not refused, since a catalog may lose a provider, and is warned of.
func TestWhatNothingHasIsWarnedOf(t *testing.T) {
	const never = ", so this never matches"
	named := func(params string) files {
		return files{"chaperone.toml": "[[policy.bindings]]\nfor = \"everyone\"\n" + params + "\n"}
	}
	for _, c := range []struct {
		name  string
		files files
		want  []string // one for each warning; none: there is none
	}{
		{"a provider", module(`deny contains "x" if input.endpoint.provider == "alhpa"`),
			[]string{`rego/p.rego:3: there is no provider "alhpa" in the catalog` + never + `; did you mean "alpha"?`}},
		{"a provider like no other", module(`deny contains "x" if input.endpoint.provider == "zzz"`), []string{`there is no provider "zzz" in the catalog` + never}},
		{"no provider", module(`deny contains "x" if input.endpoint.provider == ""`), []string{`there is no provider "" in the catalog`}},
		{"a provider on the left", module(`deny contains "x" if "alhpa" == input.endpoint.provider`), []string{`"alhpa"`}},
		{"a provider in a set", module(`deny contains "x" if input.endpoint.provider in {"alpha", "trianer", "silnet"}`), []string{`"silnet"`, `"trianer"`}},
		{"a provider in a table", module("blocked := [\"alhpa\"]\n\ndeny contains \"x\" if input.endpoint.provider in blocked"), []string{`p.rego:5: there is no provider "alhpa"`}},
		{"a provider as a key of a set", module("blocked := {\"alhpa\"}\n\ndeny contains \"x\" if blocked[input.endpoint.provider]"), []string{`"alhpa"`}},
		{"a provider as a key of a table", module("limits := {\"alhpa\": 1}\n\ndeny contains \"x\" if input.request.n > object.get(limits, input.endpoint.provider, 9)"), []string{`"alhpa"`}},
		{"a provider of a list that is walked", module("deny contains \"x\" if {\n\tsome p in [\"alhpa\"]\n\tinput.endpoint.provider == p\n}"), []string{`p.rego:5: there is no provider "alhpa"`}},
		{"a provider in a variable", module("deny contains \"x\" if {\n\tp := input.endpoint.provider\n\tp == \"alhpa\"\n}"), []string{`"alhpa"`}},
		{"a provider in lower case", module(`deny contains "x" if lower(input.endpoint.provider) == "alhpa"`), []string{`"alhpa"`}},
		{"a provider in a helper", module("blocked if input.endpoint.provider == \"alhpa\"\n\ndeny contains \"x\" if blocked"), []string{`p.rego:3: there is no provider "alhpa"`}},
		{"a model", module(`deny contains "x" if input.endpoint.model == "acme/lrage"`), []string{`there is no model "acme/lrage" in the catalog` + never + `; did you mean "acme/large"?`}},
		{"a model by its alias", module(`deny contains "x" if input.endpoint.model == "large"`), []string{`it is an alias: write "acme/large"`}},
		{"a model's author", module(`deny contains "x" if startswith(input.endpoint.model, "amce/")`), []string{`no model of the catalog fits startswith("amce/")` + never}},
		{"a pattern of models", module(`deny contains "x" if glob.match("amce/*", ["/"], input.endpoint.model)`), []string{`no model of the catalog fits glob.match("amce/*")`}},
		{"an expression of models", module(`deny contains "x" if regex.match("^amce/", input.endpoint.model)`), []string{`no model of the catalog fits regex.match("^amce/")`}},
		{"a model by what is sent", module(`deny contains "x" if input.request.model == "acme/large"`),
			[]string{`input.request.model is what the caller sends: "large" means the same model as "acme/large", and passes by; compare input.endpoint.model`}},
		{"a model by what is sent, in a set", module(`require contains {"store": false} if input.request.model in {"large", "other"}`), []string{`"acme/large" means the same model as "large"`}},
		{"any model but one that is sent", module("deny contains \"x\" if input.request.model != \"acme/large\"\n\ndeny contains \"y\" if not input.request.model in {\"acme/large\"}"), nil},
		{"a tag", module(`deny contains "x" if input.endpoint.tag == "alpha/fp8"`), []string{`there is no tag "alpha/fp8"`}},
		{"a row", module(`deny contains "x" if input.endpoint.id == "acme/large@alpha"`), []string{`there is no row "acme/large@alpha" in the catalog`}},
		{"a group of credentials", module(`deny contains "x" if input.endpoint.credentials == "piad"`), []string{`did you mean "paid"?`}},
		{"a certification", module(`deny contains "x" if "sco2" in input.endpoint.certifications`), []string{`there is no certification "sco2" in the catalog` + never + `; did you mean "soc2"?`}},
		{"an organisation", module(`deny contains "x" if input.principal.organisation == "acmee"`), []string{`there is no organisation "acmee" in the configuration` + never + `; did you mean "acme"?`}},
		{"a team", module(`deny contains "x" if input.principal.team == "fruad"`), []string{`did you mean "fraud"?`}},
		{"what is there", module("default preferred := \"none\"\n\npreferred := \"alpha\" if input.request.stream\n\ndeny contains \"x\" if input.endpoint.provider == preferred\n\ndeny contains \"y\" if {\n\tinput.endpoint.model == \"acme/large\"\n\t\"soc2\" in input.endpoint.certifications\n\tstartswith(input.endpoint.model, \"acme/\")\n\tlower(input.endpoint.jurisdiction) == \"de\"\n\tupper(input.endpoint.provider) == \"ALPHA\"\n\tinput.principal.team in {\"fraud\", \"\"}\n}"), nil},
		{"providers of the library", named(`package = "library.providers"` + "\n" + `params = { deny = ["alpha", "opena1"], allow = ["trianer"] }`),
			[]string{`chaperone.toml:4: policy.bindings[0].params.allow[0]: there is no provider "trianer"`, `chaperone.toml:4: policy.bindings[0].params.deny[1]: there is no provider "opena1" in the catalog` + never}},
		{"models of the library", named(`package = "library.models"` + "\n" + `params = { deny = ["amce/*"], allow = ["acme/*"] }`), []string{`params.deny[0]: no model of the catalog fits glob.match("amce/*")`}},
		{"certifications of the library", named(`package = "library.certifications"` + "\n" + `params = { required = ["soc2", "iso27OO1"] }`), []string{`params.required[1]: there is no certification "iso27OO1"`}},
		{"a parameter of one's own", withParams(`deny contains "x" if input.endpoint.provider in object.get(data.params, "names", [])`, "params = { max = 3, names = [\"alhpa\"] }\n"),
			[]string{`params.names[0]: there is no provider "alhpa"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := c.files.config(t)
			large := &catalog.Model{ID: "acme/large"}
			config.Catalog.Models, config.Catalog.Aliases = map[string]*catalog.Model{large.ID: large}, map[string]string{"large": large.ID}
			set, problems := Load(t.Context(), config)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			found := set.Warnings(today)
			if len(found) != len(c.want) {
				t.Fatalf("warned of %d things, not of %d:\n%v", len(found), len(c.want), found)
			}
			for i, want := range c.want {
				if !strings.Contains(found[i].String(), want) {
					t.Errorf("%s\ndoes not say\n%s", found[i], want)
				}
			}
		})
	}
}

// Where there are no accounts, or no rows, nothing is known of ids.
func TestWhatIsNotLoadedIsNotWarnedOf(t *testing.T) {
	config := module(`deny contains "x" if input.endpoint.provider == "beta"` + "\n\ndeny contains \"y\" if input.principal.organisation == \"other\"").config(t)
	config.Catalog, config.Accounts = nil, &account.Accounts{}
	set, problems := Load(t.Context(), config)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if found := set.Warnings(today); len(found) > 0 {
		t.Error(found)
	}
}
