package author_test

import (
	"strings"
	"testing"
)

func TestCasesHoldOrShowWhatIsOtherwise(t *testing.T) {
	w := world(t, bind("training", "")+bind("provider_tools", "")+bind("office_hours", `{ from_hour = 7, to_hour = 19, weekdays = ["monday"] }`))
	for _, test := range []struct {
		name, text string
		diff       string // of the one case; "": it holds
	}{
		{"providers", `permitted = ["alpha"]
denied = ["beta", "gamma"]
because = "training"`, ""},
		{"a row and a package", `denied = ["acme/large@beta#paid"]
because = "library.training"`, ""},
		{"nothing is permitted", `request = { tools = [{ type = "web_search" }] }
permitted = []`, ""},
		{"the request as JSON", `request = '{"tools": [{"type": "web_search"}]}'
denied = ["alpha"]
because = "tools"`, ""},
		{"a request of another API", `api = "messages"
request = { tools = [{ type = "web_search_20250305", name = "web_search" }] }
denied = ["alpha"]
because = "tools"`, ""},
		{"another time", `at = 2026-06-02T10:00:00Z
denied = ["alpha"]
because = "o'clock"`, ""},
		{"denied after all", `permitted = ["alpha", "beta"]`, "- permitted: beta\n+ denied:    acme/large@beta#paid: the terms say yes"},
		{"permitted after all", `denied = ["alpha"]`, "- denied:    alpha\n+ permitted: acme/large@alpha#paid"},
		{"something is permitted", `permitted = []`, "- permitted: nothing\n+ permitted: acme/large@alpha#paid"},
		{"for another reason", `denied = ["beta"]
because = "price"`, "- because:   price\n+ because:   acme/large@beta#paid: the terms"},
	} {
		text := "[[case]]\norg = \"acme\"\nmodel = \"acme/large\"\n" + test.text + "\n"
		results, problems := w.Cases(t.Context(), "cases_test.toml", []byte(text), now)
		if err := problems.Err(); err != nil || len(results) != 1 {
			t.Errorf("%s: %v, %d results", test.name, err, len(results))
			continue
		}
		diff := strings.Join(results[0].Diff, "\n")
		if results[0].OK != (test.diff == "") || !strings.HasPrefix(diff, test.diff) || results[0].Place != "cases_test.toml:1" {
			t.Errorf("%s: %+v; should have %q", test.name, results[0], test.diff)
		}
	}
}

func TestCasesThatAreNotRightSayNothingOfThePolicies(t *testing.T) {
	w := world(t, "")
	for _, test := range []struct{ text, want string }{
		{"", "holds no [[case]]"},
		{"[[cases]]", `cases_test.toml:1: cases: unknown key "cases"; did you mean "case"?`},
		{"[[case]]\norg = \"acne\"\nmodel = \"acme/large\"\npermitted = []", `cases_test.toml:2: case[0].org: unknown organisation "acne"; did you mean "acme"?`},
		{"[[case]]\norg = \"acme\"\nteam = \"frud\"\nmodel = \"acme/large\"\npermitted = []", `cases_test.toml:3: case[0].team`},
		{"[[case]]\norg = \"acme\"\nkey = \"key_1\"\nmodel = \"acme/large\"\npermitted = []", `cases_test.toml:3: case[0].key: no key "key_1" is in force`},
		{"[[case]]\norg = \"acme\"\nmodel = \"acme/larg\"\npermitted = []", `cases_test.toml:3: case[0].model: unknown model`},
		{"[[case]]\norg = \"acme\"\nmodel = \"acme/large\"", `cases_test.toml:1: case[0]: expects nothing`},
		{"[[case]]\norg = \"acme\"\nmodel = \"acme/large\"\npermitted = [\"alph\"]", `case[0].permitted[0]: unknown endpoint of acme/large "alph"; did you mean "alpha"?`},
		{"[[case]]\norg = \"acme\"\nmodel = \"acme/large\"\npermitted = []\nbecause = \"x\"", `case[0].because`},
		{"[[case]]\norg = \"acme\"\nmodel = \"acme/large\"\nrequest = 3\npermitted = []", `case[0].request: expected a table or JSON text`},
		{"[[case]]\norg = \"acme\"\nmodel = \"acme/large\"\nrequest = \"{\"\npermitted = []", `case[0].request: the request is not a JSON object`},
		{"[[case]]\norg = \"acme\"\nmodel = \"acme/large\"\napi = \"message\"\npermitted = []", `case[0].api: unknown API "message"; did you mean "messages"?`},
		{"[[case]]\norg = \"acme\"\nmodel = \"acme/large\"\nrequest = { input = \"a\" }\npermitted = []", `the request has input, and nothing that is asked in the API chat`},
		{"[[case]]\norg = \"acme\"\nmodel = \"acme/large\"\nallowed = []", `case[0].allowed: unknown key`},
	} {
		results, problems := w.Cases(t.Context(), "cases_test.toml", []byte(test.text), now)
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), test.want) || results != nil {
			t.Errorf("%q: %v; should have %q", test.text, err, test.want)
		}
	}
}
