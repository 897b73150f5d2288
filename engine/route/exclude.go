package route

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"chaperone/engine/catalog"
	"chaperone/engine/telemetry"
	"chaperone/engine/wire"
)

// Change is what would have to be otherwise about a request so that one exclusion no longer held. Field is "" where nothing
// about the request would help.
type Change struct {
	Field  string // "provider.max_price.prompt"
	Detail string // "at least 5"
}

// sieve finds what, that is nobody's policy, speaks against one row serving a request.
type sieve struct {
	router *Router
	past   *Past
	made   []string
	req    *wire.Request
	prefs  *wire.Preferences
	ask    *ask
	row    *catalog.Row
	now    time.Time
	all    bool // go on after the first finding
	found  []Exclusion
}

// out notes a finding; it returns false where the search is over.
func (s *sieve) out(stage Stage, code string, change Change, format string, args ...any) bool {
	s.found = append(s.found, Exclusion{Stage: stage, Code: code, Message: fmt.Sprintf(format, args...), change: change})
	return s.all
}

// exclude is the first reason for which a row cannot serve the request; nil where there is none.
func (s *sieve) exclude() *Exclusion {
	if s.capable() {
		s.wanted()
	}
	if len(s.found) == 0 {
		return nil
	}
	return &s.found[0]
}

// Suits says whether a row is capable of a plan's request and what its preferences ask for: what a row must still be where a
// reload has changed it.
func (r *Router) Suits(p *Plan, row *catalog.Row, now time.Time) bool {
	for i := range p.asked {
		if p.asked[i].model.ID == row.Model.ID {
			s := sieve{router: r, made: p.Made, req: p.Request, prefs: &p.Request.Preferences, ask: &p.asked[i], row: row, now: now}
			return s.exclude() == nil
		}
	}
	return false
}

func (s *sieve) capable() bool {
	req, row := s.req, s.row
	const stage = StageCapability
	if row.Disabled && !s.out(stage, "disabled", Change{}, "the endpoint is disabled in the catalog") {
		return false
	}
	for _, m := range req.InputModalities {
		if !slices.Contains(row.InputModalities, m) && !s.out(stage, "modality", Change{"messages", "without " + m + " input"}, "takes no %s input", m) {
			return false
		}
	}
	for _, m := range req.OutputModalities {
		if !slices.Contains(row.OutputModalities, m) && !s.out(stage, "modality", Change{"modalities", "without " + m}, "gives no %s output", m) {
			return false
		}
	}
	if req.ToolCount > 0 && !row.Parameters["tools"] && !s.out(stage, "tools", Change{"tools", "left out"}, "does not support tool use") {
		return false
	}
	if slices.Contains(req.Parameters, "custom_tools") && !row.Parameters["custom_tools"] {
		change := Change{"messages", "without calls of custom tools"}
		if slices.Contains(req.ToolKinds, "custom") {
			change = Change{"tools", "without custom ones"}
		}
		if !s.out(stage, "custom_tools", change, "does not support custom tools") {
			return false
		}
	}
	text := Change{"response_format", "left out"}
	switch {
	case req.ResponseFormat == "json_schema" && !row.Parameters["structured_outputs"]:
		if !s.out(stage, "structured_outputs", text, "does not support structured outputs (response_format json_schema)") {
			return false
		}
	case req.ResponseFormat != "text" && req.ResponseFormat != "json_schema" && !row.Parameters["response_format"]:
		if !s.out(stage, "response_format", text, "does not support response_format %s", req.ResponseFormat) {
			return false
		}
	}
	if most := row.MaxOutputTokens; most > 0 && req.MaxOutputTokens > most &&
		!s.out(stage, "max_output_tokens", Change{s.outputField(), fmt.Sprintf("at most %d", most)}, "gives at most %d output tokens, %d are asked for", most, req.MaxOutputTokens) {
		return false
	}
	if need := req.PromptTokens + req.MaxOutputTokens; row.ContextLength > 0 && need > row.ContextLength {
		change := Change{"messages", fmt.Sprintf("at most about %d tokens", row.ContextLength-req.MaxOutputTokens)}
		if left := row.ContextLength - req.PromptTokens; left > 0 {
			change = Change{s.outputField(), fmt.Sprintf("at most %d", left)}
		}
		if !s.out(stage, "context_length", change, "has a context of %d tokens, the request needs about %d", row.ContextLength, need) {
			return false
		}
	}
	for _, account := range s.made {
		if account != row.Account() && !s.out(stage, "reasoning", Change{"messages", "without signed or encrypted reasoning"},
			"cannot read reasoning that the account %s has signed or encrypted", account) {
			return false
		}
	}
	if what := s.cannot(); what != "" {
		return s.out(stage, "dialect", Change{}, "%s", what)
	}
	return true
}

func (s *sieve) cannot() string {
	if s.past != nil {
		return s.past.Cannot(s.row)
	}
	return s.router.Cannot(s.row, s.req)
}

// outputField is the name under which the request limits its answer.
func (s *sieve) outputField() string {
	for _, name := range []string{"max_completion_tokens", "max_output_tokens"} {
		if s.req.In(s.req.Shape).Has(name) {
			return name
		}
	}
	return "max_tokens"
}

func (s *sieve) wanted() bool {
	req, row, prefs := s.req, s.row, s.prefs
	const stage = StagePreference
	if s.ask.free && bills(row) && !s.out(stage, "free", Change{"model", s.ask.model.ID + " without :free"}, "is not free, and :free is asked for") {
		return false
	}
	if tier := row.ServiceTier; tier != "" && !s.admits(tier) &&
		!s.out(stage, "service_tier", Change{"service_tier", tier}, "serves the tier %s, which is not asked for", tier) {
		return false
	}
	if len(prefs.Only) > 0 && matchesAny(prefs.Only, row) < 0 &&
		!s.out(stage, "allowed_providers", Change{"provider.only", "with " + row.Tag}, "is not in provider.only") {
		return false
	}
	if matchesAny(prefs.Ignore, row) >= 0 && !s.out(stage, "ignored_providers", Change{"provider.ignore", "without " + prefs.Ignore[matchesAny(prefs.Ignore, row)]}, "is in provider.ignore") {
		return false
	}
	if len(prefs.Quantizations) > 0 && !quantizationIn(prefs.Quantizations, row.Quantization) &&
		!s.out(stage, "quantization", Change{"provider.quantizations", "with " + row.Quantization}, "has quantization %s, which is not in provider.quantizations", row.Quantization) {
		return false
	}
	data := row.DataPolicy.At(s.now)
	if prefs.DataCollection == "deny" && (data.Training != catalog.No || data.RetainsPrompts != catalog.No) &&
		!s.out(stage, "data_policy:training", Change{"provider.data_collection", `"allow"`},
			"may collect user data (training: %s, retains prompts: %s), and provider.data_collection is \"deny\"", data.Training, data.RetainsPrompts) {
		return false
	}
	if prefs.ZDR && data.ZDR != catalog.Yes && !s.out(stage, "data_policy:zdr", Change{"provider.zdr", "left out"}, "has no zero data retention, and provider.zdr is true") {
		return false
	}
	if d := row.Distillation.At(s.now); prefs.DistillableText && d != catalog.Yes &&
		!s.out(stage, "distillable_text", Change{"provider.enforce_distillable_text", "left out"},
			"its answers may not be distilled (permitted: %s), and provider.enforce_distillable_text is true", d) {
		return false
	}
	if c := prefs.MaxPrice; c != nil {
		prices := row.PricesAt(req.PromptTokens, s.now)
		for _, part := range [...]struct {
			name    string
			price   catalog.Picodollars
			ceiling float64
			scale   float64
		}{
			{"prompt", prices.Prompt, c.Prompt, 1e6}, {"completion", prices.Completion, c.Completion, 1e6},
			{"request", prices.Request, c.Request, 1}, {"image", prices.Image, c.Image, 1}, {"audio", prices.Audio, c.Audio, 1},
		} {
			if usd := part.price.USD() * part.scale; part.ceiling >= 0 && usd > part.ceiling*(1+1e-12) &&
				!s.out(stage, "max_price", Change{"provider.max_price." + part.name, fmt.Sprintf("at least %g", usd)},
					"costs %g USD (%s), above provider.max_price.%s of %g", usd, part.name, part.name, part.ceiling) {
				return false
			}
		}
	}
	if prefs.RequireParameters {
		for _, name := range req.Parameters {
			if !row.Parameters[name] && !s.out(stage, "require_parameters", Change{name, "left out"},
				"does not support %s, and provider.require_parameters is true", name) {
				return false
			}
		}
	}
	return true
}

// bills says whether a request can cost anything at a row.
func bills(row *catalog.Row) bool {
	return !row.Free && row.DearestPrices() != catalog.Prices{}
}

// admits says whether an endpoint of a service tier was asked for: by the request's service_tier, a suffix of the model, or
// its tag in order or only. A provider's name alone does not mean its tiers.
func (s *sieve) admits(tier string) bool {
	if s.req.ServiceTier == tier || s.ask.tier == tier {
		return true
	}
	named := func(slug string) bool { return strings.EqualFold(slug, s.row.Tag) }
	return slices.ContainsFunc(s.prefs.Order, named) || slices.ContainsFunc(s.prefs.Only, named)
}

// matchesAny is the place of the first slug that names row, -1 where none does: one endpoint's tag, or a provider's id or shown
// name, which mean all of its endpoints but those of a service tier.
func matchesAny(slugs []string, row *catalog.Row) int {
	for i, s := range slugs {
		if strings.EqualFold(s, row.Tag) ||
			row.ServiceTier == "" && (strings.EqualFold(s, row.Provider.ID) || strings.EqualFold(s, row.Provider.Name)) {
			return i
		}
	}
	return -1
}

// quantizationFamilies: the plain name covers its variants.
var quantizationFamilies = map[string][]string{"fp4": {"mxfp4", "nvfp4"}, "fp8": {"mxfp8"}}

func quantizationIn(allowed []string, q string) bool {
	for _, a := range allowed {
		if a == q || slices.Contains(quantizationFamilies[a], q) {
			return true
		}
	}
	return false
}

// meetsCutoffs says whether live statistics meet the caller's soft thresholds; without data they do.
func meetsCutoffs(prefs *wire.Preferences, st *telemetry.RowStats) bool {
	below := func(value, floor float64) bool { return floor > 0 && value < floor }
	if c := prefs.MinThroughput; c != nil {
		if below(st.TPS.P50, c.P50) || below(st.TPS.P75, c.P75) || below(st.TPS.P90, c.P90) || below(st.TPS.P99, c.P99) {
			return false
		}
	}
	above := func(millis, seconds float64) bool { return seconds > 0 && millis > seconds*1000 }
	if c := prefs.MaxLatency; c != nil {
		if above(st.TTFT.P50, c.P50) || above(st.TTFT.P75, c.P75) || above(st.TTFT.P90, c.P90) || above(st.TTFT.P99, c.P99) {
			return false
		}
	}
	return true
}
