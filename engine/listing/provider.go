package listing

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"chaperone/engine/catalog"
)

// providerView is one provider, as OpenRouter lists it, and its terms under each group of credentials.
type providerView struct {
	Name           string                    `json:"name"`
	Slug           string                    `json:"slug"`
	PrivacyURL     *string                   `json:"privacy_policy_url"`
	TermsURL       *string                   `json:"terms_of_service_url"`
	StatusURL      *string                   `json:"status_page_url"`
	Headquarters   *string                   `json:"headquarters"` // ISO 3166-1; null: not known
	Datacenters    []string                  `json:"datacenters"`  // null: not known by country; see an endpoint's processing_regions
	Jurisdiction   string                    `json:"jurisdiction"`
	Certifications []string                  `json:"certifications"`
	DataPolicies   map[string]dataPolicyView `json:"data_policies"` // by group of credentials
}

// Providers lists, as JSON, the providers of a catalog, by slug.
func Providers(c *catalog.Catalog, now time.Time) ([]byte, error) {
	known := map[string]*catalog.Provider{}
	for _, row := range c.Rows {
		known[row.Provider.ID] = row.Provider
	}
	list := make([]providerView, 0, len(known))
	for _, id := range slices.Sorted(maps.Keys(known)) {
		p := known[id]
		v := providerView{Name: p.Name, Slug: p.ID, PrivacyURL: stated(p.PrivacyURL), TermsURL: stated(p.TermsURL), StatusURL: stated(p.StatusURL),
			Headquarters: stated(p.Headquarters), Jurisdiction: p.Jurisdiction, Certifications: p.Certifications, DataPolicies: map[string]dataPolicyView{}}
		for _, g := range p.Groups {
			v.DataPolicies[g.Name] = viewDataPolicy(g.DataPolicy.At(now))
		}
		list = append(list, v)
	}
	return json.Marshal(map[string]any{"data": list})
}

// stated is nil where nothing is known.
func stated(s string) *string {
	if s == "" || s == "unknown" {
		return nil
	}
	return &s
}
