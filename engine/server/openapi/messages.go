package openapi

// Anthropic's Messages API (https://platform.claude.com/docs/en/api/messages/create), with this router's fields beside it.
func init() {
	content := or(text, list(ref("ContentBlock")))
	asked := fields{
		"model":         text,
		"messages":      list(object(fields{"role": oneOf("user", "assistant"), "content": content}, "role", "content")),
		"system":        or(nothing, content),
		"tools":         nullable(list(object(fields{"type": nullable(text), "name": text, "description": nullable(text), "input_schema": object(nil)}))),
		"tool_choice":   nullable(object(fields{"type": text, "name": text, "disable_parallel_tool_use": nullable(truth)}, "type")),
		"thinking":      nullable(object(fields{"type": text, "budget_tokens": nullable(whole), "display": nullable(text)}, "type")),
		"output_config": nullable(object(fields{"effort": nullable(text), "format": nullable(object(nil))})),
		"models":        nullable(list(text)),
		"fallbacks":     nullable(list(closed(fields{"model": text}, "model"))),
		"provider":      or(nothing, ref("ProviderPreferences")),
		"preset":        nullable(text),
		"session_id":    nullable(text),
		"user":          nullable(text),
		"trace":         nullable(object(nil)),
	}
	define("TokenCountRequest", object(asked, "model", "messages"))
	define("TokenCount", object(fields{
		"input_tokens": whole,
		"estimated":    about(truth, "true: by this router, because no endpoint that may see the prompt can count it"),
	}, "input_tokens"))
	define("MessagesRequest", object(with(asked, fields{
		"max_tokens":     whole,
		"stream":         nullable(truth),
		"stop_sequences": nullable(list(text)),
		"temperature":    nullable(number),
		"top_p":          nullable(number),
		"top_k":          nullable(whole),
		"metadata":       nullable(object(fields{"user_id": nullable(text)})),
		"service_tier":   nullable(text),
		"speed":          nullable(oneOf("standard", "fast")),
	}), "model", "messages", "max_tokens"))
	define("ContentBlock", object(fields{
		"type":        text,
		"text":        text,
		"thinking":    text,
		"signature":   text,
		"data":        text,
		"id":          text,
		"name":        text,
		"input":       object(nil),
		"tool_use_id": text,
		"content":     or(content, object(nil), nothing),
		"is_error":    nullable(truth),
		"source":      object(fields{"type": text}, "type"),
	}, "type"))
	define("MessageUsage", object(fields{
		"input_tokens":                about(whole, "that came from no cache and went into none"),
		"cache_read_input_tokens":     nullable(whole),
		"cache_creation_input_tokens": nullable(whole),
		"output_tokens":               whole,
		"output_tokens_details":       nullable(object(fields{"thinking_tokens": whole})),
		"service_tier":                nullable(text),
		"cost":                        about(number, "USD"),
		"rescued":                     about(text, "what saved an answer that broke off: continue or splice"),
	}, "output_tokens"))
	message := fields{
		"id":            about(text, "of the decision, the record and the answer"),
		"type":          always("message"),
		"role":          always("assistant"),
		"model":         about(text, "that served"),
		"provider":      about(text, "that served"),
		"content":       list(ref("ContentBlock")),
		"stop_reason":   nullable(text),
		"stop_sequence": nullable(text),
		"usage":         ref("MessageUsage"),
	}
	define("Message", object(message, "id", "type", "role", "model", "provider", "content", "stop_reason", "usage"))
	event := func(kind string, members fields, required ...string) Schema {
		return object(with(fields{"type": always(kind)}, members), append(required, "type")...)
	}
	define("MessagesEvent", or(
		event("message_start", fields{"message": ref("Message")}, "message"),
		event("content_block_start", fields{"index": whole, "content_block": ref("ContentBlock")}, "index", "content_block"),
		event("content_block_delta", fields{"index": whole, "delta": object(fields{
			"type": text, "text": text, "partial_json": text, "thinking": text, "signature": text,
		}, "type")}, "index", "delta"),
		event("content_block_stop", fields{"index": whole}, "index"),
		event("message_delta", fields{"delta": object(fields{"stop_reason": nullable(text), "stop_sequence": nullable(text)}), "usage": ref("MessageUsage")},
			"delta", "usage"),
		event("message_stop", nil),
		event("ping", nil),
		about(ref("AnthropicError"), "the stream ends with it, without message_stop: the answer is not whole"),
	))
}
