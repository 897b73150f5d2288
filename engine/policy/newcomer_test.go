package policy

import (
	"context"
	"testing"

	"chaperone/engine/wire"
)

// Each rule is by somebody who believes that Rego fails closed: that what is absent, misspelt or of another type makes a rule
// deny. Each means to deny every row of the request; none may permit one.
var newcomers = []struct{ name, rule string }{
	// Absent fields.
	{"an absent label", `deny contains "x" if input.principal.labels.tier != "gold"`},
	{"an absent label, negated", `deny contains "x" if not input.principal.labels.tier == "gold"`},
	{"an absent label, by index", `deny contains "x" if input.principal.labels["tier"] != "gold"`},
	{"an absent claim", `deny contains "x" if input.claims.metadata.case != "approved"`},
	{"an absent attribute", `deny contains "x" if input.endpoint.attributes.safety < 0.9`},
	{"an absent label of a row", `deny contains "x" if input.endpoint.labels.audited != "yes"`},
	{"an absent field of the request", `deny contains "x" if input.request.temperature > 0`},
	{"an absent section", `deny contains "x" if input.user.role != "admin"`},
	{"an absent header", `deny contains "x" if input.headers["x-approved"] != "yes"`},
	{"an absent element", `deny contains "x" if input.request.models[0] != "acme/large"`},
	{"an absent element by a variable", "deny contains \"x\" if {\n\ti := 0\n\tinput.request.models[i] != \"acme/large\"\n}"},
	{"an absent element of a variable", "deny contains \"x\" if {\n\tmodels := input.request.models\n\tmodels[0] != \"acme/large\"\n}"},
	{"an absent element for a helper", "first(l) := l[0]\n\ndeny contains \"x\" if first(input.request.models) != \"acme/large\""},
	{"an absent key through a variable", "deny contains \"x\" if {\n\tlabels := input.principal.labels\n\tlabels.tier != \"gold\"\n}"},
	{"an allow of absent things", `allow if input.principal.labels.tier == "gold"`},
	{"an allow of what a caller lacks", `allow if object.get(input.principal.labels, "tier", "none") == "gold"`},
	{"an allow that nothing fulfils", `allow if input.request.n > 100`},
	{"null for absence", `deny contains "x" if input.principal.labels.tier == null`},
	{"a default of the wrong kind", `deny contains "x" if object.get(input.principal.labels, "tier", 0) != 1`},

	{"an absent part of a text", `deny contains "x" if split(input.request.model, "/")[1] != "large"; split(input.request.model, ":")[1] != "free"`},
	{"an absent part of a variable", "deny contains \"x\" if {\n\tparts := split(input.request.model, \":\")\n\tparts[1] != \"free\"\n}"},
	{"an absent part by a computed place", "deny contains \"x\" if {\n\tparts := split(input.request.model, \":\")\n\tparts[count(parts)] != \"free\"\n}"},
	{"an absent part of a rule", "parts := split(input.request.model, \":\")\n\ndeny contains \"x\" if parts[1] != \"free\""},
	{"an absent part of a function", "parts(m) := split(m, \":\")\n\ndeny contains \"x\" if parts(input.request.model)[1] != \"free\""},
	{"an absent part of a comprehension", `deny contains "x" if [m | some m in input.request.models][0] != "acme/large"`},
	{"an absent part of what is sorted", `deny contains "x" if sort(input.request.tool_kinds)[0] != "function"`},
	{"an absent part of what is sliced", `deny contains "x" if array.slice(input.request.models, 0, 1)[0] != "acme/large"`},
	{"an absent match", `deny contains "x" if regex.find_n("[0-9]+", input.request.model, 1)[0] != "7"`},
	{"an absent group of a match", `deny contains "x" if regex.find_all_string_submatch_n("v([0-9]+)", input.request.model, 1)[0][1] != "7"`},
	{"an absent key of a table", "limits := {\"gold\": 1}\n\ndeny contains \"x\" if input.request.prompt_tokens > limits[object.get(input.principal.labels, \"tier\", \"tin\")]"},
	{"an absent key of a table of classes", "limits := {\"internal\": 1, \"restricted\": 1}\n\ndeny contains \"x\" if input.request.prompt_tokens > limits[input.request.data_class]"},
	{"an absent key of a rule of parts", "limits[tier] := 1 if some tier in [\"gold\"]\n\ndeny contains \"x\" if input.request.prompt_tokens > limits[object.get(input.principal.labels, \"tier\", \"tin\")]"},
	{"an absent key of a local table", "deny contains \"x\" if {\n\tlimits := {\"gold\": 1}\n\tinput.request.prompt_tokens > limits.tin\n}"},
	{"an absent key of an entry", "exceptions := [{\"provider\": \"alpha\", \"limit\": 1}]\n\ndeny contains \"x\" if {\n\tsome e in exceptions\n\tinput.request.prompt_tokens > e.limt\n}"},
	{"an absent key of JSON", `deny contains "x" if json.unmarshal("{}").approved != true`},
	{"an absent key of an object that is united", `deny contains "x" if object.union({"a": 1}, {"b": 2}).c != 3`},
	{"the greatest of nothing", `deny contains "x" if max(input.request.models) != "acme/large"`},
	{"the least of nothing", `deny contains "x" if min(input.claims.tags) != "approved"`},
	{"another than any of none", `deny contains "x" if input.request.models[_] != "acme/large"`},
	{"another certificate than any of none", `deny contains "x" if input.endpoint.certifications[_] != "fedramp"`},

	// Wrong types.
	{"a number as text", `deny contains "x" if input.request.prompt_tokens > "10"`},
	{"text as a number", `deny contains "x" if input.endpoint.jurisdiction != 1`},
	{"a boolean as text", `deny contains "x" if input.request.store == "false"`},
	{"a state as a boolean", `deny contains "x" if input.endpoint.data_policy.training == true`},
	{"a state as a condition", `deny contains "x" if not input.endpoint.data_policy.zdr == false`},
	{"a list as text", `deny contains "x" if input.endpoint.processing_regions == "us"`},
	{"text as a list", `deny contains "x" if "us" in input.endpoint.jurisdiction`},
	{"a list as a set", `deny contains "x" if input.endpoint.certifications[_] != "fedramp" ; input.endpoint.certifications == {"soc2"}`},
	{"a number in a list of text", `deny contains "x" if not 1 in input.endpoint.certifications ; input.request.n == "1"`},
	{"text to a number that is none", `deny contains "x" if to_number(input.claims.user) > 1`},
	{"a date that is none", `deny contains "x" if time.parse_rfc3339_ns(input.claims.user) > 0`},
	{"arithmetic on text", `deny contains "x" if input.request.model + 1 > 0`},
	{"a length of a number", `deny contains "x" if count(input.request.prompt_tokens) > 1`},
	{"an allow that is text", `allow := "yes"`},
	{"a deny that is a boolean", `deny if true`},
	{"a deny that is a boolean value", `deny := true`},
	{"a deny that is an object", `deny["reason"] := "x"`},
	{"a reason that is a number", `deny contains 1`},
	{"a reason that is empty", `deny contains ""`},
	{"a reason with another key", `deny contains {"msg": "x"}`},

	{"null for what is unknown", `deny contains "x" if is_null(input.endpoint.data_policy.training)`},
	{"classes by the alphabet", "deny contains \"x\" if input.request.data_class < \"confidential\"\n\ndeny contains \"y\" if input.request.data_class > \"public\""},
	{"a date of another form", `deny contains "x" if input.time.date == "2026-1-1"`},
	{"a text and what is looked for in it", `deny contains "x" if startswith("acme/", input.endpoint.model)`},
	{"a pattern and a text", `deny contains "x" if regex.match(input.endpoint.model, "acme/.*")`},
	{"a glob and a text", `deny contains "x" if glob.match(input.endpoint.model, ["/"], "acme/*")`},
	{"a part and a whole", `deny contains "x" if contains("acme", input.endpoint.model)`},
	{"a pattern and a text in variables", "deny contains \"x\" if {\n\tm := input.endpoint.model\n\tp := \"acme/\"\n\tstartswith(p, m)\n}"},
	{"an hour that no day has", `deny contains "x" if input.time.hour > 23; input.request.n > 0`},
	{"an hour that no day has, from the other side", `deny contains "x" if 24 == input.time.hour`},
	{"a share in percent", `deny contains "x" if input.endpoint.stats.uptime > 50`},
	{"a class that there is not", `deny contains "x" if input.request.data_class_rank == 4`},
	{"a default of another type, ordered", `deny contains "x" if object.get(input.endpoint.attributes, "safety", "none") < 0.9`},
	{"a date of another form in a list", `deny contains "x" if input.time.date in ["2026-1-1"]`},
	{"a date that there is not", `deny contains "x" if input.time.date == "2026-02-30"`},
	{"a list as a condition", `deny contains "x" if not input.endpoint.certifications`},
	{"text as a condition", `deny contains "x" if not input.claims.user`},
	{"a number as a condition", `deny contains "x" if not input.request.tool_count`},
	{"a length as a condition", `deny contains "x" if not count(input.endpoint.certifications)`},
	{"a variable as a condition", "deny contains \"x\" if {\n\ttags := input.claims.tags\n\tnot tags\n}"},
	{"an attribute as a condition", `deny contains "x" if not object.get(input.endpoint.attributes, "safety", 0)`},
	{"an empty list of what is never empty", `deny contains "x" if count(input.endpoint.processing_regions) == 0`},
	{"less than one of what is never empty", "deny contains \"x\" if {\n\tn := count(input.endpoint.processing_regions)\n\t1 > n\n}"},
	{"not more than none of what is never empty", `deny contains "x" if not count(input.endpoint.processing_regions) > 0`},
	{"an empty list itself", `deny contains "x" if input.endpoint.processing_regions == []`},
	{"a date of another order", `deny contains "x" if input.time.date < "01.01.2027"`},

	// Typos wherever a name can stand.
	{"in the root", `deny contains "x" if inptu.endpoint.free`},
	{"in a section", `deny contains "x" if input.endpiont.free == false`},
	{"in a group", `deny contains "x" if input.endpoint.datapolicy.training != "no"`},
	{"in a field", `deny contains "x" if input.endpoint.data_policy.trainning != "no"`},
	{"in a field under not", `deny contains "x" if not input.endpoint.data_policy.trainning == "no"`},
	{"in a value", `deny contains "x" if input.endpoint.data_policy.training in {"Yes", "Unkown"}`},
	{"in a weekday", `deny contains "x" if input.time.weekday == "Monday"`},
	{"in a data class", `deny contains "x" if input.request.data_class == "pubilc"`},
	{"in the rule", `dney contains "x" if true`},
	{"in the rule, as elsewhere", `violation contains "x" if true`},
	{"in the rule, in the plural", `denies contains "x" if true`},
	{"in the rule, as a value", `allowed := false`},
	{"in an import", "import input.endpoint.data_polcy as terms\n\ndeny contains \"x\" if terms.training != \"no\""},
	{"in the use of an import", "import input.endpoint as row\n\ndeny contains \"x\" if rwo.free == false"},
	{"in a variable", "deny contains \"x\" if {\n\ttokens := input.request.prompt_tokens\n\ttoken > 1\n}"},
	{"in a helper's name", "big if input.request.prompt_tokens > 1\n\ndeny contains \"x\" if bigg"},
	{"in a function's name", "big(n) if n > 1\n\ndeny contains \"x\" if bgi(input.request.prompt_tokens)"},
	{"in a builtin", `deny contains "x" if statswith(input.request.model, "a")`},
	{"in a parameter", `deny contains "x" if input.request.prompt_tokens > data.params.mx`},
	{"in an obligation", `require contains {"max_output_token": 1}`},
	{"in an obligation's value", `require contains {"store": "false"}`},
	{"in the package", "import data.org.q.blocked\n\ndeny contains \"x\" if input.endpoint.provider in blocked"},

	{"in a country", `deny contains "x" if input.endpoint.jurisdiction in {"de", "us", "Unknown"}`},
	{"in a region", `deny contains "x" if "EU" in input.endpoint.processing_regions`},
	{"in a region that is walked to", "deny contains \"x\" if {\n\tsome region in input.endpoint.processing_regions\n\tregion == \"EU\"\n}"},
	{"in a quantization", `deny contains "x" if input.endpoint.quantization == "FP8"`},
	{"in a modality", `deny contains "x" if "txt" in input.request.input_modalities`},
	{"in the case of a country", `deny contains "x" if lower(input.endpoint.jurisdiction) == "DE"`},
	{"in the case of a table", "blocked := {\"Alpha\", \"Trainer\", \"Silent\", \"American\"}\n\ndeny contains \"x\" if lower(input.endpoint.provider) in blocked"},
	{"in the case of a variable", "deny contains \"x\" if {\n\tp := upper(input.endpoint.provider)\n\tp in [\"alpha\", \"trainer\", \"silent\", \"american\"]\n}"},
	{"in the case of a prefix", `deny contains "x" if startswith(lower(input.endpoint.model), "Acme/")`},
	{"in the case of every element", `deny contains "x" if "EU" in {lower(region) | some region in input.endpoint.processing_regions}`},
	{"in the case of what is unknown", `deny contains "x" if upper(input.endpoint.jurisdiction) != "de"; upper(input.endpoint.jurisdiction) == "unknown"`},
	{"in a country whose case does not count", `deny contains "x" if lower(input.endpoint.jurisdiction) in {"germny", "usa"}`},
	{"in a table of regions", "abroad := {\"EU\", \"Unknown\"}\n\ndeny contains \"x\" if {\n\tsome region in input.endpoint.processing_regions\n\tregion in abroad\n}"},
	{"in a helper's table", "blocked := {\"us\": true}\n\ndeny contains \"x\" if blocked.eu"},

	// Missing data.
	{"a list that nobody loaded", `deny contains "x" if not input.endpoint.provider in data.lists.approved`},
	{"a list that nobody loaded, by index", `deny contains "x" if data.blocked[input.endpoint.provider]`},
	{"a parameter that nobody declared", `deny contains "x" if input.request.prompt_tokens > data.params.max`},
	{"a parameter with a default, undeclared", `deny contains "x" if input.request.prompt_tokens > object.get(data.params, "max", 1)`},
	{"an environment", `deny contains "x" if opa.runtime().env.STAGE != "test"`},
	{"an answer of the network", `deny contains "x" if http.send({"url": "http://127.0.0.1:1", "method": "get"}).status_code != 200`},
	{"a clock", `deny contains "x" if time.now_ns() > 0`},

	// Helpers in between.
	{"a whole endpoint for a helper", "trains(e) if e.data_policy.trainig != \"no\"\n\ndeny contains \"x\" if trains(input.endpoint)"},
	{"a whole input for a helper", "trains(i) if i.endpoint.data_polcy.training != \"no\"\n\ndeny contains \"x\" if trains(input)"},
	{"a computed field", "field := \"trainnig\"\n\ndeny contains \"x\" if input.endpoint.data_policy[field] != \"no\""},
	{"a field by object.get", `deny contains "x" if object.get(input.endpoint, "trainnig", "no") != "no"`},
	{"a path by object.get", `deny contains "x" if object.get(input, ["endpoint", "data_polcy", "training"], "no") != "no"`},
	{"a walk", `deny contains "x" if { walk(input, [path, value]); path[1] == "data_polcy"; value != "no" }`},
	{"a helper that fails", "limit := 1 / input.request.tool_count\n\ndeny contains \"x\" if input.request.prompt_tokens > limit"},
	{"a helper of two minds", "limit := 1 if input.request.n > 0\n\nlimit := 2 if input.request.n < 9\n\ndeny contains \"x\" if input.request.prompt_tokens > limit"},
	{"a helper that is not defined here", "limit := 1 if input.request.n > 100\n\ndeny contains \"x\" if input.request.prompt_tokens > limit"},
	{"a helper that is not defined here, of several", "limit := 1 if input.request.n > 100\n\nlimit := 2 if input.request.n > 200\n\ndeny contains \"x\" if input.request.prompt_tokens > limit"},
	{"a helper that is not defined here, with else", "limit := 1 if {\n\tinput.request.n > 100\n} else := 2 if {\n\tinput.request.n > 200\n}\n\ndeny contains \"x\" if input.request.prompt_tokens > limit"},
	{"a function that is not defined here", "limit(n) := 1 if n > 100\n\ndeny contains \"x\" if input.request.prompt_tokens > limit(input.request.n)"},
	{"a function that is not defined for this", "limit(\"other\") := 1\n\ndeny contains \"x\" if input.request.prompt_tokens > limit(input.request.model)"},
	{"a helper within a helper that is not defined here", "limit := 1 if input.request.n > 100\n\ntwice := limit * 2\n\ndeny contains \"x\" if input.request.prompt_tokens > twice"},
	{"a message that is not defined here", "why := \"x\" if input.request.n > 100\n\ndeny contains why"},
	{"a condition that is compared with false", "approved if input.request.n > 100\n\ndeny contains \"x\" if approved == false"},
	{"a condition that is not true", "approved if input.request.n > 100\n\ndeny contains \"x\" if approved != true"},
	{"a condition that is kept", "approved if input.request.n > 100\n\ndeny contains \"x\" if {\n\tok := approved\n\tnot ok\n}"},
	{"a condition of an argument that is compared", "approved(n) if n > 100\n\ndeny contains \"x\" if approved(input.request.n) == false"},
	{"a condition in a list", "approved if input.request.n > 100\n\ndeny contains \"x\" if [approved] != [true]"},
	{"a condition that goes into a message", "approved if input.request.n > 100\n\ndeny contains sprintf(\"%v\", [approved])"},
	{"a helper that is never defined", "limit := 1 if input.request.n > 100\n\nallow if input.request.prompt_tokens > limit"},
	{"a function that is never defined", "limit(m) := 1 if m == \"other\"\n\nallow if input.request.prompt_tokens > limit(input.request.model)"},
	{"an input of one's own", `deny contains "x" if helper with input as {"a": 1}` + "\n\nhelper if input.request.stream"},
	{"nested helpers", "a if b\n\nb if input.endpoint.data_policy.trainng == \"yes\"\n\ndeny contains \"x\" if not a"},
}

func TestWhoeverAssumesThatRegoFailsClosedIsRight(t *testing.T) {
	if len(newcomers) < 40 {
		t.Fatalf("only %d cases", len(newcomers))
	}
	refused := 0
	for _, c := range newcomers {
		t.Run(c.name, func(t *testing.T) {
			set, problems := one("package org.p\n\n"+c.rule).load(t, honoursAll...)
			if len(problems) > 0 {
				refused++
				return
			}
			q := query()
			q.Request.Claims = wire.Claims{User: "ann", Metadata: map[string]string{}}
			if got := permitted(set.Judge(context.Background(), q)); got != "" {
				t.Errorf("loads, and permits %s", got)
			}
		})
	}
	if refused == 0 || refused == len(newcomers) {
		t.Errorf("%d of %d are refused at load", refused, len(newcomers))
	}
}
