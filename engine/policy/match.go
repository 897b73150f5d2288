package policy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

// A rule that denies the provider "opena1" loads, never fires, and looks as if it did. So whatever text a rule holds a field
// against is noted, whether it is written there, in a table beside it or in a binding's parameters, and is looked up where the words
// of the field are known: those of a closed list while linting, those of the catalog and the accounts while loading.

// match is one field that is held against text.
type match struct {
	field    *field
	fold     func(string) string // strings.ToLower or ToUpper, where the field goes through it; nil: it is compared as it is
	operator string              // "equal", or the builtin that looks for a pattern or a part
	with     *ast.Term           // of glob.match the delimiters
	text     string
	param    string // whose value, or whose elements, are the text; "": text is it
	negated  bool   // what is held against it denies by not being found
	one      bool   // of several values that the other side may have: one may well stand for none
}

// patterns are the builtins that look for less than equality, with the places of their operands: the text that is looked through
// and what is looked for.
var patterns = map[string]struct{ subject, text int }{
	ast.GlobMatch.Name: {2, 0}, ast.RegexMatch.Name: {1, 0},
	ast.StartsWith.Name: {0, 1}, ast.EndsWith.Name: {0, 1}, ast.Contains.Name: {0, 1},
}

// texts notes what a comparison, a membership, a lookup or a pattern holds a field against.
func (l *linter) texts(operator string, operands []*ast.Term) {
	negated := l.negated != (operator == ast.NotEqual.Name)
	switch p, isPattern := patterns[operator]; {
	case (operator == ast.Equality.Name || operator == ast.Equal.Name || operator == ast.NotEqual.Name) && len(operands) == 2:
		for i, subject := range operands {
			values := l.origins(operands[1-i])
			l.text(subject, values, match{operator: ast.Equal.Name, one: len(values) > 1, negated: negated})
		}
	case operator == ast.Member.Name && len(operands) == 2:
		element, collection := operands[0], operands[1]
		if f := l.leaf(collection); f != nil && f.kind == kindStrings {
			l.against(l.origins(element), match{field: f, operator: ast.Equal.Name, negated: negated}, collection)
			return
		}
		l.text(element, elementsOf(l.origins(collection)), match{operator: ast.Equal.Name, negated: negated})
		for _, from := range l.origins(collection) { // "US" in {lower(x) | some x in …}
			if from.term == nil {
				continue
			}
			switch c := from.term.Value.(type) {
			case *ast.ArrayComprehension:
				l.text(c.Term, l.origins(element), match{operator: ast.Equal.Name})
			case *ast.SetComprehension:
				l.text(c.Term, l.origins(element), match{operator: ast.Equal.Name})
			}
		}
	case operator == ast.ObjectGet.Name && len(operands) == 3:
		l.text(operands[1], keysOf(l.origins(operands[0])), match{operator: ast.Equal.Name})
	case isPattern && len(operands) > max(p.subject, p.text):
		m := match{operator: operator, negated: negated}
		if operator == ast.GlobMatch.Name {
			m.with = l.constant(operands[1])
			if !m.with.IsGround() {
				return
			}
		}
		l.text(operands[p.subject], l.origins(operands[p.text]), m)
	}
}

// text is against for whatever subject is, also through lower and upper.
func (l *linter) text(subject *ast.Term, values []origin, m match) {
	whole := l.constant(subject)
	inner := whole
	if call, ok := whole.Value.(ast.Call); ok && len(call) == 2 {
		switch call[0].Value.String() {
		case ast.Lower.Name:
			m.fold = strings.ToLower
		case ast.Upper.Name:
			m.fold = strings.ToUpper
		}
		if m.fold != nil {
			inner = call[1]
		}
	}
	if f := l.leaf(inner); f == nil {
		m.field = l.elementOf(inner)
	} else if f.kind == kindString {
		m.field = f
	}
	if m.field != nil || m.fold != nil {
		l.against(values, m, whole)
	}
}

// against notes m for each value, and refuses what can be told at once: text that the case of the subject rules out, and a word that
// is none of the field's.
func (l *linter) against(values []origin, m match, subject *ast.Term) {
	for _, value := range values {
		m := m
		if m.param = value.param; m.param == "" {
			constant, ok := value.text()
			if !ok {
				continue
			}
			m.text = constant
			if m.fold != nil && m.operator != ast.RegexMatch.Name && m.operator != ast.GlobMatch.Name && m.fold(m.text) != m.text {
				l.problem("%s is never %q: it has no letter of that case; write %s", subject, m.text, m.corrected(subject))
				continue
			}
		}
		switch {
		case m.field == nil:
		case m.param == "" && m.field.words != nil:
			if m.operator == ast.Equal.Name && !m.fits(m.field.words, m.text) && !m.stands(m.field.words) {
				never := "is never"
				if m.field.kind == kindStrings {
					never = "never holds"
				}
				l.problem("%s %s %q; %s", m.field.name, never, m.text, m.field.notOneOf(m.text, m.fold))
			}
		default:
			l.node.matches = append(l.node.matches, place[match]{m, l.loc})
		}
	}
}

// text is the string that is written there.
func (o origin) text() (string, bool) {
	if o.term == nil {
		return "", false
	}
	s, ok := o.term.Value.(ast.String)
	return string(s), ok
}

// stands says whether text is taken for a value that stands for none: one of several, and near to no word.
func (m *match) stands(words []string) bool {
	_, near := config.Nearest(m.text, words)
	return m.one && !near
}

// corrected is the comparison with text of the right case.
func (m *match) corrected(subject *ast.Term) string {
	right := ast.StringTerm(m.fold(m.text))
	if m.operator == ast.Equal.Name {
		return fmt.Sprintf("%s == %s", subject, right)
	}
	return fmt.Sprintf("%s(%s, %s)", m.operator, subject, right)
}

// fits says whether one of the words is what m looks for. What cannot be evaluated counts as fitting: OPA says so elsewhere.
func (m *match) fits(words []string, text string) bool {
	return slices.ContainsFunc(words, func(word string) bool {
		if m.fold != nil {
			word = m.fold(word)
		}
		if m.operator == ast.Equal.Name {
			return word == text
		}
		p := patterns[m.operator]
		operands := make([]*ast.Term, 2, 3)
		if m.with != nil {
			operands = append(operands, nil)
			operands[1] = m.with
		}
		operands[p.subject], operands[p.text] = ast.StringTerm(word), ast.StringTerm(text)
		held := false
		err := topdown.GetBuiltin(m.operator)(topdown.BuiltinContext{Context: context.Background()}, operands, func(t *ast.Term) error {
			held = t.Equal(ast.InternedTerm(true))
			return nil
		})
		return err != nil || held
	})
}

// vocabulary is every word that fields have in one catalog and its accounts, by field.
type vocabulary map[*field]*glossary

// glossary is the words of one field.
type glossary struct {
	kind, where string // "provider", "catalog"
	words       []string
	aliases     map[string]string // of what is no word, which word it stands for
}

// newVocabulary is what c has of the fields whose words are no closed list.
func newVocabulary(c *Config) vocabulary {
	v := vocabulary{}
	add := func(name, kind, where string, words ...string) {
		f := inputField.find(name)
		g := v[f]
		if g == nil {
			g = &glossary{kind: kind, where: where}
			v[f] = g
		}
		for _, word := range words {
			if word != "" {
				g.words = append(g.words, word)
			}
		}
	}
	const rows, accounts = "catalog", "configuration"
	if c.Catalog != nil {
		add("input.endpoint.provider", "provider", rows, slices.Collect(maps.Keys(c.Catalog.Providers))...)
		add("input.endpoint.model", "model", rows, slices.Collect(maps.Keys(c.Catalog.Models))...)
		for _, p := range c.Catalog.Providers {
			add("input.endpoint.certifications", "certification", rows, p.Certifications...)
		}
		for _, row := range c.Catalog.Rows {
			var in Input
			in.fillEndpoint(row)
			e := &in.Endpoint
			add("input.endpoint.provider", "provider", rows, e.Provider)
			add("input.endpoint.model", "model", rows, e.Model)
			add("input.endpoint.certifications", "certification", rows, e.Certifications...)
			add("input.endpoint.id", "row", rows, e.ID)
			add("input.endpoint.tag", "tag", rows, e.Tag)
			add("input.endpoint.credentials", "group of credentials", rows, e.Credentials)
		}
		v[inputField.find("input.endpoint.model")].aliases = c.Catalog.Aliases
	}
	if c.Accounts != nil {
		for _, o := range c.Accounts.Organisations {
			add("input.principal.organisation", "organisation", accounts, o.ID)
			add("input.principal.team", "team", accounts, slices.Collect(maps.Keys(o.Teams))...)
		}
		if team := v[inputField.find("input.principal.team")]; team != nil {
			team.words = append(team.words, "") // of keys that belong to none
		}
	}
	for _, g := range v {
		slices.Sort(g.words)
		g.words = slices.Compact(g.words)
	}
	return v
}

// unmatched says that m, looking for text, finds nothing; "" where it may find something.
func (v vocabulary) unmatched(m *match, text string) string {
	g := v[m.field]
	if g == nil || m.fits(g.words, text) || m.stands(g.words) {
		return ""
	}
	if m.operator != ast.Equal.Name {
		return fmt.Sprintf("no %s of the %s fits %s(%q), so this never matches", g.kind, g.where, m.operator, text)
	}
	why := fmt.Sprintf("there is no %s %q in the %s, so this never matches", g.kind, text, g.where)
	if meant, ok := g.aliases[text]; ok {
		return fmt.Sprintf("%s; it is an alias: write %q", why, meant)
	}
	if meant, ok := config.Nearest(text, g.words); ok {
		return fmt.Sprintf("%s; did you mean %q?", why, meant)
	}
	return why
}

// unmatched are the places of pkg, and of the parameters that b gives it, where text is looked for that nothing has. They are no
// mistakes: a catalog may lose a provider without losing the rules about it.
func (c *compiled) unmatched(v vocabulary, b *scopedBinding, pkg string) config.Problems {
	var found config.Problems
	for _, n := range c.graph.reachable(pkg, contract...) {
		for _, m := range n.matches {
			if m.what.param == "" {
				if why := v.unmatched(&m.what, m.what.text); why != "" {
					found = append(found, problemAt(m.loc, "%s", why))
				}
				continue
			}
			for key, text := range b.texts(m.what.param) {
				if why := v.unmatched(&m.what, text); why != "" {
					found = append(found, b.Problem(key, "%s", why))
				}
			}
		}
	}
	return found
}

// renamed are the places where a rule of pkg denies, or demands something of, a model by the name that a caller sends: others that mean
// the same model pass by.
func (c *compiled) renamed(cat *catalog.Catalog, pkg string) config.Problems {
	var found config.Problems
	for _, n := range c.graph.packages[pkg] {
		if name := n.name(); cat == nil || name != ruleDeny && name != ruleRequire && name != ruleReject {
			continue
		}
		for _, m := range n.matches {
			if field := m.what.field.name; field != "input.request.model" && field != "input.request.models" || m.what.negated || m.what.operator != ast.Equal.Name {
				continue
			}
			if other := otherName(cat, m.what.text); other != "" {
				found = append(found, problemAt(m.loc, "%s is what the caller sends: %q means the same model as %q, and passes by; compare input.endpoint.model, in deny or require", m.what.field.name, other, m.what.text))
			}
		}
	}
	return found
}

// otherName is another name that callers may send for the model that name means; "" where there is none.
func otherName(cat *catalog.Catalog, name string) string {
	m := cat.Named(name)
	if m == nil {
		return ""
	}
	_, slug, _ := strings.Cut(m.ID, "/")
	for _, other := range append([]string{m.ID, slug}, slices.Sorted(maps.Keys(cat.Aliases))...) {
		if other != name && cat.Named(other) == m {
			return other
		}
	}
	return ""
}

// checkWords refuses parameters that are held against a field with a closed list of words, and are none of them.
func (c *compiled) checkWords(b *scopedBinding, pkg string) config.Problems {
	var found config.Problems
	for _, n := range c.graph.reachable(pkg, contract...) {
		for _, m := range n.matches {
			f := m.what.field
			if m.what.param == "" || f.words == nil || m.what.operator != ast.Equal.Name {
				continue
			}
			for key, text := range b.texts(m.what.param) {
				if !m.what.fits(f.words, text) {
					found = append(found, b.Problem(key, "%s; %s has no other value", f.notOneOf(text, m.what.fold), f.name))
				}
			}
		}
	}
	return sortedProblems(found)
}

// texts are the strings of a parameter: itself, or its elements, by their keys in the file.
func (b *scopedBinding) texts(param string) map[string]string {
	texts := map[string]string{}
	switch v := b.Params[param].(type) {
	case string:
		texts["params."+param] = v
	case []any:
		for i, e := range v {
			if s, ok := e.(string); ok {
				texts[fmt.Sprintf("params.%s[%d]", param, i)] = s
			}
		}
	}
	return texts
}

// sortedProblems are problems in the order of their places, each once.
func sortedProblems(problems config.Problems) config.Problems {
	slices.SortFunc(problems, func(a, b config.Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Key, b.Key), strings.Compare(a.Message, b.Message))
	})
	return slices.Compact(problems)
}
