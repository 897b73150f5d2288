package openapi

// Models, endpoints and providers, as OpenRouter (https://openrouter.ai/docs/api-reference/list-available-models), OpenAI and
// Anthropic (https://docs.claude.com/en/api/models-list) describe them.
func init() {
	define("Pricing", object(fields{
		"prompt": decimal, "completion": decimal, "input_cache_read": decimal, "input_cache_write": decimal, "input_cache_write_1h": decimal,
		"internal_reasoning": decimal, "request": decimal, "image": decimal, "audio": decimal,
		"overrides": list(about(object(fields{
			"min_prompt_tokens": whole, "utc_start": whole, "utc_end": whole, "utc_days": list(text), "prompt": decimal, "completion": decimal,
		}), "prices that hold under all of its conditions; the last that holds counts, price by price")),
	}, "prompt", "completion"))
	define("Architecture", object(fields{
		"modality": text, "input_modalities": list(text), "output_modalities": list(text), "tokenizer": text, "instruct_type": nullable(text),
	}, "modality", "input_modalities", "output_modalities"))
	define("Model", object(fields{
		"id": text, "canonical_slug": text, "object": always("model"), "created": whole, "owned_by": text, "name": text, "description": text,
		"context_length": whole, "architecture": ref("Architecture"), "pricing": about(ref("Pricing"), "of the cheapest endpoint"),
		"top_provider": object(fields{
			"context_length": nullable(whole), "max_completion_tokens": nullable(whole),
			"is_moderated": about(truth, "always false: this router moderates nothing, and whether a provider does is not known"),
		}, "is_moderated"),
		"per_request_limits": nothing, "default_parameters": nullable(object(nil)), "supported_voices": nullable(list(text)),
		"supported_parameters": list(text), "links": object(fields{"details": text}, "details"),
		"providers": list(text), "processing_regions": list(text), "zdr": truth, "distillable": truth,
	}, "id", "canonical_slug", "object", "created", "owned_by", "name", "context_length", "architecture", "pricing", "top_provider",
		"supported_parameters", "links"))
	define("ModelList", object(fields{
		"object": always("list"), "data": list(ref("Model")), "total_count": whole, "links": object(fields{"next": nullable(text)}, "next"),
	}, "object", "data", "total_count", "links"))
	define("AnthropicModel", object(fields{
		"type": always("model"), "id": text, "display_name": text, "created_at": Schema{"type": "string", "format": "date-time"},
		"max_input_tokens": nullable(whole), "max_tokens": nullable(whole),
	}, "type", "id", "display_name", "created_at"))
	define("AnthropicModelList", object(fields{
		"data": list(ref("AnthropicModel")), "has_more": truth, "first_id": nullable(text), "last_id": nullable(text),
	}, "data", "has_more", "first_id", "last_id"))
	define("AnyModelList", or(ref("ModelList"), ref("AnthropicModelList")))
	define("AnyModel", or(ref("Model"), ref("AnthropicModel")))
	define("ModelWithin", object(fields{"data": ref("Model")}, "data"))
	define("ModelCount", object(fields{"data": object(fields{"count": whole}, "count")}, "data"))

	percentiles := or(nothing, object(fields{"p50": number, "p75": number, "p90": number, "p99": number}, "p50", "p75", "p90", "p99"))
	define("DataPolicy", object(fields{
		"training": ref("Claim"), "retains_prompts": ref("Claim"), "retention_days": about(whole, "36500: not known"), "zdr": ref("Claim"),
		"publishes": ref("Claim"), "evidence": text, "as_of": text, "review_by": text,
	}, "training", "retains_prompts", "retention_days", "zdr", "publishes"))
	define("Claim", oneOf("yes", "no", "unknown"))
	define("Reason", object(fields{
		"message": text, "code": text, "package": text, "file": text, "line": whole,
	}, "message"))
	define("Endpoint", object(fields{
		"name": text, "model_id": text, "model_name": text, "provider_name": text, "tag": text, "quantization": nullable(text),
		"context_length": whole, "max_completion_tokens": nullable(whole), "max_prompt_tokens": nullable(whole), "pricing": ref("Pricing"),
		"supported_parameters": list(text), "supports_implicit_caching": truth,
		"supports_tool_choice":   object(fields{"auto": truth, "function": truth, "none": truth, "required": truth}),
		"supports_voice_cloning": truth, "status": about(whole, "0: ok; -1: it rests after failures or a rate limit"),
		"uptime_last_5m": nullable(number), "uptime_last_30m": nullable(number), "uptime_last_1d": nullable(number),
		"latency_last_30m":    about(percentiles, "milliseconds to the first token"),
		"throughput_last_30m": about(percentiles, "output tokens a second"),
		"id":                  text, "credential_group": text, "resting": text, "resting_until": text, "catalog_doubt": text, "processing_regions": list(text), "jurisdiction": text,
		"headquarters": text, "certifications": nullable(list(text)), "data_policy": ref("DataPolicy"), "distillation": ref("Claim"),
		"permitted": about(truth, "by policy, for a plain request of this key"), "denials": list(ref("Reason")),
	}, "name", "model_id", "model_name", "provider_name", "tag", "quantization", "context_length", "max_completion_tokens", "max_prompt_tokens",
		"pricing", "supported_parameters", "supports_implicit_caching", "uptime_last_5m", "uptime_last_30m", "uptime_last_1d",
		"latency_last_30m", "throughput_last_30m", "data_policy", "permitted"))
	define("ModelEndpoints", object(fields{"data": object(fields{
		"id": text, "name": text, "description": text, "created": whole, "architecture": ref("Architecture"), "endpoints": list(ref("Endpoint")),
	}, "id", "name", "created", "description", "architecture", "endpoints")}, "data"))
	define("EndpointList", object(fields{"data": list(ref("Endpoint"))}, "data"))
	define("ProviderList", object(fields{"data": list(object(fields{
		"name": text, "slug": text, "privacy_policy_url": nullable(text), "terms_of_service_url": nullable(text), "status_page_url": nullable(text),
		"headquarters": nullable(text), "datacenters": nullable(list(text)), "jurisdiction": text, "certifications": nullable(list(text)),
		"data_policies": about(dictionary(ref("DataPolicy")), "by group of credentials"),
	}, "name", "slug", "privacy_policy_url", "data_policies"))}, "data"))
	define("Decision", object(fields{
		"id": text, "at": text, "organisation": text, "key": text, "policy_digest": text, "catalog_digest": text, "dispatched": truth,
		"made_by":    about(list(text), "accounts that made signed or encrypted reasoning which the request sends back: it goes to no other"),
		"candidates": nullable(list(object(fields{"row": text, "model": text, "provider": text, "tag": text, "place": whole}, "row", "model", "provider"))),
		"attempts":   list(object(fields{"row": text, "provider": text, "outcome": text, "body_sent": oneOf("none", "part", "all")})),
		"outcome":    object(fields{"status": whole, "error": text}),
	}, "id", "at", "organisation", "key", "outcome"))
	define("Health", object(fields{"status": text}, "status"))
	define("OpenAPI", object(fields{"openapi": text, "paths": object(nil), "components": object(nil)}, "openapi", "paths"))
}
