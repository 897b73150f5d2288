package openapi

// Completions (https://platform.openai.com/docs/api-reference/completions), embeddings
// (https://platform.openai.com/docs/api-reference/embeddings) and rankings (https://openrouter.ai/docs/api-reference/rerank).
func init() {
	define("CompletionsRequest", object(fields{
		"model": text, "prompt": or(text, list(text)), "stream": nullable(truth), "max_tokens": nullable(whole), "temperature": nullable(number),
		"top_p": nullable(number), "n": nullable(whole), "stop": or(nothing, text, list(text)), "seed": nullable(whole),
		"provider": or(nothing, ref("ProviderPreferences")), "user": nullable(text),
	}, "prompt"))
	choice := object(fields{
		"index": whole, "text": text, "reasoning": text, "logprobs": nothing, "finish_reason": nullable(text), "native_finish_reason": nullable(text),
	}, "index", "text", "finish_reason")
	define("Completion", object(fields{
		"id": text, "object": always("text_completion"), "created": whole, "model": text, "provider": text, "choices": list(choice), "usage": ref("Usage"),
		"error": about(ref("ErrorObject"), "a stream ends with it, without [DONE]: the answer is not whole"),
	}, "id", "object", "created", "model", "provider", "choices"))

	define("EmbeddingsRequest", object(fields{
		"model": text, "input": or(text, list(or(text, whole, list(whole), object(fields{"content": list(object(nil))}, "content")))),
		"dimensions": nullable(whole), "encoding_format": nullable(oneOf("float", "base64")), "input_type": nullable(text), "user": nullable(text),
		"provider": or(nothing, ref("ProviderPreferences")),
	}, "input"))
	define("EmbeddingList", object(fields{
		"object": always("list"), "id": text, "model": text, "provider": text,
		"data":  list(object(fields{"object": always("embedding"), "index": whole, "embedding": or(text, list(number))}, "object", "index", "embedding")),
		"usage": object(fields{"prompt_tokens": whole, "total_tokens": whole, "cost": about(number, "USD")}, "prompt_tokens", "total_tokens", "cost"),
	}, "object", "model", "provider", "data", "usage"))

	define("AnyRequest", or(ref("ChatRequest"), ref("MessagesRequest"), ref("TokenCountRequest"), ref("ResponsesRequest"),
		ref("CompletionsRequest"), ref("EmbeddingsRequest"), ref("RerankRequest")))
	define("RerankRequest", object(fields{
		"model": text, "query": text, "documents": list(or(text, object(fields{"text": text, "image": text}))), "top_n": nullable(whole),
		"provider": or(nothing, ref("ProviderPreferences")),
	}, "query", "documents"))
	define("Ranking", object(fields{
		"id": text, "model": text, "provider": text,
		"results": list(object(fields{"index": whole, "relevance_score": number, "document": object(fields{"text": text})}, "index", "relevance_score")),
		"usage":   object(fields{"search_units": whole, "total_tokens": whole, "cost": about(number, "USD")}, "cost"),
	}, "id", "model", "provider", "results", "usage"))
}
