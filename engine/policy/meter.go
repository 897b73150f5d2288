package policy

import (
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// OPA bounds an evaluation by a deadline alone, which it looks at between steps. A policy of forty lines, each of which holds the
// value of the line before twice, takes all memory or all time within one step. So an evaluation has an allowance, and every step
// and every value that it makes is charged to it before there is more of it than the allowance has room for. It is spent at the
// same place each time, so what it denies can be remembered as every verdict can.

// Bounds of one evaluation. Policies that people write take a thousandth of it.
const (
	allowance = 2 << 20 // bytes of values, about
	stepCost  = 8       // what a step may leave behind
	nodeCost  = 16      // what a value takes beside its text

	maxDigits   = 5000    // of one number
	maxPattern  = 10_000  // characters of a regular expression or glob, with what is repeated written out
	maxMatching = 4 << 20 // of those, times the bytes of text that it is held against
)

// meter is the allowance of one evaluation. It is what OPA asks whether it shall go on.
type meter struct {
	ended atomic.Bool // the deadline has passed, or the request has gone
	left  int
	why   string        // once the allowance is spent
	at    *ast.Location // in the policy; nil: at no place in particular
}

var _ topdown.Cancel = (*meter)(nil)

func newMeter() *meter { return &meter{left: allowance} }

// Cancel ends the evaluation. Any goroutine may call it.
func (m *meter) Cancel() { m.ended.Store(true) }

// Cancelled is called once for every step.
func (m *meter) Cancelled() bool {
	if m.left -= stepCost; m.left < 0 && m.why == "" {
		m.why = fmt.Sprintf("the evaluation takes more than %d steps, or makes as many values as those may", allowance/stepCost)
	}
	return m.left < 0 || m.ended.Load()
}

func (m *meter) spent() bool { return m.why != "" }

// refuse ends the evaluation at a builtin.
func (m *meter) refuse(at *ast.Location, format string, args ...any) error {
	if m.why == "" {
		m.why, m.at = fmt.Sprintf(format, args...), at
	}
	m.left = -1
	return topdown.Halt{Err: &topdown.Error{Code: topdown.CancelErr, Message: m.why, Location: at}}
}

// tooLarge is why an evaluation ends whose values are more than its allowance.
var tooLarge = fmt.Sprintf("the evaluation makes values of more than %d KiB", allowance>>10)

// charge takes cost off the allowance; what, such as the name of a builtin and a colon, begins the reason where it cannot.
func (m *meter) charge(cost int, what string, at *ast.Location) error {
	if cost > m.left {
		return m.refuse(at, "%s%s", what, tooLarge)
	}
	m.left -= cost
	return nil
}

// size is what a value takes if it is written out: a part that it holds twice counts twice, since that is how it is compared and
// shown. It stops counting beyond limit.
func size(t *ast.Term, limit int) int {
	if limit < 0 {
		return 1
	}
	n := nodeCost
	add := func(part *ast.Term) { n += size(part, limit-n) }
	switch v := t.Value.(type) {
	case ast.String:
		n += len(v)
	case ast.Number:
		n += digits(v)
	case *ast.Array:
		for i := 0; i < v.Len() && n <= limit; i++ {
			add(v.Elem(i))
		}
	case ast.Set:
		for _, e := range v.Slice() {
			if n > limit {
				break
			}
			add(e)
		}
	case ast.Object:
		v.Until(func(key, value *ast.Term) bool {
			add(key)
			add(value)
			return n > limit
		})
	}
	return n
}

// digits is how many a number has when it is written without an exponent.
func digits(n ast.Number) int {
	i := strings.IndexAny(string(n), "eE")
	if i < 0 {
		return len(n)
	}
	exponent, err := strconv.Atoi(string(n[i+1:]))
	if err != nil || exponent > math.MaxInt32 || exponent < -math.MaxInt32 {
		return math.MaxInt32
	}
	return len(n) + max(exponent, -exponent)
}

// meteredName is how the compiled modules call a builtin that is charged. It is no name that a policy could write.
func meteredName(builtin string) string { return "metered " + builtin }

// selecting are builtins whose results are parts of what they are given.
var selecting = builtinSet("object.get min max")

// metered are the allowed builtins and weighing, as evaluations look them up.
var metered = func() map[string]*topdown.Builtin {
	all := map[string]*topdown.Builtin{weighing.Name: {Decl: weighing, Func: weigh}}
	for name := range allowedBuiltins {
		plain := topdown.GetBuiltin(name)
		if plain == nil { // the two that the evaluator has no function for, = and :=
			continue
		}
		if name == ast.GlobMatch.Name {
			plain = keptApart(plain)
		}
		decl := *ast.BuiltinMap[name]
		decl.Name, decl.CanSkipBctx = meteredName(name), false
		all[decl.Name] = &topdown.Builtin{Decl: &decl, Func: meterBuiltin(name, plain)}
	}
	return all
}()

func meterBuiltin(name string, plain topdown.BuiltinFunc) topdown.BuiltinFunc {
	restricted := restrictions[name]
	return func(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
		m, ok := bctx.Cancel.(*meter)
		if !ok {
			return fmt.Errorf("%s: the evaluation has no allowance", name)
		}
		if restricted != nil {
			if why := restricted(operands, m.left); why != "" {
				return m.refuse(bctx.Location, "%s: %s", name, why)
			}
		}
		if name == ast.WalkBuiltin.Name { // the one that has any number of results
			return plain(bctx, operands, iter)
		}
		called := false
		err := plain(bctx, operands, func(result *ast.Term) error {
			called = true
			if selecting[name] {
				return iter(result)
			}
			if n, ok := result.Value.(ast.Number); ok && digits(n) > maxDigits {
				return m.refuse(bctx.Location, "%s: %s", name, tooManyDigits)
			}
			if err := m.charge(size(result, m.left), name+": ", bctx.Location); err != nil {
				return err
			}
			return iter(result)
		})
		if err == nil && !called {
			// Such as the greatest of nothing: undefined, so that a rule with it would silently not fire.
			return &topdown.Error{Code: topdown.BuiltinErr, Message: name + ": it has no result", Location: bctx.Location}
		}
		return err
	}
}

var tooManyDigits = fmt.Sprintf("the number has more than %d digits", maxDigits)

// weighing charges a value that no builtin has made: a list, set or object that is written out, and what is put into one.
var weighing = &ast.Builtin{Name: meteredName("value"), Decl: ast.BuiltinMap[ast.IsString.Name].Decl}

func weigh(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
	m, ok := bctx.Cancel.(*meter)
	if !ok {
		return fmt.Errorf("the evaluation has no allowance")
	}
	if err := m.charge(size(operands[0], m.left), "", bctx.Location); err != nil {
		return err
	}
	return iter(ast.InternedTerm(true))
}

// restriction says why a builtin may not be called with these operands, of which it would make more than left, or over which it would
// take long without asking whether it shall go on; "" where it may. Operands of another type are the builtin's to refuse.
type restriction func(operands []*ast.Term, left int) string

// restrictions are of builtins whose results are more than a few times what they are given, or whose time is. The results of the others
// are charged when they are there.
var restrictions = map[string]restriction{
	"numbers.range":      makes(elementsOfRange),
	"numbers.range_step": makes(elementsOfRange),
	"concat": makes(func(o []*ast.Term, left int) int {
		return times(len(textOf(o[0])), elementCount(o[1])) + size(o[1], left)
	}),
	"replace": makes(func(o []*ast.Term, _ int) int {
		return times(strings.Count(textOf(o[0]), textOf(o[1])), len(textOf(o[2])))
	}),
	"strings.replace_n": makes(func(o []*ast.Term, left int) int { return times(1+len(textOf(o[1])), longest(o[0])) }),
	"regex.replace": matching(1, 0, makes(func(o []*ast.Term, _ int) int {
		return times(1+len(textOf(o[0])), len(textOf(o[2]))) + times(strings.Count(textOf(o[2]), "$"), len(textOf(o[0])))
	})),
	"sprintf":                   makes(lengthOfSprintf),
	"split":                     makes(func(o []*ast.Term, _ int) int { return times(1+strings.Count(textOf(o[0]), textOf(o[1])), nodeCost) }),
	"strings.split_n":           makes(func(o []*ast.Term, _ int) int { return times(1+strings.Count(textOf(o[0]), textOf(o[1])), nodeCost) }),
	"indexof_n":                 makes(func(o []*ast.Term, _ int) int { return times(strings.Count(textOf(o[0]), textOf(o[1])), nodeCost) }),
	"json.unmarshal":            makes(func(o []*ast.Term, _ int) int { return times(len(textOf(o[0])), nodeCost/2) }),
	"json.is_valid":             makes(func(o []*ast.Term, _ int) int { return times(len(textOf(o[0])), nodeCost/2) }),
	"json.marshal":              makes(func(o []*ast.Term, left int) int { return size(o[0], left) }),
	"urlquery.decode_object":    makes(func(o []*ast.Term, _ int) int { return times(strings.Count(textOf(o[0]), "&"), 4*nodeCost) }),
	"trim":                      makes(productOfTexts),
	"trim_left":                 makes(productOfTexts),
	"trim_right":                makes(productOfTexts),
	"net.cidr_contains_matches": makes(productOfCounts),
	"object.subset":             makes(productOfCounts),
	"product":                   makes(func(o []*ast.Term, left int) int { return times(size(o[0], left), size(o[0], left)/nodeCost) }),
	"regex.match":               matching(0, 1, nil),
	"regex.is_valid":            matching(0, -1, nil),
	"regex.split":               matching(0, 1, nil),
	"regex.find_n":              matching(0, 1, nil),
	"regex.find_all_string_submatch_n": matching(0, 1, makes(func(o []*ast.Term, _ int) int {
		return times(1+len(textOf(o[1])), nodeCost*(1+strings.Count(textOf(o[0]), "(")))
	})),
	"glob.match": matching(0, 2, nil),
	"plus":       fewDigits, "minus": fewDigits, "mul": fewDigits, "div": fewDigits, "rem": fewDigits,
	"ceil": fewDigits, "floor": fewDigits, "round": fewDigits, "abs": fewDigits, "format_int": fewDigits, "to_number": fewDigits,
	"bits.or": fewDigits, "bits.and": fewDigits, "bits.negate": fewDigits, "bits.xor": fewDigits, "bits.rsh": fewDigits,
}

// makes refuses what would cost more than is left.
func makes(cost func(operands []*ast.Term, left int) int) restriction {
	return func(operands []*ast.Term, left int) string {
		if cost(operands, left) > left {
			return tooLarge
		}
		return ""
	}
}

// matching bounds the pattern and the text that stand at those places; text is negative where there is none.
func matching(pattern, against int, then restriction) restriction {
	return func(operands []*ast.Term, left int) string {
		n := compiledSize(textOf(operands[pattern]))
		switch {
		case n > maxPattern:
			return fmt.Sprintf("the pattern has more than %d characters, or would have once what is repeated is written out", maxPattern)
		case against >= 0 && times(n, len(textOf(operands[against]))) > maxMatching:
			return "the pattern and the text are too long for one another"
		case then != nil:
			return then(operands, left)
		}
		return ""
	}
}

// fewDigits refuses numbers that are long: arithmetic takes the square of their length.
func fewDigits(operands []*ast.Term, _ int) string {
	for _, o := range operands {
		switch v := o.Value.(type) {
		case ast.Number:
			if digits(v) > maxDigits {
				return tooManyDigits
			}
		case ast.String:
			if len(v) > maxDigits {
				return tooManyDigits
			}
		}
	}
	return ""
}

// times is a product that does not overflow.
func times(a, b int) int {
	if a > 0 && b > math.MaxInt32/a {
		return math.MaxInt32
	}
	return a * b
}

func textOf(t *ast.Term) string {
	s, _ := t.Value.(ast.String)
	return string(s)
}

// elementCount is how many elements a list, set or object has; 0 for what is none.
func elementCount(t *ast.Term) int {
	if c, ok := t.Value.(interface{ Len() int }); ok {
		return c.Len()
	}
	return 0
}

// longest is the length of the longest text in an object.
func longest(t *ast.Term) int {
	n := 0
	if o, ok := t.Value.(ast.Object); ok {
		o.Foreach(func(_, v *ast.Term) { n = max(n, len(textOf(v))) })
	}
	return n
}

func productOfTexts(o []*ast.Term, _ int) int { return times(len(textOf(o[0])), len(textOf(o[1]))) }

func productOfCounts(o []*ast.Term, _ int) int {
	return times(times(elementCount(o[0]), elementCount(o[1])), nodeCost)
}

func elementsOfRange(o []*ast.Term, _ int) int {
	from, ok1 := o[0].Value.(ast.Number)
	to, ok2 := o[1].Value.(ast.Number)
	a, ok3 := from.Int64()
	b, ok4 := to.Int64()
	if !ok1 || !ok2 {
		return 0 // refused by the builtin
	}
	if !ok3 || !ok4 {
		return math.MaxInt32
	}
	n := math.Abs(float64(b)-float64(a)) + 1
	if len(o) > 2 {
		if step, ok := o[2].Value.(ast.Number); ok {
			if s, ok := step.Float64(); ok && s > 1 {
				n = n/s + 1
			}
		}
	}
	return int(min(n*2*nodeCost, math.MaxInt32))
}

// lengthOfSprintf is at most the format, and for each verb its width and the longest of what it can show.
func lengthOfSprintf(o []*ast.Term, left int) int {
	format := textOf(o[0])
	verbs, width := 0, 0
	for _, m := range verb.FindAllString(format, -1) {
		if strings.Contains(m, "*") {
			return math.MaxInt32 // a width that is an argument
		}
		verbs++
		for _, figure := range strings.FieldsFunc(m, func(r rune) bool { return r < '0' || r > '9' }) {
			n, err := strconv.Atoi(figure)
			if err != nil || n > math.MaxInt32/16 {
				return math.MaxInt32
			}
			width = max(width, n)
		}
	}
	shown := 0
	if args, ok := o[1].Value.(*ast.Array); ok {
		for i := range args.Len() {
			shown = max(shown, size(args.Elem(i), left))
		}
	}
	return len(format) + times(verbs, width+4*shown)
}

// verb is what stands for an argument in a format, with its flags, width, precision and place.
var verb = regexp.MustCompile(`%[-+# 0-9.\[\]*]*`)

// compiledSize is how many characters a pattern has once what it repeats is written out.
func compiledSize(pattern string) int {
	if len(pattern) > maxPattern || !strings.Contains(pattern, "{") {
		return len(pattern)
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return len(pattern) // a glob, or refused by the builtin
	}
	var count func(*syntax.Regexp) int
	count = func(re *syntax.Regexp) int {
		n := 1 + len(re.Rune)
		for _, sub := range re.Sub {
			n = min(n+count(sub), math.MaxInt32/1000)
		}
		if re.Op == syntax.OpRepeat {
			n *= max(re.Min, re.Max, 1)
		}
		return min(n, math.MaxInt32/1000)
	}
	return max(count(re), len(pattern))
}

// meterModule makes a module call the builtins that are charged, and charge what it puts together itself. It comes after everything
// that looks at what the author wrote.
func meterModule(module *ast.Module) {
	ast.WalkNodes(module, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Rule:
			n.Body = chargedBody(n.Body, headTerms(n.Head))
		case *ast.Every:
			n.Body = chargedBody(n.Body, nil)
		case *ast.Not:
			n.Body = chargedBody(n.Body, nil)
		case *ast.LogicalAnd:
			n.Lhs, n.Rhs = chargedBody(n.Lhs, nil), chargedBody(n.Rhs, nil)
		case *ast.LogicalOr:
			n.Lhs, n.Rhs = chargedBody(n.Lhs, nil), chargedBody(n.Rhs, nil)
		case *ast.Term:
			switch v := n.Value.(type) {
			case *ast.ArrayComprehension:
				v.Body = chargedBody(v.Body, []*ast.Term{v.Term})
			case *ast.SetComprehension:
				v.Body = chargedBody(v.Body, []*ast.Term{v.Term})
			case *ast.ObjectComprehension:
				v.Body = chargedBody(v.Body, []*ast.Term{v.Key, v.Value})
			}
		}
		return false
	})
}

// headTerms are what a rule puts into a set or object, or the list, set or object that it writes out.
func headTerms(h *ast.Head) []*ast.Term {
	ref := h.Ref()
	var terms []*ast.Term
	if h.Key != nil {
		terms = append(terms, h.Key)
	}
	terms = append(terms, ref[1:]...)
	if h.Value != nil && (len(ref) > 1 || h.Key != nil || composite(h.Value)) {
		terms = append(terms, h.Value)
	}
	return terms
}

func composite(t *ast.Term) bool {
	switch t.Value.(type) {
	case *ast.Array, ast.Object, ast.Set:
		return true
	}
	return false
}

func operator(name string, at *ast.Location) *ast.Term {
	return &ast.Term{Value: ast.Ref{ast.VarTerm(name)}, Location: at}
}

// weighs says whether e charges t.
func weighs(e *ast.Expr, t *ast.Term) bool {
	terms, ok := e.Terms.([]*ast.Term)
	return ok && len(terms) == 2 && terms[1] == t && terms[0].Value.String() == weighing.Name
}

// chargedBody charges what body writes out, where it does, and at its end what then comes into being.
func chargedBody(body ast.Body, made []*ast.Term) ast.Body {
	var charged ast.Body
	add := func(terms []*ast.Term, at *ast.Location) {
		for _, t := range terms {
			if !t.IsGround() && !slices.ContainsFunc(charged, func(e *ast.Expr) bool { return weighs(e, t) }) {
				charged.Append(&ast.Expr{Terms: []*ast.Term{operator(weighing.Name, at), t}, Location: at, Generated: true})
			}
		}
	}
	for _, e := range body {
		terms, call := e.Terms.([]*ast.Term)
		var before, after []*ast.Term
		if call {
			var written []*ast.Term
			for _, t := range terms[1:] {
				if composite(t) {
					written = append(written, t)
				}
			}
			called := terms[0].Value.(ast.Ref)
			name := meteredName(called.String())
			switch {
			case e.IsEquality():
				after = written
			case called.HasPrefix(ast.DefaultRootRef):
				before = written
			case metered[name] != nil:
				terms[0] = operator(name, terms[0].Location)
			}
		}
		add(before, e.Location)
		charged.Append(e)
		if !e.Negated {
			add(after, e.Location)
		}
	}
	at := (*ast.Location)(nil)
	if len(body) > 0 {
		at = body[len(body)-1].Location
	}
	add(made, at)
	return charged
}
