package talk

import "encoding/json"

func readChatTool(o *object) (Tool, bool) {
	t := Tool{Cache: readCache(o)}
	switch kind := o.text("type"); kind {
	case "function":
		if f := o.object("function"); f != nil {
			t.Name, t.Description, t.Schema, t.Strict = f.text("name"), f.text("description"), f.take("parameters"), f.flag("strict")
			f.leftover()
		}
	case "custom":
		t.Custom = true
		if c := o.object("custom"); c != nil {
			t.Name, t.Description = c.text("name"), c.text("description")
			if f := c.object("format"); f != nil {
				t.Grammar = readGrammar(f, "grammar")
			}
			c.leftover()
		}
	default:
		o.in.say(o.path, "is a tool of type %q, which only the API that it is of knows", kind)
		return Tool{}, false
	}
	o.leftover()
	return t, true
}

// readGrammar reads the format of the text that a custom tool takes. A grammar is described in a field of its own, or where
// below is "" beside the type.
func readGrammar(format *object, below string) (g *Grammar) {
	switch kind := format.text("type"); kind {
	case "text":
	case "grammar":
		described := format
		if below != "" {
			described = format.object(below)
		}
		if described == nil {
			format.in.say(format.at(below), "should be there")
			break
		}
		g = &Grammar{Syntax: described.text("syntax"), Definition: described.text("definition")}
		if below != "" {
			described.leftover()
		}
	default:
		format.in.say(format.at("type"), "is %q; it should be text or grammar", kind)
	}
	format.leftover()
	return g
}

func readChatChoice(in *reading, raw json.RawMessage) Choice {
	if isString(raw) {
		return readMode(in, raw)
	}
	o := in.parse("tool_choice", raw)
	if !o.is("allowed_tools") {
		return Choice{Mode: "named", Tool: readChatNamed(o)}
	}
	c := Choice{}
	if x := o.object("allowed_tools"); x != nil {
		c = readAllowed(x, readChatNamed)
	}
	o.leftover()
	return c
}

// readMode reads a choice that names no tool.
func readMode(in *reading, raw json.RawMessage) Choice {
	s, _ := readString(raw)
	if s != "none" && s != "auto" && s != "required" {
		in.say("tool_choice", "should be none, auto, required or a tool")
	}
	return Choice{Mode: s}
}

// readAllowed reads a choice among some of the tools, each by one.
func readAllowed(o *object, one func(*object) Named) Choice {
	c := Choice{Mode: o.text("mode"), Allowed: []Named{}}
	if c.Mode != "auto" && c.Mode != "required" {
		o.in.say(o.at("mode"), "is %q; it should be auto or required", c.Mode)
	}
	for i, raw := range o.list("tools") {
		c.Allowed = append(c.Allowed, one(o.in.parse(index(o.at("tools"), i), raw)))
	}
	o.leftover()
	return c
}

// readChatNamed reads which tool is meant.
func readChatNamed(o *object) (n Named) {
	kind := o.tool(&n)
	if f := o.object(kind); f != nil {
		n.Name = f.text("name")
		f.leftover()
	}
	o.leftover()
	return n
}

// tool takes the type of a tool that is meant, and says it.
func (o *object) tool(n *Named) (kind string) {
	kind = o.text("type")
	n.Custom = kind == "custom"
	if kind != "function" && kind != "custom" {
		o.in.say(o.path, "is of type %q, which this router cannot translate", kind)
	}
	return kind
}

func (t *Tool) chat() any {
	x := members{"name": t.Name}
	x.text("description", t.Description)
	if t.Custom {
		if g := t.Grammar; g != nil {
			x["format"] = members{"type": "grammar", "grammar": members{"syntax": g.Syntax, "definition": g.Definition}}
		}
		return members{"type": "custom", "custom": x}
	}
	if t.Schema != nil {
		x["parameters"] = t.Schema
	}
	if t.Strict != nil {
		x["strict"] = *t.Strict
	}
	return members{"type": "function", "function": x}
}

func (c *Choice) chat() any {
	switch {
	case c.Mode == "named":
		return c.Tool.chat()
	case c.Allowed != nil:
		return members{"type": "allowed_tools", "allowed_tools": members{"mode": c.Mode, "tools": listed(c.Allowed, (*Named).chat)}}
	}
	return c.Mode
}

func (n *Named) chat() any {
	if n.Custom {
		return members{"type": "custom", "custom": members{"name": n.Name}}
	}
	return members{"type": "function", "function": members{"name": n.Name}}
}
