package author

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/policy"
)

// testCase is one [[case]]: what the policies of a configuration should say, for people who write no Rego.
type testCase struct {
	config.Origin
	Name         string    `toml:"name"`
	Organisation string    `toml:"org"`
	Team         string    `toml:"team"`
	Key          string    `toml:"key"`
	Model        string    `toml:"model" check:"required"`
	API          string    `toml:"api"`
	Request      any       `toml:"request"`
	At           time.Time `toml:"at"`
	Permitted    []string  `toml:"permitted"`
	Denied       []string  `toml:"denied"`
	Because      string    `toml:"because"`
}

// CaseResult is what became of one case.
type CaseResult struct {
	Place string   `json:"place"` // file:line
	Name  string   `json:"name"`
	OK    bool     `json:"ok"`
	Diff  []string `json:"diff,omitempty"` // "- …" was expected, "+ …" was found
}

// Cases runs the tables of a file against w. The problems are mistakes of the file, which then says nothing of the policies.
func (w *World) Cases(ctx context.Context, path string, text []byte, now time.Time) ([]CaseResult, config.Problems) {
	doc, problems := config.Parse(path, text)
	if doc == nil {
		return nil, problems
	}
	problems = append(problems, doc.Only("case")...)
	var cases []testCase
	problems = append(problems, doc.Decode("case", &cases)...)
	if len(problems) == 0 && len(cases) == 0 {
		problems = config.Problems{{File: path, Message: "holds no [[case]]"}}
	}
	var results []CaseResult
	for i := range cases {
		c := &cases[i]
		rulings, found := w.rule(ctx, c, now)
		if problems = append(problems, found...); len(problems) > 0 {
			continue
		}
		r := CaseResult{Place: c.String(), Name: c.Name, Diff: c.diff(rulings)}
		if r.Name == "" {
			r.Name = strings.Join(slices.DeleteFunc([]string{c.Organisation, c.Team, c.Key, c.Model}, func(s string) bool { return s == "" }), " ")
		}
		r.OK = len(r.Diff) == 0
		results = append(results, r)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return results, nil
}

// rule judges the rows of a case, or says what is wrong with how it is written.
func (w *World) rule(ctx context.Context, c *testCase, now time.Time) ([]Ruling, config.Problems) {
	if c.Model == "" {
		return nil, nil // reported by Decode
	}
	if !c.At.IsZero() {
		now = c.At
	}
	var problems config.Problems
	report := func(key string, err error) ([]Ruling, config.Problems) {
		return nil, append(problems, c.Problem(key, "%v", err))
	}
	who, err := w.Who(c.Organisation, c.Team, c.Key, now)
	if err != nil {
		return report(subject(c), err)
	}
	model, err := w.Model(who, c.Model)
	if err != nil {
		return report("model", err)
	}
	body, err := requestText(c.Request)
	if err != nil {
		return report("request", err)
	}
	api, err := API(c.API, model)
	if err != nil {
		return report("api", err)
	}
	req, err := Request(api, c.Model, body)
	if err != nil {
		return report("request", err)
	}
	if c.Permitted == nil && c.Denied == nil {
		problems = append(problems, c.Problem("", "expects nothing: give permitted, denied or both"))
	}
	if c.Because != "" && len(c.Denied) == 0 {
		problems = append(problems, c.Problem("because", "says why what is denied; give denied"))
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"permitted", c.Permitted}, {"denied", c.Denied}} {
		for i, name := range list.names {
			if len(named(name, model.Rows)) == 0 {
				problems = append(problems, c.Problem(fmt.Sprintf("%s[%d]", list.key, i), "%s",
					config.UnknownName("endpoint of "+model.ID, name, namesOf(model.Rows))))
			}
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return w.Judge(ctx, who, req, model.Rows, now), nil
}

// subject is the key of a case that says who asks, most narrowly.
func subject(c *testCase) string {
	switch {
	case c.Key != "":
		return "key"
	case c.Team != "":
		return "team"
	}
	return "org"
}

// requestText is the request of a case as JSON: it is written as that or as a TOML table.
func requestText(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case map[string]any:
		text, err := json.Marshal(v)
		return string(text), err
	}
	return "", fmt.Errorf("expected a table or JSON text")
}

// named are the rows that a name stands for: all of a provider, those of a tag, or the one with that id.
func named(name string, rows []*catalog.Row) []*catalog.Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r *catalog.Row) bool {
		return r.Provider.ID != name && r.Tag != name && r.ID != name
	})
}

func namesOf(rows []*catalog.Row) []string {
	var names []string
	for _, r := range rows {
		names = append(names, r.Provider.ID, r.Tag, r.ID)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// diff is what was found otherwise than the case expects it.
func (c *testCase) diff(rulings []Ruling) []string {
	var diff []string
	of := func(name string) (in []Ruling) {
		for _, r := range rulings {
			if r.Row.Provider.ID == name || r.Row.Tag == name || r.Row.ID == name {
				in = append(in, r)
			}
		}
		return in
	}
	for _, name := range c.Permitted {
		if rows := of(name); !slices.ContainsFunc(rows, func(r Ruling) bool { return r.Permitted }) {
			diff = append(diff, "- permitted: "+name)
			for _, r := range rows {
				diff = append(diff, "+ denied:    "+denial(&r))
			}
		}
	}
	if c.Permitted != nil && len(c.Permitted) == 0 {
		for _, r := range rulings {
			if !r.Permitted {
				continue
			}
			if len(diff) == 0 {
				diff = append(diff, "- permitted: nothing")
			}
			diff = append(diff, "+ permitted: "+r.Row.ID)
		}
	}
	for _, name := range c.Denied {
		for _, r := range of(name) {
			switch {
			case r.Permitted:
				diff = append(diff, "- denied:    "+name, "+ permitted: "+r.Row.ID)
			case c.Because != "" && !slices.ContainsFunc(r.Denials, func(d policy.Reason) bool { return speaksOf(&d, c.Because) }):
				diff = append(diff, fmt.Sprintf("- because:   %s", c.Because), "+ because:   "+denial(&r))
			}
		}
	}
	return diff
}

// speaksOf says whether a case's because means that reason: its code, its package, or words of its message.
func speaksOf(d *policy.Reason, because string) bool {
	return d.Code == because || d.Package == because || strings.Contains(strings.ToLower(d.Message), strings.ToLower(because))
}

// denial is a row with the reasons that deny it.
func denial(r *Ruling) string {
	reasons := make([]string, len(r.Denials))
	for i := range r.Denials {
		reasons[i] = r.Denials[i].Message + " (" + Place(&r.Denials[i]) + ")"
	}
	return r.Row.ID + ": " + strings.Join(reasons, "; ")
}
