package openapi

// Errors, as OpenRouter (https://openrouter.ai/docs/api_reference/errors-and-debugging) and Anthropic
// (https://docs.claude.com/en/api/errors) describe them.
func init() {
	define("ErrorObject", object(fields{
		"code":    about(whole, "the HTTP status"),
		"message": about(text, "what happened, and what to do"),
		"type":    text,
		"param":   about(nullable(text), "the field of the request that is at fault"),
		"metadata": object(fields{
			"error_type":    ref("ErrorType"),
			"provider_name": text,
			"availability":  ref("Availability"),
			"attempts":      list(object(fields{"provider": text, "model": text, "outcome": text, "status": whole}, "provider", "model", "outcome")),
			"candidates":    list(object(fields{"endpoint": text, "provider": text, "stage": text, "code": text, "reason": text})),
		}, "error_type"),
	}, "code", "message", "type", "metadata"))
	define("ErrorType", oneOf("context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long", "authentication",
		"permission_denied", "payment_required", "rate_limit_exceeded", "provider_overloaded", "provider_unavailable", "invalid_request",
		"invalid_prompt", "not_found", "precondition_failed", "payload_too_large", "unprocessable", "content_policy_violation", "refusal",
		"invalid_image", "image_too_large", "image_too_small", "unsupported_image_format", "image_not_found", "image_download_failed",
		"server", "timeout", "unmapped", "cancelled"))
	define("Availability", object(fields{
		"code": oneOf("model_not_found", "wrong_endpoint", "no_endpoints", "model_deprecated", "model_unavailable_upstream", "capacity_exhausted",
			"temporarily_unavailable", "region_restricted", "privacy_restricted", "constraint_filtered", "free_variant_ended"),
		"retryable":          truth,
		"requested_models":   list(text),
		"retry_after":        number,
		"affected_providers": list(text),
		"excluded_by":        list(text),
		"fallback_models":    list(text),
		"constraint":         object(fields{"field": text, "detail": text}),
	}, "code", "retryable", "requested_models"))
	define("Error", object(fields{
		"error":               ref("ErrorObject"),
		"id":                  about(text, "of the decision: GET /v1/decisions/{id} says why"),
		"openrouter_metadata": ref("RouterMetadata"),
	}, "error"))
	define("AnthropicError", object(fields{
		"type": always("error"),
		"error": object(fields{
			"type": oneOf("invalid_request_error", "authentication_error", "billing_error", "permission_error", "not_found_error",
				"request_too_large", "rate_limit_error", "timeout_error", "api_error", "overloaded_error"),
			"message":    text,
			"error_type": ref("ErrorType"),
			"param":      about(text, "the field of the request that is at fault"),
			"metadata":   object(nil),
		}, "type", "message"),
		"request_id": nullable(text),
	}, "type", "error"))
	// A path that Anthropic's clients and others ask for answers each in its own form.
	define("AnyError", or(ref("Error"), ref("AnthropicError")))
}
