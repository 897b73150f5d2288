package policy

import (
	"context"
	"regexp"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Some mistakes stand in what is written out: a regular expression that is none, a pattern and a text in each other's place, a format
// with another number of values, a number that a field never reaches. OPA loads them; the rule then never fires, or its reason is
// unreadable, or every evaluation fails.

// written looks at what is written out in a call.
func (l *linter) written(name string, operands []*ast.Term) {
	if p, ok := patterns[name]; ok && len(operands) > max(p.subject, p.text) {
		l.turnedRound(name, operands, p.subject, p.text)
	}
	if at, ok := expressions[name]; ok && len(operands) > at {
		l.expression(name, operands[at])
	}
	if name == ast.Sprintf.Name && len(operands) == 2 {
		l.format(operands[0], operands[1])
	}
	if name == ast.GlobMatch.Name && len(operands) == 3 {
		l.delimited(operands)
	}
}

// delimited refuses a glob without delimiters against a field: OPA takes dots for them then, as they stand in the names of hosts.
func (l *linter) delimited(operands []*ast.Term) {
	subject := operands[2]
	if delimiters, ok := l.constant(operands[1]).Value.(*ast.Array); !ok || delimiters.Len() > 0 {
		return
	}
	f := l.leaf(subject)
	if f == nil {
		f = l.elementOf(subject)
	}
	if f == nil || f.name == "input.request.egress_hosts" {
		return
	}
	l.problem("glob.match takes [] for [\".\"], so that a star ends at every dot, as in gpt-4.1; write glob.match(%s, [\"/\"], %s), or null in place of [] where a star may stand for anything", operands[0], subject)
}

// turnedRound refuses to look for a field in a text that is written out, where the text is meant to be looked for in the field. A text
// with several words may well be one that the field is one of.
func (l *linter) turnedRound(name string, operands []*ast.Term, subject, text int) {
	within, isText := l.constant(operands[subject]).Value.(ast.String)
	if f := l.leaf(operands[text]); f == nil || f.kind != kindString || !isText || name == ast.Contains.Name && strings.ContainsAny(string(within), " ,;|") {
		return
	}
	turned := make([]string, len(operands))
	for i, t := range operands {
		turned[i] = t.String()
	}
	turned[subject], turned[text] = turned[text], turned[subject]
	l.problem("%s looks for %s in the text %s, and hardly ever finds it; write %s(%s)", name, operands[text], operands[subject], name, strings.Join(turned, ", "))
}

// expressions are the builtins that take a regular expression or a glob, with its place.
var expressions = map[string]int{
	ast.RegexMatch.Name: 0, ast.RegexSplit.Name: 0, ast.RegexFind.Name: 0, ast.RegexFindAllStringSubmatch.Name: 0, ast.RegexReplace.Name: 1,
	ast.GlobMatch.Name: 0,
}

// expression refuses a pattern that cannot be read: OPA reads it only when it evaluates.
func (l *linter) expression(name string, t *ast.Term) {
	pattern := l.constant(t)
	text, isText := pattern.Value.(ast.String)
	if !isText || compiledSize(string(text)) > maxPattern {
		return
	}
	reader, operands := ast.RegexMatch.Name, []*ast.Term{pattern, ast.StringTerm("")}
	if name == ast.GlobMatch.Name {
		reader, operands = name, []*ast.Term{pattern, ast.ArrayTerm(), ast.StringTerm("")}
	}
	err := topdown.GetBuiltin(reader)(topdown.BuiltinContext{Context: context.Background()}, operands, func(*ast.Term) error { return nil })
	if err != nil {
		l.problem("%s cannot read the pattern %s: %v", name, pattern, err)
	}
}

// formatted is one place for a value in a format: flags, width and precision, and the verb.
var formatted = regexp.MustCompile(`%[-+# 0-9.]*([a-zA-Z%*\[])`)

// format holds a format of sprintf against its values.
func (l *linter) format(format, values *ast.Term) {
	text, isText := l.constant(format).Value.(ast.String)
	list, isList := l.constant(values).Value.(*ast.Array)
	if !isText || !isList {
		return
	}
	var verbs []string
	for _, m := range formatted.FindAllStringSubmatch(string(text), -1) {
		switch m[1] {
		case "%":
		case "*", "[":
			return // a width or a place that is an argument
		default:
			verbs = append(verbs, m[1])
		}
	}
	if len(verbs) != list.Len() {
		l.problem("the format %s has places for %d values, and sprintf is given %d", format, len(verbs), list.Len())
		return
	}
	for i, verb := range verbs {
		value := list.Elem(i)
		if why := unfit(verb, l.shapesOf(value), l.leaf(value)); why != "" {
			l.problem("sprintf shows %s with %s, %s", value, "%"+verb, why)
		}
	}
}

// unfit says why a verb cannot show a value of these shapes, which is f where it is a field; "" where it can.
func unfit(verb string, s shapes, f *field) string {
	switch {
	case s == shapeNumber && strings.Contains("sqt", verb):
		return "which is for text; write %v for a number"
	case s&shapeNumber == 0 && !strings.Contains("sqvxX", verb):
		return "which is for numbers; write %v"
	case f != nil && f.kind == kindFloat && verb == "d":
		return "which is for whole numbers; write %v"
	}
	return ""
}

// braces refuses a text with a reference in braces, which is shown as it stands.
func (l *linter) braces(text string) {
	if strings.Contains(text, "{input.") || strings.Contains(text, "{data.") {
		l.problem("%q is shown as it stands; write $%q, with a dollar before it, so that values take the place of what is in braces", text, text)
	}
}

// reached refuses to compare a, where that is a field with a greatest value, with a number that it never reaches.
func (l *linter) reached(a, b *ast.Term, sign string) {
	f := l.leaf(a)
	number, isNumber := l.constant(b).Value.(ast.Number)
	if f == nil || f.most == 0 || !isNumber {
		return
	}
	n, ok := number.Float64()
	if !ok {
		return
	}
	beyond := f.most
	if f.kind == kindInt {
		beyond++ // hour < 24 is all of a day, and written to say so
	}
	outcome := ""
	switch {
	case n > f.most && (sign == "=" || sign == "==" || sign == ">" || sign == ">="), n == f.most && sign == ">", n < 0 && sign != "!=" && sign[0] != '>':
		outcome = "never"
	case n > beyond && (sign == "!=" || sign == "<" || sign == "<="):
		outcome = "always"
	default:
		return
	}
	l.problem("%s %s %s %s holds: %s is from 0 to %v", a, sign, b, outcome, f.name, f.most)
}
