package openapi

// Usage, as OpenRouter describes it (https://openrouter.ai/docs/api-reference).
func init() {
	define("Generation", object(fields{"data": object(fields{
		"id": text, "request_id": text, "session_id": nullable(text), "model": text, "provider_name": nullable(text), "api_type": oneOf("completions", "embeddings", "rerank"), "api": nullable(text), "streamed": truth, "cancelled": truth,
		"provider_responses": list(object(fields{
			"provider_name": text, "endpoint_id": text, "model_permaslug": text, "status": nullable(whole), "latency": about(number, "milliseconds"), "is_byok": truth,
			"id":      about(text, "the provider's own, of its answer"),
			"purpose": text, "outcome": text, "body_sent": oneOf("none", "part", "all"), "routed_service_tier": text, "cost": about(number, "USD"),
		}, "provider_name", "endpoint_id", "status", "latency")),
		"created_at": Schema{"type": "string", "format": "date-time"}, "latency": about(number, "milliseconds"),
		"generation_time": about(number, "milliseconds"), "moderation_latency": nullable(number), "tokens_prompt": whole, "tokens_completion": whole,
		"native_tokens_prompt": whole, "native_tokens_completion": whole, "native_tokens_reasoning": whole, "native_tokens_cached": whole,
		"native_tokens_cache_write": whole, "finish_reason": nullable(text), "native_finish_reason": nullable(text), "usage": about(number, "USD"),
		"total_cost": about(number, "USD"), "upstream_inference_cost": about(number, "USD"), "is_byok": truth, "external_user": nullable(text),
		"workspace_id": about(nullable(text), "the team"), "app": nullable(text), "tags": list(text), "api_key_id": text,
		"tokens_per_second": nullable(number), "ttft_ms": nullable(number), "status": whole, "error_type": nullable(text), "attempts": whole,
		"native_tokens_completion_images": nullable(whole), "num_media_prompt": about(whole, "images"), "response_cache_source_id": nullable(text), "num_media_completion": nullable(whole),
		"num_input_audio_prompt": nullable(whole), "num_search_results": nullable(whole), "num_fetches": nullable(whole),
		"web_search_engine": nullable(text), "cache_discount": nullable(number), "upstream_id": about(nullable(text), "the provider's own id of the answer"), "origin": text, "router": nullable(text),
		"preset_id": nullable(text), "data_region": text, "service_tier": nullable(text), "app_id": nullable(whole), "http_referer": nullable(text),
		"user_agent":        nullable(text),
		"usage_is_estimate": about(truth, "the provider counted nothing"),
	}, "id", "model", "provider_name", "created_at", "latency", "tokens_prompt", "tokens_completion", "total_cost", "usage")}, "data"))
	usd := about(number, "USD")
	define("Key", object(fields{"data": object(fields{
		"label": text, "limit": nullable(number), "limit_remaining": nullable(number), "limit_reset": nullable(text), "usage": usd, "usage_daily": usd,
		"usage_weekly": usd, "usage_monthly": usd, "byok_usage": usd, "byok_usage_daily": usd, "byok_usage_weekly": usd, "byok_usage_monthly": usd,
		"include_byok_in_limit": truth, "is_free_tier": truth, "is_management_key": truth, "is_provisioning_key": truth, "expires_at": nullable(text),
		"creator_user_id": nullable(text), "rate_limit": object(fields{"requests": whole, "interval": text, "note": text}),
		"allowed_data_regions": list(text), "free_model_daily_requests": dictionary(whole), "organization_id": text,
		"workspace_id": about(nullable(text), "the team"), "id": text, "organisation": text, "team": nullable(text),
	}, "label", "limit", "limit_remaining", "usage", "usage_daily", "usage_weekly", "usage_monthly", "is_free_tier")}, "data"))
	define("Credits", object(fields{"data": object(fields{"total_credits": nullable(number), "total_usage": usd}, "total_credits", "total_usage")}, "data"))
	define("Activity", object(fields{"data": list(object(fields{
		"date": text, "model": text, "model_permaslug": text, "endpoint_id": text, "provider_name": text, "workspace_id": about(text, "the team"),
		"requests": whole, "prompt_tokens": whole, "completion_tokens": whole, "reasoning_tokens": whole, "usage": usd, "byok_usage_inference": usd,
	}, "date", "model", "model_permaslug", "endpoint_id", "provider_name", "requests", "prompt_tokens", "completion_tokens", "reasoning_tokens", "usage",
		"byok_usage_inference"))}, "data"))
	named := func(more fields) Schema {
		return list(object(with(fields{"name": text, "display_label": text}, more), "name"))
	}
	define("AnalyticsMeta", object(fields{"data": object(fields{
		"metrics":    named(fields{"is_rate": truth, "display_format": oneOf("number", "currency", "percent", "latency", "throughput")}),
		"dimensions": named(nil), "operators": named(fields{"value_type": oneOf("scalar", "array")}), "granularities": named(nil),
	}, "metrics", "dimensions", "operators", "granularities")}, "data"))
	define("AnalyticsQuery", closed(fields{
		"metrics": list(text), "dimensions": list(text), "granularity": oneOf("minute", "hour", "day", "week", "month"),
		"time_range": object(fields{"start": Schema{"type": "string", "format": "date-time"}, "end": Schema{"type": "string", "format": "date-time"}}, "start", "end"),
		"filters":    list(object(fields{"field": text, "operator": oneOf("eq", "neq", "in", "not_in"), "value": or(text, list(text))}, "field", "operator", "value")),
		"order_by":   object(fields{"field": text, "direction": oneOf("asc", "desc")}, "field"), "limit": whole, "group_limit": whole,
	}, "metrics"))
	define("AnalyticsAnswer", object(fields{"data": object(fields{
		"data":     list(about(dictionary(or(text, number)), "counts as strings")),
		"metadata": object(fields{"query_time_ms": number, "row_count": whole, "truncated": truth}, "query_time_ms", "row_count", "truncated"),
		"warnings": list(text),
	}, "data", "metadata")}, "data"))
}
