package openapi

import (
	"maps"
	"slices"
)

// Responses, as OpenAI (https://platform.openai.com/docs/api-reference/responses) describes them.
func init() {
	define("ResponsesRequest", object(fields{
		"model": text, "models": nullable(list(text)), "provider": or(nothing, ref("ProviderPreferences")),
		"input": or(text, list(object(fields{"type": text}))), "instructions": nullable(text), "stream": nullable(truth),
		"max_output_tokens": nullable(whole), "temperature": nullable(number), "top_p": nullable(number), "top_logprobs": nullable(whole),
		"tools": nullable(list(object(fields{"type": text}, "type"))), "tool_choice": or(nothing, text, object(nil)),
		"parallel_tool_calls": nullable(truth),
		"text":                nullable(object(fields{"format": nullable(object(fields{"type": text}, "type")), "verbosity": nullable(text)})),
		"reasoning":           nullable(object(fields{"effort": nullable(text), "summary": nullable(text)})),
		"include":             nullable(list(text)), "metadata": nullable(object(nil)), "user": nullable(text), "service_tier": nullable(text),
		"store":                about(nullable(constant(false)), "this router keeps no responses"),
		"background":           about(nullable(constant(false)), "this router answers at once"),
		"previous_response_id": about(nothing, "this router keeps no responses: send the earlier items"),
	}, "input"))

	part := or(
		object(fields{"type": always("output_text"), "text": text, "annotations": list(object(nil)), "logprobs": list(object(nil))},
			"type", "text", "annotations"),
		object(fields{"type": always("refusal"), "refusal": text}, "type", "refusal"),
		object(fields{"type": always("reasoning_text"), "text": text}, "type", "text"),
	)
	define("ResponsePart", part)
	status := oneOf("in_progress", "completed", "incomplete")
	define("ResponseItem", or(
		object(fields{"type": always("message"), "id": text, "role": always("assistant"), "status": status, "content": list(ref("ResponsePart"))},
			"type", "id", "role", "status", "content"),
		object(fields{"type": always("function_call"), "id": text, "call_id": text, "name": text, "arguments": text, "status": status},
			"type", "call_id", "name", "arguments"),
		object(fields{"type": always("custom_tool_call"), "id": text, "call_id": text, "name": text, "input": text, "status": status},
			"type", "call_id", "name", "input"),
		object(fields{"type": always("reasoning"), "id": text, "summary": list(object(fields{"type": always("summary_text"), "text": text}, "type", "text")),
			"content": list(ref("ResponsePart")), "encrypted_content": nullable(text), "signature": text, "format": text, "status": status},
			"type", "id", "summary"),
	))
	define("ResponseUsage", object(fields{
		"input_tokens": whole, "input_tokens_details": object(fields{"cached_tokens": whole, "cache_write_tokens": whole}, "cached_tokens"),
		"output_tokens": whole, "output_tokens_details": object(fields{"reasoning_tokens": whole}, "reasoning_tokens"),
		"total_tokens": whole, "cost": about(number, "USD"), "rescued": text,
	}, "input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens"))
	define("Response", object(fields{
		"id": text, "object": always("response"), "created_at": whole, "model": text, "provider": text,
		"status":             oneOf("in_progress", "completed", "incomplete", "failed"),
		"error":              nullable(object(fields{"code": text, "message": text}, "code", "message")),
		"error_type":         ref("ErrorType"),
		"incomplete_details": nullable(object(fields{"reason": oneOf("max_output_tokens", "content_filter")}, "reason")),
		"output":             list(ref("ResponseItem")), "usage": or(nothing, ref("ResponseUsage")),
		"store": truth, "background": truth, "previous_response_id": nothing, "service_tier": nullable(text), "completed_at": nullable(whole),
		"instructions": nullable(text), "metadata": nullable(object(nil)), "temperature": nullable(number), "top_p": nullable(number),
		"frequency_penalty": nullable(number), "presence_penalty": nullable(number), "parallel_tool_calls": truth,
		"tool_choice": or(text, object(nil)), "tools": list(object(fields{"type": text}, "type")), "max_output_tokens": nullable(whole),
	}, "id", "object", "created_at", "model", "provider", "status", "error", "incomplete_details", "output"))
	// Of an event every member is required that OpenAI describes.
	event := func(kind string, members ...fields) Schema {
		all := with(members...)
		return object(with(fields{"type": always(kind), "sequence_number": whole}, all), append(slices.Sorted(maps.Keys(all)), "type", "sequence_number")...)
	}
	var events []Schema
	for _, state := range []string{"created", "in_progress", "completed", "incomplete", "failed"} {
		events = append(events, event("response."+state, fields{"response": ref("Response")}))
	}
	inItem := fields{"item_id": text, "output_index": whole}
	inPart, inSummary := with(inItem, fields{"content_index": whole}), with(inItem, fields{"summary_index": whole})
	logprobs := fields{"logprobs": list(object(nil))}
	for _, state := range []string{"added", "done"} {
		events = append(events,
			event("response.output_item."+state, fields{"output_index": whole, "item": ref("ResponseItem")}),
			event("response.content_part."+state, inPart, fields{"part": ref("ResponsePart")}),
			event("response.reasoning_summary_part."+state, inSummary, fields{"part": object(fields{"type": always("summary_text"), "text": text}, "type", "text")}))
	}
	delta := fields{"delta": text}
	events = append(events,
		event("response.output_text.delta", inPart, logprobs, delta), event("response.output_text.done", inPart, logprobs, fields{"text": text}),
		event("response.output_text.annotation.added", inPart, fields{"annotation": object(nil), "annotation_index": whole}),
		event("response.refusal.delta", inPart, delta), event("response.refusal.done", inPart, fields{"refusal": text}),
		event("response.reasoning_text.delta", inPart, delta), event("response.reasoning_text.done", inPart, fields{"text": text}),
		event("response.reasoning_summary_text.delta", inSummary, delta), event("response.reasoning_summary_text.done", inSummary, fields{"text": text}),
		event("response.function_call_arguments.delta", inItem, delta),
		event("response.function_call_arguments.done", inItem, fields{"arguments": text, "name": text}),
		event("response.custom_tool_call_input.delta", inItem, delta), event("response.custom_tool_call_input.done", inItem, fields{"input": text}),
		event("error", fields{"code": nullable(text), "message": text, "param": nullable(text), "error": ref("ErrorObject")}),
	)
	define("ResponseEvent", or(events...))
}

// constant is a constant that is no word.
func constant(value any) Schema { return Schema{"const": value} }
