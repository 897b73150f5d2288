package policy

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// plainWords follow OPA's own words for the errors that newcomers meet most; the first that fits is said.
var plainWords = []struct{ in, say string }{
	{"var True is unsafe", "Rego writes true in lower case"},
	{"var False is unsafe", "Rego writes false in lower case"},
	{"var None is unsafe", "Rego writes null"},
	{"var _ is unsafe", "under not, _ would have to be bound first: write `not \"value\" in list`, or `every element in list { … }`"},
	{" is unsafe", "nothing gives it a value: it is misspelt, not imported, or only used under not or in a comparison"},
	{"`if` keyword is required", "write `deny contains reason if { … }`"},
	{"`contains` keyword is required", "write `deny contains reason if { … }`"},
	{"used as reference, not called", "a function is called with its arguments: `f(x)`"},
	{"match error", "the two sides have different types, so they can never be equal"},
	{"conflicting rules", "a rule is either `name contains x` or `name := x` throughout, and a function has one number of arguments"},
	{"rego_recursion_error", "a rule may not depend on itself, however indirectly"},
	{"undefined function", "no builtin and no function of this source has that name"},
	{"arity mismatch", "it has another number of arguments: have is what is written here, want is what it takes"},
	{"invalid argument", "an argument has the wrong type: have is what is written here, want is what it takes"},
	{"assigned above", "a variable has one value in a rule: give the second another name, or compare with =="},
	{"redeclared", "it has a value already: leave out some, or give the other a name of its own"},
	{"unused", "remove it or write _ in its place"},
	{"multiple default rules", "keep one"},
	{"illegal number format", "a number is written in digits with at most one dot: 100000, not 100_000"},
	{"expected else value term", "write `else := value`, with := before it, and the same before the first value"},
	{"else keyword cannot be used on multi-value rules", "every rule deny, reject and require that holds counts: write another of the same name"},
	{"number too big", "no number may have so many digits"},
	{"unexpected and token", "Rego has no &&: write the conditions below one another, in { … }"},
	{"unexpected or token", "Rego has no || between conditions: write a rule of the same name for each case"},
	{"unexpected in keyword", "write `not \"value\" in list`, with not before the value"},
	{"unexpected ; token", "after `if` stands one condition; several stand in { … }"},
	{"var cannot be used for rule name", "Rego has no `and` and no `or` between conditions: write those that must all hold below one another in { … }, and a rule of the same name for each case"},
	{"rule must have value assignment", "a rule ends here; what follows it begins a new one"},
	{"unexpected eq token", "compare with ==, which has no third ="},
	{"illegal ! character", "write != for unequal, and not for the contrary of a condition"},
	{"non-terminated expression", "Rego has no brackets about conditions: write a rule of its own for them, and not before its name"},
	{"missing body", "every needs its condition: `every x in list { x != \"a\" }`"},
	{"unexpected eof token", "something is still open at the end of the file: a { or a ("},
	{"illegal token", "text stands in \"double quotes\" or in `backquotes`"},
	{"package expected", "the first line of a file is `package name`"},
}

// plainly is OPA's own message, and what it means.
func plainly(e *ast.Error) string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(e.Message))
	if e.Details != nil {
		for _, line := range e.Details.Lines() {
			if line = strings.TrimSpace(line); strings.Trim(line, "^") != "" {
				b.WriteString("; ")
				b.WriteString(line)
			}
		}
	}
	for _, w := range plainWords {
		if strings.Contains(e.Message, w.in) || e.Code == w.in {
			b.WriteString(" (")
			b.WriteString(w.say)
			b.WriteString(")")
			break
		}
	}
	return b.String()
}
