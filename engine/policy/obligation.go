package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

// Obligations are the conditions under which a permit may be used. Each only tightens; the zero value demands nothing.
type Obligations struct {
	MaxOutputTokens int64    `json:"max_output_tokens,omitempty"` // the answer's limit at most; 0: not demanded
	NoStore         bool     `json:"no_store,omitempty"`          // storage at the provider is forced off
	ZDR             bool     `json:"zdr,omitempty"`               // the row's zero-retention option is switched on
	NoProviderTools bool     `json:"no_provider_tools,omitempty"` // no tool may run at the provider
	MaxProcessors   int      `json:"max_processors,omitempty"`    // providers that may be shown the body; 0: not demanded
	NoHedge         bool     `json:"no_hedge,omitempty"`          // never sent twice
	NoRescue        bool     `json:"no_rescue,omitempty"`         // never continued elsewhere
	NoCache         bool     `json:"no_cache,omitempty"`          // no response cache
	Log             LogLevel `json:"log,omitempty"`               // what may be recorded; "": as configured
}

// LogLevel is what may be recorded of a request.
type LogLevel string

// The levels that a policy can demand.
const (
	LogNone     LogLevel = "none"
	LogMetadata LogLevel = "metadata"
)

// The names of obligations, as rules write them.
const (
	ObligationMaxOutputTokens = "max_output_tokens"
	ObligationStore           = "store"
	ObligationZDR             = "zdr"
	ObligationNoProviderTools = "no_provider_tools"
	ObligationMaxProcessors   = "max_processors"
	ObligationHedge           = "hedge"
	ObligationRescue          = "rescue"
	ObligationCache           = "cache"
	ObligationLog             = "log"
)

// tightenings is the closed list: each takes its value into o, the stricter of the two winning.
var tightenings = map[string]struct {
	form string
	take func(o *Obligations, v ast.Value) bool
}{
	ObligationMaxOutputTokens: {`{"max_output_tokens": n}, n a whole number above 0`, func(o *Obligations, v ast.Value) bool {
		n, ok := positive(v)
		if ok && (o.MaxOutputTokens == 0 || int64(n) < o.MaxOutputTokens) {
			o.MaxOutputTokens = int64(n)
		}
		return ok
	}},
	ObligationMaxProcessors: {`{"max_processors": n}, n a whole number above 0`, func(o *Obligations, v ast.Value) bool {
		n, ok := positive(v)
		if ok && (o.MaxProcessors == 0 || n < o.MaxProcessors) {
			o.MaxProcessors = n
		}
		return ok
	}},
	ObligationStore:           {`{"store": false}`, switchTo(false, func(o *Obligations) *bool { return &o.NoStore })},
	ObligationZDR:             {`{"zdr": true}`, switchTo(true, func(o *Obligations) *bool { return &o.ZDR })},
	ObligationNoProviderTools: {`{"no_provider_tools": true}`, switchTo(true, func(o *Obligations) *bool { return &o.NoProviderTools })},
	ObligationHedge:           {`{"hedge": false}`, switchTo(false, func(o *Obligations) *bool { return &o.NoHedge })},
	ObligationRescue:          {`{"rescue": false}`, switchTo(false, func(o *Obligations) *bool { return &o.NoRescue })},
	ObligationCache:           {`{"cache": false}`, switchTo(false, func(o *Obligations) *bool { return &o.NoCache })},
	ObligationLog: {`{"log": "none"} or {"log": "metadata"}`, func(o *Obligations, v ast.Value) bool {
		level, ok := v.(ast.String)
		switch {
		case !ok || level != ast.String(LogNone) && level != ast.String(LogMetadata):
			return false
		case o.Log != LogNone:
			o.Log = LogLevel(level)
		}
		return true
	}},
}

func positive(v ast.Value) (int, bool) {
	n, ok := v.(ast.Number)
	if !ok {
		return 0, false
	}
	i, ok := n.Int()
	return i, ok && i > 0
}

func switchTo(only bool, target func(*Obligations) *bool) func(*Obligations, ast.Value) bool {
	return func(o *Obligations, v ast.Value) bool {
		b, ok := v.(ast.Boolean)
		if !ok || bool(b) != only {
			return false
		}
		*target(o) = true
		return true
	}
}

var errNotObligation = errors.New(`an obligation is an object such as {"max_output_tokens": 4096}`)

// tighten takes one obligation, an object, into o.
func (o *Obligations) tighten(v ast.Value) error {
	obj, ok := v.(ast.Object)
	if !ok || obj.Len() == 0 {
		return fmt.Errorf("require: found %s; %w", short(v.String()), errNotObligation)
	}
	return obj.Iter(func(key, value *ast.Term) error {
		name, _ := key.Value.(ast.String)
		t, ok := tightenings[string(name)]
		if !ok {
			return errors.New("require: " + config.UnknownName("obligation", string(name), slices.Collect(maps.Keys(tightenings))))
		}
		if !t.take(o, value.Value) {
			return fmt.Errorf("require: found {%s: %s}; expected %s", key, short(value.String()), t.form)
		}
		return nil
	})
}

// unite takes in all that p demands; neither side can loosen the other.
func (o *Obligations) unite(p *Obligations) {
	if p.MaxOutputTokens > 0 && (o.MaxOutputTokens == 0 || p.MaxOutputTokens < o.MaxOutputTokens) {
		o.MaxOutputTokens = p.MaxOutputTokens
	}
	if p.MaxProcessors > 0 && (o.MaxProcessors == 0 || p.MaxProcessors < o.MaxProcessors) {
		o.MaxProcessors = p.MaxProcessors
	}
	o.NoStore = o.NoStore || p.NoStore
	o.ZDR = o.ZDR || p.ZDR
	o.NoProviderTools = o.NoProviderTools || p.NoProviderTools
	o.NoHedge = o.NoHedge || p.NoHedge
	o.NoRescue = o.NoRescue || p.NoRescue
	o.NoCache = o.NoCache || p.NoCache
	if o.Log == "" || p.Log == LogNone {
		o.Log = p.Log
	}
}

// names are the obligations that o demands, as rules write them.
func (o *Obligations) names() []string {
	var names []string
	for _, e := range []struct {
		demanded bool
		name     string
	}{
		{o.MaxOutputTokens > 0, ObligationMaxOutputTokens},
		{o.NoStore, ObligationStore},
		{o.ZDR, ObligationZDR},
		{o.NoProviderTools, ObligationNoProviderTools},
		{o.MaxProcessors > 0, ObligationMaxProcessors},
		{o.NoHedge, ObligationHedge},
		{o.NoRescue, ObligationRescue},
		{o.NoCache, ObligationCache},
		{o.Log != "", ObligationLog},
	} {
		if e.demanded {
			names = append(names, e.name)
		}
	}
	return names
}

// unmet says why the row cannot serve the request under o, given what dispatch carries out; "" where it can. What it
// reads of the request is listed in obligationReads.
func (o *Obligations) unmet(q *Query, row *catalog.Row, honoured map[string]bool) string {
	req := q.Request
	switch {
	case o.NoProviderTools && asksProviderTools(req.ToolKinds):
		return "no tool may run at the provider, and the request asks for " + strings.Join(req.ToolKinds, ", ")
	case o.NoStore && (req.Background || req.PreviousResponse || req.FileReferences):
		return "nothing may be stored at the provider, and the request builds on what is (background, a previous response or a file)"
	}
	d := row.DataPolicy.At(q.Now)
	if o.ZDR && d.ZDR != catalog.Yes && d.ZDROption == "" {
		return "zero data retention is required, and this endpoint neither has it nor an option to switch it on"
	}
	for _, name := range o.names() {
		switch {
		case name == ObligationNoProviderTools: // met by the check above
		case name == ObligationZDR && d.ZDR == catalog.Yes: // nothing to switch on
		case honoured[name]:
		default:
			return "the obligation " + name + " is demanded and cannot be carried out here"
		}
	}
	return ""
}
