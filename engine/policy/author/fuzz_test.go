package author_test

import (
	"testing"

	"chaperone/engine/policy/author"
	"chaperone/engine/wire"
)

func FuzzRequest(f *testing.F) {
	for _, body := range []string{"", "{}", `{"tools": [{"type": "web_search"}]}`, `{"model": "x", "messages": []}`, `{"provider": {"only": ["a"]}}`, "null", "[", `{"messages": null}`} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		req, err := author.Request(wire.Chat, "acme/large", body)
		if (req == nil) != (err != nil) {
			t.Errorf("%q gives %v and %v", body, req, err)
		}
	})
}

func FuzzCases(f *testing.F) {
	for _, text := range []string{
		"[[case]]\norg = \"acme\"\nmodel = \"acme/large\"\npermitted = []\n",
		"[[case]]\norg = \"acme\"\nteam = \"fraud\"\nmodel = \"acme/large\"\nrequest = { tools = [{ type = \"web_search\" }] }\ndenied = [\"alpha\"]\nbecause = \"x\"\n",
		"[[case]]\norg = \"acme\"\nmodel = \"acme/large\"\nat = 2026-01-01\nrequest = \"{}\"\ndenied = [\"acme/large@alpha#paid\"]\n",
		"case = 3", "[case]", "",
	} {
		f.Add(text)
	}
	w := world(f, bind("training", ""))
	f.Fuzz(func(t *testing.T, text string) {
		results, problems := w.Cases(t.Context(), "cases_test.toml", []byte(text), now)
		if (len(results) == 0) != (len(problems) > 0) {
			t.Errorf("%q gives %d results and %d problems", text, len(results), len(problems))
		}
		for _, r := range results {
			if r.OK != (len(r.Diff) == 0) || r.Place == "" || r.Name == "" {
				t.Errorf("%q gives %+v", text, r)
			}
		}
	})
}
