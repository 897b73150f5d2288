package policy

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"chaperone/engine/account"
)

const waivable = `# METADATA
# title: Long retention
# custom: { control: "GDPR-5.1e", severity: medium, waivable: true }
package org.p

deny contains {"code": "retention", "message": "kept too long"} if input.endpoint.data_policy.retention_days > 7

# METADATA
# title: Training
# custom: { severity: high, waivable: false }
deny contains {"code": "training", "message": "it trains"} if input.endpoint.data_policy.training == "yes"

# The same words from a rule that may be waived and from one that may not.
deny contains "both" if input.endpoint.provider == "trainer"

# METADATA
# custom: { waivable: false }
deny contains "both" if input.endpoint.provider == "trainer"
`

func waiverOf(rule, scope, endpoint, until string) string {
	return "[[policy.waivers]]\nrule = \"" + rule + "\"\nfor = \"" + scope + "\"\nendpoint = \"" + endpoint + "\"\nuntil = " + until + "\nticket = \"SEC-1\"\napproved_by = \"ann\"\n"
}

func waiving(waivers ...string) files {
	f := one(waivable)
	f["chaperone.toml"] += strings.Join(waivers, "")
	return f
}

func TestAWaiverExceptsFromOneRuleAtOneEndpointUntilADay(t *testing.T) {
	const american = "acme/large@american#paid"
	for _, c := range []struct {
		name, waiver, want string
		change             func(*Query)
	}{
		{"none", "", "alpha", nil},
		{"by row", waiverOf("org.p.deny", "everyone", american, "2026-11-23"), "alpha american", nil},
		{"by endpoint", waiverOf("org.p.deny", "everyone", "acme/large@american", "2026-11-23"), "alpha american", nil},
		{"by code", waiverOf("org.p.deny/retention", "org:acme", american, "2026-11-23"), "alpha american", nil},
		{"of another code", waiverOf("org.p.deny/training", "org:acme", american, "2026-11-23"), "alpha", nil},
		{"for the team", waiverOf("org.p.deny", "team:acme/fraud", american, "2026-11-23"), "alpha american", nil},
		{"for another organisation", waiverOf("org.p.deny", "org:other", american, "2026-11-23"), "alpha", nil},
		{"for another team", waiverOf("org.p.deny", "team:other/fraud", american, "2026-11-23"), "alpha", nil},
		{"asked without a team", waiverOf("org.p.deny", "team:acme/fraud", american, "2026-11-23"), "alpha", func(q *Query) { q.Principal.Team = nil }},
		{"that has ended", waiverOf("org.p.deny", "everyone", american, "2026-11-22"), "alpha", nil},
		{"that ends at midnight", waiverOf("org.p.deny", "everyone", american, "2026-11-23"), "alpha", func(q *Query) { q.Now = today.AddDate(0, 0, 1) }},
		{"of a rule that may not be waived", waiverOf("org.p.deny/training", "everyone", "acme/large@trainer", "2026-11-30"), "alpha", nil},
		{"of words that another rule says too", waiverOf("org.p.deny", "everyone", "acme/large@trainer", "2026-11-30"), "alpha", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := waiving(c.waiver).mustLoad(t)
			q := query()
			if c.change != nil {
				c.change(q)
			}
			set = set.on(q.Rows)
			for _, q.Now = range []time.Time{q.Now, q.Now} { // evaluated, then remembered
				if got := permitted(set.Judge(context.Background(), q)); got != c.want {
					t.Errorf("permitted %q, want %q", got, c.want)
				}
			}
		})
	}
}

func TestAWaiverIsSeen(t *testing.T) {
	set := waiving(waiverOf("org.p.deny/retention", "org:acme", "acme/large@american", "2026-11-30")).mustLoad(t)
	v := set.Judge(context.Background(), query()).Verdicts[3]
	if len(v.Warnings) != 1 || v.Permit.Row() == nil {
		t.Fatalf("%+v", v)
	}
	text, err := json.Marshal(v.Warnings[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"enforcement":"waived"`, `"ticket":"SEC-1"`, `"approved_by":"ann"`, `"until":"2026-11-30"`, `"line":6`,
		`"title":"Long retention"`, `"control":"GDPR-5.1e"`, `"severity":"medium"`, `"code":"retention"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if r := set.Judge(context.Background(), query()).Verdicts[1].Denials; len(r) != 2 || r[1].Severity+r[0].Severity != "highmedium" && r[1].Severity+r[0].Severity != "mediumhigh" {
		t.Errorf("%+v", r)
	}
	warnings := set.Warnings(today.AddDate(0, 0, 30)).Error()
	if !strings.Contains(warnings, "chaperone.toml:10: the exception from org.p.deny/retention for org:acme ended on 2026-11-30") {
		t.Errorf("after its end: %q", warnings)
	}
}

func TestKeysMayBeExcepted(t *testing.T) {
	s := scope{key: "key_0123456789ab"}
	other := principal()
	other.Key = &account.Key{ID: "key_ffffffffffff"}
	if !s.covers(principal()) || s.covers(other) {
		t.Fatal("a waiver for a key covers that key")
	}
}

// Whatever a team's file excepts, it adds no row: it can only take back what it denied itself.
func TestATeamsWaiversNeverAddARow(t *testing.T) {
	own := waiving()
	before := permitted(own.mustLoad(t).Judge(context.Background(), query()))
	for name, c := range map[string]struct{ toml, problem string }{
		"of the operators' rule":           {waiverOf("org.p.deny", "team:acme/fraud", "acme/large@american", "2026-11-30"), "org.p for everyone is bound by a layer above team:acme/fraud, which alone may make exceptions from it"},
		"for everyone":                     {waiverOf("org.p.deny", "everyone", "acme/large@american", "2026-11-30"), "which is outside team:acme/fraud"},
		"for the organisation":             {waiverOf("org.p.deny", "org:acme", "acme/large@american", "2026-11-30"), "which is outside team:acme/fraud"},
		"of the same package, bound again": {"[[policy.bindings]]\npackage = \"org.p\"\n" + waiverOf("org.p.deny", "team:acme/fraud", "acme/large@american", "2026-11-30"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := waiving()
			f["team.toml"] = "organisation = \"acme\"\nteam = \"fraud\"\n" + c.toml
			set, problems := f.load(t)
			if c.problem != "" {
				if !strings.Contains(problems.Error(), c.problem) {
					t.Fatalf("got %v", problems)
				}
				return
			}
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if got := permitted(set.Judge(context.Background(), query())); got != before {
				t.Fatalf("permitted %q with it and %q without", got, before)
			}
		})
	}
	f := files{
		"chaperone.toml": "\n", "rego/p.rego": waivable,
		"team.toml": "organisation = \"acme\"\nteam = \"fraud\"\n[[policy.sources]]\nname = \"own\"\npath = \"rego\"\n[[policy.bindings]]\npackage = \"org.p\"\n" +
			waiverOf("org.p.deny", "team:acme/fraud", "acme/large@american", "2026-11-30"),
	}
	if got := permitted(f.mustLoad(t).Judge(context.Background(), query())); got != "alpha american" {
		t.Fatalf("of its own rule: %q", got)
	}
}

var waiverMistakes = []struct{ name, waiver, want string }{
	{"a rule that is no deny", waiverOf("org.p", "everyone", "acme/large@alpha", "2026-11-30"), `found "org.p"; expected the deny of a package`},
	{"a package that nobody binds", waiverOf("org.q.deny", "everyone", "acme/large@alpha", "2026-11-30"), "no binding binds the package org.q, so there is nothing to waive"},
	{"an endpoint that is not there", waiverOf("org.p.deny", "everyone", "acme/large@alhpa", "2026-11-30"), `unknown endpoint "acme/large@alhpa"; did you mean "acme/large@alpha"?`},
	{"a scope that is not there", waiverOf("org.p.deny", "org:acmee", "acme/large@alpha", "2026-11-30"), `unknown organisation "acmee"; did you mean "acme"?`},
	{"no end", strings.Replace(waiverOf("org.p.deny", "everyone", "acme/large@alpha", "2026-11-30"), "until = 2026-11-30\n", "", 1), "until: missing; an exception must end"},
	{"no ticket", strings.Replace(waiverOf("org.p.deny", "everyone", "acme/large@alpha", "2026-11-30"), "ticket = \"SEC-1\"\n", "", 1), "ticket"},
	{"no approval", strings.Replace(waiverOf("org.p.deny", "everyone", "acme/large@alpha", "2026-11-30"), "approved_by = \"ann\"\n", "", 1), "approved_by"},
	{"a rule of the library that is not marked", "[[policy.bindings]]\npackage = \"library.training\"\nfor = \"everyone\"\n" + waiverOf("library.training.deny", "everyone", "acme/large@alpha", "2026-11-30"),
		"has not marked it as one that may be waived (custom: {waivable: true} in the metadata of library/training.rego:11)"},
}

func TestMistakesInWaivers(t *testing.T) {
	for _, c := range waiverMistakes {
		t.Run(c.name, func(t *testing.T) {
			_, problems := waiving(c.waiver).load(t)
			if !strings.Contains(problems.Error(), c.want) || !strings.Contains(problems.Error(), "chaperone.toml:") {
				t.Fatalf("no %q in %v", c.want, problems)
			}
		})
	}
}
