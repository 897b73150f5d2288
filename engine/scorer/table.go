package scorer

import (
	"encoding/json"
	"math"
	"strings"
)

// Table is a batch as numbers by their names, in JSON: what a scorer is tried with away from the router. It has every single name
// of the vocabulary, and of families the members that some row or the request has; what is not known is null. decision is the id
// of the decision: where it stands, predicates that the table does not have are 0.
func (b *Batch) Table(decision string) ([]byte, error) {
	rowNames, requestNames := b.names()
	rows := make([]map[string]any, len(b.Rows))
	for i, row := range b.Rows {
		rows[i] = map[string]any{"id": row.ID}
	}
	for _, name := range rowNames {
		column, err := Resolve(name)
		if err != nil {
			continue // an attribute with a blank in its name, say, that no plugin could ask for
		}
		for i := range rows {
			rows[i][name] = known(column(b, i))
		}
	}
	request := map[string]any{}
	for _, name := range requestNames {
		if field, err := ResolveRequest(name); err == nil {
			request[name] = known(field(b))
		}
	}
	return json.Marshal(struct {
		Decision string           `json:"decision"`
		NowMS    int64            `json:"now_ms"`
		Seed     uint64           `json:"seed"`
		Rows     []map[string]any `json:"rows"`
		Request  map[string]any   `json:"request"`
	}{decision, b.Now.UnixMilli(), b.Seed, rows, request})
}

func known(v float64) any {
	if math.IsNaN(v) {
		return nil
	}
	return v
}

// names is every name that says something of the batch.
func (b *Batch) names() (rows, request []string) {
	for _, e := range Vocabulary() {
		switch {
		case e.Prefix != "":
		case e.List == "columns":
			rows = append(rows, e.Name)
		default:
			request = append(request, e.Name)
		}
	}
	for _, row := range b.Rows {
		rows = append(rows, "provider:"+row.Provider.ID, "quantization:"+row.Quantization)
		request = append(request, "model:"+row.Model.ID)
		for _, region := range row.ProcessingRegions {
			rows = append(rows, "region:"+region)
		}
		for name := range row.Attributes {
			rows = append(rows, "attr."+name)
		}
		for key, value := range row.Labels {
			rows = append(rows, "label:"+key, "label:"+key+"="+value)
		}
	}
	if p := b.Principal; p != nil {
		if p.Organisation != nil {
			request = append(request, "org:"+p.Organisation.ID)
		}
		if p.Team != nil {
			request = append(request, "team:"+p.Team.ID)
		}
	}
	if q := b.Request; q != nil {
		for _, model := range append([]string{q.Model}, q.Models...) {
			request = append(request, "model:"+model)
		}
		for _, tag := range q.Claims.Tags {
			request = append(request, "tag:"+tag)
		}
		for name := range q.Claims.Metadata {
			request = append(request, "meta."+name)
		}
	}
	return rows, request
}

// Predicate says whether a name is of a family that holds or does not, like provider:x or tag:x.
func Predicate(name string) bool {
	for _, e := range Vocabulary() {
		if e.Prefix != "" && strings.HasPrefix(name, e.Prefix) {
			return strings.HasSuffix(e.Prefix, ":")
		}
	}
	return false
}
