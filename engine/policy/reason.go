package policy

import (
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// ruleError is the Rule of reasons that no author wrote: something went wrong, and so the answer is no.
const ruleError = "error"

// Bounds of what is kept, shown and recorded of one rule's denial.
const (
	maxReasons = 50
	maxMessage = 1000 // bytes of a message, or of a code
)

// parseReason reads an element of deny or reject: a string or {code, message}.
func parseReason(v ast.Value) (Reason, error) {
	switch v := v.(type) {
	case ast.String:
		if v == "" {
			return Reason{}, fmt.Errorf("a reason may not be empty")
		}
		return Reason{Message: cut(string(v))}, nil
	case ast.Object:
		r := Reason{Code: cut(text(v, "code")), Message: cut(text(v, "message"))}
		if v.Len() == 2 && r.Code != "" && r.Message != "" {
			return r, nil
		}
	}
	return Reason{}, fmt.Errorf(`a reason is a string or {"code": "…", "message": "…"}; found %s`, short(v.String()))
}

func cut(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage], "") + "…"
}

func text(obj ast.Object, key string) string {
	if t := obj.Get(ast.InternedTerm(key)); t != nil {
		if s, ok := t.Value.(ast.String); ok {
			return string(s)
		}
	}
	return ""
}

// at says which rule gave the reason.
func (r *Reason) at(loc *ast.Location, m *metadata) {
	r.File, r.Line = loc.File, loc.Row
	if m != nil {
		r.Title, r.Control, r.Severity = m.title, m.control, m.severity
	}
}

// firing is the first rule that put an element into deny or reject, and what metadata say of all that did.
type firing struct {
	loc      *ast.Location
	metadata *metadata
	waivable bool // every rule that gave the element may be waived
}

// firings records which rule put each element into deny or reject: what the values themselves do not say.
type firings struct {
	rule     string // data.library.training.deny
	metadata map[ruleKey]*metadata
	fired    map[string]*firing
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
	m := f.metadata[keyOfRule(rule.Location)]
	if m == nil {
		m = &metadata{}
	}
	key := e.Plug(rule.Head.Key).String()
	first, ok := f.fired[key]
	switch {
	case !ok:
		f.fired[key] = &firing{rule.Location, m, m.waivable}
	case before(rule.Location, first.loc):
		f.fired[key] = &firing{rule.Location, m, m.waivable && first.waivable}
	default:
		first.waivable = first.waivable && m.waivable
	}
}

func before(a, b *ast.Location) bool {
	if a.File != b.File {
		return a.File < b.File
	}
	return a.Row < b.Row
}
