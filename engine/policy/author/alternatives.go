package author

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
)

// vocabulary is the values that fields are tried with.
type vocabulary struct {
	words         []string            // of the bindings' parameters
	texts         []string            // that rules and parameters compare with
	numbers       []float64           // likewise, rising
	keys          map[string][]string // that rules look up in open maps
	regions       []string
	jurisdictions []string
	countries     []string
	certificates  []string
	retentions    []int // falling
}

func (w *World) vocabulary(who *account.Principal) *vocabulary {
	compared := w.Policies.Compared(who)
	v := &vocabulary{texts: compared.Texts, numbers: compared.Numbers, keys: compared.Keys}
	for _, doc := range w.Config.Documents {
		var section struct {
			Bindings []struct {
				Params map[string]any `toml:"params"`
			} `toml:"bindings"`
		}
		doc.Decode("policy", &section) // its problems were Load's to report
		for _, b := range section.Bindings {
			v.take(b.Params)
		}
	}
	v.words = unique(v.words)
	for _, row := range w.Config.Catalog.Rows {
		v.regions = append(v.regions, row.ProcessingRegions...)
		v.jurisdictions = append(v.jurisdictions, row.Jurisdiction)
		v.countries = append(v.countries, row.Headquarters)
		v.certificates = append(v.certificates, row.Certifications...)
		v.retentions = append(v.retentions, row.DataPolicy.RetentionDays)
	}
	v.regions = unique(append(v.only(catalog.Regions), v.regions...))
	v.jurisdictions = unique(append(v.only(catalog.Jurisdictions), v.jurisdictions...))
	v.countries = unique(append(v.only(catalog.Jurisdictions), v.countries...))
	v.certificates = unique(append(slices.Clone(v.words), v.certificates...))
	for _, n := range v.numbers {
		v.retentions = append(v.retentions, int(n), int(n)-1)
	}
	slices.Sort(v.retentions)
	v.retentions = slices.Compact(v.retentions)
	slices.Reverse(v.retentions)
	return v
}

// take takes in the words of a parameter.
func (v *vocabulary) take(value any) {
	switch value := value.(type) {
	case string:
		v.words = append(v.words, value)
	case []any:
		for _, e := range value {
			v.take(e)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			v.take(value[name])
		}
	}
}

// only are the words of the parameters, and then those of the rules, that are in known.
func (v *vocabulary) only(known []string) []string {
	return slices.DeleteFunc(unique(slices.Concat(v.words, v.texts)), func(word string) bool { return !slices.Contains(known, word) })
}

// unique drops what came before, keeping the order, and what is not known.
func unique(words []string) []string {
	var out []string
	for _, word := range words {
		if word != "" && word != "unknown" && !slices.Contains(out, word) {
			out = append(out, word)
		}
	}
	return out
}

// alternatives are the situations that differ from s in one field; those of one field come nearest first.
func (v *vocabulary) alternatives(s *situation) []alternative {
	var out []alternative
	add := func(kind, field string, from, to any, in situation) {
		if c := (Change{kind, field, fmt.Sprint(from), fmt.Sprint(to)}); c.From != c.To {
			out = append(out, alternative{c, in})
		}
	}
	v.requests(s, add)
	moments(s, add)
	v.principals(s, add)
	v.terms(s, add)
	v.figures(s, add)
	return out
}

type adder func(kind, field string, from, to any, in situation)

func (v *vocabulary) requests(s *situation, add adder) {
	try := func(field string, from, to any, change func(r *situation)) {
		in := *s
		req := *s.req
		in.req = &req
		change(&in)
		add(ofRequest, "request."+field, from, to, in)
	}
	own := slices.DeleteFunc(slices.Clone(s.req.ToolKinds), func(kind string) bool { return kind != "function" && kind != "custom" })
	try("tool_kinds", list(s.req.ToolKinds), list(own), func(in *situation) { in.req.ToolKinds = own })
	try("tool_kinds", list(s.req.ToolKinds), "none", func(in *situation) {
		if len(s.req.ToolKinds) > 0 {
			in.req.ToolKinds, in.req.ToolCount = nil, 0
		}
	})
	try("store", s.req.Store, false, func(in *situation) { in.req.Store = false })
	try("background", s.req.Background, false, func(in *situation) { in.req.Background = false })
	try("previous_response", s.req.PreviousResponse, false, func(in *situation) { in.req.PreviousResponse = false })
	try("file_references", s.req.FileReferences, false, func(in *situation) { in.req.FileReferences = false })
	try("stream", s.req.Stream, !s.req.Stream, func(in *situation) { in.req.Stream = !s.req.Stream })
	try("n", s.req.N, 1, func(in *situation) { in.req.N = 1 })
	try("egress_hosts", list(s.req.EgressHosts), list(nil), func(in *situation) { in.req.EgressHosts = nil })
	try("response_format", s.req.ResponseFormat, "text", func(in *situation) { in.req.ResponseFormat = "text" })
	try("claims.data_class", orNone(s.req.Claims.DataClass), "none", func(in *situation) { in.req.Claims.DataClass = "" })
	for _, modality := range s.req.InputModalities {
		if modality != "text" {
			rest := slices.DeleteFunc(slices.Clone(s.req.InputModalities), func(m string) bool { return m == modality })
			try("input_modalities", list(s.req.InputModalities), list(rest), func(in *situation) { in.req.InputModalities = rest })
		}
	}
	try("reasoning.effort", orNone(s.req.ReasoningEffort), "none", func(in *situation) { in.req.ReasoningEffort = "" })
	try("preferences.zdr", s.req.Preferences.ZDR, true, func(in *situation) { in.req.Preferences.ZDR = true })
	for _, p := range s.req.Parameters {
		rest := slices.DeleteFunc(slices.Clone(s.req.Parameters), func(other string) bool { return other == p })
		if p != "model" {
			try("parameters", list(s.req.Parameters), list(rest), func(in *situation) { in.req.Parameters = rest })
		}
	}
	for _, n := range slices.Backward(v.numbers) {
		for _, tokens := range []int64{int64(n), int64(n) - 1} {
			if tokens > 0 && tokens < s.req.PromptTokens {
				try("prompt_tokens", s.req.PromptTokens, tokens, func(in *situation) { in.req.PromptTokens = tokens })
			}
		}
	}
	v.keyed("input.claims.metadata", s.req.Claims.Metadata, func(field, from, to string, changed map[string]string) {
		try(field, from, to, func(in *situation) { in.req.Claims.Metadata = changed })
	})
	for _, n := range slices.Backward(v.numbers) {
		if limit := int64(n); limit > 0 && (s.req.MaxOutputTokens == 0 || limit < s.req.MaxOutputTokens) {
			from := "none"
			if s.req.MaxOutputTokens > 0 {
				from = fmt.Sprint(s.req.MaxOutputTokens)
			}
			try("max_output_tokens", from, limit, func(in *situation) { in.req.MaxOutputTokens = limit })
		}
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// keyed are the open maps that differ from m in one of the keys that rules look up, absent or with one of the texts that they compare
// with, each with the field's name.
func (v *vocabulary) keyed(name string, m map[string]string, add func(field, from, to string, changed map[string]string)) {
	for _, key := range v.keys[name] {
		field := fmt.Sprintf("%s[%q]", strings.TrimPrefix(name, "input."), key)
		from, had := m[key]
		if had {
			without := maps.Clone(m)
			delete(without, key)
			add(field, from, "none", without)
		}
		for _, text := range v.texts {
			if text != "" {
				with := map[string]string{}
				maps.Copy(with, m)
				with[key] = text
				add(field, orNone(from), text, with)
			}
		}
	}
}

// moments are the hours of the week to come.
func moments(s *situation, add adder) {
	const layout = "Mon 15:04 UTC"
	hour := s.at.UTC().Truncate(time.Hour)
	for i := 1; i <= 7*24; i++ {
		in := *s
		in.at = hour.Add(time.Duration(i) * time.Hour)
		add(ofMoment, "time", s.at.UTC().Format(layout), in.at.Format(layout), in)
	}
}

func (v *vocabulary) principals(s *situation, add adder) {
	for i := slices.Index(account.DataClasses, s.who.DataClass) - 1; i >= 0; i-- {
		in := *s
		who := *s.who
		who.DataClass = account.DataClasses[i]
		in.who = &who
		add(ofPrincipal, "principal.data_class", s.who.DataClass, who.DataClass, in)
	}
	v.keyed("input.principal.labels", s.who.Labels, func(field, from, to string, changed map[string]string) {
		in := *s
		who := *s.who
		who.Labels = changed
		in.who = &who
		add(ofPrincipal, field, from, to, in)
	})
	v.keyed("input.endpoint.labels", s.row.Labels, func(field, from, to string, changed map[string]string) {
		in := *s
		row := *s.row
		row.Labels = changed
		in.row = &row
		add(ofPrincipal, field, from, to, in)
	})
}

// terms are what could be otherwise at the provider.
func (v *vocabulary) terms(s *situation, add adder) {
	d := s.row.DataPolicy
	try := func(field string, from, to any, change func(r *catalog.Row)) {
		in := *s
		row := *s.row // a row that is not the catalog's own is judged without being remembered
		in.row = &row
		change(&row)
		add(ofTerms, "endpoint."+field, from, to, in)
	}
	today := s.at.UTC().Truncate(24 * time.Hour)
	for _, said := range []catalog.Tri{catalog.No, catalog.Yes} {
		try("data_policy.training", d.Training, said, func(r *catalog.Row) { r.DataPolicy.Training = said })
		try("data_policy.publishes", d.Publishes, said, func(r *catalog.Row) { r.DataPolicy.Publishes = said })
	}
	for _, days := range v.retentions {
		if days < d.RetentionDays && days > 0 {
			try("data_policy.retention_days", d.RetentionDays, days, func(r *catalog.Row) { r.DataPolicy.RetentionDays = days })
		}
	}
	try("data_policy.retains_prompts", d.RetainsPrompts, catalog.No, func(r *catalog.Row) {
		r.DataPolicy.RetainsPrompts, r.DataPolicy.RetentionDays = catalog.No, 0
	})
	try("data_policy.zdr_option", d.ZDROption != "", true, func(r *catalog.Row) { r.DataPolicy.ZDROption = "an option" })
	try("data_policy.zdr", d.ZDR, catalog.Yes, func(r *catalog.Row) {
		r.DataPolicy.ZDR, r.DataPolicy.RetainsPrompts, r.DataPolicy.RetentionDays = catalog.Yes, catalog.No, 0
	})
	if !d.ReviewBy.IsZero() && d.ReviewBy.Before(today) {
		try("data_policy.review_by", d.ReviewBy.Format(time.DateOnly), "a day to come, after a review", func(r *catalog.Row) { r.DataPolicy.ReviewBy = time.Time{} })
	}
	from := "none"
	if !d.AsOf.IsZero() {
		from = d.AsOf.Format(time.DateOnly)
	}
	try("data_policy.as_of", from, today.Format(time.DateOnly), func(r *catalog.Row) {
		r.DataPolicy.AsOf, r.DataPolicy.ReviewBy = today, time.Time{}
	})
	try("distillation", s.row.Distillation.Permitted, catalog.Yes, func(r *catalog.Row) { r.Distillation = catalog.Distillation{Permitted: catalog.Yes} })
	v.places(s, try)
	for _, q := range unique(append(v.only(catalog.Quantizations), catalog.Quantizations...)) {
		try("quantization", s.row.Quantization, q, func(r *catalog.Row) { r.Quantization = q })
	}
	missing := slices.DeleteFunc(slices.Clone(v.certificates), func(c string) bool { return slices.Contains(s.row.Certifications, c) })
	for n := 1; n <= len(missing); n++ {
		for _, more := range [][]string{{missing[n-1]}, missing[:n]} {
			all := append(slices.Clone(s.row.Certifications), more...)
			slices.Sort(all)
			try("certifications", list(s.row.Certifications), list(all), func(r *catalog.Row) { r.Certifications = all })
		}
	}
	try("free", s.row.Free, false, func(r *catalog.Row) { r.Free = false })
	try("self_hosted", s.row.Group.NoAuth, true, func(r *catalog.Row) {
		group := *r.Group
		group.NoAuth = true
		r.Group = &group
	})
	v.prices(s, try)
}

func (v *vocabulary) places(s *situation, try func(string, any, any, func(*catalog.Row))) {
	regions := s.row.ProcessingRegions
	in := func(to []string) {
		try("processing_regions", list(regions), list(to), func(r *catalog.Row) { r.ProcessingRegions = to })
	}
	if len(regions) > 1 {
		for _, region := range regions {
			in(slices.DeleteFunc(slices.Clone(regions), func(r string) bool { return r == region }))
		}
	}
	for _, region := range v.regions {
		in([]string{region})
	}
	for _, law := range v.jurisdictions {
		try("jurisdiction", s.row.Jurisdiction, law, func(r *catalog.Row) { r.Jurisdiction = law })
	}
	for _, country := range v.countries {
		try("headquarters", s.row.Headquarters, country, func(r *catalog.Row) { r.Headquarters = country })
	}
}

func (v *vocabulary) prices(s *situation, try func(string, any, any, func(*catalog.Row))) {
	for _, part := range []struct {
		field string
		of    func(*catalog.Row) *catalog.Picodollars
	}{
		{"price.prompt", func(r *catalog.Row) *catalog.Picodollars { return &r.Prices.Prompt }},
		{"price.completion", func(r *catalog.Row) *catalog.Picodollars { return &r.Prices.Completion }},
	} {
		dearest := *s.row
		dearest.Prices, dearest.PriceOverrides = s.row.DearestPrices(), catalog.PriceOverrides{}
		now := *part.of(&dearest)
		for _, usd := range slices.Backward(append([]float64{0}, v.numbers...)) {
			if p := catalog.Picodollars(math.Round(usd * 1e6)); p < now && usd >= 0 {
				try(part.field, float64(now)/1e6, usd, func(r *catalog.Row) {
					r.Prices, r.PriceOverrides = dearest.Prices, catalog.PriceOverrides{}
					*part.of(r) = p
				})
			}
		}
	}
}

// figures are what could be measured of the row.
func (v *vocabulary) figures(s *situation, add adder) {
	index := s.row.Index
	now := s.stats.Rows[index]
	try := func(field string, from, to float64, change func(*telemetry.RowStats, telemetry.Percentiles)) {
		in := *s
		view := *s.stats
		view.Rows = slices.Clone(view.Rows)
		if view.Rows[index].Samples == 0 {
			view.Rows[index].Samples = 1
			view.Rows[index].TTFT = telemetry.Percentiles{P50: now.ExpectedTTFT, P75: now.ExpectedTTFT, P90: now.ExpectedTTFT, P99: now.ExpectedTTFT}
			view.Rows[index].TPS = telemetry.Percentiles{P50: now.ExpectedTPS, P75: now.ExpectedTPS, P90: now.ExpectedTPS, P99: now.ExpectedTPS}
			view.Rows[index].Uptime = now.Success
		}
		change(&view.Rows[index], telemetry.Percentiles{P50: to, P75: to, P90: to, P99: to})
		in.stats = &view
		add(ofTerms, "endpoint.stats."+field, math.Round(from*1000)/1000, to, in)
	}
	// Policies see figures in buckets, twenty a decade, and one that gets better only when it is half a bucket past the edge.
	for _, n := range slices.Backward(v.numbers) {
		if ms := math.Floor(math.Pow(10, (math.Floor(math.Log10(n)*20)-0.5)/20)); ms > 0 && ms < now.ExpectedTTFT {
			try("ttft_ms", now.ExpectedTTFT, ms, func(r *telemetry.RowStats, p telemetry.Percentiles) { r.TTFT = p })
		}
	}
	for _, n := range v.numbers {
		if tps := math.Ceil(100*math.Pow(10, (math.Ceil(math.Log10(n)*20)+0.5)/20)) / 100; tps > now.ExpectedTPS && !math.IsInf(tps, 0) {
			try("tps", now.ExpectedTPS, tps, func(r *telemetry.RowStats, p telemetry.Percentiles) { r.TPS = p })
		}
		if share := n + 0.0025; share > now.Success && share < 1 {
			try("uptime", now.Success, share, func(r *telemetry.RowStats, _ telemetry.Percentiles) { r.Uptime = share })
		}
	}
	try("uptime", now.Success, 1, func(r *telemetry.RowStats, _ telemetry.Percentiles) { r.Uptime = 1 })
}
