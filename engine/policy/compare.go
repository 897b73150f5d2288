package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

// Rego compares values of different types without complaint: every number is less than every string, and nothing of one
// type equals anything of another. A rule with such a comparison always or never fires, so it is refused.

// shapes is a set of the types that a value may have.
type shapes uint8

const (
	shapeNull shapes = 1 << iota
	shapeBoolean
	shapeNumber
	shapeString
	shapeArray
	shapeObject
	shapeSet
	anyShape shapes = 1<<iota - 1
)

func (s shapes) String() string {
	var names []string
	for i, name := range []string{"null", "a boolean", "a number", "a string", "an array", "an object", "a set"} {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " or ")
}

func (k kind) String() string { return k.shape().String() }

func (k kind) shape() shapes {
	switch k {
	case kindString:
		return shapeString
	case kindBool:
		return shapeBoolean
	case kindInt, kindFloat:
		return shapeNumber
	case kindStrings:
		return shapeArray
	}
	return shapeObject
}

// shapesOf is what t may be, as far as its own text and the assignments of its rule say.
func (l *linter) shapesOf(t *ast.Term) shapes {
	switch v := t.Value.(type) {
	case ast.Null:
		return shapeNull
	case ast.Boolean:
		return shapeBoolean
	case ast.Number:
		return shapeNumber
	case ast.String, *ast.TemplateString:
		return shapeString
	case *ast.Array, *ast.ArrayComprehension:
		return shapeArray
	case ast.Object, *ast.ObjectComprehension:
		return shapeObject
	case ast.Set, *ast.SetComprehension:
		return shapeSet
	case ast.Var:
		if source, ok := l.locals[v]; ok && source != nil {
			delete(l.locals, v) // a variable that depends on itself ends here
			s := l.shapesOf(source)
			l.locals[v] = source
			return s
		}
	case ast.Ref:
		if v.HasPrefix(paramsRef) && len(v) == len(paramsRef)+1 {
			return l.parameter(v[len(paramsRef)])
		}
		f, rest := descend(v)
		if f == nil || f.fields != nil {
			return anyShape
		}
		if len(rest) == 1 && f.kind == kindStrings {
			return shapeString
		}
		if len(rest) == 0 {
			return f.kind.shape()
		}
	case ast.Call:
		operator := v[0].Value.String()
		if operator == ast.ObjectGet.Name && len(v) == 4 {
			if ref, ok := v[1].Value.(ast.Ref); ok {
				if ref.Equal(paramsRef) {
					return l.parameter(v[2]) | l.shapesOf(v[3])
				}
				switch f, _ := descend(ref); {
				case f == nil || !f.open():
				case f.kind == kindNumberMap:
					return shapeNumber | l.shapesOf(v[3])
				default:
					return shapeString | l.shapesOf(v[3])
				}
			}
			return anyShape
		}
		if b := ast.BuiltinMap[operator]; b != nil {
			return shapesOfType(b.Decl.Result())
		}
	}
	return anyShape
}

// parameter is what the declaration of the rule's package says of a parameter.
func (l *linter) parameter(name *ast.Term) shapes {
	constant, ok := name.Value.(ast.String)
	if d := l.graph.params[l.node.rule.Module.Package.Path.String()]; ok && d != nil {
		return d.shapes(string(constant))
	}
	return anyShape
}

func shapesOfType(t types.Type) shapes {
	switch t := t.(type) {
	case types.Null:
		return shapeNull
	case types.Boolean:
		return shapeBoolean
	case types.Number:
		return shapeNumber
	case types.String:
		return shapeString
	case *types.Array:
		return shapeArray
	case *types.Object:
		return shapeObject
	case *types.Set:
		return shapeSet
	case types.Any:
		if len(t) == 0 {
			return anyShape
		}
		var s shapes
		for _, one := range t {
			s |= shapesOfType(one)
		}
		return s
	case *types.NamedType:
		return shapesOfType(t.Type)
	}
	return anyShape
}

// collectLocals finds what the rule's variables are assigned, where each is assigned once.
func (l *linter) collectLocals(rule *ast.Rule) {
	l.locals, l.walked, l.keyed = map[ast.Var]*ast.Term{}, map[ast.Var][]*ast.Term{}, map[ast.Var][]*ast.Term{}
	assign := func(v ast.Var, t *ast.Term) {
		if _, twice := l.locals[v]; twice {
			t = nil
		}
		l.locals[v] = t
	}
	ast.WalkExprs(rule, func(e *ast.Expr) bool {
		if e.IsAssignment() {
			if v, ok := e.Operand(0).Value.(ast.Var); ok {
				assign(v, e.Operand(1))
			}
		}
		switch terms := e.Terms.(type) {
		case *ast.Every:
			l.each(terms.Value, terms.Domain, l.walked)
			if terms.Key != nil {
				l.each(terms.Key, terms.Domain, l.keyed)
			}
		case *ast.SomeDecl:
			if call, ok := terms.Symbols[0].Value.(ast.Call); ok {
				l.each(call[len(call)-2], call[len(call)-1], l.walked)
				if len(call) == 4 { // some key, value in
					l.each(call[1], call[3], l.keyed)
				}
			}
		}
		return false
	})
	given := l.graph.given[l.node.path]
	for i, arg := range rule.Head.Args {
		if v, ok := arg.Value.(ast.Var); ok {
			l.locals[v] = nil
			if i < len(given) {
				l.locals[v] = given[i]
			}
		}
	}
}

// each notes that element stands for what is in collection, or its keys.
func (l *linter) each(element, collection *ast.Term, of map[ast.Var][]*ast.Term) {
	if v, ok := element.Value.(ast.Var); ok {
		of[v] = append(of[v], collection)
	}
}

var comparisons = map[string]string{
	ast.Equality.Name: "=", ast.Equal.Name: "==", ast.NotEqual.Name: "!=",
	ast.LessThan.Name: "<", ast.LessThanEq.Name: "<=", ast.GreaterThan.Name: ">", ast.GreaterThanEq.Name: ">=",
}

// turned is each sign as it reads from the right.
var turned = map[string]string{"=": "=", "==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

const neverNull = "what is not known has the worst value that it can have, such as \"unknown\"; compare with that"

// compare looks at one call for a comparison that cannot mean what it says.
func (l *linter) compare(operator string, operands []*ast.Term) {
	l.texts(operator, operands)
	if sign, ok := comparisons[operator]; ok && len(operands) == 2 {
		a, b := operands[0], operands[1]
		if sa, sb := l.shapesOf(a), l.shapesOf(b); sa&sb == 0 {
			l.problem("%s %s %s compares %s with %s, which has the same outcome whatever the input; %s", a, sign, b, sa, sb, l.convert(a, b, sign))
			return
		}
		l.counted(a, b, sign)
		l.counted(b, a, turned[sign])
		if operator != ast.Equality.Name && operator != ast.Equal.Name && operator != ast.NotEqual.Name {
			l.ordered(a, b, sign)
			l.sorted(a, sign)
			l.sorted(b, sign)
		}
		l.dated(a, b)
		l.dated(b, a)
		l.reached(a, b, sign)
		l.reached(b, a, turned[sign])
		if operator == ast.NotEqual.Name {
			l.anyOf(a, b)
			l.anyOf(b, a)
		}
	}
	if operator == ast.IsNull.Name && len(operands) == 1 && l.shapesOf(operands[0])&shapeNull == 0 {
		l.problem("%s is never null: %s", operands[0], neverNull)
	}
	if operator != ast.Member.Name || len(operands) != 2 {
		return
	}
	element, collection := operands[0], operands[1]
	if l.shapesOf(collection)&(shapeArray|shapeObject|shapeSet) == 0 {
		l.problem("%s in %s: %s holds nothing that could be in it; compare with == instead", element, collection, l.shapesOf(collection))
		return
	}
	if f := l.leaf(collection); f != nil && f.kind == kindStrings && l.shapesOf(element)&shapeString == 0 {
		l.problem("%s in %s: the elements are strings, %s is %s", element, collection, element, l.shapesOf(element))
	}
	switch c := collection.Value.(type) {
	case ast.Set:
		c.Foreach(func(t *ast.Term) { l.member(element, t) })
	case *ast.Array:
		c.Foreach(func(t *ast.Term) { l.member(element, t) })
	}
}

func (l *linter) member(element, t *ast.Term) {
	l.dated(element, t)
	if sa, sb := l.shapesOf(element), l.shapesOf(t); sa&sb == 0 {
		l.problem("%s in {… %s …} compares %s with %s, which can never be equal", element, t, sa, sb)
	}
}

// leaf is the field that t stands for, itself or through a variable.
func (l *linter) leaf(t *ast.Term) *field {
	for range 8 {
		v, ok := t.Value.(ast.Var)
		if !ok || l.locals[v] == nil {
			break
		}
		t = l.locals[v]
	}
	if ref, ok := t.Value.(ast.Ref); ok {
		if f, rest := descend(ref); f != nil && f.fields == nil && len(rest) == 0 {
			return f
		}
	}
	return nil
}

// notOneOf says which of its words is meant, or which there are; fold is what the field goes through before it is compared.
func (f *field) notOneOf(found string, fold func(string) string) string {
	words := f.words
	if fold != nil {
		words = make([]string, len(f.words))
		for i, word := range f.words {
			words[i] = fold(word)
		}
	}
	if catalog.InEU(found) && slices.Contains(words, "eu") {
		return fmt.Sprintf("did you mean \"eu\", of which %s is a part?", strings.ToUpper(found))
	}
	for _, meant := range []string{countries[strings.ToUpper(found)], strings.ToLower(countries[strings.ToUpper(found)]), placeOf(found)} {
		if meant != "" && slices.Contains(words, meant) {
			return fmt.Sprintf("did you mean %q?", meant)
		}
	}
	if len(words) > 20 {
		if _, near := config.Nearest(found, words); !near && f.doc != "" {
			return fmt.Sprintf("unknown value %q; it is %s", found, f.doc)
		}
		return config.UnknownName("value", found, words)
	}
	return config.NotOneOf(found, words)
}

// countries are what people call some that ISO 3166-1 calls otherwise.
var countries = map[string]string{"UK": "GB", "USA": "US"}

// placeOf is the region that a cloud's own name of one begins with, such as eu of eu-west-1.
func placeOf(found string) string {
	place, _, isRegion := strings.Cut(found, "-")
	if !isRegion {
		return ""
	}
	return place
}

// elementOf is the list of the input of which t is an element; nil where it is none.
func (l *linter) elementOf(t *ast.Term) *field {
	switch v := t.Value.(type) {
	case ast.Var:
		if source := l.locals[v]; source != nil {
			t = source
		} else if walked := l.walked[v]; len(walked) == 1 {
			if f := l.leaf(walked[0]); f != nil && f.kind == kindStrings {
				return f
			}
		}
	}
	if ref, ok := t.Value.(ast.Ref); ok {
		if f, rest := descend(ref); f != nil && f.kind == kindStrings && f.fields == nil && len(rest) == 1 {
			return f
		}
	}
	return nil
}

// counted refuses to ask whether a list is empty that never is.
func (l *linter) counted(a, b *ast.Term, sign string) {
	list, least := a, 1
	if call, ok := l.constant(a).Value.(ast.Call); ok && call[0].Value.String() == ast.Count.Name && len(call) == 2 {
		list = call[1]
		n, isNumber := l.constant(b).Value.(ast.Number)
		if least, ok = n.Int(); !isNumber || !ok {
			return
		}
	} else if empty, ok := l.constant(b).Value.(*ast.Array); !ok || empty.Len() > 0 || sign != "=" && sign != "==" && sign != "!=" {
		return
	} else {
		least = 0
	}
	f := l.leaf(list)
	if f == nil || f.filled == "" {
		return
	}
	outcome := ""
	switch {
	case least < 1 && (sign == "=" || sign == "==" || sign == "<="), least < 2 && sign == "<":
		outcome = "never"
	case least < 1 && (sign == "!=" || sign == ">"), least < 2 && sign == ">=":
		outcome = "always"
	default:
		return
	}
	l.problem("%s %s %s %s holds: %s is never empty; where nothing is stated it is [%q]; write %q in %s", a, sign, b, outcome, f.name, f.filled, f.filled, list)
}

// ordered refuses to order words, which Rego does by the alphabet.
func (l *linter) ordered(a, b *ast.Term, sign string) {
	for _, t := range []*ast.Term{a, b} {
		if f := l.leaf(t); f != nil && f.enum != nil {
			instead := "name the values that are meant, as in " + f.name + " in {\"" + f.enum[0] + "\"}"
			if strings.HasSuffix(f.name, ".data_class") {
				instead = "compare input.request.data_class_rank, which is 0 for public and 3 for restricted"
			}
			l.problem("%s %s %s compares by the alphabet; %s", a, sign, b, instead)
			return
		}
	}
}

// sorted refuses to order what may be a number or a text: where it is the default of a lookup, any number comes before it.
func (l *linter) sorted(t *ast.Term, sign string) {
	call, ok := l.constant(t).Value.(ast.Call)
	if !ok || call[0].Value.String() != ast.ObjectGet.Name || len(call) != 4 {
		return
	}
	if s := l.shapesOf(t); s != anyShape && s&(s-1) != 0 {
		l.problem("%s with %s: it may be %s, and Rego puts every number before any text; give the lookup a default of the same type", t, sign, s)
	}
}

// dated refuses to compare a date with what is none.
func (l *linter) dated(a, b *ast.Term) {
	f := l.leaf(a)
	constant, ok := b.Value.(ast.String)
	if !ok || f == nil || f.name != "input.time.date" && f.name != "input.endpoint.data_policy.as_of" {
		return
	}
	if _, err := time.Parse(time.DateOnly, string(constant)); err != nil {
		l.problem("%s is a date as in \"2027-01-31\"; found %s, which it never equals and which comes before or after it by the alphabet only", f.name, constant)
	}
}

// anyOf refuses list[_] != x: with an empty list it does not hold, and with two elements nearly always does.
func (l *linter) anyOf(a, b *ast.Term) {
	ref, ok := a.Value.(ast.Ref)
	if !ok || l.elementOf(a) == nil {
		return
	}
	if v, isVar := ref[len(ref)-1].Value.(ast.Var); isVar && v.IsWildcard() {
		list := ref[:len(ref)-1]
		l.problem("%s != %s holds where some element is another, and in no empty list; write `not %s in %s`, or `some element in %s` and `element != %s` if that is what is meant", a, b, b, list, list, b)
	}
}

// convert is the corrected comparison, where it can be told.
func (l *linter) convert(a, b *ast.Term, sign string) string {
	for _, pair := range [][2]*ast.Term{{a, b}, {b, a}} {
		if l.leaf(pair[1]) != nil && pair[0].Equal(ast.InternedNullTerm) {
			return neverNull
		}
		if word, isText := pair[0].Value.(ast.String); isText && l.shapesOf(pair[1]) == shapeBoolean && (word == "true" || word == "false") {
			return fmt.Sprintf("write %s == %s, without quotes", pair[1], string(word))
		}
		text, isText := pair[0].Value.(ast.String)
		if isText && l.shapesOf(pair[1]) == shapeNumber {
			if n, err := ast.ParseTerm(string(text)); err == nil {
				if _, isNumber := n.Value.(ast.Number); isNumber {
					if pair[0] == a {
						return fmt.Sprintf("write %s %s %s", n, sign, b)
					}
					return fmt.Sprintf("write %s %s %s", a, sign, n)
				}
			}
		}
		if text, ok := pair[0].Value.(ast.Boolean); ok && l.shapesOf(pair[1]) == shapeString {
			if f := l.leaf(pair[1]); f != nil && f.enum != nil {
				return fmt.Sprintf("%s is not %v but one of %s", f.name, text, strings.Join(f.enum, ", "))
			}
		}
	}
	return "both sides must be of one type"
}
