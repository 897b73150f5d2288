package policy

import (
	"strings"
	"testing"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
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
		{"a provider as a key that is walked", module("why := {\"alhpa\": \"a\", \"beta\": \"b\"}\n\ndeny contains reason if {\n\tsome p, reason in why\n\tinput.endpoint.provider == p\n}"), []string{`p.rego:7: there is no provider "alhpa"`}},
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
		{"a key", module(`deny contains "x" if input.principal.key == "key_0123456789ac"`), []string{`there is no key "key_0123456789ac" in the configuration` + never}},
		{"a label", module(`deny contains "x" if object.get(input.principal.labels, "stgae", "none") == "production"`),
			[]string{`there is no label "stgae" in the configuration, so the default always stands; did you mean "stage"?`}},
		{"the value of a label", module(`deny contains "x" if object.get(input.principal.labels, "stage", "none") == "prodution"`),
			[]string{`no label "stage" of the configuration has the value "prodution"` + never + `; did you mean "production"?`}},
		{"the value of a label in a variable", module("deny contains \"x\" if {\n\tstage := object.get(input.principal.labels, \"stage\", \"none\")\n\tlower(stage) in {\"prodution\", \"none\"}\n}"), []string{`p.rego:5: no label "stage" of the configuration has the value "prodution"`}},
		{"a row's label", module(`deny contains "x" if object.get(input.endpoint.labels, "teir", "") != "gold"`), []string{`there is no label "teir" in the catalog`}},
		{"the value of a row's label", module(`deny contains "x" if object.get(input.endpoint.labels, "tier", "") != "glod"`), []string{`no label "tier" of the catalog has the value "glod"`}},
		{"an attribute", module(`deny contains "x" if object.get(input.endpoint.attributes, "qualty", 0) < 0.5`), []string{`there is no attribute "qualty" in the catalog, so the default always stands`}},
		{"a kind of tool", module(`reject contains "x" if "web_serach" in input.request.tool_kinds`), []string{`input.request.tool_kinds is held against "web_serach", which is near to a word that is known and is none; did you mean "web_search"?`}},
		{"a kind of tool like no other", module(`reject contains "x" if "telepathy" in input.request.tool_kinds`), nil},
		{"a format", module(`reject contains "x" if input.request.response_format == "json-schema"`), []string{`did you mean "json_schema"?`}},
		{"an effort", module(`reject contains "x" if input.request.reasoning.effort == "hihg"`), []string{`did you mean "high"?`}},
		{"a claimed class", module(`reject contains "x" if input.claims.data_class == "restrcited"`), []string{`did you mean "restricted"?`}},
		{"a model that is sent, misspelt", module(`reject contains "x" if input.request.model == "acme/lrage"`), []string{`input.request.model is held against "acme/lrage"`}},
		{"a variant of a model that is sent", module(`reject contains "x" if input.request.model == "acme/large:nitro"`), nil},
		{"a scorer", module(`prefer["pirce"] := 2`), []string{`p.rego:3: prefer["pirce"]: found "pirce"; did you mean "price"?; where a policy names one that does not rank, the configured weights stand`}},
		{"labels that are there", module("deny contains \"x\" if {\n\tobject.get(input.principal.labels, \"stage\", \"none\") in {\"production\", \"none\"}\n\tobject.get(input.endpoint.labels, \"tier\", \"\") == \"gold\"\n\tobject.get(input.claims.metadata, \"anything\", \"\") == \"x\"\n}\n\nprefer[\"price\"] := 1"), []string{"reads input.claims.metadata"}},
		{"what is there", module("default preferred := \"none\"\n\npreferred := \"alpha\" if input.request.stream\n\ndeny contains \"x\" if input.endpoint.provider == preferred\n\ndeny contains \"y\" if {\n\tinput.endpoint.model == \"acme/large\"\n\t\"soc2\" in input.endpoint.certifications\n\tstartswith(input.endpoint.model, \"acme/\")\n\tlower(input.endpoint.jurisdiction) == \"de\"\n\tupper(input.endpoint.provider) == \"ALPHA\"\n\tinput.principal.team in {\"fraud\", \"\"}\n}"), nil},
		{"providers of the library", named(`package = "library.providers"` + "\n" + `params = { deny = ["alpha", "opena1"], allow = ["trianer"] }`),
			[]string{`chaperone.toml:4: policy.bindings[0].params.allow[0]: there is no provider "trianer"`, `chaperone.toml:4: policy.bindings[0].params.deny[1]: there is no provider "opena1" in the catalog` + never}},
		{"models of the library", named(`package = "library.models"` + "\n" + `params = { deny = ["amce/*"], allow = ["acme/*"] }`), []string{`params.deny[0]: no model of the catalog fits glob.match("amce/*")`}},
		{"certifications of the library", named(`package = "library.certifications"` + "\n" + `params = { required = ["soc2", "iso27OO1"] }`), []string{`params.required[1]: there is no certification "iso27OO1"`}},
		{"a parameter of one's own", withParams(`deny contains "x" if input.endpoint.provider in object.get(data.params, "names", [])`, "params = { max = 3, names = [\"alhpa\"] }\n"),
			[]string{`params.names[0]: there is no provider "alhpa"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := c.files.config(t)
			large := &catalog.Model{ID: "acme/large"}
			cfg.Accounts = accountsWithLabels(t)
			cfg.Scorers = []string{"price", "value"}
			cfg.Catalog.Models, cfg.Catalog.Aliases = map[string]*catalog.Model{large.ID: large}, map[string]string{"large": large.ID}
			set, problems := Load(t.Context(), cfg)
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

// accountsWithLabels are acme with a label, and a key.
func accountsWithLabels(t *testing.T) *account.Accounts {
	t.Helper()
	const text = "[organisations.acme]\nlabels = { stage = \"production\" }\n[organisations.acme.teams.fraud]\n" +
		"[[keys]]\norganisation = \"acme\"\nsha256 = \"0123456789ab0000000000000000000000000000000000000000000000000000\"\n"
	doc, problems := config.Parse("accounts.toml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	accounts, problems := account.Load([]*config.Document{doc}, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return accounts
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
