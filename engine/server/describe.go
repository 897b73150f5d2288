package server

import (
	"chaperone/engine/server/openapi"
	"chaperone/engine/wire"
)

// docs are what the OpenAPI document says of the public paths, by method and pattern.
var docs = map[string]openapi.Doc{
	"POST /v1/chat/completions":                {Summary: "A chat completion, streamed or not", Body: "ChatRequest", Answer: "ChatCompletion", Event: "ChatChunk", Error: "Error"},
	"POST /v1/messages":                        {Summary: "An answer in Anthropic's Messages API, streamed or not", Body: "MessagesRequest", Answer: "Message", Event: "MessagesEvent", Error: "AnthropicError"},
	"POST /v1/messages/count_tokens":           {Summary: "How many tokens a prompt has", Body: "TokenCountRequest", Answer: "TokenCount", Error: "AnthropicError"},
	"POST /v1/responses":                       {Summary: "A response, streamed or not; nothing is kept", Body: "ResponsesRequest", Answer: "Response", Event: "ResponseEvent", Error: "Error"},
	"POST /v1/completions":                     {Summary: "A completion, said to providers as a chat", Body: "CompletionsRequest", Answer: "Completion", Event: "Completion", Error: "Error"},
	"POST /v1/embeddings":                      {Summary: "Embeddings", Body: "EmbeddingsRequest", Answer: "EmbeddingList", Error: "Error"},
	"POST /v1/rerank":                          {Summary: "Documents in the order in which they fit a query", Body: "RerankRequest", Answer: "Ranking", Error: "Error"},
	"POST /v1/route":                           {Summary: "Decide a request of any API and send it nowhere", Body: "AnyRequest", Answer: "Decision", Error: "Error", Query: routeQuery},
	"GET /v1/models":                           {Summary: "The models that this key may use; Anthropic's form where anthropic-version is sent", Answer: "AnyModelList", Error: "AnyError", Query: listingQuery},
	"GET /v1/models/user":                      {Summary: "The same", Answer: "AnyModelList", Error: "AnyError", Query: listingQuery},
	"GET /v1/models/count":                     {Summary: "How many models the listing has", Answer: "ModelCount", Error: "AnyError", Query: listingQuery},
	"GET /v1/models/{id}":                      {Summary: "One model, by a name without an author", Answer: "AnyModel", Error: "AnyError"},
	"GET /v1/models/{author}/{slug}":           {Summary: "One model", Answer: "AnyModel", Error: "AnyError"},
	"GET /v1/models/{author}/{slug}/endpoints": {Summary: "A model's endpoints with terms, prices, measurements, and what policy says", Answer: "ModelEndpoints", Error: "AnyError"},
	"GET /v1/model/{author}/{slug}":            {Summary: "One model within data", Answer: "ModelWithin", Error: "AnyError"},
	"GET /v1/providers":                        {Summary: "The providers with their terms", Answer: "ProviderList", Error: "AnyError"},
	"GET /v1/endpoints/zdr":                    {Summary: "The endpoints with zero data retention that this key may use", Answer: "EndpointList", Error: "AnyError"},
	"GET /v1/decisions/{id}":                   {Summary: "Why a request went where it went", Answer: "Decision", Error: "AnyError"},
	"GET /v1/generation":                       {Summary: "What became of a request, with its tokens and cost", Answer: "Generation", Error: "AnyError", Query: generationQuery},
	"GET /v1/key":                              {Summary: "What this key has used", Answer: "Key", Error: "AnyError"},
	"GET /v1/auth/key":                         {Summary: "The same", Answer: "Key", Error: "AnyError"},
	"GET /v1/credits":                          {Summary: "What the key's organisation has used", Answer: "Credits", Error: "AnyError"},
	"GET /v1/activity":                         {Summary: "Its last 30 complete days by endpoint", Answer: "Activity", Error: "AnyError", Query: activityQuery},
	"GET /v1/analytics/meta":                   {Summary: "What can be asked of its usage", Answer: "AnalyticsMeta", Error: "AnyError"},
	"POST /v1/analytics/query":                 {Summary: "Its usage by model, provider, key, team, user, app, tag and time", Body: "AnalyticsQuery", Answer: "AnalyticsAnswer", Error: "AnyError"},
	"GET /openapi.json":                        {Summary: "This document", Answer: "OpenAPI", Error: "AnyError"},
	"GET /healthz":                             {Summary: "Whether the process serves", Answer: "Health", Error: "AnyError"},
	"GET /readyz":                              {Summary: "Whether it wants more to serve", Answer: "Health", Error: "AnyError"},
}

var listingQuery = func() []openapi.QueryParameter {
	var q []openapi.QueryParameter
	for _, p := range []struct{ name, about, kind string }{
		{"q", "part of a model's id or name", "string"},
		{"sort", "newest, pricing-low-to-high, pricing-high-to-low, context-high-to-low, throughput-high-to-low or latency-low-to-high", "string"},
		{"offset", "how many to leave out", "integer"},
		{"limit", "the most of a page, up to 1000", "integer"},
		{"after_id", "Anthropic's form: the page after this model", "string"},
		{"before_id", "Anthropic's form: the page before this model", "string"},
		{"input_modalities", "that a model takes, comma-separated: all of them", "string"},
		{"output_modalities", "that a model gives, comma-separated: any of them; text where not sent; all for any", "string"},
		{"supported_parameters", "comma-separated: all of them", "string"},
		{"model_authors", "comma-separated", "string"},
		{"providers", "slugs or names, comma-separated", "string"},
		{"context", "the least context, tokens", "integer"},
		{"min_price", "USD per million prompt tokens", "number"},
		{"max_price", "USD per million prompt tokens", "number"},
		{"min_output_price", "USD per million completion tokens", "number"},
		{"max_output_price", "USD per million completion tokens", "number"},
		{"min_age_days", "since the model came", "number"},
		{"max_age_days", "since the model came", "number"},
		{"zdr", "true: with zero data retention", "string"},
		{"distillable", "whether the answers may be used to train other models", "string"},
		{"region", "with an endpoint that processes there alone", "string"},
	} {
		q = append(q, openapi.QueryParameter{Name: p.name, About: p.about, Schema: openapi.Schema{"type": p.kind}})
	}
	return q
}()

var routeQuery = []openapi.QueryParameter{{Name: "api", About: "that the body is of; chat where not sent",
	Schema: openapi.Schema{"type": "string", "enum": wire.Shapes(), "default": string(wire.Chat)}}}

var generationQuery = []openapi.QueryParameter{{Name: "id", About: "of the answer", Schema: openapi.Schema{"type": "string"}}}

var activityQuery = []openapi.QueryParameter{
	{Name: "date", About: "one of the days alone", Schema: openapi.Schema{"type": "string", "format": "date"}},
	{Name: "api_key_hash", About: "one key alone: its SHA-256, or its id", Schema: openapi.Schema{"type": "string"}},
	{Name: "user_id", About: "one user alone, as callers name it", Schema: openapi.Schema{"type": "string"}},
	{Name: "workspace_id", About: "one team alone", Schema: openapi.Schema{"type": "string"}},
	{Name: "group_by", About: "workspace: by team as well", Schema: openapi.Schema{"type": "string", "enum": []string{"workspace"}}},
}

// describe is the OpenAPI document of the public paths.
func describe() []byte {
	operations := make([]openapi.Operation, len(public))
	for i, p := range public {
		operations[i] = openapi.Operation{Pattern: p.pattern, Method: p.method, Keyed: p.keyed, Doc: docs[p.method+" "+p.pattern]}
	}
	return openapi.Document(operations)
}

func (s *Server) openapi(r *request) error { return answer(r)(s.document, nil) }
