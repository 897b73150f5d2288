package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// digest covers every exported field of every provider, group, model and row, so that a field which is added later is
// covered too; left out are credentials and which of them are missing, which may differ from replica to replica. JSON
// sorts maps and prints floats exactly; pointers are replaced by ids.
func digest(c *Catalog) string {
	type group struct {
		CredentialGroup
		Provider, Credentials, Missing *struct{} // hide the embedded fields
	}
	type provider struct {
		Provider
		Missing *struct{} // hides the embedded field
		Groups  []group
	}
	type model struct {
		Model
		Rows *struct{}
	}
	type row struct {
		Row
		Model, Provider, Group string
	}
	canonical := struct {
		Providers map[string]provider
		Models    map[string]model
		Aliases   map[string]string
		Rows      []row
	}{Providers: map[string]provider{}, Models: map[string]model{}, Aliases: c.Aliases}
	for id, p := range c.Providers {
		cp := provider{Provider: *p}
		for _, g := range p.Groups {
			cp.Groups = append(cp.Groups, group{CredentialGroup: *g})
		}
		canonical.Providers[id] = cp
	}
	for id, m := range c.Models {
		canonical.Models[id] = model{Model: *m}
	}
	for _, r := range c.Rows {
		canonical.Rows = append(canonical.Rows, row{*r, r.Model.ID, r.Provider.ID, r.Group.Name})
	}
	bytes, err := json.Marshal(canonical)
	if err != nil {
		panic("catalog: digest: " + err.Error()) // only cycles, functions and NaN fail, and loading lets none in
	}
	sum := sha256.Sum256(bytes)
	return hex.EncodeToString(sum[:])
}
