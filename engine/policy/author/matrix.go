package author

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
)

// Coverage is what Matrix is asked.
type Coverage struct {
	Organisation string   // "": all
	Model        string   // "": all
	MinProviders int      // that everybody should be left of every model
	Without      []string // ids of providers that are taken to be down
	// DeniedOnPurpose lets a model be of which the policies leave somebody no row at all, before any provider is down.
	DeniedOnPurpose bool
	At              time.Time
}

// Cell is what the policies leave somebody of a model, for a plain request in the model's own API.
type Cell struct {
	Who       string    `json:"who"` // org:ID, team:ORG/TEAM or key:ID
	Model     string    `json:"model"`
	Rows      int       `json:"rows"`      // that the catalog has and that are not disabled
	Left      []string  `json:"left"`      // ids of those that may serve
	Providers int       `json:"providers"` // independent ones among them
	Removed   []Removal `json:"removed"`   // what took the others, most rows first
	Short     bool      `json:"short"`
}

// Removal is a rule that takes rows.
type Removal struct {
	Package string `json:"package"`
	Binding string `json:"binding"`
	Code    string `json:"code,omitempty"`
	Place   string `json:"place"` // file:line
	Rows    int    `json:"rows"`
}

// audience is somebody with policies of their own.
type audience struct {
	name      string
	principal *account.Principal
	within    string // name of the wider audience
}

// Matrix is a cell for every organisation and model. Teams and keys follow their organisation where they are left something
// else than it is.
func (w *World) Matrix(ctx context.Context, c Coverage) ([]Cell, error) {
	cat, accounts := w.Config.Catalog, w.Config.Accounts
	for _, id := range c.Without {
		if cat.Providers[id] == nil {
			return nil, fmt.Errorf("%s", config.UnknownName("provider", id, slices.Collect(maps.Keys(cat.Providers))))
		}
	}
	if c.Organisation != "" && accounts.Organisations[c.Organisation] == nil {
		return nil, fmt.Errorf("%s", config.UnknownName("organisation", c.Organisation, slices.Collect(maps.Keys(accounts.Organisations))))
	}
	models := cat.ModelIDs()
	if c.Model != "" {
		m, ok := cat.Model(c.Model)
		if !ok {
			return nil, fmt.Errorf("%s", config.UnknownName("model", c.Model, models))
		}
		models = []string{m.ID}
	}
	var cells []Cell
	of := map[string][]Cell{}
	for _, a := range w.audiences(c) {
		for _, id := range models {
			cell, err := w.cell(ctx, &c, a, cat.Models[id])
			if err != nil {
				return nil, err
			}
			of[a.name] = append(of[a.name], cell)
		}
		if wider, ok := of[a.within]; ok && slices.EqualFunc(of[a.name], wider, func(x, y Cell) bool { return slices.Equal(x.Left, y.Left) }) {
			continue
		}
		cells = append(cells, of[a.name]...)
	}
	return cells, nil
}

// audiences are the organisations, each followed by its teams and keys.
func (w *World) audiences(c Coverage) []audience {
	accounts := w.Config.Accounts
	var all []audience
	for _, id := range slices.Sorted(maps.Keys(accounts.Organisations)) {
		if c.Organisation != "" && id != c.Organisation {
			continue
		}
		org := accounts.Organisations[id]
		all = append(all, audience{"org:" + id, account.Imagine(org, nil), ""})
		for _, team := range slices.Sorted(maps.Keys(org.Teams)) {
			all = append(all, audience{"team:" + id + "/" + team, account.Imagine(org, org.Teams[team]), "org:" + id})
		}
		for _, key := range accounts.Keys() {
			who := accounts.ByKeyID(key.ID, c.At)
			if who == nil || key.Organisation != id {
				continue
			}
			a := audience{"key:" + key.ID, who, "org:" + id}
			if key.Team != "" {
				a.within = "team:" + id + "/" + key.Team
			}
			all = append(all, a)
		}
	}
	return all
}

func (w *World) cell(ctx context.Context, c *Coverage, a audience, m *catalog.Model) (Cell, error) {
	cell := Cell{Who: a.name, Model: m.ID, Left: []string{}, Removed: []Removal{}}
	req, err := Request(m.API(), m.ID, "")
	if err != nil {
		return cell, err
	}
	permitted := 0
	var left []*catalog.Row
	for _, r := range w.Judge(ctx, a.principal, req, m.Rows, c.At) {
		if r.Row.Disabled {
			continue
		}
		cell.Rows++
		if !r.Permitted {
			cell.remove(&r)
			continue
		}
		permitted++
		if !slices.Contains(c.Without, r.Row.Provider.ID) {
			left = append(left, r.Row)
			cell.Left = append(cell.Left, r.Row.ID)
		}
	}
	slices.SortStableFunc(cell.Removed, func(x, y Removal) int { return y.Rows - x.Rows })
	cell.Providers = Independent(left)
	cell.Short = cell.Providers < c.MinProviders && (permitted > 0 || !c.DeniedOnPurpose)
	return cell, nil
}

// remove counts the row for every rule that denies it, once each.
func (c *Cell) remove(r *Ruling) {
	var counted []int
	for i := range r.Denials {
		d := &r.Denials[i]
		at := slices.IndexFunc(c.Removed, func(x Removal) bool {
			return x.Binding == d.Binding && x.Code == d.Code && x.Place == Place(d)
		})
		if at < 0 {
			at = len(c.Removed)
			c.Removed = append(c.Removed, Removal{Package: d.Package, Binding: d.Binding, Code: d.Code, Place: Place(d)})
		}
		if !slices.Contains(counted, at) {
			counted = append(counted, at)
			c.Removed[at].Rows++
		}
	}
}

// Independent counts the providers of rows that do not fail together as far as the catalog knows: two that are reached at
// one host count as one.
func Independent(rows []*catalog.Row) int {
	group := map[string]string{} // a provider or host → another of the same group, or itself
	var root func(name string) string
	root = func(name string) string {
		next, ok := group[name]
		if !ok {
			group[name] = name
			return name
		}
		if next == name {
			return name
		}
		return root(next)
	}
	for _, row := range rows {
		host := row.BaseURL
		if u, err := url.Parse(row.BaseURL); err == nil && u.Host != "" {
			host = u.Host
		}
		group[root("provider "+row.Provider.ID)] = root("host " + host)
	}
	n := 0
	for name, next := range group {
		if name == next {
			n++
		}
	}
	return n
}
