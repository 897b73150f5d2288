package route

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
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

// unacceptable is a claim that cannot be read; nil where there is none.
func unacceptable(req *wire.Request) *wire.Error {
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
func (r *Router) refused(ctx context.Context, p *Plan) *wire.Error {
	stages := map[Stage]int{}
	codes := map[string]int{}
	for i := range p.Candidates {
		stages[p.Candidates[i].Excluded.Stage]++
		codes[p.Candidates[i].Excluded.Code]++
	}
	availability := &wire.Availability{Code: wire.ConstraintFiltered, RequestedModels: modelsAsked(p)}
	e := &wire.Error{Status: http.StatusNotFound, Type: "not_found", Availability: availability}
	switch n := len(p.Candidates); {
	case n == 0:
		e.Message = fmt.Sprintf("no endpoint serves %s", strings.Join(modelsAsked(p), ", "))
		availability.Code = wire.NoEndpoints
	case stages[StageAccount] > 0:
		// Everything else lets these rows through: only the operator can help.
		e.Status, e.Type = http.StatusServiceUnavailable, "provider_unavailable"
		e.Message = "no provider key is configured for the endpoints that may serve this request"
		availability.Code, availability.Retryable = wire.TemporarilyUnavailable, true
	case stages[StagePolicy] > 0:
		e.Message = "policy leaves no endpoint for this request"
		availability.Code = wire.PrivacyRestricted
	case codes["free"] == n:
		e.Message = "no endpoint of the requested model is free"
		availability.Code = wire.FreeVariantEnded
	case stages[StagePreference] > 0:
		e.Message = "no endpoint matches the provider preferences of this request"
	default:
		e.Message = "no endpoint of the requested model is capable of this request"
	}
	detail := p.Principal.Organisation.ErrorDetail
	if len(p.Candidates) == 0 || detail != detailFull && detail != detailCodes {
		return e
	}
	availability.ExcludedBy = slices.Sorted(maps.Keys(codes))
	change := r.smallestChange(ctx, p)
	if change != nil {
		availability.Constraint = &wire.Constraint{Field: change.fields()}
	}
	if detail != detailFull {
		return e
	}
	var reasons []string
	by := map[string][]string{} // the endpoints that a reason is true of
	told := make([]map[string]any, len(p.Candidates))
	for i := range p.Candidates {
		c := &p.Candidates[i]
		told[i] = map[string]any{"endpoint": c.Row.ID, "provider": c.Row.Provider.Name, "stage": c.Excluded.Stage,
			"code": c.Excluded.Code, "reason": c.Excluded.Message}
		why := c.Excluded.Message
		if by[why] == nil {
			reasons = append(reasons, why)
		}
		if !slices.Contains(by[why], c.Row.Tag) {
			by[why] = append(by[why], c.Row.Tag)
		}
		if name := c.Row.Provider.Name; !slices.Contains(availability.AffectedProviders, name) {
			availability.AffectedProviders = append(availability.AffectedProviders, name)
		}
	}
	e.Metadata = map[string]any{"candidates": told}
	lines := make([]string, len(reasons))
	for i, why := range reasons {
		lines[i] = strings.Join(by[why], ", ") + ": " + why
	}
	e.Message += " (" + strings.Join(lines, "; ") + ")"
	if change != nil {
		availability.Constraint.Detail = change.String()
		e.Message += "; the smallest change that would let one through: " + change.String()
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
