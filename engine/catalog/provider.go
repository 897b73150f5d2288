package catalog

import (
	"maps"
	"slices"

	"chaperone/engine/config"
)

type providerTable struct {
	config.Origin
	Name           string                  `toml:"name"`
	Dialect        string                  `toml:"dialect" check:"required"`
	BaseURL        string                  `toml:"base_url" check:"required"`
	Headquarters   string                  `toml:"headquarters"`
	Jurisdiction   string                  `toml:"jurisdiction"`
	Certifications []string                `toml:"certifications"`
	TermsURL       string                  `toml:"terms_url"`
	PrivacyURL     string                  `toml:"privacy_url"`
	StatusURL      string                  `toml:"status_url"`
	Probe          *bool                   `toml:"probe"`
	Sources        map[string]*sourceTable `toml:"sources"`
	DataPolicy     claims                  `toml:"data_policy"`
	Credentials    map[string]*groupTable  `toml:"credentials"`

	groups map[string]*CredentialGroup
}

func (l *loader) readProviders(doc *config.Document) {
	var tables map[string]*providerTable
	l.add(doc.Decode("providers", &tables)...)
	for _, id := range slices.Sorted(maps.Keys(tables)) {
		t := tables[id]
		if !l.once("provider", id, placeOf(t.Origin), func(f string, a ...any) config.Problem { return t.Problem("", f, a...) }) {
			continue
		}
		address, missing := l.fill(t)
		l.checkProvider(id, t, address, missing)
		p := &Provider{
			ID: id, Name: t.Name, Dialect: t.Dialect, BaseURL: trimSlashes(address), Missing: missing, Sources: l.readSources(t.Origin, t.Sources),
			Headquarters: known(t.Headquarters), Jurisdiction: known(t.Jurisdiction), Certifications: sorted(t.Certifications),
			TermsURL: t.TermsURL, PrivacyURL: t.PrivacyURL, StatusURL: t.StatusURL, Unprobed: t.Probe != nil && !*t.Probe,
		}
		if p.Name == "" {
			p.Name = id
		}
		t.groups = map[string]*CredentialGroup{}
		holders := map[string]string{}
		for _, name := range slices.Sorted(maps.Keys(t.Credentials)) {
			g := l.readGroup(p, name, t.Credentials[name], holders)
			g.DataPolicy = terms(&t.DataPolicy, &t.Credentials[name].DataPolicy, &claims{})
			t.groups[name] = g
			p.Groups = append(p.Groups, g)
		}
		l.cat.Providers[id] = p
		l.providers[id] = t
	}
}

func (l *loader) checkProvider(id string, t *providerTable, address string, missing []string) {
	if !providerID.MatchString(id) {
		l.add(t.Problem("", `found %q; a provider's id is of lower-case letters, digits, ".", "_" and "-"`, id))
	}
	if t.Dialect != "" && !slices.Contains(Dialects, t.Dialect) {
		l.add(t.Problem("dialect", "%s", config.UnknownName("dialect", t.Dialect, Dialects)))
	}
	for _, u := range []struct {
		key, url string
	}{{"base_url", address}, {"terms_url", t.TermsURL}, {"privacy_url", t.PrivacyURL}, {"status_url", t.StatusURL}} {
		if u.url == "" || u.key == "base_url" && len(missing) > 0 {
			continue
		}
		if err := checkURL(u.url, u.key == "base_url"); err != nil {
			l.add(t.Problem(u.key, "%v", err))
		}
	}
	if err := checkCountry(t.Headquarters); err != nil {
		l.add(t.Problem("headquarters", "%v", err))
	}
	if err := checkCountry(t.Jurisdiction, "EU"); err != nil {
		l.add(t.Problem("jurisdiction", "%v", err))
	}
	if len(t.Credentials) == 0 {
		l.add(t.Problem("credentials", `missing; expected [%s] with key_env, key_file or keys, or with auth = "none" for a server that needs none`,
			config.Dotted("providers", id, "credentials", "paid")))
	}
	l.add(t.DataPolicy.problems()...)
	t.DataPolicy.imply()
}

// known is the worst value for a place that is not stated.
func known(place string) string {
	if place == "" {
		return "unknown"
	}
	return place
}
