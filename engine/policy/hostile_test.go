package policy

import (
	"context"
	"fmt"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
)

// doublings is rules v0, v1 … of which each is made of the one before, V.
func doublings(n int, first, next string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "v0 := %s\n\n", first)
	for i := range n {
		fmt.Fprintf(&b, "v%d := %s\n\n", i+1, strings.ReplaceAll(next, "V", fmt.Sprintf("v%d", i)))
	}
	return b.String()
}

// allocated is how many bytes the process has ever put on the heap.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// Each tries to take all memory or all time, and most do so in plain OPA whatever its deadline.
var hostiles = []struct{ name, rules, why string }{
	{"text that doubles by concat", doublings(40, `input.endpoint.id`, `concat(V, [V, V])`) + `deny contains "x" if count(v40) < 0`, `concat: the evaluation makes values of more than`},
	{"text that doubles by sprintf", doublings(40, `input.endpoint.id`, `sprintf("%s%s", [V, V])`) + `deny contains "x" if count(v40) < 0`, `sprintf: the evaluation makes`},
	{"text that doubles by a template", doublings(40, `input.endpoint.id`, `$"{V}{V}"`) + `deny contains "x" if count(v40) < 0`, `internal.template_string: the evaluation makes values of more than`},
	{"a width of sprintf", `deny contains "x" if count(sprintf("%1000000000d", [input.request.n])) < 0`, `sprintf: the evaluation makes`},
	{"a width of sprintf that is an argument", `deny contains "x" if count(sprintf("%*d", [1000000000, input.request.n])) < 0`, `sprintf: the evaluation makes`},
	{"text that grows by replace", doublings(10, `concat("", [input.endpoint.id, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"])`, `replace(V, "a", V)`) + `deny contains "x" if count(v10) < 0`, `replace: the evaluation makes`},
	{"text that grows by regex.replace", doublings(10, `concat("", [input.endpoint.id, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"])`, `regex.replace(V, "a", V)`) + `deny contains "x" if count(v10) < 0`, `regex.replace: the evaluation makes`},
	{"text that grows by strings.replace_n", doublings(10, `concat("", [input.endpoint.id, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"])`, `strings.replace_n({"a": V}, V)`) + `deny contains "x" if count(v10) < 0`, `strings.replace_n: the evaluation makes`},
	{"a list that doubles by array.concat", doublings(40, `[input.endpoint.id]`, `array.concat(V, V)`) + `deny contains "x" if count(v40) < 0`, `array.concat: the evaluation makes values`},
	{"a list within a list, as JSON", doublings(40, `[input.endpoint.id]`, `[V, V]`) + `deny contains "x" if count(json.marshal(v40)) < 0`, `holds more than 10000 values`},
	{"a list within a list, as text", doublings(40, `[input.endpoint.id]`, `[V, V]`) + `deny contains "x" if count(sprintf("%v", [v40])) < 0`, `holds more than 10000 values`},
	{"a list within a list, compared", doublings(40, `[input.endpoint.id]`, `[V, V]`) + strings.ReplaceAll(doublings(40, `[input.endpoint.id]`, `[V, V]`), "v", "w") + `deny contains "x" if v40 != w40`, `holds more than 10000 values`},
	{"a list within a list, as a reason", doublings(40, `[input.endpoint.id]`, `[V, V]`) + `deny contains v40`, `holds more than 10000 values`},
	{"a list within a list, of unknown type", doublings(40, `object.get(input.endpoint.labels, "none", [input.endpoint.id])`, `object.get(input.endpoint.labels, "none", [V, V])`) + `deny contains v40`, `evaluation makes values`},
	{"a set of sets", doublings(40, `{input.endpoint.id}`, `{V, [V]}`) + `deny contains "x" if count(json.marshal(v40)) < 0`, `holds more than 10000 values`},
	{"a range", `deny contains "x" if count(numbers.range(1, 1000000000000)) < 0`, `numbers.range: the evaluation makes`},
	{"a range of steps", `deny contains "x" if count(numbers.range_step(1, 1000000000000, 2)) < 0`, `numbers.range_step: the evaluation makes`},
	{"a product of ranges", `deny contains "x" if count({n | some a in numbers.range(1, 10000); some b in numbers.range(1, 10000); n := a * 10000 + b}) < 0`, `plus: the evaluation makes values`},
	{"large texts in a list", "big := concat(\",\", [format_int(n, 2) | some n in numbers.range(1, 10000)])\n\n" + `deny contains "x" if count({s | some n in numbers.range(1, 10000); s := concat("", [big, format_int(n, 10)])}) < 0`, `evaluation makes values of more than`},
	{"a number that squares", doublings(40, `input.request.prompt_tokens * 12345678901234567890`, `V * V`) + `deny contains "x" if v40 < 0`, `mul: the number has more than 5000 digits`},
	{"a number with a large exponent", `deny contains "x" if floor(to_number(concat("", ["1e", format_int(input.request.prompt_tokens * 10000000, 10)]))) < 0`, `to_number: `},
	{"a size with a large exponent", `deny contains "x" if units.parse(concat("", ["1e", format_int(input.request.prompt_tokens * 10000000, 10)])) < 0`, `exponent too large`},
	{"a template that repeats", `deny contains "x" if count(strings.render_template("{{range .a}}{{range $.a}}{{range $.a}}{{range $.a}}aaaaaaaaaaaaaaaaaaaaaaaa{{end}}{{end}}{{end}}{{end}}", {"a": numbers.range(1, 300)})) < 0`, `strings.render_template may not be used`},
	{"a template with a width", `deny contains "x" if count(strings.render_template("{{printf \"%1000000000d\" .a}}", {"a": input.request.n})) < 0`, `strings.render_template may not be used`},
	{"paths through a graph", `deny contains "x" if count(graph.reachable_paths({format_int(n, 10): [format_int(m, 10) | some m in numbers.range(1, 30); m > n] | some n in numbers.range(1, 30)}, {"1"})) < 0`, `graph.reachable_paths may not be used`},
	{"a regular expression that is large", `deny contains "x" if regex.match(concat("", ["((((((ab){1,900})c)d)e)(fghijklmnop){1,900})", input.request.model]), concat("", [input.request.model]))`, `regex.match: the pattern has more than`},
	{"a regular expression on much text", doublings(14, `"aaaaaaaaaaaaaaaa"`, `concat("", [V, V])`) + `deny contains "x" if regex.match(concat("", [substring(v14, 0, 900), "(x|y|z|aa|ab|ac|ad)*$", input.request.model]), v14)`, `regex.match: the pattern and the text are too long`},
	{"globs that intersect", `deny contains "x" if not regex.globs_match("a*.*b*.*c*.*d*.*e*.*f*.*g*.*h*.*a*.*b*.*", concat("", ["b*.*a*.*c*.*e*.*d*.*f*.*h*.*g*.*", input.request.model]))`, `regex.globs_match may not be used`},
	{"a glob that is nested", doublings(12, `"a"`, `concat("", ["{", V, ",", V, "}"])`) + `deny contains "x" if not glob.match(v12, [], input.request.model)`, `glob.match`},
	{"JSON with much indent", doublings(20, `" "`, `concat("", [V, V])`) + `deny contains "x" if count(json.marshal_with_options(numbers.range(1, 10000), {"pretty": true, "indent": v20})) < 0`, `json.marshal_with_options may not be used`},
	{"YAML that refers to itself", `deny contains "x" if count(json.marshal(yaml.unmarshal("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]"))) < 0`, `yaml.unmarshal may not be used`},
	{"objects united", doublings(30, `{"a": input.endpoint.id}`, `{"a": V, "b": object.union(V, V)}`) + `deny contains "x" if count(json.marshal(v30)) < 0`, `evaluation makes values`},
	{"a walk", doublings(40, `[input.endpoint.id]`, `[V, V]`) + "deny contains \"x\" if {\n\tsome path\n\twalk(v40, [path, \"none\"])\n\tcount(path) < 0\n}", `holds more than 10000 values`},
	{"a product of lists", "l := numbers.range(1, 200)\n\n" + `deny contains "x" if count({[a, b, c, d] | some a in l; some b in l; some c in l; some d in l}) < 0`, `evaluation took longer than`},
	{"factors", `deny contains "x" if product(numbers.range(1, 100000)) < input.request.n`, `numbers.range: the evaluation makes`},
	{"reasons without end", `deny contains sprintf("%d", [n]) if some n in numbers.range(1, 100000000)`, `numbers.range: the evaluation makes`},
	{"a rule of much text", "s contains concat(\",\", [t, t, t, t]) if some t in numbers_as_text\n\nnumbers_as_text := [format_int(n, 2) | some n in numbers.range(1, 1000000)]\n\n" + `deny contains "x" if count(s) < 0`, `numbers.range: the evaluation makes`},
	{"bits", doublings(60, `input.request.n`, `bits.or(V * 4294967296, V * V)`) + `deny contains "x" if v60 < 0`, `mul: the number has`},
	{"a glob of stars", `deny contains "x" if not glob.match(concat("", ["*a*a*a*a*a*a*a*a*a*a*a*a*b", input.request.model]), [], concat("", [sprintf("%0200d", [0]), replace(sprintf("%0400d", [0]), "0", "a")]))`, `x`},
	{"a number in JSON with an exponent", `deny contains "x" if floor(json.unmarshal(concat("", ["1e", format_int(input.request.prompt_tokens * 10000000, 10)]))) < 0`, `json.unmarshal: invalid number: number too big`},
	{"JSON that is deep", doublings(17, `"["`, `concat("", [V, V])`) + `deny contains "x" if json.unmarshal(v17) == 1`, `exceeded max depth`},
	{"steps alone", "l := numbers.range(1, 100)\n\ndeny contains \"x\" if {\n\tsome a in l\n\tsome b in l\n\tsome c in l\n\tsome d in l\n\ta == b\n\tb == c\n\tc == d\n\td == 0\n}", `evaluation takes more than`},
	{"a function of many arguments", "f(a, b) if a + b > 0\n\nl := numbers.range(1, 1000)\n\ndeny contains \"x\" if {\n\tsome a in l\n\tsome b in l\n\tnot f(a, b)\n}", `evaluation takes more than 262144 steps`},
	{"functions that double", "f0(p) := [p, p]\n\n" + chain(40, "fN(p) := fM([p, p])") + "deny contains \"x\" if f40(input.request.n) == f40(input.request.n)", `evaluation makes values`},
	{"functions that compare what they are given", "f0(p, q) := p == q\n\n" + chain(40, "fN(p, q) := fM([p, p], [q, q])") + "deny contains \"x\" if not f40([input.request.n], [input.request.n])", `evaluation makes values`},
	{"locals that double", "deny contains \"x\" if {\n\tv0 = [input.request.n]\n\tw0 = [input.request.n]\n" + chain(40, "\tvN = [vM, vM]\n\twN = [wM, wM]") + "\tv40 != w40\n}", `holds more than 10000 values`},
	{"sets of lists that have one hash", "l := numbers.range(1, 60)\n\ns := {[a, b, c] | some a in l; some b in l; some c in l}\n\n" + `deny contains "x" if count(s | {1}) < 0`, `evaluation took longer`},
	{"comprehensions of comprehensions", "l := numbers.range(1, 100)\n\n" + doublings(8, `[input.request.n]`, `[V | some x in l; x > 0]`) + `deny contains "x" if count(v8) < 0`, `evaluation makes values`},
	{"an object of objects", doublings(40, `{"a": input.request.n}`, `{"a": V, "b": V}`) + `deny contains "x" if v40 == {"a": 1}`, `holds more than 10000 values`},
	{"a rule of parts that double", "p0 contains [input.request.n]\n\n" + chain(40, "pN contains [pM, pM]") + `deny contains "x" if p40 == {1}`, `holds more than 10000 values`},
	{"every", "l := numbers.range(1, 1000)\n\nall if {\n\tevery a in l {\n\t\tevery b in l { a + b > 0 }\n\t}\n}\n\ndeny contains \"x\" if not all", `plus: the evaluation makes values`},
	{"factors in a list", `deny contains "x" if product(numbers.range(1, 20000)) < input.request.n`, `product: the evaluation makes`},
	{"a text trimmed by a text", doublings(16, `"ab"`, `concat("", [V, V])`) + `deny contains "x" if trim(v16, v16) == "x"`, `trim: the evaluation makes`},
}

// chain is text for N = 1 … n, with M one less.
func chain(n int, text string) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		b.WriteString(strings.NewReplacer("N", fmt.Sprint(i), "M", fmt.Sprint(i-1)).Replace(text))
		b.WriteString("\n\n")
	}
	return b.String()
}

// A hostile policy hurts nobody but those who are bound to it: whatever it tries ends soon, with little memory, in a denial.
func TestHostilePoliciesEndInADenial(t *testing.T) {
	for _, c := range hostiles {
		t.Run(c.name, func(t *testing.T) {
			before, start := allocated(), time.Now()
			limit := "20s" // so that on a slow machine, too, other bounds are reached before it
			if strings.Contains(c.why, "took longer") {
				limit = "200ms"
			}
			set, problems := module(c.rules).within(limit).load(t)
			why := problems.Error()
			if set != nil {
				j := set.Judge(context.Background(), query())
				if permitted(j) != "" {
					t.Fatalf("permits %s", permitted(j))
				}
				why = j.Verdicts[0].Denials[0].Message
			}
			if !strings.Contains(why, c.why) {
				t.Errorf("ends in %q, want %q", why, c.why)
			}
			took, bytes := time.Since(start), allocated()-before
			t.Logf("%v, %d MB, %s", took.Round(time.Millisecond), bytes>>20, short(why))
			if took > 20*time.Second || bytes > 256<<20 {
				t.Errorf("takes %v and %d MB", took, bytes>>20)
			}
		})
	}
}
