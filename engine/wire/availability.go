package wire

// Availability is what an error says of whether, and how, the request could be served
// (https://openrouter.ai/docs/api_reference/errors-and-debugging), beside what went wrong.
type Availability struct {
	Code              string   `json:"code"`
	Retryable         bool     `json:"retryable"`
	RequestedModels   []string `json:"requested_models"`
	DocsURL           string   `json:"docs_url"`              // of this router: where the decision, or what there is to choose from, can be read
	RetryAfter        int64    `json:"retry_after,omitempty"` // seconds
	AffectedProviders []string `json:"affected_providers,omitempty"`
	ExcludedBy        []string `json:"excluded_by,omitempty"`
	FallbackModels    []string `json:"fallback_models,omitempty"`
	// Constraint is the smallest change of the request that would let an endpoint serve it.
	Constraint *Constraint `json:"constraint,omitempty"`
}

// Constraint is a field, or several with commas between, and what it should be.
type Constraint struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// The codes of availability that a router of one's own has a use for, and the HTTP status that each comes with.
const (
	ModelNotFound          = "model_not_found"         // 400
	NoEndpoints            = "no_endpoints"            // 404
	FreeVariantEnded       = "free_variant_ended"      // 404
	ConstraintFiltered     = "constraint_filtered"     // 404
	PrivacyRestricted      = "privacy_restricted"      // 404
	CapacityExhausted      = "capacity_exhausted"      // 429
	TemporarilyUnavailable = "temporarily_unavailable" // 503
)
