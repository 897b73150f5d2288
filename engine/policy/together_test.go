package policy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConditionsThatNeverHoldTogetherAreRefusedOnce(t *testing.T) {
	for _, c := range []struct {
		rule, want string // want: "" where it loads
	}{
		{`p := input.endpoint.provider; p == "alpha"; p == "silent"`, `write p in {"alpha", "silent"}`},
		{`input.endpoint.provider in {"alpha", "silent"}; "trainer" == input.endpoint.provider`, `input.endpoint.provider in {"alpha", "silent"} and input.endpoint.provider == "trainer" never hold together`},
		{`some r in input.endpoint.processing_regions; r == "eu"; r == "us"`, `write r in {"eu", "us"}`},
		{`input.request.n == 1; input.request.n == 2`, `write input.request.n in {1, 2}`},
		{`input.request.n == 1; 2 < input.request.n`, `input.request.n == 1 and input.request.n > 2 never hold together`},
		{`input.time.hour < 6; input.time.hour >= 22`, "write a rule of the same name for each"},
		{`input.time.hour > 6; input.time.hour < 6`, "write a rule of the same name for each"},
		{`input.request.stream == true; input.request.stream == false`, "never hold together"},
		{`every r in input.endpoint.processing_regions { r == "eu"; r == "us" }`, "never hold together"},

		{`input.time.hour >= 6; input.time.hour <= 6`, ""},
		{`input.time.hour > 6; input.time.hour < 22; input.time.minute < 6`, ""},
		{`input.endpoint.provider in {"alpha", "silent"}; input.endpoint.provider in {"silent", "trainer"}`, ""},
		{`input.endpoint.provider != "alpha"; input.endpoint.provider != "silent"`, ""},
		{`input.request.models[_] == "a"; input.request.models[_] == "b"`, ""},
		{`"a" in input.request.models; "b" in input.request.models`, ""},
		{`some a in input.request.models; some b in input.request.models; a == "a"; b == "b"`, ""},
	} {
		_, problems := one("deny contains \"x\" if {\n\t" + strings.ReplaceAll(c.rule, "; ", "\n\t") + "\n}\n").load(t)
		switch {
		case c.want == "" && len(problems) > 0:
			t.Errorf("%s\nis refused: %v", c.rule, problems)
		case c.want != "" && (len(problems) != 1 || !strings.Contains(problems[0].Message, c.want)):
			t.Errorf("%s\nis not refused, once, with %q: %v", c.rule, c.want, problems)
		}
	}
}

// right are policies in the forms that people write them in, of which a lint might think the worst.
var right = map[string]string{
	"office hours over midnight": `open_now if input.time.hour >= 22

open_now if input.time.hour < 6

reject contains "x" if not open_now
`,
	"an element under any key of another list": `names := ["a", "b"]

seats := {"a": "US", "b": "FR"}

deny contains "x" if {
	seats[names[_]] == "US"
	seats[names[_]] == "FR"
	input.request.stream
}
`,
	"a comprehension and every": `deny contains "x" if {
	input.endpoint.provider == "alpha"
	chosen := {p | some p in input.request.preferences.only; p == "alpha"}
	every p in chosen { p == "alpha" }
	count([p | some p in input.request.preferences.only; p == "omega"]) == 0
}
`,
	"a function of several bodies": `within(from, to) if {
	from <= to
	input.time.hour >= from
	input.time.hour < to
}

within(from, to) if {
	from > to
	input.time.hour >= from
}

within(from, to) if {
	from > to
	input.time.hour < to
}

kind(class) := "open" if {
	class == "public"
} else := "closed"

reject contains "x" if not within(22, 6)

deny contains "x" if kind(input.request.data_class) == "closed"
`,
}

func TestWhatPeopleRightlyWriteIsNotRefused(t *testing.T) {
	for name, rules := range right {
		f := one(rules)
		f["rego/p_test.rego"] = "package org.p_test\n\nimport data.org.p\n\ntest_nothing if count(p.deny) == 0\n"
		if _, problems := f.load(t); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems.Err())
		}
	}
}

func TestATestThatCannotBeReadKeepsNoPolicyFromBeingLoaded(t *testing.T) {
	c := one(goodDeny).config(t)
	link := filepath.Join(filepath.Dir(c.Documents[0].Path()), "rego", "p_test.rego")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	if _, problems := Load(context.Background(), c); len(problems) > 0 {
		t.Error(problems.Err())
	}
}
