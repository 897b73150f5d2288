package talk

import "encoding/json"

func readResponsesTool(o *object) (Tool, bool) {
	kind := o.text("type")
	t := Tool{Name: o.text("name"), Description: o.text("description"), Custom: kind == "custom"}
	switch kind {
	case "function":
		t.Schema, t.Strict = o.take("parameters"), o.flag("strict")
	case "custom":
		if f := o.object("format"); f != nil {
			t.Grammar = readGrammar(f, "")
		}
	default:
		o.in.say(o.path, "is a tool of type %q, which only the API that it is of knows", kind)
		return Tool{}, false
	}
	o.leftover()
	return t, true
}

func readResponsesChoice(in *reading, raw json.RawMessage) Choice {
	if isString(raw) {
		return readMode(in, raw)
	}
	o := in.parse("tool_choice", raw)
	if o.is("allowed_tools") {
		return readAllowed(o, readResponsesNamed)
	}
	return Choice{Mode: "named", Tool: readResponsesNamed(o)}
}

func readResponsesNamed(o *object) (n Named) {
	o.tool(&n)
	n.Name = o.text("name")
	o.leftover()
	return n
}
