package wire

func (s *skim) toolKind(k string) { s.r.ToolKinds = insert(s.r.ToolKinds, k) }

// customTools notes one of OpenAI's tools that take text in place of JSON, or a call of one that is sent back: either can go only
// to endpoints that know them.
func (s *skim) customTools() { s.r.Parameters = insert(s.r.Parameters, "custom_tools") }

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

var toolFields = map[string]bool{"type": true, "function": true, "custom": true, "server_url": true}

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
			if k == "custom" {
				s.customTools()
			}
			typed = true
		case "function", "custom": // a description of the client's own tool: URLs in it are contacted by nobody
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

// calls reads an earlier answer's calls of tools.
func (s *skim) calls() bool {
	if s.peek() != '[' {
		return s.skip()
	}
	a := s.array()
	for s.element(&a) {
		ok := false
		if s.peek() == '{' {
			ok = s.each("a call", callFields)
		} else {
			ok = s.skip()
		}
		if !ok {
			return false
		}
	}
	return s.ok()
}

var callFields = map[string]func(*skim) bool{
	"type": func(s *skim) bool {
		if s.peek() != '"' {
			return s.skip()
		}
		t, ok := s.text()
		if t.is("custom") {
			s.customTools()
		}
		return ok
	},
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
