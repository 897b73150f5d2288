package route

import (
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"

	"chaperone/engine/account"
	"chaperone/engine/catalog"
	"chaperone/engine/config"
	"chaperone/engine/policy"
	"chaperone/engine/wire"
)

// How much of a decision an error tells its client: an organisation's error_detail.
const (
	detailFull  = "full"
	detailCodes = "codes"
)

// unacceptable is what no router of ours can do, or a claim that cannot be read; nil where there is none.
func unacceptable(req *wire.Request) *wire.Error {
	if req.Preset != "" {
		return &wire.Error{Status: http.StatusBadRequest, Type: "invalid_request", Param: "preset",
			Message: fmt.Sprintf("preset %q: presets are not kept by this router; send what the preset holds", req.Preset)}
	}
	if c := req.Claims.DataClass; c != "" && !slices.Contains(account.DataClasses, c) {
		return &wire.Error{Status: http.StatusBadRequest, Type: "invalid_request", Param: "metadata.data_class",
			Message: "metadata.data_class: " + config.NotOneOf(c, account.DataClasses)}
	}
	return nil
}

func rejected(p *Plan) *wire.Error {
	e := &wire.Error{Status: http.StatusForbidden, Type: "permission_denied", Message: "a policy refuses this request"}
	switch p.Principal.Organisation.ErrorDetail {
	case detailFull:
		e.Message += ": " + reasonText(p.Rejections)
		e.Metadata = map[string]any{"reasons": p.Rejections}
	case detailCodes:
		e.Metadata = map[string]any{"reasons": codesOf(p.Rejections)}
	}
	return e
}

// refused says why a plan has no permit, by the first cause that holds for every candidate.
func (r *Router) refused(p *Plan) *wire.Error {
	stages := map[Stage]int{}
	codes := map[string]bool{}
	for i := range p.Candidates {
		stages[p.Candidates[i].Excluded.Stage]++
		codes[p.Candidates[i].Excluded.Code] = true
	}
	e := &wire.Error{Status: http.StatusNotFound, Type: "not_found"}
	availability := map[string]any{"code": "no_endpoints", "retryable": false, "requested_models": modelsAsked(p)}
	switch n := len(p.Candidates); {
	case n == 0:
		e.Message = fmt.Sprintf("no endpoint serves %s", strings.Join(modelsAsked(p), ", "))
	case stages[StageAccount] > 0:
		// Everything else lets these rows through: only the operator can help.
		e.Status, e.Type = http.StatusServiceUnavailable, "provider_unavailable"
		e.Message = "no provider key is configured for the endpoints that may serve this request"
		availability["code"] = "temporarily_unavailable"
	case stages[StagePolicy] > 0:
		e.Message = "policy leaves no endpoint for this request"
		availability["code"] = "privacy_restricted"
	case stages[StagePreference] > 0:
		e.Message = "no endpoint matches the provider preferences of this request"
		availability["code"] = "constraint_filtered"
	default:
		e.Message = "no endpoint of the requested model is capable of this request"
		availability["code"] = "constraint_filtered"
	}
	e.Metadata = map[string]any{"availability": availability}
	detail := p.Principal.Organisation.ErrorDetail
	if detail == detailFull || detail == detailCodes {
		by := make([]string, 0, len(codes))
		for c := range codes {
			by = append(by, c)
		}
		sort.Strings(by)
		availability["excluded_by"] = by
	}
	if detail == detailFull && len(p.Candidates) > 0 {
		var lines []string
		told := make([]map[string]any, 0, len(p.Candidates))
		for i := range p.Candidates {
			c := &p.Candidates[i]
			told = append(told, map[string]any{"endpoint": c.Row.ID, "provider": c.Row.Provider.Name, "stage": c.Excluded.Stage,
				"code": c.Excluded.Code, "reason": c.Excluded.Message})
			lines = append(lines, c.Row.Tag+": "+c.Excluded.Message)
		}
		e.Metadata["candidates"] = told
		e.Message += " (" + strings.Join(lines, "; ") + ")"
	}
	return e
}

func modelsAsked(p *Plan) []string {
	if p.Request.Model == "" {
		return p.Request.Models
	}
	return append([]string{p.Request.Model}, p.Request.Models...)
}

// excludedBy is a denial in OpenRouter's vocabulary where a rule's author chose one of its words as code.
func excludedBy(denials []policy.Reason) string {
	for _, d := range denials {
		if d.Code != "" {
			return d.Code
		}
	}
	return "policy"
}

func denialText(denials []policy.Reason) string {
	if len(denials) == 0 {
		return "policy gave no permit"
	}
	return reasonText(denials)
}

func reasonText(reasons []policy.Reason) string {
	parts := make([]string, len(reasons))
	for i, r := range reasons {
		parts[i] = r.Message
		if r.File != "" {
			parts[i] += fmt.Sprintf(" [%s, %s:%d]", r.Package, r.File, r.Line)
		} else {
			parts[i] += fmt.Sprintf(" [%s]", r.Package)
		}
	}
	return strings.Join(parts, "; ")
}

func codesOf(reasons []policy.Reason) []string {
	var codes []string
	for _, r := range reasons {
		if r.Code != "" {
			codes = append(codes, r.Code)
		}
	}
	return codes
}

// missing says what to set so that a group has a credential.
func missing(g *catalog.CredentialGroup) string {
	if unset := g.Provider.Missing; len(unset) > 0 {
		return fmt.Sprintf("the address of %s is not known: set %s", g.Provider.ID, strings.Join(unset, " and "))
	}
	if len(g.Missing) == 0 {
		return fmt.Sprintf("the credential group %s of %s has no key; give it key_env or key_file", g.Name, g.Provider.ID)
	}
	return fmt.Sprintf("no key for the credential group %s of %s: set %s", g.Name, g.Provider.ID, strings.Join(g.Missing, " or "))
}
