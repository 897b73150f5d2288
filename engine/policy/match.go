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

	"chaperone/engine/account"
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
	key      string              // of field, which is an open map: its value there is held against text; "": field is none
	absent   string              // what the value is where the map has no such key
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
	if call, ok := l.constant(inner).Value.(ast.Call); ok {
		m.label(call)
	}
	if m.field != nil || m.fold != nil {
		l.against(values, m, whole)
	}
}

// label makes m about the value that call looks up in an open map under a name that is written out.
func (m *match) label(call ast.Call) {
	if call[0].Value.String() != ast.ObjectGet.Name || len(call) != 4 {
		return
	}
	from, _ := call[1].Value.(ast.Ref)
	key, isText := call[2].Value.(ast.String)
	if f, rest := descend(from); isText && f != nil && f.kind == kindStringMap && len(rest) == 0 {
		absent, _ := call[3].Value.(ast.String)
		m.field, m.key, m.absent = f, string(key), string(absent)
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
			if strings.HasSuffix(m.field.name, ".data_class") {
				l.node.matches = append(l.node.matches, place[match]{m, l.loc})
			}
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

// vocabulary is every word that fields, and the values of open maps under their keys, have in one catalog and its accounts.
type vocabulary map[read]*glossary

// glossary is the words of one field, or of one key of an open map.
type glossary struct {
	kind, where string // "provider", "catalog"
	words       []string
	aliases     map[string]string // of what is no word, which word it stands for
	open        bool              // callers send other words too: only what comes near to one of these is taken for a misspelt one
}

// customary are words that callers send, of fields in which they can send any.
var customary = map[string][]string{
	"input.request.tool_kinds": {
		"bash", "code_execution", "code_interpreter", "computer", "custom", "file_search", "function", "image_generation", "local_shell",
		"mcp", "memory", "text_editor", "tool_search", "web_fetch", "web_search", "web_search_preview",
	},
	"input.request.response_format":  {"json_object", "json_schema", "text"},
	"input.request.reasoning.effort": {"high", "low", "max", "medium", "minimal", "none", "xhigh"},
	"input.request.parameters":       catalog.Parameters,
	"input.claims.data_class":        account.DataClasses,
}

// newVocabulary is what c has of the fields whose words are no closed list.
func newVocabulary(c *Config) vocabulary {
	v := vocabulary{}
	for name, words := range customary {
		v.add(name, "", "", words...).open = true
	}
	if c.Catalog != nil {
		v.addCatalog(c.Catalog)
	}
	if c.Accounts != nil && len(c.Accounts.Organisations) > 0 {
		v.addAccounts(c.Accounts)
	}
	for _, g := range v {
		slices.Sort(g.words)
		g.words = slices.Compact(g.words)
	}
	return v
}

// addTo gives r words, and is its glossary.
func (v vocabulary) addTo(r read, kind, where string, words ...string) *glossary {
	g := v[r]
	if g == nil {
		g = &glossary{kind: kind, where: where}
		v[r] = g
	}
	for _, word := range words {
		if word != "" {
			g.words = append(g.words, word)
		}
	}
	return g
}

func (v vocabulary) add(name, kind, where string, words ...string) *glossary {
	return v.addTo(read{field: inputField.find(name)}, kind, where, words...)
}

// addLabels adds the keys of an open map, and the values that each has.
func (v vocabulary) addLabels(name, where string, labels map[string]string) {
	v.add(name, "label", where)
	for key, value := range labels {
		v.add(name, "label", where, key)
		v.addTo(read{field: inputField.find(name), keyed: true, key: key}, "value", where, value)
	}
}

func (v vocabulary) addCatalog(c *catalog.Catalog) {
	const where = "catalog"
	v.add("input.endpoint.provider", "provider", where, slices.Collect(maps.Keys(c.Providers))...)
	v.add("input.endpoint.model", "model", where, slices.Collect(maps.Keys(c.Models))...).aliases = c.Aliases
	for _, p := range c.Providers {
		v.add("input.endpoint.certifications", "certification", where, p.Certifications...)
	}
	for _, row := range c.Rows {
		var in Input
		in.fillEndpoint(row)
		e := &in.Endpoint
		v.add("input.endpoint.provider", "provider", where, e.Provider)
		v.add("input.endpoint.model", "model", where, e.Model)
		v.add("input.endpoint.certifications", "certification", where, e.Certifications...)
		v.add("input.endpoint.id", "row", where, e.ID)
		v.add("input.endpoint.tag", "tag", where, e.Tag)
		v.add("input.endpoint.credentials", "group of credentials", where, e.Credentials)
		v.addLabels("input.endpoint.labels", where, e.Labels)
		v.add("input.endpoint.attributes", "attribute", where, slices.Collect(maps.Keys(e.Attributes))...)
	}
	names := slices.Collect(maps.Keys(c.Aliases))
	for id := range c.Models {
		_, slug, _ := strings.Cut(id, "/")
		names = append(names, id, slug)
	}
	for _, name := range []string{"input.request.model", "input.request.models"} {
		v.add(name, "model's name", where, names...).open = true
	}
}

func (v vocabulary) addAccounts(a *account.Accounts) {
	const where = "configuration"
	team := v.add("input.principal.team", "team", where)
	team.words = append(team.words, "") // of keys that belong to none
	for _, o := range a.Organisations {
		v.add("input.principal.organisation", "organisation", where, o.ID)
		v.addLabels("input.principal.labels", where, o.Labels)
		for _, t := range o.Teams {
			v.add("input.principal.team", "team", where, t.ID)
			v.addLabels("input.principal.labels", where, t.Labels)
		}
		names := slices.Collect(maps.Keys(o.Aliases))
		for _, name := range []string{"input.request.model", "input.request.models"} {
			v.add(name, "model's name", where, names...).open = true
		}
	}
	v.add("input.principal.key", "key", where)
	for _, k := range a.Keys() {
		v.add("input.principal.key", "key", where, k.ID)
		v.addLabels("input.principal.labels", where, k.Labels)
	}
}

// unmatched says that m, looking for text, finds nothing; "" where it may find something.
func (v vocabulary) unmatched(m *match, text string) string {
	g := v[read{field: m.field, keyed: m.key != "", key: m.key}]
	if g == nil || m.fits(g.words, text) || m.stands(g.words) || m.key != "" && m.fits([]string{m.absent}, text) {
		return ""
	}
	pattern := m.operator != ast.Equal.Name
	if g.open && !(pattern && g.kind != "" && !strings.ContainsAny(text, ":@")) { // those are of variants and presets
		name, _, _ := strings.Cut(text, ":") // a model's variant, such as :nitro
		meant, ok := config.Nearest(text, g.words)
		if !ok || pattern || m.fits(g.words, name) {
			return ""
		}
		return fmt.Sprintf("%s is held against %q, which is near to a word that is known and is none; did you mean %q?", m.field.name, text, meant)
	}
	if pattern {
		return fmt.Sprintf("no %s of the %s fits %s(%q), so this never matches", g.kind, g.where, m.operator, text)
	}
	why := fmt.Sprintf("there is no %s %q in the %s, so this never matches", g.kind, text, g.where)
	switch {
	case m.key != "":
		why = fmt.Sprintf("no label %q of the %s has the value %q, so this never matches", m.key, g.where, text)
	case m.field.open():
		why = fmt.Sprintf("there is no %s %q in the %s, so the default always stands", g.kind, text, g.where)
	}
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

// unranked are the rules of pkg that prefer a scorer which is not among those that rank.
func (c *compiled) unranked(scorers []string, pkg string) config.Problems {
	var found config.Problems
	for _, n := range c.graph.packages[pkg] {
		if scorers == nil || n.name() != rulePrefer || len(n.rule.Head.Ref()) < 2 {
			continue
		}
		name, ok := n.rule.Head.Ref()[1].Value.(ast.String)
		if ok && !slices.Contains(scorers, string(name)) {
			found = append(found, problemAt(n.rule.Location, "prefer[%s]: %s; where a policy names one that does not rank, the configured weights stand", name, config.NotOneOf(string(name), scorers)))
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

// outranked are the places where a rule of pkg denies, or demands something of, one data class by its name, and nothing in the package
// names a higher one: what is more sensitive passes by.
func (c *compiled) outranked(pkg string) config.Problems {
	classes := account.DataClasses
	highest := -1 // that is named
	var named []place[match]
	for _, n := range c.graph.reachable(pkg, contract...) {
		if slices.ContainsFunc(n.reads, func(r place[read]) bool { return r.what.field.name == "input.request.data_class_rank" }) {
			return nil
		}
		for _, m := range n.matches {
			rank := slices.Index(classes, m.what.text)
			if f := m.what.field; rank < 0 || f == nil || f.name != "input.request.data_class" {
				continue
			}
			highest = max(highest, rank)
			if name := n.name(); (name == ruleDeny || name == ruleRequire || name == ruleReject) && !m.what.negated && m.what.operator == ast.Equal.Name {
				named = append(named, m)
			}
		}
	}
	var found config.Problems
	for _, m := range named {
		if rank := slices.Index(classes, m.what.text); rank > 0 && rank == highest && rank < len(classes)-1 {
			found = append(found, problemAt(m.loc, "%s is held against %q, and %s, which is higher, passes by; write input.request.data_class_rank >= %d",
				m.what.field.name, m.what.text, strings.Join(classes[rank+1:], " and "), rank))
		}
	}
	return found
}

// halves are the places where a rule of pkg denies, or demands something of, a data class by what the key or the caller alone says of it.
func (c *compiled) halves(pkg string) config.Problems {
	var found config.Problems
	for _, n := range c.graph.packages[pkg] {
		if name := n.name(); name != ruleDeny && name != ruleRequire && name != ruleReject {
			continue
		}
		for _, m := range n.matches {
			f := m.what.field
			if f == nil || f.name != "input.claims.data_class" && f.name != "input.principal.data_class" || m.what.negated || !slices.Contains(account.DataClasses, m.what.text) {
				continue
			}
			found = append(found, problemAt(m.loc, "%s is half of what decides the class of a request; write input.request.data_class, the higher of the key's floor and the caller's claim", f.name))
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
