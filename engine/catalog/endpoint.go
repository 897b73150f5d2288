package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"chaperone/engine/config"
)

// saysMore is the dialect that has words for a service tier and for whom a router may pass a request on to.
const saysMore = "openai"

var inputModalities = []string{"text", "image", "audio", "file", "video"}

type endpointTable struct {
	config.Origin
	Model               string                  `toml:"model" check:"required"`
	Provider            string                  `toml:"provider" check:"required"`
	Variant             string                  `toml:"variant"`
	ServiceTier         string                  `toml:"service_tier" check:"oneof=priority|flex|scale|ultrafast"`
	UpstreamModel       string                  `toml:"upstream_model"`
	BaseURL             string                  `toml:"base_url"`
	Only                []string                `toml:"only"`
	Credentials         []string                `toml:"credentials"`
	Quantization        string                  `toml:"quantization"`
	ProcessingRegions   []string                `toml:"processing_regions"`
	Jurisdiction        string                  `toml:"jurisdiction"`
	ContextLength       int64                   `toml:"context_length" check:"min=1"`
	MaxOutputTokens     *int64                  `toml:"max_output_tokens" check:"min=0"`
	InputModalities     []string                `toml:"input_modalities"`
	SupportedParameters []string                `toml:"supported_parameters"`
	Continues           string                  `toml:"continues" check:"oneof=prefill|prefix|continue_final_message"`
	CacheTTL            time.Duration           `toml:"cache_ttl" check:"min=1s"`
	Price               *priceTable             `toml:"price"`
	Attributes          map[string]float64      `toml:"attributes"`
	Labels              map[string]string       `toml:"labels"`
	Certifications      []string                `toml:"certifications"`
	DataPolicy          claims                  `toml:"data_policy"`
	Distillation        distillationTable       `toml:"distillation"`
	Sources             map[string]*sourceTable `toml:"sources"`
	Expected            struct {
		TTFTMillis float64 `toml:"ttft_ms" check:"min=0"`
		TPS        float64 `toml:"tps" check:"min=0"`
	} `toml:"expected"`
	InFlight int  `toml:"in_flight" check:"min=1"`
	Disabled bool `toml:"disabled"`

	regions []string
}

func (l *loader) readEndpoints(doc *config.Document) {
	var tables []*endpointTable
	l.add(doc.Decode("endpoints", &tables)...)
	for _, t := range tables {
		if l.replaced(t) {
			continue
		}
		l.checkEndpoint(t)
		model, provider := l.resolve(t)
		groups := l.groups(t, provider)
		prices, overrides := l.prices(t, groups)
		if model == nil || provider == nil {
			continue
		}
		for _, g := range groups {
			row := l.row(t, model, provider, g, prices, overrides)
			if first := l.cat.rows[row.ID]; first != nil {
				l.add(t.Problem("", "is %s again, as in %s; one of the two needs a variant of its own", row.ID, l.places["row "+row.ID].at))
				continue
			}
			l.places["row "+row.ID] = placeOf(t.Origin)
			l.cat.rows[row.ID] = row
			l.cat.Rows = append(l.cat.Rows, row)
		}
	}
}

// replaced says whether an endpoint gives way to another, and notes where it stands where not. Two entries of one document
// may be the same endpoint with different groups.
func (l *loader) replaced(t *endpointTable) bool {
	name := "endpoint " + t.Model + "@" + t.tag()
	if first, ok := l.places[name]; ok {
		return l.givesWay(placeOf(t.Origin), first)
	}
	l.places[name] = placeOf(t.Origin)
	return false
}

func (l *loader) checkEndpoint(t *endpointTable) {
	if t.Variant != "" && !providerID.MatchString(t.Variant) {
		l.add(t.Problem("variant", `found %q; a variant is of lower-case letters, digits, ".", "_" and "-"`, t.Variant))
	}
	if t.BaseURL != "" {
		if err := checkURL(t.BaseURL, true); err != nil {
			l.add(t.Problem("base_url", "%v", err))
		}
	}
	if t.Quantization != "" && !slices.Contains(Quantizations, t.Quantization) {
		l.add(t.Problem("quantization", "%s", config.NotOneOf(t.Quantization, Quantizations)))
	}
	if err := checkCountry(t.Jurisdiction, "EU"); err != nil {
		l.add(t.Problem("jurisdiction", "%v", err))
	}
	if t.ProcessingRegions != nil && len(t.ProcessingRegions) == 0 {
		l.add(t.Problem("processing_regions", `found nothing in it; expected the regions, or ["global"]`))
	}
	if t.Only != nil && (len(t.Only) == 0 || slices.Contains(t.Only, "")) {
		l.add(t.Problem("only", `expected names, as in only = ["deepinfra"]; leave it out where requests may be passed on to anybody`))
	}
	t.regions = readRegions(t.ProcessingRegions, func(i int, message string) {
		l.add(t.Problem(fmt.Sprintf("processing_regions[%d]", i), "%s", message))
	})
	l.add(checkEach(t.Origin, "supported_parameters", t.SupportedParameters, Parameters)...)
	l.add(t.DataPolicy.problems()...)
	t.DataPolicy.imply()
	l.add(t.Distillation.problems()...)
}

// resolve finds what an endpoint refers to, nil where it is unknown.
func (l *loader) resolve(t *endpointTable) (*Model, *providerTable) {
	model, provider := l.cat.Models[t.Model], l.providers[t.Provider]
	if model == nil && t.Model != "" {
		l.add(t.Problem("model", "%s", config.UnknownName("model", t.Model, l.cat.ModelIDs())))
	}
	if provider == nil && t.Provider != "" {
		l.add(t.Problem("provider", "%s", config.UnknownName("provider", t.Provider, slices.Collect(maps.Keys(l.providers)))))
	}
	if provider != nil && provider.Dialect != saysMore {
		for key, stated := range map[string]bool{"only": t.Only != nil, "service_tier": t.ServiceTier != ""} {
			if stated {
				l.add(t.Problem(key, "can be said to providers of the dialect %q only; %s has the dialect %q", saysMore, t.Provider, provider.Dialect))
			}
		}
	}
	if model != nil {
		for i, modality := range t.InputModalities {
			if !slices.Contains(model.InputModalities, modality) {
				l.add(t.Problem(fmt.Sprintf("input_modalities[%d]", i), "found %q; the model takes %s", modality, strings.Join(model.InputModalities, ", ")))
			}
		}
		if context := orElse(t.ContextLength, model.ContextLength); t.MaxOutputTokens != nil && *t.MaxOutputTokens > context && context > 0 {
			l.add(t.Problem("max_output_tokens", "found %d; expected at most context_length = %d", *t.MaxOutputTokens, context))
		}
	}
	return model, provider
}

// groups are those that the endpoint names, or all of its provider.
func (l *loader) groups(t *endpointTable, provider *providerTable) []*CredentialGroup {
	if provider == nil {
		return nil
	}
	names := slices.Sorted(maps.Keys(provider.groups))
	if t.Credentials == nil {
		t.Credentials = names
	} else if len(t.Credentials) == 0 {
		l.add(t.Problem("credentials", "found nothing in it; expected some of %s", strings.Join(names, ", ")))
	}
	var groups []*CredentialGroup
	for i, name := range t.Credentials {
		key := fmt.Sprintf("credentials[%d]", i)
		if g, ok := provider.groups[name]; !ok {
			l.add(t.Problem(key, "%s", config.UnknownName("group of "+t.Provider, name, names)))
		} else if slices.Contains(groups, g) {
			l.add(t.Problem(key, "found %q twice; expected each group once", name))
		} else {
			groups = append(groups, g)
		}
	}
	return groups
}

// prices must be stated unless every group is free: an unknown price is not 0.
func (l *loader) prices(t *endpointTable, groups []*CredentialGroup) (Prices, PriceOverrides) {
	if t.Price != nil {
		p, overrides, problems := t.Price.schedule()
		l.add(problems...)
		return p, overrides
	}
	for _, g := range groups {
		if !g.Free {
			l.add(t.Problem("price", "missing; expected price = { prompt = …, completion = … } in USD per million tokens, or free = true in the group %q", g.Name))
			break
		}
	}
	return Prices{}, PriceOverrides{}
}

func (l *loader) row(t *endpointTable, m *Model, pt *providerTable, g *CredentialGroup, prices Prices, overrides PriceOverrides) *Row {
	p := g.Provider
	row := &Row{
		Model: m, Provider: p, Group: g,
		ProcessingRegions: t.regions,
		UpstreamModel:     orElse(t.UpstreamModel, m.ID),
		BaseURL:           orElse(trimSlashes(t.BaseURL), p.BaseURL),
		Dialect:           p.Dialect,
		Quantization:      orElse(t.Quantization, "unknown"),
		Jurisdiction:      orElse(t.Jurisdiction, p.Jurisdiction),
		Headquarters:      p.Headquarters,
		DataPolicy:        terms(&pt.DataPolicy, &pt.Credentials[g.Name].DataPolicy, &t.DataPolicy),
		Distillation:      distillation(m.Distillation, &t.Distillation),
		Certifications:    p.Certifications,
		ContextLength:     orElse(t.ContextLength, m.ContextLength),
		MaxOutputTokens:   m.MaxOutputTokens,
		InputModalities:   m.InputModalities,
		OutputModalities:  m.OutputModalities,
		Parameters:        map[string]bool{},
		Prices:            prices,
		PriceOverrides:    overrides,
		Free:              g.Free,
		Sources:           maps.Clone(p.Sources),
		Attributes:        t.Attributes,
		Labels:            maps.Clone(g.Labels),
		Expected:          Expected{TTFTMillis: t.Expected.TTFTMillis, TPS: t.Expected.TPS},
		InFlight:          t.InFlight,
		Disabled:          t.Disabled,
		Continues:         t.Continues,
		ServiceTier:       t.ServiceTier,
		Only:              t.Only,
		CacheTTL:          t.CacheTTL,
	}
	row.Tag = t.tag()
	row.ID = m.ID + "@" + row.Tag + "#" + g.Name
	if t.Certifications != nil {
		row.Certifications = sorted(t.Certifications)
	}
	if t.MaxOutputTokens != nil {
		row.MaxOutputTokens = *t.MaxOutputTokens
	}
	if t.InputModalities != nil {
		row.InputModalities = sorted(t.InputModalities)
	}
	if row.Free {
		row.Prices, row.PriceOverrides = Prices{}, PriceOverrides{}
	}
	if row.Attributes == nil {
		row.Attributes = map[string]float64{}
	}
	maps.Copy(row.Labels, t.Labels)
	maps.Copy(row.Sources, l.readSources(t.Origin, t.Sources))
	parameters := t.SupportedParameters
	if parameters == nil {
		parameters = DefaultParameters
	}
	for _, name := range parameters {
		row.Parameters[name] = true
	}
	return row
}

// tag is the provider, with the variant and the service tier where there are such.
func (t *endpointTable) tag() string {
	tag := t.Provider
	for _, part := range []string{t.Variant, t.ServiceTier} {
		if part != "" {
			tag += "/" + part
		}
	}
	return tag
}

func trimSlashes(url string) string { return strings.TrimRight(url, "/") }

// orElse is what is stated or else what holds without.
func orElse[T comparable](stated, otherwise T) T {
	var none T
	if stated == none {
		return otherwise
	}
	return stated
}
