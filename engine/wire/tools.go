package wire

func (s *skim) toolKind(k string) { s.r.ToolKinds = insert(s.r.ToolKinds, k) }

// toolList reads an array of tools, each by one.
func (s *skim) toolList(one func(*skim) bool) bool {
	if s.peek() != '[' {
		return s.wrong("an array of tools")
	}
	a := s.array()
	for s.element(&a) {
		s.r.ToolCount++
		from := s.pos
		if !one(s) {
			return false
		}
		s.toolBytes += s.pos - from
	}
	return s.ok()
}

// function reads a tool in its older form: a function without a wrapper.
func (s *skim) function() bool {
	if s.peek() != '{' {
		return s.wrong("a function object")
	}
	s.toolKind("function")
	return s.skip()
}

var toolFields = map[string]bool{"type": true, "function": true, "server_url": true}

func (s *skim) tool() bool {
	if s.peek() != '{' {
		return s.wrong("a tool object such as {\"type\": \"function\", \"function\": {…}}")
	}
	typed := false
	o := s.object()
	for s.member(&o) {
		ok := false
		switch string(o.key) {
		case "type":
			var k string
			ok = s.name(&k)
			s.toolKind(k)
			typed = true
		case "function": // a description of the client's own function: URLs in its schema are contacted by nobody
			ok = s.skip()
		default:
			ok = unlike(&s.scanner, &o, toolFields) && s.watch(holds(o.key))
		}
		if !ok {
			return false
		}
	}
	if s.ok() && !typed {
		return s.fail(o.at, "found a tool without a type; it should have one, such as \"function\"")
	}
	return s.ok()
}

// search reads the options of a search that the provider makes by itself.
func (s *skim) search() bool {
	if s.peek() != '{' {
		return s.wrong("an object")
	}
	s.toolKind("web_search")
	return s.watch(holdsOther)
}

func (s *skim) searchSwitch() bool {
	on := false
	if !s.bool(&on) {
		return false
	}
	if on {
		s.toolKind("web_search")
	}
	return true
}

// servers reads remote tool servers that stand beside the tools.
func (s *skim) servers() bool { return s.sources("mcp") }

// sources reads what a provider is to ask by itself: a kind of tool.
func (s *skim) sources(kind string) bool {
	if s.peek() != '[' {
		return s.wrong("an array of what the provider is to ask")
	}
	s.toolKind(kind)
	return s.watch(holdsOther)
}

// plugins reads OpenRouter's plugins; one that is enabled is a kind of tool by its id.
func (s *skim) plugins() bool {
	if s.peek() != '[' {
		return s.wrong("an array of plugins")
	}
	a := s.array()
	for s.element(&a) {
		id, enabled := "", true
		fields := map[string]func(*skim) bool{
			"id":      func(s *skim) bool { return s.name(&id) },
			"enabled": func(s *skim) bool { return s.bool(&enabled) },
		}
		at := s.pos
		if !s.each("a plugin object such as {\"id\": \"web\"}", fields) {
			return false
		}
		if id == "" {
			return s.fail(at, "found a plugin without an id; it should have one, such as \"web\"")
		}
		if enabled {
			s.toolKind(id)
			s.r.Plugins = insert(s.r.Plugins, id)
		}
	}
	return s.ok()
}
