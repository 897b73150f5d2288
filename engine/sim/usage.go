package sim

// usagePlaces are where providers put their usage; see Profile.UsageIn. In an answer that is not streamed it stands at the
// top, except with "choice" and "none".
var usagePlaces = []string{
	"last",   // in a chunk of its own before [DONE], where the request asks for it (OpenAI)
	"finish", // in the chunk with the finish reason, asked for or not (Mistral, DeepSeek)
	"every",  // in every chunk, as it is so far (vLLM's continuous_usage_stats)
	"choice", // in the choice of the chunk with the finish reason (Moonshot)
	"groq",   // in that chunk's x_groq (Groq)
	"none",
}

// reasoningFields are the names under which providers send reasoning; see Profile.ReasoningIn. With "reasoning_details" it is in
// the list of that name too (OpenRouter).
var reasoningFields = []string{"reasoning_content", "reasoning", "reasoning_details"}

// reasoningMembers are the members of a message or delta that carry a piece of reasoning.
func (p *Profile) reasoningMembers(text string) string {
	quoted := quote(text)
	switch p.ReasoningIn {
	case "reasoning":
		return `"reasoning":` + quoted
	case "reasoning_details":
		return `"reasoning":` + quoted + `,"reasoning_details":[{"type":"reasoning.text","text":` + quoted + `}]`
	}
	return `"reasoning_content":` + quoted
}

// usageMember is the usage as the last member of a chunk's choice, or of the chunk, where this is the place for it.
func (e *events) usageMember(ofChoice, finish bool) string {
	at := e.x.profile.UsageIn
	switch {
	case ofChoice && finish && at == "choice", !ofChoice && finish && at == "finish", !ofChoice && at == "every":
		return `,"usage":` + string(mustJSON(usageOf(e.so)))
	case !ofChoice && finish && at == "groq":
		return `,"x_groq":{"usage":` + string(mustJSON(usageOf(e.so))) + `}`
	case !ofChoice && (at == "" || at == "last") && e.x.request.StreamOptions.IncludeUsage:
		return `,"usage":null`
	}
	return ""
}
