package wire

// common are the fields that mean the same in every shape: those that speak to the router, and those that would have a provider
// keep something or contact somebody, which policy has to see whatever API they are sent in.
func common() map[string]field {
	return map[string]field{
		"model":    {read: func(s *skim) bool { return s.name(&s.r.Model) }},
		"models":   {read: func(s *skim) bool { return s.names(&s.r.Models) }},
		"preset":   {read: func(s *skim) bool { return s.name(&s.r.Preset) }},
		"route":    {read: func(s *skim) bool { return s.choice(&s.route, "fallback", "sort") }},
		"provider": {read: (*skim).preferences},

		"user":       {read: func(s *skim) bool { return s.string(&s.r.Claims.User) }},
		"metadata":   {read: (*skim).metadata},
		"tags":       {read: (*skim).tags},
		"trace":      {read: (*skim).trace},
		"session_id": {read: (*skim).session},

		"store":                {read: func(s *skim) bool { return s.bool(&s.r.Store) }},
		"background":           {read: func(s *skim) bool { return s.bool(&s.r.Background) }},
		"previous_response_id": {read: (*skim).previous},
		"conversation":         {read: (*skim).previous},

		"web_search_options": {"web_search_options", (*skim).search},
		"search_parameters":  {read: (*skim).search},       // xAI's
		"enable_search":      {read: (*skim).searchSwitch}, // Alibaba's
		"mcp_servers":        {read: (*skim).servers},      // Anthropic's
		"plugins":            {read: (*skim).plugins},
		"data_sources":       {read: func(s *skim) bool { return s.sources("data_sources") }}, // Azure's
		"connectors":         {read: func(s *skim) bool { return s.sources("connectors") }},   // Cohere's

		"prompt_cache_key": {read: func(s *skim) bool { return s.string(&s.r.PromptCacheKey) }},
		"cache_control":    {read: (*skim).cacheControl},
		"service_tier":     {read: (*skim).serviceTier},

		"debug": {read: unread}, "transforms": {read: unread}, "usage": {read: unread},
	}
}

// add adds fields whose values nobody reads here; those of parameters are also listed in Request.Parameters, under
// OpenRouter's name, which is their own.
func add(fields map[string]field, parameters, others []string) {
	for _, name := range parameters {
		fields[name] = field{name, unread}
	}
	for _, name := range others {
		fields[name] = field{read: unread}
	}
}
