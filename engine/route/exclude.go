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

// exclude is the first reason, of those that are nobody's policy, for which row cannot serve req; nil where there is none.
func (r *Router) exclude(req *wire.Request, prefs *wire.Preferences, row *catalog.Row, now time.Time) *Exclusion {
	if e := r.incapable(req, row); e != nil {
		e.Stage = StageCapability
		return e
	}
	if e := unwanted(req, prefs, row, now); e != nil {
		e.Stage = StagePreference
		return e
	}
	return nil
}

// Suits says whether a row is capable of a request and what its preferences ask for: what a row must still be where a reload
// has changed it.
func (r *Router) Suits(req *wire.Request, row *catalog.Row, now time.Time) bool {
	return r.exclude(req, &req.Preferences, row, now) == nil
}

func (r *Router) incapable(req *wire.Request, row *catalog.Row) *Exclusion {
	out := func(code, format string, args ...any) *Exclusion {
		return &Exclusion{Code: code, Message: fmt.Sprintf(format, args...)}
	}
	if row.Disabled {
		return out("disabled", "the endpoint is disabled in the catalog")
	}
	for _, m := range req.InputModalities {
		if !slices.Contains(row.InputModalities, m) {
			return out("modality", "takes no %s input", m)
		}
	}
	for _, m := range req.OutputModalities {
		if !slices.Contains(row.OutputModalities, m) {
			return out("modality", "gives no %s output", m)
		}
	}
	if req.ToolCount > 0 && !row.Parameters["tools"] {
		return out("tools", "does not support tool use")
	}
	switch {
	case req.ResponseFormat == "json_schema" && !row.Parameters["structured_outputs"]:
		return out("structured_outputs", "does not support structured outputs (response_format json_schema)")
	case req.ResponseFormat != "text" && req.ResponseFormat != "json_schema" && !row.Parameters["response_format"]:
		return out("response_format", "does not support response_format %s", req.ResponseFormat)
	}
	if row.MaxOutputTokens > 0 && req.MaxOutputTokens > row.MaxOutputTokens {
		return out("max_output_tokens", "gives at most %d output tokens, %d are asked for", row.MaxOutputTokens, req.MaxOutputTokens)
	}
	if need := req.PromptTokens + req.MaxOutputTokens; row.ContextLength > 0 && need > row.ContextLength {
		return out("context_length", "has a context of %d tokens, the request needs about %d", row.ContextLength, need)
	}
	if what := r.Cannot(row, req); what != "" {
		return out("dialect", "%s", what)
	}
	return nil
}

func unwanted(req *wire.Request, prefs *wire.Preferences, row *catalog.Row, now time.Time) *Exclusion {
	out := func(code, format string, args ...any) *Exclusion {
		return &Exclusion{Code: code, Message: fmt.Sprintf(format, args...)}
	}
	if len(prefs.Only) > 0 && matchesAny(prefs.Only, row) < 0 {
		return out("allowed_providers", "is not in provider.only")
	}
	if matchesAny(prefs.Ignore, row) >= 0 {
		return out("ignored_providers", "is in provider.ignore")
	}
	if len(prefs.Quantizations) > 0 && !quantizationIn(prefs.Quantizations, row.Quantization) {
		return out("quantization", "has quantization %s, which is not in provider.quantizations", row.Quantization)
	}
	data := row.DataPolicy.At(now)
	if prefs.DataCollection == "deny" && (data.Training != catalog.No || data.RetainsPrompts != catalog.No) {
		return out("data_policy:training", "may collect user data (training: %s, retains prompts: %s), and provider.data_collection is \"deny\"",
			data.Training, data.RetainsPrompts)
	}
	if prefs.ZDR && data.ZDR != catalog.Yes {
		return out("data_policy:zdr", "has no zero data retention, and provider.zdr is true")
	}
	if c := prefs.MaxPrice; c != nil {
		for _, part := range []struct {
			name    string
			price   catalog.Picodollars
			ceiling float64
			scale   float64
		}{
			{"prompt", row.Prices.Prompt, c.Prompt, 1e6}, {"completion", row.Prices.Completion, c.Completion, 1e6},
			{"request", row.Prices.Request, c.Request, 1}, {"image", row.Prices.Image, c.Image, 1},
		} {
			if usd := part.price.USD() * part.scale; part.ceiling >= 0 && usd > part.ceiling*(1+1e-12) {
				return out("max_price", "costs %g USD (%s), above provider.max_price.%s of %g", usd, part.name, part.name, part.ceiling)
			}
		}
	}
	if prefs.RequireParameters {
		for _, name := range req.Parameters {
			if !row.Parameters[name] {
				return out("require_parameters", "does not support %s, and provider.require_parameters is true", name)
			}
		}
	}
	return nil
}

// matchesAny is the place of the first slug that names row, -1 where none does: a provider's id or shown name, or one
// endpoint's tag.
func matchesAny(slugs []string, row *catalog.Row) int {
	for i, s := range slugs {
		if strings.EqualFold(s, row.Provider.ID) || strings.EqualFold(s, row.Tag) || strings.EqualFold(s, row.Provider.Name) {
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
