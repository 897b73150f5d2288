package policy

import (
	"reflect"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// axis is one thing that is read with values that it can have.
type axis struct {
	read   read
	values []reflect.Value
	whole  bool // these are all that it can have
}

// constants are what a policy's modules and parameters compare with: where its answers can change.
type constants struct {
	texts   []string
	numbers []float64
}

// mostConstants bounds how many values of one field are tried.
const mostConstants = 12

// finite is every value that the field of r can have; nil where there is no small set of them.
func (r read) finite() []reflect.Value {
	f := r.field
	switch {
	case f.kind == kindBool:
		return []reflect.Value{reflect.ValueOf(false), reflect.ValueOf(true)}
	case f.enum != nil:
		return each(f.enum)
	case f.values > 0:
		numbers := make([]int64, f.values)
		for i := range numbers {
			numbers[i] = int64(i)
		}
		return each(numbers)
	}
	return nil
}

func each[T any](values []T) []reflect.Value {
	out := make([]reflect.Value, len(values))
	for i, v := range values {
		out[i] = reflect.ValueOf(v)
	}
	return out
}

// axis is all values of the field where they are few, otherwise those at which a policy with these constants can change its
// mind: each constant, its neighbours, and what stands for nothing.
func (r read) axis(c constants) axis {
	if all := r.finite(); all != nil {
		return axis{r, all, true}
	}
	a := axis{read: r}
	texts, numbers := c.texts[:min(len(c.texts), mostConstants)], c.numbers[:min(len(c.numbers), mostConstants)]
	switch r.field.kind {
	case kindString:
		a.values = each(append([]string{""}, texts...))
	case kindInt:
		values := []int64{0, 1, unlimitedTokens}
		for _, n := range numbers {
			values = append(values, int64(n)-1, int64(n), int64(n)+1)
		}
		slices.Sort(values)
		a.values = each(slices.Compact(values))
	case kindFloat:
		values := []float64{0}
		for _, n := range numbers {
			values = append(values, n-0.5, n, n+0.5)
		}
		slices.Sort(values)
		a.values = each(slices.Compact(values))
	case kindStrings:
		values := [][]string{nil, slices.Clone(texts)}
		for _, s := range texts {
			values = append(values, []string{s})
		}
		a.values = each(values)
	case kindStringMap:
		values := []map[string]string{nil}
		for _, s := range texts {
			values = append(values, map[string]string{r.keyOr(s): s})
		}
		a.values = each(values)
	case kindNumberMap:
		values := []map[string]float64{nil}
		for _, n := range append([]float64{0}, numbers...) {
			values = append(values, map[string]float64{r.keyOr("x"): n})
		}
		a.values = each(values)
	}
	return a
}

func (r read) keyOr(other string) string {
	if r.keyed {
		return r.key
	}
	return other
}

// set gives in the nth value of the axis.
func (a *axis) set(in *Input, n int) {
	to := reflect.ValueOf(in).Elem().FieldByIndex(a.read.field.index)
	if !a.read.keyed {
		to.Set(a.values[n])
		return
	}
	// Several keys of one map are axes of their own, and the map is shared with others.
	merged := reflect.MakeMap(to.Type())
	for _, m := range []reflect.Value{to, a.values[n]} {
		for it := m.MapRange(); it.Next(); {
			merged.SetMapIndex(it.Key(), it.Value())
		}
	}
	if a.values[n].Len() == 0 {
		merged.SetMapIndex(reflect.ValueOf(a.read.key), reflect.Value{})
	}
	to.Set(merged)
}

// domain is every combination of the values of some fields, numbered.
type domain struct {
	axes []axis
	size int
}

// newDomain is nil where there are more than limit combinations.
func newDomain(axes []axis, limit int) *domain {
	d := &domain{axes: axes, size: 1}
	for i := range axes {
		if d.size *= len(axes[i].values); d.size > limit {
			return nil
		}
	}
	return d
}

// finiteDomain is the domain of reads; nil where a field has no small set of values, or they are too many together.
func finiteDomain(reads readSet, limit int) *domain {
	var axes []axis
	for _, r := range reads {
		values := r.finite()
		if values == nil {
			return nil
		}
		axes = append(axes, axis{r, values, true})
	}
	return newDomain(axes, limit)
}

// set makes in the nth combination.
func (d *domain) set(in *Input, n int) {
	for i := range d.axes {
		size := len(d.axes[i].values)
		d.axes[i].set(in, n%size)
		n /= size
	}
}

// index is the number of in's combination; ok is false where some field has none of its values.
func (d *domain) index(in *Input) (index int, ok bool) {
	root := reflect.ValueOf(in).Elem()
	stride := 1
	for i := range d.axes {
		a := &d.axes[i]
		at := -1
		switch v := root.FieldByIndex(a.read.field.index); a.read.field.kind {
		case kindBool:
			at = 0
			if v.Bool() {
				at = 1
			}
		case kindInt:
			if n := v.Int(); n >= 0 && n < int64(len(a.values)) {
				at = int(n)
			}
		case kindString:
			at = slices.Index(a.read.field.enum, v.String())
		}
		if at < 0 {
			return 0, false
		}
		index += at * stride
		stride *= len(a.values)
	}
	return index, true
}

// possible says whether fields that follow from one another agree in in, as far as reads has them.
func (in *Input) possible(reads readSet) bool {
	has := func(name string) bool {
		return slices.ContainsFunc(reads, func(r read) bool { return r.field.name == name })
	}
	r := &in.Request
	if has("input.request.data_class") && has("input.request.data_class_rank") && classRank(r.DataClass) != int(r.DataClassRank) {
		return false
	}
	if has("input.principal.data_class") {
		floor := classRank(in.Principal.DataClass)
		if has("input.request.data_class") && classRank(r.DataClass) < floor || has("input.request.data_class_rank") && int(r.DataClassRank) < floor {
			return false
		}
	}
	if has("input.request.provider_state") {
		all, some := true, false
		for name, is := range map[string]bool{"store": r.Store, "background": r.Background, "previous_response": r.PreviousResponse, "file_references": r.FileReferences} {
			read := has("input.request." + name)
			all, some = all && read, some || read && is
		}
		if some && !r.ProviderStateAsked || all && !some && r.ProviderStateAsked {
			return false
		}
	}
	if has("input.request.provider_tools") && has("input.request.tool_kinds") && asksProviderTools(r.ToolKinds) != r.ProviderToolsAsked {
		return false
	}
	return true
}

// constants collects what the rules that these names reach, and the parameters, compare with.
func (c *compiled) constants(pkg string, params map[string]any) constants {
	var k constants
	for _, n := range c.graph.reachable(pkg, contract...) {
		var from any = n.rule
		if name := n.name(); name == ruleDeny || name == ruleReject || name == ruleRequire {
			from = n.rule.Body // their heads say what comes out
		}
		ast.WalkTerms(from, func(t *ast.Term) bool {
			switch v := t.Value.(type) {
			case ast.Call:
				return v[0].String() == ast.Sprintf.Name // a text for people
			case ast.String:
				k.texts = append(k.texts, string(v))
			case ast.Number:
				if f, ok := v.Float64(); ok {
					k.numbers = append(k.numbers, f)
				}
			case ast.Ref:
				// The parts of a path are no values that anything is compared with, but its variable parts may hold some.
				for _, part := range v {
					if _, constant := part.Value.(ast.String); !constant {
						ast.WalkTerms(part, func(inner *ast.Term) bool {
							if s, ok := inner.Value.(ast.String); ok {
								k.texts = append(k.texts, string(s))
							}
							return false
						})
					}
				}
				return true
			}
			return false
		})
	}
	k.gather(params)
	slices.Sort(k.texts)
	slices.Sort(k.numbers)
	k.texts, k.numbers = slices.Compact(k.texts), slices.Compact(k.numbers)
	return k
}

func (k *constants) gather(v any) {
	switch v := v.(type) {
	case string:
		k.texts = append(k.texts, v)
	case int64:
		k.numbers = append(k.numbers, float64(v))
	case float64:
		k.numbers = append(k.numbers, v)
	case []any:
		for _, e := range v {
			k.gather(e)
		}
	case map[string]any:
		for _, e := range v {
			k.gather(e)
		}
	}
}
