// Package author helps those who write policies: it tests them, tries them out while they are being written, and says
// what they leave to whom and what would change that. Nothing here takes part in serving a request.
package author

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/policy"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// World is what policies are judged in: who can ask, what could serve, and which policies are bound.
type World struct {
	Config   policy.Config
	Policies *policy.Set
	Files    []string // that were read, and the folders of policies

	stats *telemetry.Board // nothing has been measured: policies see the catalog's estimates
}

// NewWorld loads the policies of c.
func NewWorld(ctx context.Context, c policy.Config) (*World, config.Problems) {
	set, problems := policy.Load(ctx, c)
	if len(problems) > 0 {
		return nil, problems
	}
	return &World{Config: c, Policies: set, stats: telemetry.NewStore(0, 0).Bind(c.Catalog)}, nil
}

// Who is the principal of a key id or, where that is "", of an organisation or one of its teams. The error says which names
// there are.
func (w *World) Who(organisation, team, key string, at time.Time) (*account.Principal, error) {
	accounts := w.Config.Accounts
	if key != "" {
		who := accounts.ByKeyID(key, at)
		switch {
		case who == nil:
			return nil, fmt.Errorf("no key %q is in force; chaperone key list shows them", key)
		case organisation != "" && who.Organisation.ID != organisation:
			return nil, fmt.Errorf("the key %s belongs to %s, not to %s", key, who.Organisation.ID, organisation)
		}
		return who, nil
	}
	org := accounts.Organisations[organisation]
	if org == nil {
		return nil, fmt.Errorf("%s", config.UnknownName("organisation", organisation, slices.Collect(maps.Keys(accounts.Organisations))))
	}
	if team == "" {
		return account.Imagine(org, nil), nil
	}
	t := org.Teams[team]
	if t == nil {
		return nil, fmt.Errorf("%s", config.UnknownName("team of "+org.ID, team, slices.Collect(maps.Keys(org.Teams))))
	}
	return account.Imagine(org, t), nil
}

// Model finds a model by its id or an alias that who may use.
func (w *World) Model(who *account.Principal, name string) (*catalog.Model, error) {
	if id, ok := who.Organisation.Aliases[name]; ok {
		name = id
	}
	m, ok := w.Config.Catalog.Model(name)
	if !ok {
		return nil, fmt.Errorf("%s", config.UnknownName("model", name, w.Config.Catalog.ModelIDs()))
	}
	return m, nil
}

// API is the one of that name; "" is the one that the model is asked in: embeddings, rerank, or chat.
func API(name string, m *catalog.Model) (wire.Shape, error) {
	switch {
	case name == "":
		return m.API(), nil
	case !slices.Contains(wire.Shapes(), name):
		return "", fmt.Errorf("%s", config.UnknownName("API", name, wire.Shapes()))
	}
	return wire.Shape(name), nil
}

// Request reads a request of an API as JSON, in which the model and what is asked (messages, input, prompt …) may be left out; ""
// asks for plain text.
func Request(api wire.Shape, model, body string) (*wire.Request, error) {
	fields := map[string]json.RawMessage{}
	if strings.TrimSpace(body) != "" {
		if err := json.Unmarshal([]byte(body), &fields); err != nil || fields == nil {
			return nil, fmt.Errorf("the request is not a JSON object: %v", err)
		}
	}
	plain := api.Plain(model)
	if other := ofAnother(plain, fields); other != "" {
		return nil, fmt.Errorf("the request has %s, and nothing that is asked in the API %s: say which API it is of (%s)", other, api, strings.Join(wire.Shapes(), ", "))
	}
	for field, value := range plain {
		if _, ok := fields[field]; !ok {
			fields[field] = value
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("the request is not JSON: %v", err)
	}
	req, refused := wire.Skim(api, wire.Head{}, text)
	if refused != nil {
		return nil, fmt.Errorf("the request cannot be read: %s", refused.Message)
	}
	return req, nil
}

// ofAnother is a field that asks something in other APIs than the one of plain, of a request that asks nothing in that one; "" where
// there is none.
func ofAnother(plain, fields map[string]json.RawMessage) string {
	found := ""
	for _, field := range []string{"messages", "input", "prompt", "query"} {
		if _, sent := fields[field]; !sent {
			continue
		}
		if _, own := plain[field]; own {
			return ""
		}
		found = field
	}
	return found
}

// Ruling is what the policies say of one row.
type Ruling struct {
	Row         *catalog.Row
	Permitted   bool
	Rejected    bool // the whole request is refused, for what Denials says; no row was looked at
	Denials     []policy.Reason
	Warnings    []policy.Reason
	Obligations policy.Obligations
}

// Judge asks the policies about rows.
func (w *World) Judge(ctx context.Context, who *account.Principal, req *wire.Request, rows []*catalog.Row, at time.Time) []Ruling {
	return w.rulings(ctx, w.Policies, &policy.Query{Principal: who, Request: req, Rows: rows, Stats: w.stats.View(at), Now: at})
}

func (w *World) rulings(ctx context.Context, set *policy.Set, q *policy.Query) []Ruling {
	j := set.Judge(ctx, q)
	out := make([]Ruling, len(q.Rows))
	for i, row := range q.Rows {
		v := &j.Verdicts[i]
		out[i] = Ruling{Row: row, Permitted: v.Permit.Check(q.Principal, q.Request) == nil, Rejected: len(j.Rejections) > 0, Denials: v.Denials,
			Warnings: slices.Concat(j.Warnings, v.Warnings), Obligations: v.Permit.Obligations()}
	}
	return out
}

// Place is where a rule stands, or the package of one that stands in no file.
func Place(r *policy.Reason) string {
	switch {
	case r.File != "":
		return fmt.Sprintf("%s:%d", r.File, r.Line)
	case r.Package != "":
		return r.Package
	}
	return r.Binding
}
