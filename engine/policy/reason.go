package policy

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// ruleError is the Rule of reasons that no author wrote: something went wrong, and so the answer is no.
const ruleError = "error"

// parseReason reads an element of deny or reject: a string or {code, message}.
func parseReason(v ast.Value) (Reason, error) {
	switch v := v.(type) {
	case ast.String:
		if v == "" {
			return Reason{}, fmt.Errorf("a reason may not be empty")
		}
		return Reason{Message: string(v)}, nil
	case ast.Object:
		r := Reason{Code: text(v, "code"), Message: text(v, "message")}
		if v.Len() == 2 && r.Code != "" && r.Message != "" {
			return r, nil
		}
	}
	return Reason{}, fmt.Errorf(`a reason is a string or {"code": "…", "message": "…"}; found %s`, v)
}

func text(obj ast.Object, key string) string {
	if t := obj.Get(ast.InternedTerm(key)); t != nil {
		if s, ok := t.Value.(ast.String); ok {
			return string(s)
		}
	}
	return ""
}

// firings records which rule put each element into deny or reject: what the values themselves do not say.
type firings struct {
	rule  string // data.library.training.deny
	fired map[string]*ast.Location
}

func (f *firings) Enabled() bool               { return true }
func (f *firings) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

func (f *firings) TraceEvent(e topdown.Event) {
	if e.Op != topdown.ExitOp {
		return
	}
	rule, ok := e.Node.(*ast.Rule)
	if !ok || rule.Head.Key == nil || rule.Ref().String() != f.rule {
		return
	}
	key := e.Plug(rule.Head.Key).String()
	if first, ok := f.fired[key]; !ok || before(rule.Location, first) {
		f.fired[key] = rule.Location
	}
}

func before(a, b *ast.Location) bool {
	if a.File != b.File {
		return a.File < b.File
	}
	return a.Row < b.Row
}
