package openapi

// Chat completions, as OpenAI (https://platform.openai.com/docs/api-reference/chat) and OpenRouter
// (https://openrouter.ai/docs/api-reference/chat-completion) describe them.
func init() {
	define("ProviderPreferences", closed(fields{
		"order":                    nullable(list(text)),
		"only":                     nullable(list(text)),
		"ignore":                   nullable(list(text)),
		"allow_fallbacks":          nullable(truth),
		"require_parameters":       nullable(truth),
		"data_collection":          nullable(oneOf("allow", "deny")),
		"zdr":                      nullable(truth),
		"enforce_distillable_text": nullable(truth),
		"quantizations":            nullable(list(text)),
		"sort": or(nothing, oneOf("price", "throughput", "latency", "exacto"), closed(fields{
			"by": nullable(oneOf("price", "throughput", "latency", "exacto")), "partition": nullable(oneOf("model", "none")),
		})),
		"preferred_min_throughput": or(nothing, number, ref("Cutoffs")),
		"preferred_max_latency":    or(nothing, number, ref("Cutoffs")),
		"max_price": or(nothing, closed(fields{
			"prompt": or(number, text, nothing), "completion": or(number, text, nothing), "request": or(number, text, nothing),
			"image": or(number, text, nothing), "audio": or(number, text, nothing),
		})),
	}))
	define("Cutoffs", closed(fields{"p50": nullable(number), "p75": nullable(number), "p90": nullable(number), "p99": nullable(number)}))

	routing := fields{
		"model":      text,
		"models":     nullable(list(text)),
		"provider":   or(nothing, ref("ProviderPreferences")),
		"preset":     nullable(text),
		"route":      nullable(oneOf("fallback", "sort")),
		"session_id": nullable(text),
		"user":       nullable(text),
		"trace":      nullable(object(nil)),
	}
	define("ChatRequest", object(with(routing, fields{
		"messages":              list(ref("ChatMessage")),
		"stream":                nullable(truth),
		"stream_options":        nullable(object(fields{"include_usage": nullable(truth)})),
		"n":                     nullable(whole),
		"max_tokens":            nullable(whole),
		"max_completion_tokens": nullable(whole),
		"max_output_tokens":     nullable(whole),
		"temperature":           nullable(number),
		"top_p":                 nullable(number),
		"top_k":                 nullable(number),
		"min_p":                 nullable(number),
		"top_a":                 nullable(number),
		"frequency_penalty":     nullable(number),
		"presence_penalty":      nullable(number),
		"repetition_penalty":    nullable(number),
		"seed":                  nullable(whole),
		"stop":                  or(nothing, text, list(text)),
		"logit_bias":            nullable(dictionary(number)),
		"logprobs":              nullable(truth),
		"top_logprobs":          nullable(whole),
		"tools":                 nullable(list(object(fields{"type": text}))),
		"tool_choice":           or(nothing, text, object(nil)),
		"parallel_tool_calls":   nullable(truth),
		"response_format":       nullable(object(fields{"type": text}, "type")),
		"reasoning": nullable(object(fields{
			"effort": nullable(text), "max_tokens": nullable(whole), "enabled": nullable(truth), "exclude": nullable(truth),
		})),
		"reasoning_effort": nullable(text),
		"modalities":       nullable(list(text)),
		"metadata":         nullable(object(nil)),
		"store":            nullable(truth),
		"service_tier":     nullable(text),
		"usage":            nullable(object(fields{"include": nullable(truth)})),
	}), "messages"))
	define("ChatMessage", object(fields{
		"role":              text,
		"content":           or(nothing, text, list(object(fields{"type": text}))),
		"name":              nullable(text),
		"tool_calls":        nullable(list(ref("ToolCall"))),
		"tool_call_id":      nullable(text),
		"refusal":           nullable(text),
		"reasoning":         nullable(text),
		"reasoning_details": nullable(list(ref("ReasoningDetail"))),
	}, "role"))
	define("ToolCall", object(fields{
		"id":       nullable(text),
		"index":    whole,
		"type":     nullable(text),
		"function": object(fields{"name": nullable(text), "arguments": nullable(text)}),
		"custom":   about(object(fields{"name": nullable(text), "input": nullable(text)}), "of a custom tool, which takes text in place of JSON"),
	}))
	define("ReasoningDetail", object(fields{
		"type": text, "id": nullable(text), "format": nullable(text), "index": nullable(whole),
		"text": nullable(text), "signature": nullable(text), "summary": nullable(text), "data": nullable(text),
	}, "type"))

	define("Usage", object(fields{
		"prompt_tokens":     whole,
		"completion_tokens": whole,
		"total_tokens":      whole,
		"prompt_tokens_details": nullable(object(fields{
			"cached_tokens": nullable(whole), "cache_write_tokens": nullable(whole), "audio_tokens": nullable(whole),
		})),
		"completion_tokens_details": nullable(object(fields{
			"reasoning_tokens": nullable(whole), "audio_tokens": nullable(whole),
		})),
		"cost":    about(number, "USD"),
		"is_byok": truth,
		"cost_details": object(fields{
			"upstream_inference_cost":             nullable(number),
			"upstream_inference_prompt_cost":      number,
			"upstream_inference_completions_cost": number,
		}),
		"rescued": about(text, "what saved an answer that broke off: continue or splice"),
	}, "prompt_tokens", "completion_tokens", "total_tokens", "cost"))

	answer := fields{
		"id":                  about(text, "of the decision, the record and the answer"),
		"created":             whole,
		"model":               about(text, "that served"),
		"provider":            about(text, "that served"),
		"system_fingerprint":  nullable(text),
		"service_tier":        nullable(text),
		"openrouter_metadata": ref("RouterMetadata"),
	}
	output := fields{
		"role":              nullable(text),
		"content":           nullable(text),
		"refusal":           nullable(text),
		"reasoning":         nullable(text),
		"reasoning_content": nullable(text),
		"reasoning_details": nullable(list(ref("ReasoningDetail"))),
		"tool_calls":        nullable(list(ref("ToolCall"))),
		"annotations":       nullable(list(object(nil))),
		"images":            nullable(list(object(nil))),
		"audio":             nullable(object(nil)),
	}
	choice := fields{
		"index":                whole,
		"finish_reason":        nullable(text),
		"native_finish_reason": nullable(text),
		"logprobs":             nullable(object(nil)),
	}
	define("ChatCompletion", object(with(answer, fields{
		"object":  always("chat.completion"),
		"choices": list(object(with(choice, fields{"message": object(output, "role")}), "index", "message", "finish_reason")),
		"usage":   ref("Usage"),
	}), "id", "object", "created", "model", "provider", "choices", "usage"))
	define("ChatChunk", object(with(answer, fields{
		"object":  always("chat.completion.chunk"),
		"choices": list(object(with(choice, fields{"delta": object(output)}), "index", "delta")),
		"usage":   ref("Usage"),
		"error":   about(ref("ErrorObject"), "the stream ends with it, without [DONE]: the answer is not whole"),
	}), "id", "object", "created", "model", "provider", "choices"))

	define("RouterMetadata", object(fields{
		"requested": text,
		"strategy":  text,
		"summary":   text,
		"attempt":   whole,
		"is_byok":   truth,
		"region":    about(nothing, "a router of one's own is in none of OpenRouter's"),
		"endpoints": object(fields{"total": whole, "available": list(object(fields{"provider": text, "model": text, "selected": truth}))}),
		"attempts":  list(object(fields{"provider": text, "model": text, "status": whole})),
	}))
}
