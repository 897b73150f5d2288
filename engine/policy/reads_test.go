package policy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// tracked is an input document that notes what the evaluator truly touches. It satisfies ast.Object by embedding one.
type tracked struct {
	ast.Object
	path string // "input.endpoint"
	read func(path string)
}

// child is what the evaluator is given of a value: an object goes on being tracked, anything else has been read.
func (o *tracked) child(key, v *ast.Term) *ast.Term {
	if v == nil {
		return nil
	}
	path := o.path + "[" + key.String() + "]"
	if s, ok := key.Value.(ast.String); ok {
		path = o.path + "." + string(s)
	}
	if obj, ok := v.Value.(ast.Object); ok {
		return ast.NewTerm(&tracked{obj, path, o.read})
	}
	o.read(path)
	return v
}

func (o *tracked) Get(k *ast.Term) *ast.Term {
	v := o.Object.Get(k)
	if v == nil && o.path != "input" { // an absent key of an open map is read too
		o.read(o.path + "." + strings.Trim(k.String(), `"`))
	}
	return o.child(k, v)
}

func (o *tracked) Find(path ast.Ref) (ast.Value, error) {
	if len(path) == 0 {
		return o, nil
	}
	v := o.Get(path[0])
	if v == nil {
		return nil, fmt.Errorf("%s is absent from %s", path[0], o.path)
	}
	return v.Value.Find(path[1:])
}

func (o *tracked) whole()                                  { o.read(o.path) }
func (o *tracked) Len() int                                { o.whole(); return o.Object.Len() }
func (o *tracked) Copy() ast.Object                        { o.whole(); return o.Object.Copy() }
func (o *tracked) Keys() []*ast.Term                       { o.whole(); return o.Object.Keys() }
func (o *tracked) KeysIterator() ast.ObjectKeysIterator    { o.whole(); return o.Object.KeysIterator() }
func (o *tracked) String() string                          { o.whole(); return o.Object.String() }
func (o *tracked) Hash() int                               { o.whole(); return o.Object.Hash() }
func (o *tracked) Compare(other ast.Value) int             { o.whole(); return o.Object.Compare(other) }
func (o *tracked) Diff(other ast.Object) ast.Object        { o.whole(); return o.Object.Diff(other) }
func (o *tracked) Foreach(f func(*ast.Term, *ast.Term))    { o.whole(); o.Object.Foreach(f) }
func (o *tracked) Filter(f ast.Object) (ast.Object, error) { o.whole(); return o.Object.Filter(f) }
func (o *tracked) Iter(f func(*ast.Term, *ast.Term) error) error {
	o.whole()
	return o.Object.Iter(f)
}
func (o *tracked) Until(f func(*ast.Term, *ast.Term) bool) bool {
	o.whole()
	return o.Object.Until(f)
}

// covers says whether the read-set has what lies at path.
func (s readSet) covers(path string) bool {
	return slices.ContainsFunc(s, func(r read) bool {
		at := r.field.name
		if r.keyed {
			at += "." + r.key
		}
		return path == at || strings.HasPrefix(path, at+".") || strings.HasPrefix(path, at+"[")
	})
}

// randomModule is a policy of rules that reach the input in every way that the lint lets through.
func randomModule(r *rand.Rand) string {
	var b strings.Builder
	// Each field is read once in a rule: two conditions on one may never hold together, which is refused.
	condition := func(group string, taken map[*field]bool) string {
		var among []read
		for _, leaf := range everything {
			if !taken[leaf.field] && (group == "" || !strings.HasPrefix(leaf.field.name, group)) {
				among = append(among, leaf)
			}
		}
		f := pick(r, among...).field
		taken[f] = true
		name := f.name
		if r.IntN(2) == 0 {
			name = strings.Replace(strings.Replace(name, "input.endpoint.", "endpoint.", 1), "input.request.", "asked.", 1)
		}
		text := pick(r, "alpha", "eu", "gold", "a", "soc2")
		if f.words != nil {
			text = pick(r, f.words...)
		}
		if strings.HasSuffix(f.name, ".date") || strings.HasSuffix(f.name, ".as_of") {
			text = "2026-11-23"
		}
		switch f.kind {
		case kindString:
			return pick(r, name+" == \""+text+"\"", "not "+name+" == \""+text+"\"", name+" in {\""+text+"\"}", "startswith("+name+", \""+text[:min(1, len(text))]+"\")", "some_text("+name+")")
		case kindBool:
			return pick(r, name, "not "+name)
		case kindInt, kindFloat:
			low, high := "10", "100"
			if f.most > 0 {
				low, high = "0", "1"
			}
			return pick(r, name+" > "+low, name+" <= "+high, "number_of("+name+") > 5", "count([x | x := "+name+"; x > "+low+"]) > 0")
		case kindStrings:
			return pick(r, "\""+text+"\" in "+name, "every s in "+name+" { s != \""+text+"\" }", "count("+name+") > 1", name+"[_] == \""+text+"\"", "any_of("+name+")")
		case kindStringMap:
			return pick(r, "object.get("+name+", \"tier\", \"none\") != \"gold\"", "count([k | some k in [\"stage\", \"case\"]; object.get("+name+", k, \"\") == \"a\"]) > 0")
		}
		return "object.get(" + name + ", \"quality\", 0) < 0.5"
	}
	rule := func(head, without string) {
		conditions, taken := make([]string, 1+r.IntN(3)), map[*field]bool{}
		for i := range conditions {
			conditions[i] = "\t" + condition(without, taken)
		}
		fmt.Fprintf(&b, "\n%s if {\n%s\n}\n", head, strings.Join(conditions, "\n"))
	}
	for i := range 1 + r.IntN(3) {
		rule(fmt.Sprintf("deny contains \"reason %d\"", i), "")
	}
	if r.IntN(2) == 0 {
		rule("helper", "")
		rule("helper", "")
		b.WriteString("\ndeny contains \"helped\" if not helper\n")
	}
	if r.IntN(2) == 0 {
		rule("allow", "input.claims")
		b.WriteString("\nallow if endpoint.provider != \"beta\"\n")
	}
	if r.IntN(2) == 0 {
		rule("reject contains $\"model {asked.model}\"", "input.endpoint")
	}
	if r.IntN(3) == 0 {
		rule("require contains {\"max_output_tokens\": asked.n + 10}", "")
	}
	head := "package org.p\n\n"
	for word, line := range map[string]string{
		"endpoint.": "import input.endpoint\n", "asked.": "import input.request as asked\n",
	} {
		if strings.Contains(strings.ReplaceAll(b.String(), "input."+word, ""), word) {
			head += line
		}
	}
	for name, function := range map[string]string{
		"some_text(": "\nsome_text(s) if count(s) > 1\n", "number_of(": "\nnumber_of(n) := n * 2\n", "any_of(": "\nany_of(l) if some s in l\n",
	} {
		if strings.Contains(b.String(), name) {
			head += function
		}
	}
	return head + b.String()
}

// holdReads evaluates every question of set on tracked whole inputs, and on what it reads.
func holdReads(t *testing.T, r *rand.Rand, set *Set, module string, inputs int) {
	t.Helper()
	for range inputs {
		rows := randomRows(r, 1)
		q := &Query{Principal: randomPrincipal(r), Request: randomRequest(r), Rows: rows, Stats: randomView(r, 1), Now: today}
		var in Input
		in.fillRequest(q)
		in.fillEndpoint(rows[0])
		in.fillTerms(rows[0], q.Now)
		in.fillStats(new(steady), q.Stats, rows[0])
		for _, b := range set.everyone {
			for _, question := range b.policy.questions() {
				root := &tracked{everything.value(&in).(ast.Object), "input", nil}
				root.read = func(path string) {
					if !question.reads.covers(path) {
						t.Errorf("%s reads %s, which its read-set lacks: %v\n%s", b.name, path, question.reads, module)
					}
				}
				wide, err1 := b.policy.ask(context.Background(), question, root, nil)
				narrow, err2 := b.policy.ask(context.Background(), question, question.reads.value(&in), nil)
				if (err1 == nil) != (err2 == nil) || err1 == nil && narrow.Compare(wide) != 0 {
					t.Fatalf("%s: on everything %v, %v; on what it reads %v, %v\n%s", b.name, wide, err1, narrow, err2, module)
				}
			}
		}
	}
}

// What the evaluator touches is in the read-set that was derived without evaluating.
func TestNothingIsReadThatTheReadSetLacks(t *testing.T) {
	r := seeded(t)
	holdReads(t, r, compiledPool(t), "", 30)
	modules := 300
	if testing.Short() || raceEnabled {
		modules = 60
	}
	loaded := 0
	for range modules {
		module := randomModule(r)
		set, problems := one(module).load(t, honoursAll...)
		if len(problems) > 0 {
			t.Fatalf("%v\n%s", problems, module)
		}
		loaded++
		holdReads(t, r, set, module, 5)
	}
}

func FuzzReads(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		r := rand.New(rand.NewPCG(a, b))
		module := randomModule(r)
		set, problems := one(module).load(t, honoursAll...)
		if len(problems) > 0 {
			t.Fatalf("%v\n%s", problems, module)
		}
		holdReads(t, r, set, module, 5)
	})
}
