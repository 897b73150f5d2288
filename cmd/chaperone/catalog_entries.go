package main

import (
	"maps"
	"slices"
	"time"

	"chaperone/engine/catalog"
)

func entriesOf(c *catalog.Catalog) entries {
	e := entries{Providers: []providerEntry{}, Models: []modelEntry{}, Endpoints: []endpointEntry{}, Aliases: c.Aliases}
	for _, id := range slices.Sorted(maps.Keys(c.Providers)) {
		p := c.Providers[id]
		shown := providerEntry{ID: p.ID, Name: p.Name, Dialect: p.Dialect, BaseURL: p.BaseURL, Headquarters: p.Headquarters, Jurisdiction: p.Jurisdiction,
			Certifications: p.Certifications, TermsURL: p.TermsURL, PrivacyURL: p.PrivacyURL, StatusURL: p.StatusURL, Sources: sourcesOf(p.Sources),
			Credentials: map[string]policyEntry{}}
		for _, g := range p.Groups {
			shown.Credentials[g.Name] = policyOf(g.DataPolicy)
		}
		e.Providers = append(e.Providers, shown)
	}
	for _, id := range c.ModelIDs() {
		m := c.Models[id]
		e.Models = append(e.Models, modelEntry{ID: m.ID, Name: m.Name, Created: dateOf(m.Created), ContextLength: m.ContextLength,
			MaxOutputTokens: m.MaxOutputTokens, InputModalities: m.InputModalities, OutputModalities: m.OutputModalities, Distillation: distillationOf(m.Distillation)})
	}
	for _, r := range c.Rows {
		shown := endpointEntry{ID: r.ID, UpstreamModel: r.UpstreamModel, BaseURL: r.BaseURL, ServiceTier: r.ServiceTier, Only: r.Only,
			Continues: r.Continues, InFlight: r.InFlight, Quantization: r.Quantization, Jurisdiction: r.Jurisdiction, Certifications: r.Certifications,
			ProcessingRegions: regionsOf(r), ContextLength: r.ContextLength, MaxOutputTokens: r.MaxOutputTokens, InputModalities: r.InputModalities,
			Parameters: slices.Sorted(maps.Keys(r.Parameters)), Price: priceOf(r), Free: r.Free, Disabled: r.Disabled,
			Attributes: r.Attributes, Labels: r.Labels,
			DataPolicy: policyOf(r.DataPolicy), Distillation: distillationOf(r.Distillation), Sources: sourcesOf(r.Sources)}
		if r.CacheTTL > 0 {
			shown.CacheTTL = r.CacheTTL.String()
		}
		if r.Expected != (catalog.Expected{}) {
			shown.Expected = &expectedEntry{r.Expected.TTFTMillis, r.Expected.TPS}
		}
		e.Endpoints = append(e.Endpoints, shown)
	}
	return e
}

// regionsOf says global for a row that may process anywhere, or of which that is not known.
func regionsOf(r *catalog.Row) []string {
	if len(r.ProcessingRegions) == len(catalog.Regions) {
		return []string{"global"}
	}
	return r.ProcessingRegions
}

func priceOf(r *catalog.Row) map[string]string {
	p := &r.Prices
	all := map[string]string{
		"prompt": (p.Prompt * 1_000_000).String(), "completion": (p.Completion * 1_000_000).String(),
		"cache_read": (p.CacheRead * 1_000_000).String(), "cache_write": (p.CacheWrite * 1_000_000).String(), "audio": (p.Audio * 1_000_000).String(),
		"cache_write_1h": (p.CacheWrite1h * 1_000_000).String(), "reasoning": (p.Reasoning * 1_000_000).String(),
		"request": p.Request.String(), "image": p.Image.String(),
	}
	for i := range r.PriceOverrides.List {
		o := &r.PriceOverrides.List[i]
		for name, price := range o.Each() {
			if name != "request" && name != "image" {
				price *= 1_000_000
			}
			all[name+" "+o.Condition()] = price.String()
		}
	}
	return all
}

func policyOf(d catalog.DataPolicy) policyEntry {
	return policyEntry{Training: d.Training, RetainsPrompts: d.RetainsPrompts, RetentionDays: d.RetentionDays, ZDR: d.ZDR, ZDROption: d.ZDROption,
		Publishes: d.Publishes, sourceEntry: sourceEntry{d.Evidence, dateOf(d.AsOf), dateOf(d.ReviewBy)}}
}

func distillationOf(d catalog.Distillation) distillationEntry {
	return distillationEntry{d.Permitted, sourceEntry{d.Evidence, dateOf(d.AsOf), dateOf(d.ReviewBy)}}
}

func sourcesOf(sources map[string]catalog.Source) map[string]sourceEntry {
	shown := map[string]sourceEntry{}
	for name, s := range sources {
		shown[name] = sourceEntry{s.Evidence, dateOf(s.AsOf), dateOf(s.ReviewBy)}
	}
	return shown
}

func dateOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}
